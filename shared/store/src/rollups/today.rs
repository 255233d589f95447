//! What the numbers say of today, of all locations together: for whoever watches the house. A day is the first location's.

use std::collections::BTreeMap;

use domain::order::status::OrderStatus;
use domain::rolled::hour::Orders;
use domain::rolled::money::MoneyKind;
use domain::rolled::quarter_of;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::periods::{Granularity, Period, Span};
use super::read::{Which, money, orders, stays};
use crate::locations;

/// How far back stays are looked at.
const STAYS_OF: Duration = Duration::HOUR;

/// Today.
#[derive(Debug, Clone, Default)]
pub struct Today {
    /// How often orders came in, and came to this.
    pub orders: Orders,
    /// By currency what came in and what went back or has to, in minor units: those of all locations, and all others that moved.
    pub money: BTreeMap<String, (i64, i64)>,
    /// Of stays that began within the last hour and are over: where, how many, and how long they were together in milliseconds.
    pub stays: Vec<(OrderStatus, i64, i64)>,
}

/// Adds up today's.
pub async fn today(conn: &mut PgConnection) -> sqlx::Result<Today> {
    let all = locations::all(conn).await?;
    let zone =
        all.iter().find(|one| one.location.is_main()).map_or("UTC", |one| one.location.time_zone.as_str());
    let (begins, now) = since_midnight(conn, zone).await?;
    let of = |from| {
        let span = Span { from, to: now, granularity: Granularity::Day, zone: "UTC".to_owned(), hour: None };
        (span, [Period { begins: from, label: String::new() }])
    };
    let mut money_of: BTreeMap<String, (i64, i64)> =
        all.iter().map(|one| (one.location.currency.code().to_owned(), (0, 0))).collect();
    let which = Which { locations: all.into_iter().map(|one| one.location.id).collect(), channel: None };
    let (day, whole) = of(begins);
    let orders = orders(conn, &which, &day, &whole).await?.remove(&0).unwrap_or_default();
    for (currency, kinds) in money(conn, &which, &day, &whole).await?.remove(&0).unwrap_or_default() {
        use MoneyKind::{Charged, Collected, CollectedBack, Elsewhere, ElsewhereBack, Refunded};
        let sum =
            |of: [MoneyKind; 3]| of.iter().filter_map(|kind| kinds.get(kind)).map(|sum| sum.amount).sum();
        let moved = (sum([Charged, Elsewhere, Collected]), sum([Refunded, ElsewhereBack, CollectedBack]));
        money_of.insert(currency, moved);
    }
    let (hour, whole) = of(quarter_of(now - STAYS_OF));
    let stays = stays(conn, &which, &hour, &whole, None).await?.into_iter().map(|stayed| {
        let over = stayed.buckets.iter().map(|(_, stays)| stays).sum();
        (stayed.status, over, stayed.total_ms)
    });
    Ok(Today { orders, money: money_of, stays: stays.collect() })
}

async fn since_midnight(
    conn: &mut PgConnection,
    zone: &str,
) -> sqlx::Result<(OffsetDateTime, OffsetDateTime)> {
    let row = sqlx::query!(r#"SELECT date_trunc('day', now(), $1) AS "begins!", now() AS "now!""#, zone)
        .fetch_one(conn)
        .await?;
    Ok((row.begins, row.now))
}
