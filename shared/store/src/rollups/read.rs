//! The numbers, added up by periods. Each reads the hours of its locations and its span, one column of them, and no others.

use std::collections::BTreeMap;

use domain::order::status::OrderStatus;
use domain::rolled::QUARTER_SECONDS;
use domain::rolled::hour::{Orders, Sum};
use domain::rolled::lengths::BOUNDS_MS;
use domain::rolled::money::MoneyKind;
use domain::rolled::packed::{self, NotPacked, Of};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::periods::{Granularity, Period, Span};

/// Of which orders.
#[derive(Debug, Clone)]
pub struct Which {
    /// Those of these locations.
    pub locations: Vec<String>,
    /// Those that came by this channel; `""`: by none; `None`: all.
    pub channel: Option<String>,
}

/// By period: its place in the list; one in which nothing happened is left out.
pub type ByPeriod<T> = BTreeMap<usize, T>;
/// Money of a period, by currency and kind.
pub type Money = BTreeMap<String, BTreeMap<MoneyKind, Sum>>;

/// Stays in a status that began in a period.
#[derive(Debug, Clone)]
pub struct Stayed {
    /// In which.
    pub period: usize,
    /// Where.
    pub status: OrderStatus,
    /// How many began.
    pub entries: i64,
    /// How long those were together that are over.
    pub total_ms: i64,
    /// How many are over, by how long they were (`domain::rolled::lengths`).
    pub buckets: Vec<(i16, i64)>,
}

/// Why orders ended.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after what is counted")]
pub struct Ended {
    pub status: OrderStatus,
    pub reason: String,
    pub times: i64,
}

/// What is read of an hour.
#[derive(Debug, Clone, Copy)]
enum Column {
    Orders,
    Statuses,
    Hourly,
    Money,
    Reasons,
}

impl Column {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Statuses => "statuses",
            Self::Hourly => "hourly",
            Self::Money => "money",
            Self::Reasons => "reasons",
        }
    }
}

/// To which period each quarter of an hour belongs; `None`: it was not asked for.
type Quarters = [Option<usize>; 4];

/// Reads a column of every hour that the span touches, what all locations and channels have of it in one list.
async fn each_hour(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    (column, periods): (Column, &[Period]),
    mut each: impl FnMut(&[u8], &Quarters) -> Result<(), NotPacked>,
) -> sqlx::Result<()> {
    let mut hours = sqlx::query!(
        r#"
        SELECT of.hour AS "hour!", of.cells AS "cells!",
            CASE WHEN $6::smallint IS NOT NULL THEN ARRAY(
                SELECT extract(hour FROM (of.hour + n * interval '15 minutes') AT TIME ZONE $7) = $6 FROM generate_series(0, 3) n
            ) END AS "is_asked"
        FROM (
            SELECT h.hour, string_agg(CASE $5::text WHEN 'orders' THEN h.orders WHEN 'statuses' THEN h.statuses
                                          WHEN 'hourly' THEN h.hourly WHEN 'money' THEN h.money ELSE h.reasons END, ''::bytea) AS cells
            FROM rolled_hours h
            WHERE h.location = ANY($1) AND h.hour > $2::timestamptz - interval '1 hour' AND h.hour < $3 AND ($4::text IS NULL OR h.channel = $4)
            GROUP BY h.hour
        ) of
        "#,
        &which.locations,
        span.from,
        span.to,
        which.channel,
        column.as_str(),
        span.hour,
        span.zone
    )
    .fetch(conn);
    while let Some(row) = hours.try_next().await? {
        let mut quarters = [None; 4];
        let mut at = row.hour;
        for (n, quarter) in quarters.iter_mut().enumerate() {
            let is_asked = row.is_asked.as_ref().is_none_or(|asked| asked.get(n) == Some(&true));
            if is_asked && (span.from..span.to).contains(&at) {
                *quarter = periods.partition_point(|period| period.begins <= at).checked_sub(1);
            }
            at += Duration::seconds(QUARTER_SECONDS);
        }
        each(&row.cells, &quarters).map_err(|error| sqlx::Error::Decode(error.into()))?;
    }
    Ok(())
}

/// Whether no hour of UTC is parted: so it is in most time zones.
fn is_of_whole_hours(span: &Span, periods: &[Period]) -> bool {
    let is_whole = |at: OffsetDateTime| at.unix_timestamp() % 3_600 == 0;
    let begin = periods.iter().all(|period| is_whole(period.begins));
    span.hour.is_none() && is_whole(span.from) && is_whole(span.to) && begin
}

fn period(quarters: &Quarters, quarter: u8) -> Option<usize> {
    quarters.get(usize::from(quarter)).copied().flatten()
}

/// How often orders came to be, and came to this.
pub async fn orders(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
) -> sqlx::Result<ByPeriod<Orders>> {
    let mut found: Vec<Option<Orders>> = vec![None; periods.len()];
    each_hour(conn, which, span, (Column::Orders, periods), |cells, quarters| {
        packed::orders(cells, |quarter, orders| {
            if let Some(found) = period(quarters, quarter).and_then(|period| found.get_mut(period)) {
                found.get_or_insert_default().add(orders);
            }
        })
    })
    .await?;
    Ok(by_period(found))
}

fn by_period<T>(found: Vec<Option<T>>) -> ByPeriod<T> {
    found.into_iter().enumerate().filter_map(|(period, found)| Some((period, found?))).collect()
}

