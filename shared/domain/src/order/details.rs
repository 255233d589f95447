//! What few orders have beside their items: a channel that they came by, and to whom, how and when they are handed over.
//! Names, telephone numbers and addresses are shown to whoever may see the order and to nobody else: `Debug` leaves them
//! out, so that no log line and no span can have them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::adjustments::Adjustment;
use super::payment_method::{NoCharge, Payment, PaymentMethod, Uncharged};
use crate::channel::document::Document;
use crate::channel::name::{ChannelKey, ChannelName};
use crate::fields::Odd;
use crate::limits::{MAX_AHEAD, MAX_EXPIRY, MAX_ID_CHARS, MAX_NAME_CHARS};
use crate::moment;
use crate::problems::{At, Problems};

/// Longest city or postal code.
pub const MAX_PLACE_CHARS: usize = 100;
/// Fewest digits of a telephone number: an emergency call's.
const MIN_PHONE_DIGITS: usize = 3;
/// Longest telephone number, with what people put between the digits.
const MAX_PHONE_CHARS: usize = 40;
/// Longest time: nanoseconds and an offset take 35.
const MAX_TIME_CHARS: usize = 40;

/// How an order is handed over. In small letters on the wire; read in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fulfilment {
    /// Brought to `delivery_address`.
    Delivery,
    /// Fetched by the customer.
    Pickup,
    /// Eaten in the house.
    DineIn,
}

impl Fulfilment {
    /// The names on the wire.
    const ALL: [(&'static str, Self); 3] =
        [("delivery", Self::Delivery), ("pickup", Self::Pickup), ("dine_in", Self::DineIn)];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    /// Reads a name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, known)| known)
    }
}

/// Whom to call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Customer {
    /// 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Ada Byron", min_length = 1, max_length = 500)]
    pub name: Option<String>,
    /// As people write it, 3 digits among it at least: extensions, masks and other scripts' digits are kept as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "+44 20 7946 0000", min_length = 3, max_length = 40)]
    pub phone_number: Option<String>,
}

/// Where to go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// With the house's number; 1 to 500 characters.
    #[schema(example = "12 St James's Square", min_length = 1, max_length = 500)]
    pub street: String,
    /// 1 to 100 characters.
    #[schema(example = "London", min_length = 1, max_length = 100)]
    pub city: String,
    /// 1 to 100 characters; there are places without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "SW1Y 4JH", min_length = 1, max_length = 100)]
    pub postal_code: Option<String>,
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

/// To whom, how and when. Stored and shown in this shape.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Handover {
    /// How it is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fulfilment: Option<Fulfilment>,
    /// Whom to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
    /// Where to bring it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_address: Option<Address>,
    /// When it is fetched, RFC 3339, to the letter as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31T18:30:00+01:00")]
    pub pickup_time: Option<String>,
    /// What is to be minded, 1 to 1,000 characters, line breaks among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Ring twice", min_length = 1, max_length = 1000)]
    pub note: Option<String>,
}

/// Without the note, in which anything may stand.
impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("fulfilment", &self.fulfilment).finish_non_exhaustive()
    }
}

