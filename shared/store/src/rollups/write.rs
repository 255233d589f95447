//! What is to be added to which cells, a statement a table. Each comes sorted by its key.

use domain::order::status::OrderStatus;
use domain::rolled::cells::{Cells, CustomerAt, Lifetime, MoneyKind, Orders, Place, Sum};
use sqlx::PgConnection;
use time::OffsetDateTime;

pub(super) async fn cells(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    orders(conn, cells).await?;
    entries(conn, cells).await?;
    stays(conn, cells).await?;
    money(conn, cells).await?;
    reasons(conn, cells).await?;
    customers(conn, cells).await
}

/// The columns that every cell but a customer's has.
#[derive(Default)]
struct Places<'a> {
    locations: Vec<&'a str>,
    quarters: Vec<OffsetDateTime>,
    channels: Vec<&'a str>,
}

impl<'a> Places<'a> {
    fn push(&mut self, place: &'a Place, quarter: OffsetDateTime) {
        self.locations.push(&place.location);
        self.quarters.push(quarter);
        self.channels.push(&place.channel);
    }
}

async fn orders(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.orders.is_empty() {
        return Ok(());
    }
    let mut places = Places::default();
    cells.orders.keys().for_each(|(place, quarter)| places.push(place, *quarter));
    let column = |pick: fn(&Orders) -> i64| cells.orders.values().map(pick).collect::<Vec<i64>>();
    sqlx::query!(
        r#"
        INSERT INTO rolled_orders AS o (location, quarter, channel, accepted, confirmed, failed, rejected, cancelled, delivered)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                             $8::bigint[], $9::bigint[])
        ON CONFLICT (location, quarter, channel) DO UPDATE
        SET accepted = o.accepted + excluded.accepted, confirmed = o.confirmed + excluded.confirmed,
            failed = o.failed + excluded.failed, rejected = o.rejected + excluded.rejected,
            cancelled = o.cancelled + excluded.cancelled, delivered = o.delivered + excluded.delivered
        "#,
        &places.locations as &[&str],
        &places.quarters,
        &places.channels as &[&str],
        &column(|orders| orders.accepted),
        &column(|orders| orders.confirmed),
        &column(|orders| orders.failed),
        &column(|orders| orders.rejected),
        &column(|orders| orders.cancelled),
        &column(|orders| orders.delivered)
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn entries(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.entries.is_empty() {
        return Ok(());
    }
    let mut places = Places::default();
    cells.entries.keys().for_each(|(place, quarter, _)| places.push(place, *quarter));
    let statuses: Vec<OrderStatus> = cells.entries.keys().map(|(_, _, status)| *status).collect();
    let entries: Vec<i64> = cells.entries.values().copied().collect();
    sqlx::query!(
        r#"
        INSERT INTO rolled_entries AS e (location, quarter, channel, status, entries)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::order_status[], $5::bigint[])
        ON CONFLICT (location, quarter, status, channel) DO UPDATE SET entries = e.entries + excluded.entries
        "#,
        &places.locations as &[&str],
        &places.quarters,
        &places.channels as &[&str],
        &statuses as &[OrderStatus],
        &entries
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn stays(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.stays.is_empty() {
        return Ok(());
    }
    let mut places = Places::default();
    cells.stays.keys().for_each(|(place, quarter, ..)| places.push(place, *quarter));
    let statuses: Vec<OrderStatus> = cells.stays.keys().map(|(_, _, status, _)| *status).collect();
    let buckets: Vec<i16> = cells.stays.keys().map(|(.., bucket)| *bucket).collect();
    let (stays, totals) = sums(cells.stays.values());
    sqlx::query!(
        r#"
        INSERT INTO rolled_stays AS s (location, quarter, channel, status, bucket, stays, total_ms)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::order_status[], $5::smallint[], $6::bigint[],
                             $7::bigint[])
        ON CONFLICT (location, quarter, status, channel, bucket) DO UPDATE
        SET stays = s.stays + excluded.stays, total_ms = s.total_ms + excluded.total_ms
        "#,
        &places.locations as &[&str],
        &places.quarters,
        &places.channels as &[&str],
        &statuses as &[OrderStatus],
        &buckets,
        &stays,
        &totals
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn money(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.money.is_empty() {
        return Ok(());
    }
    let mut places = Places::default();
    cells.money.keys().for_each(|(place, quarter, ..)| places.push(place, *quarter));
    let currencies: Vec<&str> = cells.money.keys().map(|(_, _, currency, _)| &**currency).collect();
    let kinds: Vec<MoneyKind> = cells.money.keys().map(|(.., kind)| *kind).collect();
    let (times, amounts) = sums(cells.money.values());
    sqlx::query!(
        r#"
        INSERT INTO rolled_money AS m (location, quarter, channel, currency, kind, times, amount_minor)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::money_kind[], $6::bigint[], $7::bigint[])
        ON CONFLICT (location, quarter, channel, currency, kind) DO UPDATE
        SET times = m.times + excluded.times, amount_minor = m.amount_minor + excluded.amount_minor
        "#,
        &places.locations as &[&str],
        &places.quarters,
        &places.channels as &[&str],
        &currencies as &[&str],
        &kinds as &[MoneyKind],
        &times,
        &amounts
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn reasons(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.reasons.is_empty() {
        return Ok(());
    }
    let mut places = Places::default();
    cells.reasons.keys().for_each(|(place, quarter, ..)| places.push(place, *quarter));
    let statuses: Vec<OrderStatus> = cells.reasons.keys().map(|(_, _, status, _)| *status).collect();
    let reasons: Vec<&str> = cells.reasons.keys().map(|(.., reason)| reason.as_str()).collect();
    let times: Vec<i64> = cells.reasons.values().copied().collect();
    sqlx::query!(
        r#"
        INSERT INTO rolled_reasons AS r (location, quarter, channel, status, reason, times)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::order_status[], $5::text[], $6::bigint[])
        ON CONFLICT (location, quarter, channel, status, reason) DO UPDATE SET times = r.times + excluded.times
        "#,
        &places.locations as &[&str],
        &places.quarters,
        &places.channels as &[&str],
        &statuses as &[OrderStatus],
        &reasons as &[&str],
        &times
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn customers(conn: &mut PgConnection, cells: &Cells) -> sqlx::Result<()> {
    if cells.customers.is_empty() {
        return Ok(());
    }
    let name = |pick: fn(&CustomerAt) -> &str| cells.customers.keys().map(pick).collect::<Vec<&str>>();
    let column = |pick: fn(&Lifetime) -> i64| cells.customers.values().map(pick).collect::<Vec<i64>>();
    let time = |pick: fn(&Lifetime) -> OffsetDateTime| cells.customers.values().map(pick).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        INSERT INTO rolled_customers AS c
            (customer_id, location, currency, first_at, last_at, orders, delivered, paid_minor, back_minor)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::bigint[],
                             $8::bigint[], $9::bigint[])
        ON CONFLICT (customer_id, location, currency) DO UPDATE
        SET first_at = least(c.first_at, excluded.first_at), last_at = greatest(c.last_at, excluded.last_at),
            orders = c.orders + excluded.orders, delivered = c.delivered + excluded.delivered,
            paid_minor = c.paid_minor + excluded.paid_minor, back_minor = c.back_minor + excluded.back_minor
        "#,
        &name(|at| &at.customer) as &[&str],
        &name(|at| &at.location) as &[&str],
        &name(|at| &at.currency) as &[&str],
        &time(|lifetime| lifetime.first_at),
        &time(|lifetime| lifetime.last_at),
        &column(|lifetime| lifetime.orders),
        &column(|lifetime| lifetime.delivered),
        &column(|lifetime| lifetime.paid),
        &column(|lifetime| lifetime.back)
    )
    .execute(conn)
    .await
    .map(drop)
}

fn sums<'a>(all: impl Iterator<Item = &'a Sum>) -> (Vec<i64>, Vec<i64>) {
    all.map(|sum| (sum.times, sum.amount)).unzip()
}
