//! How an hour is kept: strings of bytes, each a list of what was counted, in which most numbers take one byte. A month by hours of ten
//! locations is millions of numbers. As rows of their own they take a second to read; packed, milliseconds.
//!
//! Strung together, lists of several hours are one list that can be read: whoever adds up hours need not take them apart first.
//! Statuses and kinds of money are kept as their places in the code, which are the same for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hour::{Hour, Orders, QUARTERS, Stays, Sum};
use super::money::MoneyKind;
use crate::order::status::OrderStatus;

/// An hour, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after what is counted")]
pub struct Packed {
    pub orders: Vec<u8>,
    pub statuses: Vec<u8>,
    /// The same of statuses, by the whole hour: a third to read, and enough where hours begin with one of UTC.
    pub hourly: Vec<u8>,
    pub money: Vec<u8>,
    pub reasons: Vec<u8>,
}

/// It is no such list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are no numbers of an hour")]
pub struct NotPacked;

/// Of stays in a status that began in a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// How many began, and how long those were together that are over.
    All {
        /// How many.
        entries: i64,
        /// How long.
        total_ms: i64,
    },
    /// How many are over that were so long.
    Bucket(i16, i64),
}

impl Hour {
    /// As it is kept.
    pub fn pack(&self) -> Packed {
        let mut packed = Packed::default();
        for (quarter, orders) in &self.orders {
            let Orders { accepted, confirmed, failed, rejected, cancelled, delivered } = *orders;
            packed.orders.push(*quarter);
            for number in [accepted, confirmed, failed, rejected, cancelled, delivered] {
                put(&mut packed.orders, number);
            }
        }
        let mut hourly = BTreeMap::<OrderStatus, Stays>::new();
        for ((quarter, status), stays) in &self.statuses {
            put_stays(&mut packed.statuses, *quarter, *status, stays);
            hourly.entry(*status).or_default().add(stays);
        }
        for (status, stays) in &hourly {
            put_stays(&mut packed.hourly, 0, *status, stays);
        }
        for ((quarter, currency, kind), sum) in &self.money {
            packed.money.extend([*quarter, *kind as u8]);
            put_text(&mut packed.money, currency);
            put(&mut packed.money, sum.times);
            // Amounts may be below zero: those that are not are twice themselves, the others between.
            put(&mut packed.money, (sum.amount << 1) ^ (sum.amount >> 63));
        }
        for ((quarter, status, reason), times) in &self.reasons {
            packed.reasons.extend([*quarter, *status as u8]);
            put_text(&mut packed.reasons, reason);
            put(&mut packed.reasons, *times);
        }
        packed
    }

    /// From how it is kept; what it is by the whole hour is what its quarters are.
    pub fn unpack(packed: &Packed) -> Result<Self, NotPacked> {
        let mut hour = Self::default();
        orders(&packed.orders, |quarter, orders| hour.orders.entry(quarter).or_default().add(orders))?;
        statuses(&packed.statuses, |quarter, status, of| {
            let stays: &mut Stays = hour.statuses.entry((quarter, status)).or_default();
            match of {
                Of::All { entries, total_ms } => {
                    stays.entries += entries;
                    stays.total_ms += total_ms;
                }
                Of::Bucket(bucket, number) => *stays.buckets.entry(bucket).or_default() += number,
            }
        })?;
        money(&packed.money, |quarter, currency, kind, sum| {
            let key = (quarter, Arc::from(currency), kind);
            hour.money.entry(key).or_default().add(sum.times, sum.amount);
        })?;
        reasons(&packed.reasons, |quarter, status, reason, times| {
            *hour.reasons.entry((quarter, status, Arc::from(reason))).or_default() += times;
        })?;
        Ok(hour)
    }
}

/// Reads how many orders, by quarter.
pub fn orders(bytes: &[u8], mut each: impl FnMut(u8, Orders)) -> Result<(), NotPacked> {
    let mut list = List(bytes);
    while let Some(quarter) = list.next_quarter()? {
        let orders = Orders {
            accepted: list.number()?,
            confirmed: list.number()?,
            failed: list.number()?,
            rejected: list.number()?,
            cancelled: list.number()?,
            delivered: list.number()?,
        };
        each(quarter, orders);
    }
    Ok(())
}

