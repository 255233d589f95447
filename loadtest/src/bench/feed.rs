//! How quickly what has happened is read: by one reader, from ticks as they are noted under load, and from one tick that
//! holds as much as a long stall leaves.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use reconcile::connect;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};
use store::feed::{Cursor, Read, Start, Ticked, read, start, tick};

use super::rows::Rows;
use super::stack::Stack;

/// Batches of orders written, a tick after each: 1,536 events, which is what 15,000 events a second leave in a tenth of a second.
const TICKS: usize = 300;
/// Batches in the one large tick.
const STALLED: usize = 65;
/// Events in a page.
const PAGE: u32 = 2_000;

/// How quickly the feed is read.
#[derive(Debug, Clone, Serialize)]
pub struct FeedRun {
    /// Events read, tick by tick.
    pub events: usize,
    /// A second.
    pub per_s: f64,
    /// Events in the one large tick.
    pub stalled_events: usize,
    /// Read a second.
    pub stalled_per_s: f64,
}

/// Writes events and reads them.
pub(super) async fn read_all(stack: &Stack) -> Result<FeedRun> {
    let ground = stack.ground().await?;
    let mut rows = Rows::connect(&ground.database_url).await?;
    let mut conn = connect(&ground.database_url).await?;
    let mut cursor = start(&mut conn, Start::Earliest).await?;
    for _ in 0..TICKS {
        rows.live().await?;
        ensure!(tick(&mut conn).await? == Ticked::Noted, "a batch was written, and no tick noted");
    }
    conn.execute("VACUUM (ANALYZE)").await?;
    let (events, took) = timed(&mut conn, &mut cursor).await?;
    for _ in 0..STALLED {
        rows.live().await?;
    }
    conn.execute("VACUUM (ANALYZE)").await?;
    tick(&mut conn).await?;
    let (stalled_events, stalled) = timed(&mut conn, &mut cursor).await?;
    conn.close().await?;
    let per_s = |events: usize, took: Duration| events as f64 / took.as_secs_f64();
    Ok(FeedRun {
        events,
        per_s: per_s(events, took),
        stalled_events,
        stalled_per_s: per_s(stalled_events, stalled),
    })
}

async fn timed(conn: &mut PgConnection, cursor: &mut Cursor) -> Result<(usize, Duration)> {
    let (started, mut count) = (Instant::now(), 0);
    loop {
        match read(conn, cursor, PAGE).await? {
            Read::Page { events, next } => {
                count += events.len();
                *cursor = next;
            }
            Read::UpToDate => return Ok((count, started.elapsed())),
            Read::Gone { .. } => bail!("{cursor:?} is gone"),
        }
    }
}
