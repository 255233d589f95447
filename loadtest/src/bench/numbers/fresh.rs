//! How soon the numbers show what has happened: orders come in at a fixed rate, and their number is read all the while. The n-th order is
//! shown when so many are; a page of events is shown whole, so it does not matter which of them is the n-th.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use runtime::tasks::Stop;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::super::runs::PATIENCE;
use super::super::stack::{Shape, Stack};
use super::super::told::{follower, start};
use super::accepted;
use crate::latency::{Latencies, Percentiles};
use crate::load::{Pace, load};
use crate::settled::until_settled;

/// Between looks at the numbers.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Until all is shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// How many orders were shown when.
type Seen = Vec<(i64, OffsetDateTime)>;

/// From each order's first event to when it is shown.
pub(super) async fn watch(stack: &Stack, rate: u32, time: Duration) -> Result<Percentiles> {
    let (mut services, _) = start(stack, Shape::Separate).await?;
    services.warm_up(Shape::Separate).await?;
    let follower = follower(stack, &services.ground, &[]).await?;
    services.take_in(follower);
    let mut conn = connect(&services.ground.database_url).await?;
    let before: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
    let started = Instant::now();
    while accepted(&mut conn).await? < before {
        ensure!(started.elapsed() < SHOWN_WITHIN, "what was there before is not shown");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let watching = look(connect(&services.ground.database_url).await?, Arc::clone(&done));
    #[expect(clippy::disallowed_methods, reason = "its end is awaited below")]
    let watching = tokio::spawn(watching);
    load(&services.plan(Pace::Open { per_second: rate }, None, Some(time))?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
    let started = Instant::now();
    while accepted(&mut conn).await? < all {
        ensure!(started.elapsed() < SHOWN_WITHIN, "not all is shown");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // The one who watches sees the last ones, too.
    tokio::time::sleep(LOOK_EVERY * 4).await;
    done.store(true, Ordering::Relaxed);
    let seen = watching.await??;
    let came: Vec<OffsetDateTime> =
        sqlx::query_scalar("SELECT at FROM order_events WHERE what = 'accepted' ORDER BY at OFFSET $1")
            .bind(before)
            .fetch_all(&mut conn)
            .await?;
    conn.close().await?;
    services.stop(stack).await?;
    let (mut latencies, mut seen) = (Latencies::new()?, seen.into_iter().peekable());
    for (number, at) in (before + 1..).zip(came) {
        while seen.next_if(|(shown, _)| *shown < number).is_some() {}
        let (_, shown_at) = seen.peek().context("an order that is not shown")?;
        latencies.record((*shown_at - at).try_into().unwrap_or(Duration::ZERO));
    }
    Ok(latencies.summary())
}

async fn look(mut conn: PgConnection, done: Arc<AtomicBool>) -> Result<Seen> {
    let mut seen = Seen::new();
    while !done.load(Ordering::Relaxed) {
        let number = accepted(&mut conn).await?;
        let now = OffsetDateTime::now_utc();
        if seen.last().is_none_or(|(before, _)| *before < number) {
            seen.push((number, now));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(seen)
}
