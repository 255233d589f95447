//! Cells, and what a page of events adds to each: sorted by their keys, so that writers meet them in one order.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::hour::{Hour, Orders, at_of};
use super::money::MoneyKind;
use super::{lengths, reason_code};
use crate::order::status::OrderStatus;

/// Where an order is made, and by which channel it came; `""`: by none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The location.
    pub location: Arc<str>,
    /// The channel.
    pub channel: Arc<str>,
}

/// Who ordered, where, in which currency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct CustomerAt {
    pub customer: Arc<str>,
    pub location: Arc<str>,
    pub currency: Arc<str>,
}

/// What a customer's orders come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When the first of them was accepted.
    pub first_at: OffsetDateTime,
    /// And the last.
    pub last_at: OffsetDateTime,
    /// How many were accepted.
    pub orders: i64,
    /// How many were handed over.
    pub delivered: i64,
    /// What came in, in minor units.
    pub paid: i64,
    /// What went back, or has to.
    pub back: i64,
}

/// What is to be added to which cells.
#[derive(Debug, Default)]
pub struct Cells {
    /// To which hours.
    pub hours: BTreeMap<(Place, OffsetDateTime), Hour>,
    /// To which customers.
    pub customers: BTreeMap<CustomerAt, Lifetime>,
}

impl Cells {
    fn hour(&mut self, place: &Place, at: OffsetDateTime) -> (&mut Hour, u8) {
        let (hour, quarter) = at_of(at);
        (self.hours.entry((place.clone(), hour)).or_default(), quarter)
    }

    pub(super) fn order(&mut self, place: &Place, at: OffsetDateTime) -> &mut Orders {
        let (hour, quarter) = self.hour(place, at);
        hour.orders.entry(quarter).or_default()
    }

    pub(super) fn enter(&mut self, place: &Place, at: OffsetDateTime, status: OrderStatus) {
        let (hour, quarter) = self.hour(place, at);
        hour.statuses.entry((quarter, status)).or_default().entries += 1;
    }

    /// A stay from `from` to `to`: counted where it began.
    pub(super) fn stay(
        &mut self,
        place: &Place,
        status: OrderStatus,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) {
        let (hour, quarter) = self.hour(place, from);
        hour.statuses.entry((quarter, status)).or_default().end(lengths::millis(to - from));
    }

    pub(super) fn money(
        &mut self,
        place: &Place,
        at: OffsetDateTime,
        currency: &Arc<str>,
        (kind, minor): (MoneyKind, i64),
    ) {
        let (hour, quarter) = self.hour(place, at);
        hour.money.entry((quarter, Arc::clone(currency), kind)).or_default().add(1, minor);
    }

    pub(super) fn reason(
        &mut self,
        place: &Place,
        at: OffsetDateTime,
        status: OrderStatus,
        reason: Option<&str>,
    ) {
        let (hour, quarter) = self.hour(place, at);
        *hour.reasons.entry((quarter, status, reason_code(reason).into())).or_default() += 1;
    }
}
