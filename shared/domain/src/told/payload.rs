//! payload: how much a webhook is told beside the event. The order comes from its events alone, up to the one that is told: so it agrees
//! with the version beside it, however late it is sent, and each try sends the same. Of people nothing is written down: whom it is for is
//! put in when it is sent, so that what was forgotten meanwhile is told to nobody.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{Event, Replayed};
use crate::money::{Currency, Money};
use crate::order::adjustments::Adjustment;
use crate::order::lines::Item;
use crate::order::modifiers::Modifier;
use crate::order::status::OrderStatus;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    /// The event.
    #[default]
    Thin,
    /// With the order as it was after it.
    Order,
    /// And with whom it is for.
    Full,
}

impl Payload {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Thin, Self::Order, Self::Full];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thin => "thin",
            Self::Order => "order",
            Self::Full => "full",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|payload| payload.name() == name)
    }
}

/// All that has happened to an order.
#[derive(Debug, Clone)]
pub struct Past {
    /// Of all its amounts.
    pub currency: Currency,
    /// Beside its lines: as it came.
    pub adjustments: Vec<Adjustment>,
    /// From the first on.
    pub events: Vec<Event>,
}

/// An order as it was after one of its changes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OrderThen {
    /// Where it stood.
    pub status: OrderStatus,
    /// Its lines, without their notes.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Item>,
    /// Amounts beside the lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// What it came to, exact.
    #[schema(value_type = f64, example = 30.97)]
    pub total: Box<RawValue>,
    /// ISO 4217 code.
    pub currency: &'static str,
    /// What had been taken of it by then.
    #[schema(value_type = f64, example = 30.97)]
    pub charged: Box<RawValue>,
    /// What had gone back.
    #[schema(value_type = f64, example = 0.00)]
    pub refunded: Box<RawValue>,
}

impl Past {
    /// The order as it was after the change of this version; `None`: not all before it is known.
    pub fn then(&self, version: i32) -> Option<OrderThen> {
        let mut replayed = Replayed::default();
        for event in self.events.iter().take_while(|event| event.version <= version) {
            if !replayed.apply(event).follows {
                return None;
            }
        }
        let money = |minor| Money::from_minor(minor, self.currency).to_json();
        Some(OrderThen {
            status: replayed.status.filter(|_| replayed.version == version)?,
            items: replayed.items?.into_iter().map(without_notes).collect(),
            adjustments: self.adjustments.clone(),
            total: money(replayed.total_minor),
            currency: self.currency.code(),
            charged: money(replayed.charged.minor),
            refunded: money(replayed.refunded.minor),
        })
    }
}

/// A note may tell what somebody must not eat.
fn without_notes(item: Item) -> Item {
    fn plain(modifier: Modifier) -> Modifier {
        Modifier { note: None, modifiers: modifier.modifiers.into_iter().map(plain).collect(), ..modifier }
    }
    Item { note: None, modifiers: item.modifiers.into_iter().map(plain).collect(), ..item }
}

/// Where that is put in, whom it is for, when the rest is sent: null until then.
#[derive(Debug, Clone, Copy)]
pub struct Unread;

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// How what is told ends where somebody asked for it: `handover` is the last field of `data`, and that the last of all.
const UNREAD: &str = "\"handover\":null}}";

/// The same with whom it is for (JSON), where that was asked for.
pub fn with_handover(body: String, handover: Option<&str>) -> String {
    match (body.strip_suffix(UNREAD), handover) {
        (Some(before), Some(handover)) => format!("{before}\"handover\":{handover}}}}}"),
        _ => body,
    }
}
