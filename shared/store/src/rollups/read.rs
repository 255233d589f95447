//! The numbers, added up by periods. Each reads the cells of its locations and its span, and no others.

use domain::order::status::OrderStatus;
use domain::rolled::cells::{MoneyKind, Orders};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::periods::{Period, Span};

/// Of which orders.
#[derive(Debug, Clone)]
pub struct Which {
    /// Those of these locations.
    pub locations: Vec<String>,
    /// Those that came by this channel; `""`: by none; `None`: all.
    pub channel: Option<String>,
}

/// How often a status was entered in a period.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct Entered {
    pub period: usize,
    pub status: OrderStatus,
    pub entries: i64,
}

/// Stays that began in a period and are over, of one bucket.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct Stayed {
    pub period: usize,
    pub status: OrderStatus,
    pub bucket: i16,
    pub stays: i64,
    pub total_ms: i64,
}

/// Money of a kind in a period.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct Moved {
    pub period: usize,
    pub currency: String,
    pub kind: MoneyKind,
    pub times: i64,
    pub minor: i64,
}

/// Why orders ended in a period.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the columns")]
pub struct Ended {
    pub status: OrderStatus,
    pub reason: String,
    pub times: i64,
}

fn beginnings(periods: &[Period]) -> Vec<OffsetDateTime> {
    periods.iter().map(|period| period.begins).collect()
}

/// Of what the database counts from 1.
fn at(period: i32) -> usize {
    usize::try_from(period - 1).unwrap_or(0)
}

/// Entries of statuses, of one or of all.
pub async fn entries(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
    status: Option<OrderStatus>,
) -> sqlx::Result<Vec<Entered>> {
    let rows = sqlx::query!(
        r#"
        SELECT width_bucket(e.quarter, $1::timestamptz[]) AS "period!", e.status AS "status!: OrderStatus",
            sum(e.entries)::bigint AS "entries!"
        FROM unnest($2::text[]) AS at(location) JOIN rolled_entries e ON e.location = at.location
        WHERE e.quarter >= $3 AND e.quarter < $4 AND ($5::order_status IS NULL OR e.status = $5)
            AND ($6::text IS NULL OR e.channel = $6)
            AND ($7::smallint IS NULL OR extract(hour FROM e.quarter AT TIME ZONE $8) = $7)
        GROUP BY 1, 2
        "#,
        &beginnings(periods),
        &which.locations,
        span.from,
        span.to,
        status as Option<OrderStatus>,
        which.channel,
        span.hour,
        span.zone
    )
    .fetch_all(conn)
    .await?;
    let entered = rows.into_iter().map(|row| Entered {
        period: at(row.period),
        status: row.status,
        entries: row.entries,
    });
    Ok(entered.collect())
}

/// Stays in statuses, of one or of all.
pub async fn stays(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
    status: Option<OrderStatus>,
) -> sqlx::Result<Vec<Stayed>> {
    let rows = sqlx::query!(
        r#"
        SELECT width_bucket(s.quarter, $1::timestamptz[]) AS "period!", s.status AS "status!: OrderStatus", s.bucket AS "bucket!",
            sum(s.stays)::bigint AS "stays!", sum(s.total_ms)::bigint AS "total_ms!"
        FROM unnest($2::text[]) AS at(location) JOIN rolled_stays s ON s.location = at.location
        WHERE s.quarter >= $3 AND s.quarter < $4 AND ($5::order_status IS NULL OR s.status = $5)
            AND ($6::text IS NULL OR s.channel = $6)
            AND ($7::smallint IS NULL OR extract(hour FROM s.quarter AT TIME ZONE $8) = $7)
        GROUP BY 1, 2, 3
        "#,
        &beginnings(periods),
        &which.locations,
        span.from,
        span.to,
        status as Option<OrderStatus>,
        which.channel,
        span.hour,
        span.zone
    )
    .fetch_all(conn)
    .await?;
    let stayed = rows.into_iter().map(|row| Stayed {
        period: at(row.period),
        status: row.status,
        bucket: row.bucket,
        stays: row.stays,
        total_ms: row.total_ms,
    });
    Ok(stayed.collect())
}

