//! What every dialect reads out of a document, and the order that comes of it.

use std::time::Duration;

use serde_json::value::RawValue;
use time::{OffsetDateTime, UtcOffset};

use super::Incoming;
use crate::channel::document::Document;
use crate::channel::name::{ChannelKey, ChannelName, customer_of};
use crate::channel::reading::Object;
use crate::channel::settings::ChannelSettings;
use crate::limits::{DEFAULT_CURRENCY, MAX_AHEAD, MAX_ID_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS};
use crate::money::{Currency, Money, currency_of};
use crate::order::NewOrder;
use crate::order::adjustments::{Adjustment, AdjustmentKind};
use crate::order::details::{Address, Customer, Fulfilment, Handover, NewDetails};
use crate::order::lines::Item;
use crate::order::parts::Parts;
use crate::order::payment_method::{Payment, PaymentMethod};
use crate::problems::{Problem, Problems};

/// A document, read.
#[derive(Clone)]
pub(super) struct Draft {
    /// What the channel calls the order.
    pub(super) order_id: String,
    /// What it calls it for people.
    pub(super) display_id: Option<String>,
    /// Which document it is.
    pub(super) document: Document,
    /// What it calls the location that is to make it: each name, the most exact first.
    pub(super) locations: Vec<String>,
    /// Its own name for who eats it.
    pub(super) diner: Option<String>,
    pub(super) currency: Currency,
    pub(super) items: Vec<Item>,
    pub(super) adjustments: Vec<Adjustment>,
    /// What it says that all comes to.
    pub(super) expected_minor: Option<i64>,
    /// What that is called there.
    pub(super) total: &'static str,
    pub(super) method: PaymentMethod,
    /// Whether it says that the order is off.
    pub(super) is_cancelled: bool,
    pub(super) fulfilment: Option<Fulfilment>,
    pub(super) name: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) address: Place,
    /// When, as it is shown.
    pub(super) wanted: Option<String>,
    /// The same as a time.
    pub(super) wanted_at: Option<OffsetDateTime>,
    pub(super) table: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Where to go, in as many parts as platforms have.
#[derive(Clone, Default)]
pub(super) struct Place {
    pub(super) street: Option<String>,
    pub(super) number: Option<String>,
    /// Floor, door, how to find it.
    pub(super) more: Option<String>,
    pub(super) area: Option<String>,
    pub(super) postal_code: Option<String>,
    pub(super) city: Option<String>,
    pub(super) country: Option<String>,
}

impl Place {
    /// Whether there is any of it but a country, which some always send.
    pub(super) fn is_some(&self) -> bool {
        let Self { street, number, more, area, postal_code, city, country: _ } = self;
        [street, number, more, area, postal_code, city].into_iter().any(Option::is_some)
    }

    /// What there is, in the order in which it is looked for. What lacks a street or a city can be found all the same by whoever
    /// knows the place.
    fn address(self) -> Option<Address> {
        if !self.is_some() {
            return None;
        }
        let join = |parts: &[Option<String>], between| {
            parts.iter().flatten().cloned().collect::<Vec<_>>().join(between)
        };
        let street = join(&[self.street, self.number], " ");
        let street = join(&[Some(street).filter(|street| !street.is_empty()), self.more, self.area], ", ");
        let city = join(&[self.city, self.country], ", ");
        let postal_code = self.postal_code;
        Some(Address {
            street: cut(street, 500),
            city: cut(city, 100),
            postal_code: postal_code.map(|code| cut(code, 100)),
        })
    }
}

/// As much of a text as there is room for.
fn cut(text: String, max_chars: usize) -> String {
    if text.chars().count() > max_chars { text.chars().take(max_chars).collect() } else { text }
}

/// A name as an id.
pub(super) fn part(name: &str) -> String {
    cut(name.to_owned(), MAX_ID_CHARS)
}

/// That of the document, or else the channel's.
pub(super) fn currency(order: &Object<'_>, settings: &ChannelSettings, problems: &mut Problems) -> Currency {
    let named = order.line("currency", MAX_NAME_CHARS, problems);
    let known = named.as_deref().map(|code| currency_of(&code.to_uppercase()));
    if known == Some(None) {
        problems.add("currency", "unknown_currency", "must be an ISO 4217 code such as USD");
    }
    known.flatten().or(settings.currency).unwrap_or(DEFAULT_CURRENCY)
}

/// An amount beside the lines; none of nothing.
pub(super) fn adjustment(
    currency: Currency,
    kind: AdjustmentKind,
    name: Option<String>,
    minor: i64,
) -> Option<Adjustment> {
    let amount = Money::from_minor(minor, currency).to_json();
    (minor != 0).then_some(Adjustment { kind, name, amount })
}

/// As much of a name as there is.
pub(super) fn full_name(first: Option<String>, last: Option<String>) -> Option<String> {
    let both: Vec<_> = [first, last].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" "))
}

