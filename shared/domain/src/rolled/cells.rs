//! Cells, and what a page of events adds to each: sorted by their keys, so that writers meet them in one order.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::{lengths, quarter_of, reason_code};
use crate::order::adjustments::AdjustmentKind;
use crate::order::status::OrderStatus;

/// What money did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(type_name = "money_kind", rename_all = "snake_case"))]
pub enum MoneyKind {
    /// The gateway took it.
    Charged,
    /// The order's channel took it.
    Elsewhere,
    /// Staff took it in hand.
    Collected,
    /// It is to go back by the gateway.
    RefundOwed,
    /// It went back.
    Refunded,
    /// The channel has to give it back.
    ElsewhereBack,
    /// Staff have to give it back.
    CollectedBack,
    /// It is to be paid in hand; less what came in, and what nobody has to pay any more.
    Due,
    /// Within what came in or is due: for bringing it,
    DeliveryFee,
    /// for the service,
    ServiceFee,
    /// for those who serve,
    Tip,
    /// a tax that prices do not include,
    Tax,
    /// for what it is packed in,
    Bag,
    /// off the price,
    Discount,
    /// up or down to what can be paid in cash,
    Rounding,
    /// and anything else.
    Other,
}

impl From<AdjustmentKind> for MoneyKind {
    fn from(kind: AdjustmentKind) -> Self {
        match kind {
            AdjustmentKind::DeliveryFee => Self::DeliveryFee,
            AdjustmentKind::ServiceFee => Self::ServiceFee,
            AdjustmentKind::Tip => Self::Tip,
            AdjustmentKind::Tax => Self::Tax,
            AdjustmentKind::Bag => Self::Bag,
            AdjustmentKind::Discount => Self::Discount,
            AdjustmentKind::Rounding => Self::Rounding,
            AdjustmentKind::Other => Self::Other,
        }
    }
}

/// Where an order is made, and by which channel it came; `""`: by none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The location.
    pub location: Arc<str>,
    /// The channel.
    pub channel: Arc<str>,
}

/// How often orders came to be, or came to this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the statuses")]
pub struct Orders {
    pub accepted: i64,
    pub confirmed: i64,
    pub failed: i64,
    pub rejected: i64,
    pub cancelled: i64,
    pub delivered: i64,
}

/// So often, and so much: of stays their milliseconds, of money minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often.
    pub times: i64,
    /// How much.
    pub amount: i64,
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
#[expect(missing_docs, reason = "a table each, named after it")]
pub struct Cells {
    pub orders: BTreeMap<(Place, OffsetDateTime), Orders>,
    pub entries: BTreeMap<(Place, OffsetDateTime, OrderStatus), i64>,
    pub stays: BTreeMap<(Place, OffsetDateTime, OrderStatus, i16), Sum>,
    pub money: BTreeMap<(Place, OffsetDateTime, Arc<str>, MoneyKind), Sum>,
    pub reasons: BTreeMap<(Place, OffsetDateTime, OrderStatus, String), i64>,
    pub customers: BTreeMap<CustomerAt, Lifetime>,
}

impl Cells {
    pub(super) fn order(&mut self, place: &Place, at: OffsetDateTime) -> &mut Orders {
        self.orders.entry((place.clone(), quarter_of(at))).or_default()
    }

    pub(super) fn enter(&mut self, place: &Place, at: OffsetDateTime, status: OrderStatus) {
        *self.entries.entry((place.clone(), quarter_of(at), status)).or_default() += 1;
    }

    /// A stay from `from` to `to`: counted where it began.
    pub(super) fn stay(
        &mut self,
        place: &Place,
        status: OrderStatus,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) {
        let millis = lengths::millis(to - from);
        let key = (place.clone(), quarter_of(from), status, lengths::bucket(millis));
        self.stays.entry(key).or_default().add(millis);
    }

    pub(super) fn money(
        &mut self,
        place: &Place,
        at: OffsetDateTime,
        currency: &Arc<str>,
        (kind, minor): (MoneyKind, i64),
    ) {
        let key = (place.clone(), quarter_of(at), Arc::clone(currency), kind);
        self.money.entry(key).or_default().add(minor);
    }

    pub(super) fn reason(
        &mut self,
        place: &Place,
        at: OffsetDateTime,
        status: OrderStatus,
        reason: Option<&str>,
    ) {
        let key = (place.clone(), quarter_of(at), status, reason_code(reason).to_owned());
        *self.reasons.entry(key).or_default() += 1;
    }
}

impl Sum {
    const fn add(&mut self, amount: i64) {
        self.times += 1;
        self.amount += amount;
    }
}
