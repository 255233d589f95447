//! The other end of an order's way: waiting until nothing is left to be settled, and how long each order took.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures_util::TryStreamExt;
use reconcile::connect;
use runtime::tasks::Stop;
use sqlx::{Connection, Executor, PgConnection};

use crate::latency::Latencies;
use crate::load::Accepted;
use crate::progress::{Progress, REDRAW};

/// Between looks: one percent of the shortest run worth measuring, and no load to speak of.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until no payment is due; an error after `patience` without the last one being settled. Returns how long it
/// waited, exact to 20 ms.
pub async fn until_settled(database_url: &str, patience: Duration, stop: &Stop) -> Result<Duration> {
    let mut conn = connect(database_url).await?;
    // Statistics from before the run may say that most payments are due; the partial index has nothing but those.
    conn.execute("SET enable_seqscan = off").await?;
    let started = Instant::now();
    let progress = Progress::new("settle: still due", None);
    let mut next_draw = started;
    while sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM open_charges) OR EXISTS (SELECT FROM payments WHERE due_at IS NOT NULL)
             OR EXISTS (SELECT FROM payments WHERE status = 'held' AND held_until IS NULL)",
    )
    .fetch_one(&mut conn)
    .await?
    {
        if started.elapsed() > patience || stop.is_stopped() {
            bail!("{} payments are still due after {:?}", due(&mut conn).await?, started.elapsed());
        }
        if Instant::now() >= next_draw {
            progress.draw(due(&mut conn).await?);
            next_draw = Instant::now() + REDRAW * 4;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    conn.close().await?;
    Ok(started.elapsed())
}

/// Payments that somebody must look at still.
pub(crate) async fn due(conn: &mut PgConnection) -> Result<u64> {
    let due = "SELECT (SELECT count(*) FROM open_charges) + (SELECT count(*) FROM payments WHERE due_at IS NOT NULL)";
    let due: i64 = sqlx::query_scalar(due).fetch_one(conn).await?;
    Ok(due.unsigned_abs())
}

/// From each order's intended time to its CONFIRMED, by `order_events.at`: both are this machine's clock. That is
/// the moment at which the settling transaction began, so its commit, a millisecond or so, is not in it.
/// Orders that were not confirmed are not in it either; compare the count.
pub async fn post_to_confirmed(database_url: &str, accepted: &[Accepted]) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    let Some(since) = accepted.iter().map(|accepted| accepted.intended_at).min() else {
        return Ok(latencies);
    };
    let intended: HashMap<_, _> = accepted.iter().map(|one| (one.id, one.intended_at)).collect();
    let mut conn = connect(database_url).await?;
    let mut rows = sqlx::query_as(
        "SELECT subject, (extract(epoch FROM at) * 1000000)::bigint FROM order_events
         WHERE to_status = 'CONFIRMED' AND at >= to_timestamp($1::bigint / 1000000)",
    )
    .bind(since)
    .fetch(&mut conn);
    while let Some((id, confirmed_at)) = rows.try_next().await? {
        let _: i64 = confirmed_at;
        if let Some(intended_at) = intended.get(&id) {
            let micros = u64::try_from(confirmed_at - intended_at).unwrap_or(0);
            latencies.record(Duration::from_micros(micros));
        }
    }
    Ok(latencies)
}