/// How often orders came to be, and came to this, by period; periods without any are left out.
pub async fn orders(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
) -> sqlx::Result<Vec<(usize, Orders)>> {
    let rows = sqlx::query!(
        r#"
        SELECT width_bucket(o.quarter, $1::timestamptz[]) AS "period!", sum(o.accepted)::bigint AS "accepted!",
            sum(o.confirmed)::bigint AS "confirmed!", sum(o.failed)::bigint AS "failed!", sum(o.rejected)::bigint AS "rejected!",
            sum(o.cancelled)::bigint AS "cancelled!", sum(o.delivered)::bigint AS "delivered!"
        FROM unnest($2::text[]) AS at(location) JOIN rolled_orders o ON o.location = at.location
        WHERE o.quarter >= $3 AND o.quarter < $4 AND ($5::text IS NULL OR o.channel = $5)
            AND ($6::smallint IS NULL OR extract(hour FROM o.quarter AT TIME ZONE $7) = $6)
        GROUP BY 1 ORDER BY 1
        "#,
        &beginnings(periods),
        &which.locations,
        span.from,
        span.to,
        which.channel,
        span.hour,
        span.zone
    )
    .fetch_all(conn)
    .await?;
    let orders = rows.into_iter().map(|row| {
        let orders = Orders {
            accepted: row.accepted,
            confirmed: row.confirmed,
            failed: row.failed,
            rejected: row.rejected,
            cancelled: row.cancelled,
            delivered: row.delivered,
        };
        (at(row.period), orders)
    });
    Ok(orders.collect())
}

/// Money of every kind, by period and currency.
pub async fn money(
    conn: &mut PgConnection,
    which: &Which,
    span: &Span,
    periods: &[Period],
) -> sqlx::Result<Vec<Moved>> {
    let rows = sqlx::query!(
        r#"
        SELECT width_bucket(m.quarter, $1::timestamptz[]) AS "period!", m.currency AS "currency!", m.kind AS "kind!: MoneyKind",
            sum(m.times)::bigint AS "times!", sum(m.amount_minor)::bigint AS "minor!"
        FROM unnest($2::text[]) AS at(location) JOIN rolled_money m ON m.location = at.location
        WHERE m.quarter >= $3 AND m.quarter < $4 AND ($5::text IS NULL OR m.channel = $5)
            AND ($6::smallint IS NULL OR extract(hour FROM m.quarter AT TIME ZONE $7) = $6)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        "#,
        &beginnings(periods),
        &which.locations,
        span.from,
        span.to,
        which.channel,
        span.hour,
        span.zone
    )
    .fetch_all(conn)
    .await?;
    let moved = rows.into_iter().map(|row| Moved {
        period: at(row.period),
        currency: row.currency,
        kind: row.kind,
        times: row.times,
        minor: row.minor,
    });
    Ok(moved.collect())
}

/// What is outstanding at that moment, by currency: what is still to be paid in hand, and what is still to go back by the gateway.
pub async fn outstanding(
    conn: &mut PgConnection,
    which: &Which,
    at: OffsetDateTime,
) -> sqlx::Result<Vec<(String, i64, i64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.currency AS "currency!",
            coalesce(sum(m.amount_minor) FILTER (WHERE m.kind = 'due'), 0)::bigint AS "due!",
            coalesce(sum(CASE m.kind WHEN 'refund_owed' THEN m.amount_minor WHEN 'refunded' THEN -m.amount_minor END), 0)::bigint
                AS "owed!"
        FROM unnest($1::text[]) AS at(location) JOIN rolled_money m ON m.location = at.location
        WHERE m.quarter < $2 AND m.kind IN ('due', 'refund_owed', 'refunded') AND ($3::text IS NULL OR m.channel = $3)
        GROUP BY 1 ORDER BY 1
        "#,
        &which.locations,
        at,
        which.channel
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.currency, row.due, row.owed)).collect())
}

/// Why orders failed, were rejected or cancelled.
pub async fn reasons(conn: &mut PgConnection, which: &Which, span: &Span) -> sqlx::Result<Vec<Ended>> {
    sqlx::query_as!(
        Ended,
        r#"
        SELECT r.status AS "status!: OrderStatus", r.reason AS "reason!", sum(r.times)::bigint AS "times!"
        FROM unnest($1::text[]) AS at(location) JOIN rolled_reasons r ON r.location = at.location
        WHERE r.quarter >= $2 AND r.quarter < $3 AND ($4::text IS NULL OR r.channel = $4)
            AND ($5::smallint IS NULL OR extract(hour FROM r.quarter AT TIME ZONE $6) = $5)
        GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
        "#,
        &which.locations,
        span.from,
        span.to,
        which.channel,
        span.hour,
        span.zone
    )
    .fetch_all(conn)
    .await
}