/// Stays in statuses, of one or of all, by period and status.
pub async fn stays(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
    status: Option<OrderStatus>,
) -> sqlx::Result<Vec<Stayed>> {
    // There are more numbers of these than of all else, and so they are not looked for in a map.
    let mut found: Vec<Option<Box<Sums>>> = vec![None; periods.len() * OrderStatus::ALL.len()];
    let mut at = None;
    let column = if is_of_whole_hours(span, periods) { Column::Hourly } else { Column::Statuses };
    each_hour(conn, which, span, (column, periods), |cells, quarters| {
        packed::statuses(cells, |quarter, of_status, of| match of {
            Of::All { entries, total_ms } => {
                let is_asked = status.is_none_or(|status| status == of_status);
                let period = period(quarters, quarter).filter(|_| is_asked);
                at = period.map(|period| period * OrderStatus::ALL.len() + of_status as usize);
                if let Some(sums) = at.and_then(|at| found.get_mut(at)) {
                    let sums = sums.get_or_insert_default();
                    sums.entries += entries;
                    sums.total_ms += total_ms;
                }
            }
            Of::Bucket(bucket, stays) => {
                if let Some(Some(sums)) = at.and_then(|at| found.get_mut(at))
                    && let Some(sum) = usize::try_from(bucket).ok().and_then(|at| sums.buckets.get_mut(at))
                {
                    *sum += stays;
                }
            }
        })
    })
    .await?;
    let of_periods = found.chunks(OrderStatus::ALL.len()).enumerate();
    let stayed = of_periods.flat_map(|(period, of)| {
        let of = OrderStatus::ALL.into_iter().zip(of);
        of.filter_map(move |(status, sums)| Some(sums.as_ref()?.stayed(period, status)))
    });
    Ok(stayed.collect())
}

/// What stays come to, of one status and period.
#[derive(Debug, Clone)]
struct Sums {
    entries: i64,
    total_ms: i64,
    buckets: [i64; BOUNDS_MS.len() + 1],
}

impl Default for Sums {
    fn default() -> Self {
        Self { entries: 0, total_ms: 0, buckets: [0; BOUNDS_MS.len() + 1] }
    }
}

impl Sums {
    fn stayed(&self, period: usize, status: OrderStatus) -> Stayed {
        let buckets = (0_i16..).zip(self.buckets).filter(|(_, stays)| *stays > 0).collect();
        Stayed { period, status, entries: self.entries, total_ms: self.total_ms, buckets }
    }
}

/// Of one currency, by the place of its kind.
type ByKind = [Sum; MoneyKind::ALL.len()];

/// Money of every kind.
pub async fn money(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
) -> sqlx::Result<ByPeriod<Money>> {
    // A house has few currencies, mostly one: they are looked through.
    let mut found: Vec<Option<Vec<(String, ByKind)>>> = vec![None; periods.len()];
    each_hour(conn, which, span, (Column::Money, periods), |cells, quarters| {
        packed::money(cells, |quarter, currency, kind, sum| {
            let Some(found) = period(quarters, quarter).and_then(|period| found.get_mut(period)) else {
                return;
            };
            let found = found.get_or_insert_default();
            let at = found.iter().position(|(known, _)| known == currency).unwrap_or_else(|| {
                found.push((currency.to_owned(), [Sum::default(); MoneyKind::ALL.len()]));
                found.len() - 1
            });
            if let Some(of) = found.get_mut(at).and_then(|(_, sums)| sums.get_mut(kind as usize)) {
                of.add(sum.times, sum.amount);
            }
        })
    })
    .await?;
    let named = |sums: ByKind| {
        let moved = MoneyKind::ALL.into_iter().zip(sums).filter(|(_, sum)| sum.times > 0);
        moved.map(|((kind, _), sum)| (kind, sum)).collect()
    };
    let found = by_period(found).into_iter().map(|(period, currencies)| {
        (period, currencies.into_iter().map(|(currency, sums)| (currency, named(sums))).collect())
    });
    Ok(found.collect())
}

/// What is outstanding at that moment, by currency: what is still to be paid in hand, and what is still to go back by the gateway.
pub async fn outstanding(
    conn: &mut PgConnection,
    which: &Which,
    at: OffsetDateTime,
) -> sqlx::Result<Vec<(String, i64, i64)>> {
    let first = OffsetDateTime::UNIX_EPOCH;
    let span =
        Span { from: first, to: at, granularity: Granularity::Day, zone: "UTC".to_owned(), hour: None };
    let ever = [Period { begins: first, label: String::new() }];
    let moved = money(conn, which, &span, &ever).await?.remove(&0).unwrap_or_default();
    let outstanding = moved.into_iter().map(|(currency, kinds)| {
        let of = |kind| kinds.get(&kind).map_or(0, |sum: &Sum| sum.amount);
        let owed = of(MoneyKind::RefundOwed) - of(MoneyKind::Refunded);
        (currency, of(MoneyKind::Due), owed)
    });
    Ok(outstanding.collect())
}

/// Why orders failed, were rejected or cancelled, in all of the span; by status, most frequent first.
pub async fn reasons(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
) -> sqlx::Result<Vec<Ended>> {
    let mut found = BTreeMap::<OrderStatus, BTreeMap<String, i64>>::new();
    each_hour(conn, which, span, (Column::Reasons, periods), |cells, quarters| {
        packed::reasons(cells, |quarter, status, reason, times| {
            if period(quarters, quarter).is_none() {
                return;
            }
            let found = found.entry(status).or_default();
            match found.get_mut(reason) {
                Some(found) => *found += times,
                None => drop(found.insert(reason.to_owned(), times)),
            }
        })
    })
    .await?;
    let ended = found.into_iter().flat_map(|(status, reasons)| {
        reasons.into_iter().map(move |(reason, times)| Ended { status, reason, times })
    });
    let mut ended: Vec<Ended> = ended.collect();
    ended.sort_by_key(|ended| (ended.status, std::cmp::Reverse(ended.times)));
    Ok(ended)
}