/// Reads stays, by quarter and status.
pub fn statuses(bytes: &[u8], mut each: impl FnMut(u8, OrderStatus, Of)) -> Result<(), NotPacked> {
    let mut list = List(bytes);
    while let Some(quarter) = list.next_quarter()? {
        let status = list.status()?;
        let (entries, total_ms) = (list.number()?, list.number()?);
        each(quarter, status, Of::All { entries, total_ms });
        for _ in 0..list.number()? {
            let bucket = i16::try_from(list.number()?).map_err(|_| NotPacked)?;
            each(quarter, status, Of::Bucket(bucket, list.number()?));
        }
    }
    Ok(())
}

/// Reads money, by quarter, currency and kind.
pub fn money(bytes: &[u8], mut each: impl FnMut(u8, &str, MoneyKind, Sum)) -> Result<(), NotPacked> {
    let mut list = List(bytes);
    while let Some(quarter) = list.next_quarter()? {
        let (kind, _) = *MoneyKind::ALL.get(usize::from(list.byte()?)).ok_or(NotPacked)?;
        let currency = list.text()?;
        let (times, twice) = (list.number()?, list.raw()?);
        let amount = (twice >> 1).cast_signed() ^ -(twice & 1).cast_signed();
        each(quarter, currency, kind, Sum { times, amount });
    }
    Ok(())
}

