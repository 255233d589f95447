//! How long it takes to make all numbers anew: `follower rebuild roll_up` over millions of events, at ten locations over three months.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use sqlx::{Connection, Executor};

use super::super::stack::{Ground, Stack};
use super::cells::{self, DAYS};
use super::{LOCATIONS, accepted};
use crate::progress::Progress;

/// Events of an order: accepted, being charged, confirmed, and the kitchen's four.
const EVENTS: u64 = 7;
/// Orders in one transaction.
const CHUNK: i64 = 50_000;
/// Longest that it may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Orders spread evenly over three months up to now, each with what happens to it: seconds, minutes, and who takes longest takes half
/// an hour.
const ORDERS: &str = "
    WITH made AS MATERIALIZED (
        SELECT i, at, hash, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
                             || substr(hash, 4, 15))::uuid AS id
        FROM (SELECT i, md5(i::text) AS hash, now() - ($3 - i) * ($4 * interval '1 day' / $3) AS at
              FROM generate_series($1::bigint, $1 + $2 - 1) i) one
    ), ordered AS (
        INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, location)
        SELECT id, 3097, at, at, 7, 'DELIVERED', 'USD', 'customer-' || i % (3 * $3 / 100 + 1),
            CASE i % $5 WHEN 0 THEN 'main' ELSE 'place-' || i % $5 END
        FROM made
    )
    INSERT INTO order_events (subject, at, began_at, version, what, from_status, to_status, actor, payment_id, amount_minor, items)
    SELECT id, at + share * (1 + ('x' || substr(hash, version, 4))::bit(16)::int / 65536.0) * interval '1 ms',
        CASE version WHEN 3 THEN at + interval '8 ms' END, version, CASE version WHEN 1 THEN 'accepted' ELSE 'moved' END::event_what,
        before::order_status, after::order_status, 'bench', CASE version WHEN 3 THEN id END,
        CASE WHEN version IN (1, 3) THEN 3097 END, CASE version WHEN 1 THEN $6::json END
    FROM made CROSS JOIN (VALUES (1, NULL, 'PENDING', 0), (3, 'PENDING', 'CONFIRMED', 140), (4, 'CONFIRMED', 'ACCEPTED', 70000),
        (5, 'ACCEPTED', 'PREPARING', 300000), (6, 'PREPARING', 'READY', 1200000), (7, 'READY', 'DELIVERED', 2500000))
        AS moves(version, before, after, share)";

/// Fills, makes them anew, and says of how many events and how long that took.
pub(super) async fn make(stack: &Stack, events: u64) -> Result<(u64, Duration)> {
    let ground = stack.ground().await?;
    let orders = i64::try_from(events / EVENTS)?;
    fill(&ground, orders).await?;
    let environment = [("DATABASE_URL", ground.database_url.clone())];
    let arguments = ["rebuild".to_owned(), "roll_up".to_owned()];
    let started = Instant::now();
    stack.program("follower", &arguments, &environment)?.until_ended(PATIENCE).await?;
    let took = started.elapsed();
    let mut conn = connect(&ground.database_url).await?;
    let counted = accepted(&mut conn).await?;
    ensure!(counted == orders, "of {orders} orders {counted} were counted");
    conn.close().await?;
    stack.clear(&ground).await.context("cannot clear the ground")?;
    Ok((orders.unsigned_abs() * EVENTS, took))
}

async fn fill(ground: &Ground, orders: i64) -> Result<()> {
    let mut conn = connect(&ground.database_url).await?;
    // What is made up here may be lost.
    conn.execute("SET statement_timeout = 0; SET synchronous_commit = off").await?;
    cells::locations(&mut conn).await?;
    let items = super::super::rows::an_order()?.items;
    let progress = Progress::new("fill: orders", Some(orders.unsigned_abs()));
    let mut first = 0;
    while first < orders {
        sqlx::query(ORDERS)
            .bind(first)
            .bind(CHUNK.min(orders - first))
            .bind(orders)
            .bind(DAYS)
            .bind(LOCATIONS)
            .bind(items.get())
            .execute(&mut conn)
            .await?;
        first += CHUNK;
        progress.draw(first.min(orders).unsigned_abs());
    }
    conn.execute("VACUUM (ANALYZE)").await?;
    conn.execute("CHECKPOINT").await?;
    Ok(conn.close().await?)
}
