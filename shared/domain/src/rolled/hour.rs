//! An hour of a location and a channel: what happened in it, by its four quarters. Hours are those of UTC; every time zone's hours
//! are made of whole quarters.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::lengths;
use super::money::MoneyKind;
use super::quarter_of;
use crate::order::status::OrderStatus;

/// Quarters of an hour.
pub const QUARTERS: u8 = 4;

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

impl Orders {
    /// Adds others.
    pub const fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.confirmed += other.confirmed;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.cancelled += other.cancelled;
        self.delivered += other.delivered;
    }
}

/// So often, and so much, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often.
    pub times: i64,
    /// How much.
    pub amount: i64,
}

impl Sum {
    /// Adds so many, and so much.
    pub const fn add(&mut self, times: i64, amount: i64) {
        self.times += times;
        self.amount += amount;
    }
}

/// Stays in a status that began in a quarter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stays {
    /// How many began.
    pub entries: i64,
    /// How long those were together that are over.
    pub total_ms: i64,
    /// How many are over, by how long they were (`lengths`).
    pub buckets: BTreeMap<i16, i64>,
}

impl Stays {
    /// One is over.
    pub fn end(&mut self, millis: i64) {
        self.total_ms += millis;
        *self.buckets.entry(lengths::bucket(millis)).or_default() += 1;
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.total_ms += other.total_ms;
        for (bucket, stays) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += stays;
        }
    }
}

/// What happened in an hour. The first of each key is the quarter, 0 to 3.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after what is counted")]
pub struct Hour {
    pub orders: BTreeMap<u8, Orders>,
    pub statuses: BTreeMap<(u8, OrderStatus), Stays>,
    pub money: BTreeMap<(u8, Arc<str>, MoneyKind), Sum>,
    pub reasons: BTreeMap<(u8, OrderStatus, Arc<str>), i64>,
}

impl Hour {
    /// Adds what else happened in it.
    pub fn add(&mut self, other: &Self) {
        for (quarter, orders) in &other.orders {
            self.orders.entry(*quarter).or_default().add(*orders);
        }
        for (key, stays) in &other.statuses {
            self.statuses.entry(*key).or_default().add(stays);
        }
        for (key, sum) in &other.money {
            self.money.entry(key.clone()).or_default().add(sum.times, sum.amount);
        }
        for (key, times) in &other.reasons {
            *self.reasons.entry(key.clone()).or_default() += times;
        }
    }
}

/// The hour that this falls into, and which quarter of it.
pub fn at_of(at: OffsetDateTime) -> (OffsetDateTime, u8) {
    let quarter = quarter_of(at).to_offset(time::UtcOffset::UTC);
    let hour = quarter.replace_minute(0).unwrap_or(quarter);
    (hour, quarter.minute() / 15)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_is_utcs_and_has_four_quarters_also_where_clocks_stand_between() {
        let at = datetime!(2026-03-29 05:29:59.999 +5:30);
        assert_eq!(at_of(at), (datetime!(2026-03-28 23:00 UTC), 3));
        assert_eq!(at_of(datetime!(2026-03-29 00:00 UTC)), (datetime!(2026-03-29 00:00 UTC), 0));
        assert_eq!(at_of(datetime!(1969-12-31 23:59 UTC)), (datetime!(1969-12-31 23:00 UTC), 3));
    }
}
