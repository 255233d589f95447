//! The end of a run: waiting for quiet (nothing due, nothing leased, nothing unanswered, the queue empty), then ending the
//! programs.

use std::time::{Duration, Instant};

use anyhow::Result;
use broker::Broker;
use domain::gateway::Ledger;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use store::feed::{self, Cursor, Read, Start, Ticked};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::ground::Ground;
use crate::hear::Ears;

/// Between looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The queue is asked less often: each time on a connection of its own.
const ASK_QUEUE_EVERY: Duration = Duration::from_secs(1);
/// A transaction is idle if nothing was said in it for so long: a sweep is silent for microseconds.
const IDLE_FOR_MS: i64 = 1_000;

/// How it looks.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rest {
    /// How long it took to get there, or how long it was waited in vain.
    pub waited: Duration,
    /// Payments that are not final, orders that the kitchen could still answer, failed additions that are still to be taken off,
    /// stock that is to be given back or counted as sold, what is to be delivered, and followers that are behind.
    pub due: i64,
    /// Messages waiting, and messages laid aside.
    pub waiting: u64,
    /// As above.
    pub dead: u64,
    /// Sessions that hold a transaction open and say nothing.
    pub idle_in_transaction: i64,
}

impl Rest {
    /// Whether nothing is left to be done; messages laid aside are no work.
    pub fn is_quiet(&self) -> bool {
        self.due == 0 && self.waiting == 0
    }
}

/// How it was when all had ended.
#[derive(Debug)]
pub struct Finish {
    /// When it was quiet.
    pub rest: Rest,
    /// Messages waiting and laid aside, once every program had ended: what was delivered and not acknowledged is
    /// among them.
    pub left: (u64, u64),
    /// What the gateway did.
    pub ledger: Ledger,
    /// Programs that ended badly when they were asked to end.
    pub bad_stops: Vec<String>,
}

/// Waits until it is quiet, lets those who listen hear the rest, and ends the programs, the gateway last.
pub async fn finish(
    fleet: &Fleet,
    ground: &Ground,
    ears: Option<&Ears>,
    patience: Duration,
    stuck_after: Duration,
) -> Result<Finish> {
    if let Some(ears) = ears {
        ears.mend();
    }
    let rest = until_quiet(ground, patience, stuck_after).await?;
    if let Some(ears) = ears {
        let mut conn = ground.connect().await?;
        ears.catch_up(fleet, &mut conn).await?;
        conn.close().await?;
    }
    let mut bad_stops = Vec::new();
    // Kept until all have ended: whoever watches over them must not take their end for a fault.
    let mut ended = Vec::new();
    for program in fleet.of_the_house() {
        let mut program = program.lock().await;
        bad_stops.extend(program.stop().await?);
        ended.push(program);
    }
    let ledger = loadtest::gateway::fetch_ledger(&fleet.gateway_url).await?;
    fleet.gateway.lock().await.stop().await?;
    Ok(Finish { rest, left: depth(ground).await?, ledger, bad_stops })
}

/// Waits until it is quiet: for `patience` at most, and no longer than nothing has moved for `stuck_after`.
async fn until_quiet(ground: &Ground, patience: Duration, stuck_after: Duration) -> Result<Rest> {
    let started = Instant::now();
    let (mut last, mut moved) = (i64::MAX, started);
    let mut conn = ground.connect().await?;
    let mut rest = Rest::default();
    let mut asked: Option<Instant> = None;
    loop {
        rest.due = due(&mut conn).await?;
        if rest.due != last {
            (last, moved) = (rest.due, Instant::now());
        }
        if rest.due == 0 && asked.is_none_or(|asked| asked.elapsed() >= ASK_QUEUE_EVERY) {
            (rest.waiting, rest.dead) = depth(ground).await?;
            asked = Some(Instant::now());
        }
        let settled = rest.due == 0 && rest.waiting == 0;
        if settled || started.elapsed() > patience || moved.elapsed() > stuck_after {
            rest.waited = started.elapsed();
            rest.idle_in_transaction = idle_in_transaction(&mut conn).await?;
            if !settled {
                (rest.waiting, rest.dead) = depth(ground).await?;
            }
            conn.close().await?;
            return Ok(rest);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Messages waiting, and messages laid aside.
async fn depth(ground: &Ground) -> Result<(u64, u64)> {
    let depth = Broker::Amqp(ground.amqp()?).depth().await?;
    Ok((depth.waiting, depth.dead))
}

async fn due(conn: &mut PgConnection) -> Result<i64> {
    let due = "SELECT (SELECT count(*) FROM shown_payments WHERE due_at IS NOT NULL OR status = 'held' OR answer_by IS NOT NULL
                           OR (added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL))
                    + (SELECT count(*) FROM holds WHERE due_at IS NOT NULL)
                    + (SELECT count(*) FROM deliveries WHERE status IN ('behind', 'waiting'))";
    let due: i64 = sqlx::query_scalar(due).fetch_one(&mut *conn).await?;
    Ok(due + behind(conn).await?)
}

/// By how many ticks followers have not read all there is.
async fn behind(conn: &mut PgConnection) -> Result<i64> {
    type Row = (i64, OffsetDateTime, Option<Uuid>, Option<i32>);
    let all = "SELECT tick, noted_at, subject, version FROM feed_cursors
               UNION ALL SELECT tick, noted_at, subject, version FROM late_webhooks";
    let cursors: Vec<Row> = sqlx::query_as(all).fetch_all(&mut *conn).await?;
    if !cursors.is_empty() && feed::tick(conn).await? != Ticked::Nothing {
        return Ok(1);
    }
    let (mut behind, last) = (0, feed::start(conn, Start::Latest).await?.tick);
    for (tick, noted_at, subject, version) in cursors {
        let cursor = Cursor { tick, noted_at, within: subject.zip(version) };
        if !matches!(feed::read(conn, &cursor, 1).await?, Read::UpToDate) {
            behind += (last - tick).max(1);
        }
    }
    Ok(behind)
}

async fn idle_in_transaction(conn: &mut PgConnection) -> Result<i64> {
    let idle = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - $1 * interval '1 ms'",
    );
    Ok(idle.bind(IDLE_FOR_MS).fetch_one(conn).await?)
}