impl Handover {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What few orders have, as it may be accepted.
#[derive(Clone, Default)]
pub struct NewDetails {
    /// To whom, how and when.
    pub handover: Handover,
    /// The channel and its name for the order.
    pub key: Option<ChannelKey>,
    /// What came with it of its life elsewhere, to the letter.
    pub imported: Option<Box<RawValue>>,
    /// The document that it came by, where a channel sent one.
    pub document: Option<Document>,
    /// Amounts beside its lines.
    pub adjustments: Vec<Adjustment>,
    /// What else its client wants to know of it: a JSON object of texts.
    pub metadata: Option<Box<RawValue>>,
    /// How it is paid.
    pub payment: Payment,
    /// That nothing is charged for it, so that it is confirmed from the start. Follows from what it comes to and how it is paid.
    pub uncharged: Option<Uncharged>,
    /// When its charge is called off, where the order says so itself.
    pub expires_at: Option<OffsetDateTime>,
    /// Where it is to be made; `None`: at the first location.
    pub location: Option<String>,
    /// For when it is ordered.
    pub wanted_at: Option<OffsetDateTime>,
    /// Where that is later: until then it is neither charged nor put before the kitchen.
    pub held_until: Option<OffsetDateTime>,
    /// Which of its customer's addresses it is to be brought to; to be looked up before it is accepted.
    pub address_id: Option<Uuid>,
    /// What it did not get, as there was not more.
    pub left_out: Vec<LeftOut>,
}

impl NewDetails {
    /// As they are stored once their order is accepted, since this moment.
    pub fn as_stored(self, created_at: OffsetDateTime) -> Details {
        let channel = self.key.map(|key| (key.channel.as_str().to_owned(), key.order_id));
        // What is free is not paid in hand.
        let is_free = self.uncharged.is_some_and(|one| one.because == NoCharge::Free);
        let method = if is_free { PaymentMethod::Card } else { self.payment.method };
        Details {
            handover: self.handover,
            channel,
            adjustments: self.adjustments,
            metadata: self.metadata,
            payment: Payment { method, ..self.payment },
            collected: false,
            kept: false,
            expires_at: self.expires_at,
            wanted_at: self.wanted_at,
            held_until: self.held_until.filter(|until| *until > created_at),
            left_out: self.left_out,
        }
    }

    /// Whether there is nothing to be kept.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            handover,
            key,
            imported,
            document,
            adjustments,
            metadata,
            payment,
            uncharged,
            expires_at,
            location,
            wanted_at,
            held_until: _,
            address_id,
            left_out,
        } = self;
        handover.is_empty()
            && key.is_none()
            && imported.is_none()
            && document.is_none()
            && adjustments.is_empty()
            && metadata.is_none()
            && *payment == Payment::default()
            && uncharged.is_none()
            && expires_at.is_none()
            && location.is_none()
            && wanted_at.is_none()
            && address_id.is_none()
            && left_out.is_empty()
    }
}

/// Without what was imported, which may name anybody.
impl fmt::Debug for NewDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, payment, uncharged, .. } = self;
        f.debug_struct("NewDetails")
            .field("key", key)
            .field("payment", payment)
            .field("uncharged", uncharged)
            .finish_non_exhaustive()
    }
}

/// A line of which an order took less than was asked for, as there was not more. Stored and shown in this shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    /// Its place in `items` as they were sent, from 0.
    pub line: usize,
    /// The variation, or the product that comes in none.
    pub item_id: String,
    /// Its name.
    pub item_name: String,
    /// How many were asked for.
    pub asked: u32,
    /// How many the order has; 0: it has no such line.
    pub taken: u32,
}

/// What few orders have, as it is stored.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// To whom, how and when.
    pub handover: Handover,
    /// The channel and its name for the order.
    pub channel: Option<(String, String)>,
    /// Amounts beside its lines.
    pub adjustments: Vec<Adjustment>,
    /// What else its client wants to know of it: a JSON object of texts.
    pub metadata: Option<Box<RawValue>>,
    /// How it is paid.
    pub payment: Payment,
    /// Of an order that is paid when it is handed over: money came in.
    pub collected: bool,
    /// Of an order whose channel took the money: nobody came for it, and the money stays there.
    pub kept: bool,
    /// When its charge is called off, where the order says so itself.
    pub expires_at: Option<OffsetDateTime>,
    /// For when it was ordered.
    pub wanted_at: Option<OffsetDateTime>,
    /// Where that was later: until then it is neither charged nor put before the kitchen.
    pub held_until: Option<OffsetDateTime>,
    /// What it did not get, as there was not more.
    pub left_out: Vec<LeftOut>,
}

impl Details {
    /// Whether the channel took the money.
    pub fn is_paid_elsewhere(&self) -> bool {
        self.payment.method == PaymentMethod::Elsewhere
    }
}

/// What the fields are called where they come from: a problem names its place as its sender knows it.
pub(crate) struct Names {
    /// Whether all fields are: those of our own requests.
    are_all: bool,
    phone_number: &'static str,
    delivery_address: &'static str,
    postal_code: &'static str,
    pickup_time: &'static str,
}

