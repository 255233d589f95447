//! What whoever makes the food or brings it has to mind, and which kitchen it is, as aggregators' documents say it: `deliverect.rs`
//! and `plain.rs` have these fields in common.

use super::draft::Draft;
use crate::channel::reading::Object;
use crate::channel::settings::ChannelSettings;
use crate::limits::{MAX_NAME_CHARS, MAX_NOTE_CHARS};
use crate::problems::Problems;

/// Most guests at a table, or at a feast.
const MAX_GUESTS: i64 = 10_000;

/// What the kitchen is called there: by the till, by the platform, by what joins both. Where no name of any is set, nobody asks.
pub(super) fn kitchens(
    order: &Object<'_>,
    settings: &ChannelSettings,
    problems: &mut Problems,
) -> Vec<String> {
    if settings.locations.is_empty() {
        return Vec::new();
    }
    let names = ["posLocationId", "location", "channelLink", "channelLinkId"];
    names.into_iter().filter_map(|name| order.id(name, problems)).collect()
}

impl Draft {
    /// Notes and codes, who eats where, and what the order is called for people.
    pub(super) fn mind(&mut self, order: &Object<'_>, customer: &Object<'_>, problems: &mut Problems) {
        self.display_id = order.line("channelOrderDisplayId", MAX_NAME_CHARS, problems);
        self.table = order.line("table", MAX_NAME_CHARS, problems);
        let guests = order.number("numberOfCustomers", 0..=MAX_GUESTS, problems);
        for (name, text) in [
            ("", order.note("note", MAX_NOTE_CHARS, problems)),
            ("", customer.note("note", MAX_NOTE_CHARS, problems)),
            ("Company", customer.line("companyName", MAX_NAME_CHARS, problems)),
            ("Phone code", customer.line("phoneAccessCode", MAX_NAME_CHARS, problems)),
            ("E-mail", customer.line("email", MAX_NAME_CHARS, problems)),
            ("Guests", guests.filter(|guests| *guests > 0).map(|guests| guests.to_string())),
        ] {
            self.note(name, text);
        }
    }
}
