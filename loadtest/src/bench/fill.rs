//! Orders by the million, written straight into the tables: what a database holds that has been in use for long, or
//! what waits in it after a long outage.

use std::sync::Arc;

use anyhow::Result;
use reconcile::connect;
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::progress::Progress;

/// What the orders have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Paid, cooked, handed over; over the years before.
    Finished,
    /// Accepted, and due to be paid for.
    Due,
}

/// Orders in one transaction: enough that its commit costs nothing beside it.
const CHUNK: i64 = 20_000;
/// Customers to each million orders: a page of orders and a few more for each.
const CUSTOMERS: i64 = 30_000;
/// Writers at once.
const WRITERS: i64 = 2;

/// Writes `count` orders, with all rows that belong to them, and leaves the tables as they are after a while: vacuumed,
/// known to the planner, on disk. Otherwise the server would do that beside whatever is measured next.
pub(super) async fn fill(database_url: &str, what: Fill, count: i64) -> Result<()> {
    let progress = Arc::new(Progress::new("fill: orders", Some(count.unsigned_abs())));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut conn = connect(database_url).await?;
        let ticks = Arc::clone(&progress);
        writers.spawn(async move {
            // What is made up here may be lost.
            conn.execute("SET synchronous_commit = off").await?;
            let mut first = writer * CHUNK;
            while first < count {
                chunk(&mut conn, what, first, CHUNK.min(count - first), count).await?;
                first += WRITERS * CHUNK;
                ticks.draw(first.min(count).unsigned_abs());
            }
            anyhow::Ok(conn.close().await?)
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let mut conn = connect(database_url).await?;
    // Millions of rows take minutes.
    conn.execute("SET statement_timeout = 0").await?;
    conn.execute("VACUUM (ANALYZE)").await?;
    conn.execute("CHECKPOINT").await?;
    Ok(conn.close().await?)
}

/// Ids are UUIDv7 as the api makes them, twenty a second up to now; what cannot be told from the order's number is the
/// number's hash.
const ORDERS: &str = "
    WITH made AS MATERIALIZED (
        SELECT i, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
                       || substr(hash, 4, 15))::uuid AS id
        FROM (SELECT i, md5(i::text) AS hash, now() - ($3 - i) * interval '50 ms' AS at
              FROM generate_series($1::bigint, $1 + $2 - 1) i) one
    ), ordered AS (
        INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
        SELECT id, 3097, at, at, CASE WHEN $4 THEN 7 ELSE 1 END, CASE WHEN $4 THEN 'DELIVERED' ELSE 'PENDING' END::order_status,
            'USD', 'customer-' || i % ($5 * $3 / 1000000 + 1)
        FROM made
    ), noted AS (
        INSERT INTO order_events (subject, at, began_at, version, what, from_status, to_status, actor, payment_id, amount_minor,
                                  items)
        SELECT id, at, CASE version WHEN 3 THEN at END, version, CASE version WHEN 1 THEN 'accepted' ELSE 'moved' END::event_what, before::order_status,
            after::order_status, 'fill', CASE version WHEN 3 THEN id END, CASE WHEN version IN (1, 3) THEN 3097 END,
            CASE version WHEN 1 THEN $6::json END
        FROM made CROSS JOIN (VALUES (1, NULL, 'PENDING'), (3, 'PENDING', 'CONFIRMED'), (4, 'CONFIRMED', 'ACCEPTED'), (5, 'ACCEPTED', 'PREPARING'),
            (6, 'PREPARING', 'READY'), (7, 'READY', 'DELIVERED')) AS moves(version, before, after)
        WHERE $4 OR version = 1
    ), tried AS (
        INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome)
        SELECT id, at, at, 1, 1, 'charge', 'succeeded' FROM made WHERE $4
    ), charged AS (
        INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
        SELECT id, 3097, at, at, 'USD' FROM made WHERE NOT $4
    )
    INSERT INTO payments (id, order_id, amount_minor, created_at, epoch, attempts, kind, status, currency, gateway_id)
    SELECT id, id, 3097, at, 1, 1, 'charge', 'succeeded', 'USD', 'ch_' || i FROM made WHERE $4";

async fn chunk(conn: &mut PgConnection, what: Fill, first: i64, count: i64, of: i64) -> Result<()> {
    let items = super::rows::an_order()?.items;
    sqlx::query(ORDERS)
        .bind(first)
        .bind(count)
        .bind(of)
        .bind(what == Fill::Finished)
        .bind(CUSTOMERS)
        .bind(items.get())
        .execute(conn)
        .await?;
    Ok(())
}