/// Ours.
pub(crate) const SNAKE_CASE: Names = Names {
    are_all: true,
    phone_number: "phone_number",
    delivery_address: "delivery_address",
    postal_code: "postal_code",
    pickup_time: "pickup_time",
};

/// The handover, still raw.
pub(crate) struct HandoverRequest<'a> {
    pub(crate) fulfilment: Option<&'a RawValue>,
    pub(crate) customer: Option<&'a RawValue>,
    pub(crate) delivery_address: Option<&'a RawValue>,
    pub(crate) pickup_time: Option<&'a RawValue>,
    /// The address is named elsewhere.
    pub(crate) is_addressed: bool,
}

impl HandoverRequest<'_> {
    pub(crate) fn parse(&self, names: &Names, problems: &mut Problems) -> Handover {
        let fulfilment = self.fulfilment.and_then(|raw| problems.fulfilment(raw));
        let handover = Handover {
            fulfilment,
            customer: self.customer.and_then(|raw| problems.customer(raw, names)),
            delivery_address: self.delivery_address.and_then(|raw| problems.address(raw, names)),
            pickup_time: self.pickup_time.and_then(|raw| problems.time(names.pickup_time, raw)),
            note: None,
        };
        if fulfilment == Some(Fulfilment::Delivery) && self.delivery_address.is_none() && !self.is_addressed {
            problems.add(names.delivery_address, "required", "is required for a delivery");
        }
        handover
    }
}

impl Problems {
    fn fulfilment(&mut self, raw: &RawValue) -> Option<Fulfilment> {
        let text = serde_json::from_str::<String>(raw.get()).ok();
        let known = text.and_then(|text| Fulfilment::parse(&text));
        if known.is_none() {
            self.add("fulfilment", "unknown_fulfilment", "must be delivery, pickup or dine_in");
        }
        known
    }

    /// The id of an address; what is none names none.
    pub(crate) fn address_id(&mut self, raw: &RawValue) -> Option<Uuid> {
        let text = self.text("delivery_address_id", Some(raw), MAX_ID_CHARS)?;
        let id = Uuid::try_parse(&text).ok();
        if id.is_none() {
            self.add("delivery_address_id", "unknown_address", "the customer has no such address");
        }
        id
    }

    fn customer(&mut self, raw: &RawValue, names: &Names) -> Option<Customer> {
        let fields = self.object("customer", raw)?;
        self.only(names, "customer", &fields, &["name", names.phone_number]);
        let name = self.optional_text("customer.name", fields.get("name").copied(), MAX_NAME_CHARS);
        let phone_number = fields.get(names.phone_number).and_then(|raw| {
            let attr = format!("customer.{}", names.phone_number);
            let text = self.text(&attr, Some(raw), MAX_PHONE_CHARS)?;
            if !is_phone_number(&text) {
                self.add(attr, "no_phone_number", "must be a telephone number such as +44 20 7946 0000");
            }
            Some(text)
        });
        (name.is_some() || phone_number.is_some()).then_some(Customer { name, phone_number })
    }

    /// Names what nobody knows in an object of our own requests.
    fn only(&mut self, names: &Names, attr: &str, fields: &BTreeMap<String, &RawValue>, known: &[&str]) {
        let mut odd = Odd::default();
        fields
            .keys()
            .filter(|name| names.are_all && !known.contains(&name.as_str()))
            .for_each(|name| odd.unknown(name));
        self.odd(&At::Top.field(attr), &odd);
    }

    fn address(&mut self, raw: &RawValue, names: &Names) -> Option<Address> {
        let fields = self.object(names.delivery_address, raw)?;
        self.only(names, names.delivery_address, &fields, &["street", "city", names.postal_code]);
        let attr = |field: &str| format!("{}.{field}", names.delivery_address);
        let street = self.text(attr("street"), fields.get("street").copied(), MAX_NAME_CHARS);
        let city = self.text(attr("city"), fields.get("city").copied(), MAX_PLACE_CHARS);
        let code = fields.get(names.postal_code).copied();
        let postal_code = self.optional_text(attr(names.postal_code), code, MAX_PLACE_CHARS);
        Some(Address { street: street?, city: city?, postal_code })
    }

