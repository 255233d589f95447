//! Whose webhooks: a manager sees to those that hear of their own locations alone, an admin to all.

use domain::location::MAIN;
use store::webhooks::Webhook;

use crate::identity::caller::Keeper;

/// Where they see to webhooks; empty: everywhere.
pub(super) fn all_locations(by: &Keeper) -> Vec<String> {
    by.locations().unwrap_or_default()
}

/// Whether all of these are theirs; none in particular are everybody's.
pub(super) fn has_all(by: &Keeper, locations: &[String]) -> bool {
    by.locations()
        .is_none_or(|theirs| !locations.is_empty() && locations.iter().all(|one| theirs.contains(one)))
}

/// Whether it is theirs to see to: a channel's platform is to those who set channels, at the first location.
pub(super) fn oversees(by: &Keeper, webhook: &Webhook) -> bool {
    match webhook.platform {
        Some(_) => has_all(by, &[MAIN.to_owned()]),
        None => has_all(by, &webhook.locations),
    }
}