/// Reads why orders ended, by quarter and status.
pub fn reasons(bytes: &[u8], mut each: impl FnMut(u8, OrderStatus, &str, i64)) -> Result<(), NotPacked> {
    let mut list = List(bytes);
    while let Some(quarter) = list.next_quarter()? {
        let (status, reason) = (list.status()?, list.text()?);
        each(quarter, status, reason, list.number()?);
    }
    Ok(())
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut left = number.cast_unsigned();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn put_stays(bytes: &mut Vec<u8>, quarter: u8, status: OrderStatus, stays: &Stays) {
    bytes.extend([quarter, status as u8]);
    put(bytes, stays.entries);
    put(bytes, stays.total_ms);
    put(bytes, stays.buckets.len() as i64);
    for (bucket, stays) in &stays.buckets {
        put(bytes, i64::from(*bucket));
        put(bytes, *stays);
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as i64);
    bytes.extend_from_slice(text.as_bytes());
}

/// What is left to read.
struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    fn byte(&mut self) -> Result<u8, NotPacked> {
        let (first, rest) = self.0.split_first().ok_or(NotPacked)?;
        self.0 = rest;
        Ok(*first)
    }

    /// `None`: that was all.
    fn next_quarter(&mut self) -> Result<Option<u8>, NotPacked> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let quarter = self.byte()?;
        if quarter < QUARTERS { Ok(Some(quarter)) } else { Err(NotPacked) }
    }

    fn status(&mut self) -> Result<OrderStatus, NotPacked> {
        OrderStatus::ALL.get(usize::from(self.byte()?)).copied().ok_or(NotPacked)
    }

    fn raw(&mut self) -> Result<u64, NotPacked> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
            if shift > 63 {
                return Err(NotPacked);
            }
        }
    }

    fn number(&mut self) -> Result<i64, NotPacked> {
        Ok(self.raw()?.cast_signed())
    }

    fn text(&mut self) -> Result<&'a str, NotPacked> {
        let length = usize::try_from(self.raw()?).map_err(|_| NotPacked)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(NotPacked)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| NotPacked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = i64> {
        // Of numbers that a house may come to: their sums are numbers, too.
        prop_oneof![0..200_i64, 0..i64::MAX / 4]
    }

    fn hours() -> impl Strategy<Value = Hour> {
        let quarter = || 0..QUARTERS;
        let status = || proptest::sample::select(OrderStatus::ALL.to_vec());
        let kind = || proptest::sample::select(MoneyKind::ALL.to_vec()).prop_map(|(kind, _)| kind);
        let orders = (number(), number(), number()).prop_map(|(accepted, failed, delivered)| Orders {
            accepted,
            failed,
            delivered,
            ..Orders::default()
        });
        let buckets = proptest::collection::btree_map(0..98_i16, number(), 0..20);
        let stays = (number(), number(), buckets).prop_map(|(entries, total_ms, buckets)| Stays {
            entries,
            total_ms,
            buckets,
        });
        let sum = (number(), any::<i64>()).prop_map(|(times, amount)| Sum { times, amount });
        let text = || "[a-z_]{0,50}".prop_map(Arc::from);
        (
            proptest::collection::btree_map(quarter(), orders, 0..4),
            proptest::collection::btree_map((quarter(), status()), stays, 0..12),
            proptest::collection::btree_map((quarter(), text(), kind()), sum, 0..12),
            proptest::collection::btree_map((quarter(), status(), text()), number(), 0..6),
        )
            .prop_map(|(orders, statuses, money, reasons)| Hour { orders, statuses, money, reasons })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(hour in hours()) {
            prop_assert_eq!(Hour::unpack(&hour.pack()), Ok(hour));
        }

        #[test]
        fn nothing_that_is_read_can_do_harm(bytes: Vec<u8>) {
            let (orders, statuses, money) = (bytes.clone(), bytes.clone(), bytes.clone());
            let _ = Hour::unpack(&Packed { orders, statuses, money, reasons: bytes, ..Packed::default() });
        }
    }

    #[test]
    fn strung_together_two_hours_are_their_sum_and_a_part_is_no_list() {
        let mut hour = Hour::default();
        hour.orders.entry(3).or_default().accepted = 300;
        hour.statuses.entry((0, OrderStatus::Ready)).or_default().end(60_000);
        hour.money.entry((1, "USD".into(), MoneyKind::Due)).or_default().add(1, -1_000);
        hour.reasons.insert((2, OrderStatus::Cancelled, "no_show".into()), 1);
        let mut sum = hour.clone();
        sum.add(&hour);
        let one = hour.pack();
        let twice = |bytes: &[u8]| bytes.repeat(2);
        let strung = Packed {
            orders: twice(&one.orders),
            statuses: twice(&one.statuses),
            money: twice(&one.money),
            reasons: twice(&one.reasons),
            hourly: Vec::new(),
        };
        assert_eq!(Hour::unpack(&strung), Ok(sum));
        let cut = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
        for part in [
            Packed { orders: cut(&one.orders), ..Packed::default() },
            Packed { statuses: cut(&one.statuses), ..Packed::default() },
            Packed { money: cut(&one.money), ..Packed::default() },
            Packed { reasons: cut(&one.reasons), ..Packed::default() },
            Packed { orders: vec![4, 0, 0, 0, 0, 0, 0], ..Packed::default() },
            // A number that does not end.
            Packed { orders: [&[0; 1][..], &[0xff; 20], &[0; 6]].concat(), ..Packed::default() },
        ] {
            assert_eq!(Hour::unpack(&part), Err(NotPacked));
        }
    }

    #[test]
    fn what_was_written_years_ago_is_read_as_what_it_meant() {
        assert_eq!((OrderStatus::Pending as u8, OrderStatus::Cancelled as u8), (0, 9));
        for (place, status) in OrderStatus::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, place);
        }
        let packed = Packed {
            orders: vec![1, 2, 1, 0, 0, 0, 0x80, 1],
            statuses: vec![0, 6, 3, 0xe0, 0xd4, 3, 1, 49, 2, 2, 6, 1, 10, 2, 1, 1, 49, 1],
            hourly: vec![0, 6, 4, 0xea, 0xd4, 3, 2, 1, 1, 49, 3],
            money: vec![2, 7, 3, b'U', b'S', b'D', 1, 3],
            reasons: vec![3, 8, 4, b'n', b'o', b'n', b'e', 5],
        };
        let mut hour = Hour::default();
        hour.orders.insert(1, Orders { accepted: 2, confirmed: 1, delivered: 128, ..Orders::default() });
        let stays = Stays { entries: 3, total_ms: 60_000, buckets: [(49, 2)].into() };
        hour.statuses.insert((0, OrderStatus::Ready), stays);
        let stays = Stays { entries: 1, total_ms: 10, buckets: [(1, 1), (49, 1)].into() };
        hour.statuses.insert((2, OrderStatus::Ready), stays);
        hour.money.insert((2, "USD".into(), MoneyKind::Due), Sum { times: 1, amount: -2 });
        hour.reasons.insert((3, OrderStatus::Rejected, "none".into()), 5);
        assert_eq!(Hour::unpack(&packed), Ok(hour.clone()));
        assert_eq!(hour.pack(), packed);
    }
}