    fn time(&mut self, attr: &str, raw: &RawValue) -> Option<String> {
        let text = self.text(attr, Some(raw), MAX_TIME_CHARS)?;
        if moment::parse(&text).is_none() {
            self.add(attr, "no_time", "must be a time such as 2026-01-31T18:00:00Z");
        }
        Some(text)
    }

    /// When an order's charge is to be called off: a time within [`MAX_EXPIRY`] from when it may first be made, as the database
    /// keeps it. One that has passed is none for a new order, but for one that came before: so that is not for here to say.
    pub(crate) fn expiry(
        &mut self,
        attr: &str,
        raw: &RawValue,
        held_until: Option<OffsetDateTime>,
    ) -> Option<OffsetDateTime> {
        let at = self.moment(attr, raw)?;
        if at - OffsetDateTime::now_utc().max(held_until.unwrap_or(OffsetDateTime::UNIX_EPOCH)) > MAX_EXPIRY {
            self.add(attr, "too_far", "must be within seven days");
        } else if held_until.is_some_and(|until| at <= until) {
            self.add(attr, "conflict", "must be after the time at which the order is charged");
        }
        Some(at)
    }

    /// For when an order is wanted: within [`MAX_AHEAD`]. Of one that has passed, as above.
    pub(crate) fn wanted(&mut self, attr: &str, raw: &RawValue) -> Option<OffsetDateTime> {
        let at = self.moment(attr, raw)?;
        if at - OffsetDateTime::now_utc() > MAX_AHEAD {
            self.add(attr, "too_far", "must be within a year");
        }
        Some(at)
    }

    /// A time in whole microseconds.
    fn moment(&mut self, attr: &str, raw: &RawValue) -> Option<OffsetDateTime> {
        let text = self.text(attr, Some(raw), MAX_TIME_CHARS)?;
        let Some(at) = moment::parse(&text) else {
            self.add(attr, "no_time", "must be a time such as 2026-01-31T18:00:00Z");
            return None;
        };
        let micros = at.microsecond() * 1_000;
        at.replace_nanosecond(micros).ok()
    }

    /// A channel and its name for the order: both or none.
    pub(crate) fn channel_key(
        &mut self,
        channel: Option<&RawValue>,
        order_id: Option<&RawValue>,
    ) -> Option<(ChannelName, String)> {
        if channel.is_none() && order_id.is_none() {
            return None;
        }
        let channel = self.text("channel", channel, usize::MAX);
        let order_id = self.text("channel_order_id", order_id, MAX_ID_CHARS);
        match ChannelName::parse(&channel?) {
            Ok(channel) => Some((channel, order_id?)),
            Err((code, detail)) => {
                self.add("channel", code, detail);
                None
            }
        }
    }
}

/// As people and platforms write them: with extensions, masked, in any script's digits. Nobody here dials it; whoever does, reads it.
fn is_phone_number(text: &str) -> bool {
    text.chars().filter(|c| c.is_numeric()).count() >= MIN_PHONE_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_read_as_people_write_them() {
        for good in [
            "+442079460000",
            "+44 20 7946 0000",
            "(020) 7946-0000",
            "112",
            "0171/123.45",
            "+1 (555) 010-0123 ext. 89",
            "+52155****90",
            "٠١٢٣٤",
            "０３１２３４",
        ] {
            assert!(is_phone_number(good), "{good}");
        }
        for bad in ["", "+", "11", "call me", "anonymous"] {
            assert!(!is_phone_number(bad), "{bad}");
        }
    }

    #[test]
    fn nobody_is_named_where_an_order_is_printed() {
        let handover = Handover {
            fulfilment: Some(Fulfilment::DineIn),
            customer: Some(Customer { name: Some("Ada".into()), phone_number: Some("555 0100".into()) }),
            delivery_address: Some(Address {
                street: "St James".into(),
                city: "London".into(),
                postal_code: None,
            }),
            pickup_time: None,
            note: Some("Ring at Ada's".into()),
        };
        let imported = Some(RawValue::from_string("\"Ada\"".into()).unwrap());
        let details = NewDetails { handover: handover.clone(), imported, ..NewDetails::default() };
        let told = format!("{handover:?} {details:?}");
        for secret in ["Ada", "0100", "James", "London"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}
