//! What has happened to an order, or to a product: one event a change; and the rules by which an order's events alone say where it
//! stands, what it is made of and where its money is. No I/O; they are written and read in `store/events.rs`.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::order::lines::{Item, add_items, take_off};
use crate::order::status::OrderStatus;
pub use crate::what::What;

/// One change of an order, or of a product.
#[derive(Debug, Clone)]
pub struct Event {
    /// The order, or the product.
    pub subject: Uuid,
    /// 1, 2, .. of that one, without a gap.
    pub version: i32,
    /// What changed.
    pub what: What,
    /// Of a move: where the order stood. `None`: it came to be, or did not move.
    pub from: Option<OrderStatus>,
    /// Where it stands since; `None`: it did not move.
    pub to: Option<OrderStatus>,
    /// Who did it.
    pub actor: String,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// The payment that it is about.
    pub payment_id: Option<Uuid>,
    /// Of [`What::Accepted`] the total; else the money of this change, in minor units of the order's currency.
    pub amount_minor: Option<i64>,
    /// Of [`What::Accepted`] all lines; of what was added or dropped those. An array of [`Item`].
    pub items: Option<Vec<Item>>,
    /// When, by the database's clock.
    pub at: OffsetDateTime,
}

impl Event {
    /// The events that a row of the table stands for, this one being its own: where it says that a payment's processing had
    /// begun, that was a move of the version before.
    pub fn with_begin(self, began_at: Option<OffsetDateTime>) -> impl Iterator<Item = Self> {
        let Some(began_at) = began_at else { return [None, Some(self)].into_iter().flatten() };
        let processing = Some(OrderStatus::PaymentProcessing);
        let begin = Self {
            subject: self.subject,
            version: self.version - 1,
            what: What::Moved,
            from: self.from,
            to: processing,
            actor: "worker".to_owned(),
            reason: None,
            payment_id: None,
            amount_minor: None,
            items: None,
            at: began_at,
        };
        [Some(begin), Some(Self { from: processing, ..self })].into_iter().flatten()
    }
}

/// Payments that moved money: how many, how much, and a checksum of their ids, so that two sums are of the same ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u32,
    /// How much together, in minor units.
    pub minor: i64,
    /// The sum of their ids' last 64 bits, wrapping.
    pub ids: u64,
}

impl Tally {
    /// One more.
    pub const fn add(&mut self, payment: Uuid, minor: i64) {
        self.count += 1;
        self.minor += minor;
        self.ids = self.ids.wrapping_add(payment.as_u64_pair().1);
    }
}

/// What an order's events come to, applied in the order of their versions.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// Where the order stands.
    pub status: Option<OrderStatus>,
    /// Where it stood before.
    pub before: Option<OrderStatus>,
    /// The last event's: the order's version.
    pub version: i32,
    /// What it comes to, in minor units.
    pub total_minor: i64,
    /// Its lines, where the first event was read with them.
    pub items: Option<Vec<Item>>,
    /// Whether lines were added or taken off.
    pub lines_changed: bool,
    /// Whether somebody wished it to be cancelled.
    pub wished: bool,
    /// How many changes its channel told.
    pub told: u32,
    /// Whether its personal data is forgotten.
    pub forgotten: bool,
    /// Charges that took money.
    pub charged: Tally,
    /// What of it stays, although the order was cancelled; and what stays with its channel.
    pub kept: Tally,
    /// What came in when the order was handed over.
    pub collected: Tally,
    /// Refunds that are owed, or were.
    pub owed: Tally,
    /// Refunds that were given.
    pub refunded: Tally,
}

/// What is to be said about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Its version is the next, and a move begins where the order stood.
    pub follows: bool,
    /// A move is a legal one.
    pub is_legal: bool,
    /// What it should say and does not, or should not and does.
    pub lacks: Option<&'static str>,
}

impl Replayed {
    /// Applies the next event, as far as it goes if it is wrong.
    pub fn apply(&mut self, event: &Event) -> Verdict {
        let moves = matches!(event.what, What::Accepted | What::Moved);
        let follows = event.version == self.version + 1 && (!moves || event.from == self.status);
        let is_legal = match (event.what, event.from, event.to) {
            (What::Accepted, None, Some(to)) => matches!(to, OrderStatus::Pending | OrderStatus::Confirmed),
            (What::Moved, Some(from), Some(to)) => from.may_become(to),
            // Of any other end nothing is kept.
            (What::Kept, None, None) => {
                (self.before, self.status) == (Some(OrderStatus::Ready), Some(OrderStatus::Cancelled))
            }
            (_, None, None) => !moves,
            _ => false,
        };
        self.version = event.version;
        if moves {
            self.before = std::mem::replace(&mut self.status, event.to);
        }
        self.wished |= event.what == What::CancelWished;
        self.told += u32::from(event.what == What::Told);
        self.forgotten |= event.what == What::Forgotten;
        let lacks = self.apply_money(event).or(self.apply_lines(event));
        Verdict { follows, is_legal, lacks }
    }

    fn apply_money(&mut self, event: &Event) -> Option<&'static str> {
        let sum = match event.what {
            // The total is no money that moved.
            What::Accepted => return event.amount_minor.is_none().then_some("it has no total"),
            What::CancelWished | What::Told | What::Forgotten => {
                return event.amount_minor.is_some().then_some("it has an amount");
            }
            What::Moved if event.amount_minor.is_none() => return None,
            What::Moved | What::AdditionCharged | What::LateCapture => &mut self.charged,
            What::Kept => &mut self.kept,
            What::Collected => &mut self.collected,
            What::RefundOwed => &mut self.owed,
            What::Refunded => &mut self.refunded,
            What::Added | What::AdditionDropped => &mut Tally::default(),
            What::ProductMade
            | What::ProductChanged
            | What::PriceChanged
            | What::PriceDropped
            | What::ProductDeleted
            | What::StockSet
            | What::StockAdded
            | What::StockShipped => return Some("it is a product's"),
        };
        match (event.payment_id, event.amount_minor) {
            (Some(payment), Some(minor)) => sum.add(payment, minor),
            _ => return Some("it names no payment, or no amount"),
        }
        None
    }

    fn apply_lines(&mut self, event: &Event) -> Option<&'static str> {
        let amount = event.amount_minor.unwrap_or_default();
        let lines = event.items.as_deref().unwrap_or_default();
        match event.what {
            What::Accepted => {
                self.total_minor = amount;
                self.items.clone_from(&event.items);
                return None;
            }
            What::Added => {
                self.total_minor += amount;
                self.items = self.items.take().and_then(|items| add_items(items, lines));
            }
            What::AdditionDropped => {
                self.total_minor -= amount;
                self.items = self.items.take().map(|items| take_off(items, lines));
            }
            _ => return event.items.is_some().then_some("it has lines, and changes none"),
        }
        self.lines_changed = true;
        lines.is_empty().then_some("it has no lines")
    }
}