impl Draft {
    pub(super) fn new(order_id: String, currency: Currency, items: Vec<Item>) -> Self {
        Self {
            order_id,
            display_id: None,
            document: Document::default(),
            locations: Vec::new(),
            diner: None,
            currency,
            items,
            adjustments: Vec::new(),
            expected_minor: None,
            total: "total",
            method: PaymentMethod::default(),
            is_cancelled: false,
            fulfilment: None,
            name: None,
            phone: None,
            address: Place::default(),
            wanted: None,
            wanted_at: None,
            table: None,
            notes: Vec::new(),
        }
    }

    /// Something for the kitchen to mind, or for whoever brings it.
    pub(super) fn note(&mut self, name: &str, text: Option<String>) {
        let Some(text) = text else { return };
        self.notes.push(if name.is_empty() { text } else { format!("{name}: {text}") });
    }

    /// To whom, how and when.
    pub(super) fn handover(&self) -> Handover {
        let mut notes = self.notes.clone();
        let display_id = self.display_id.as_ref().filter(|shown| **shown != self.order_id);
        for (name, text) in [("Order", display_id), ("Table", self.table.as_ref())] {
            notes.extend(text.map(|text| format!("{name}: {text}")));
        }
        let notes = notes.join("\n");
        let phone_number = self.phone.clone().map(|phone| cut(phone, MAX_PHONE_CHARS));
        let customer = Customer { name: self.name.clone(), phone_number };
        Handover {
            fulfilment: self.fulfilment,
            customer: (self.name.is_some() || self.phone.is_some()).then_some(customer),
            delivery_address: self.address.clone().address(),
            pickup_time: self.wanted.clone(),
            note: (!notes.is_empty()).then(|| cut(notes, MAX_NOTE_CHARS)),
        }
    }

    /// The order, or what is wrong with it.
    pub(super) fn order(
        self,
        named: Named,
        imported: Box<RawValue>,
        settings: &ChannelSettings,
        accept_in: Duration,
    ) -> Result<Incoming, Vec<Problem>> {
        let handover = self.handover();
        let location = location(&self.locations, settings)?;
        let wanted_at = self.wanted_at.map(wanted).transpose()?;
        let mut key = match named {
            Named::As(key) => key,
            Named::By(channel) => {
                // What may be told otherwise later (`told.rs`) is not what was ordered.
                let content = (&self.diner, self.currency.code(), &self.items, &self.adjustments);
                ChannelKey::new(channel, self.order_id, &content)
            }
        };
        let day = Duration::from_secs(86_400);
        key.keep = settings.unique_days.map(|days| day * u32::from(days));
        let customer_id = customer_of(&key.channel, self.diner.as_deref());
        let details = NewDetails {
            handover,
            key: Some(key),
            imported: Some(imported),
            payment: Payment { method: self.method, ..Payment::default() },
            document: Some(self.document.clone()),
            wanted_at,
            ..NewDetails::default()
        };
        let parts = Parts {
            items: self.items,
            adjustments: self.adjustments,
            currency: self.currency,
            expected_minor: self.expected_minor,
        };
        let mut order = NewOrder::of_parts(customer_id, parts, details, self.total)?;
        order.to_be_taken_within(accept_in);
        Ok(Incoming { order, location, is_cancelled: self.is_cancelled, document: self.document })
    }
}

/// What the channel calls the order.
pub(super) enum Named {
    /// As the draft has it.
    By(ChannelName),
    /// So, with a content that was read already.
    As(ChannelKey),
}

/// For when it is wanted, as the database keeps it. What is further ahead than any order is rubbish that nobody should wait for.
fn wanted(at: OffsetDateTime) -> Result<OffsetDateTime, Vec<Problem>> {
    if at - OffsetDateTime::now_utc() > MAX_AHEAD {
        let mut problems = Problems::default();
        problems.add("pickupTime", "too_far", "must be within a year");
        return Err(problems.0);
    }
    let at = at.to_offset(UtcOffset::UTC);
    Ok(at.replace_nanosecond(at.microsecond() * 1_000).unwrap_or(at))
}

/// Longest telephone number, with what people put between the digits.
const MAX_PHONE_CHARS: usize = 40;

/// Ours, by one of the channel's names for it: the first that is set. One that names no place is of the house's first; and where
/// nothing is set, so is every other.
pub(super) fn location(named: &[String], settings: &ChannelSettings) -> Result<Option<String>, Vec<Problem>> {
    let Some(first) = named.first().filter(|_| !settings.locations.is_empty()) else { return Ok(None) };
    let ours = named.iter().find_map(|name| settings.locations.get(name));
    ours.cloned().map(Some).ok_or_else(|| {
        let mut problems = Problems::default();
        problems.add(
            "location",
            "unknown_location",
            format!("{first:?} is not among the channel's locations"),
        );
        problems.0
    })
}
