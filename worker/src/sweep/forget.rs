//! forget: idempotency keys that were kept long enough, as fast as they once came.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::names::{self, Forgotten};
use store::session::Session;
use time::OffsetDateTime;

/// How often; while there are more, again in the next round of chores.
const EVERY: Duration = Duration::from_secs(60);
/// How many in one statement, and for how long in one go: the other chores wait meanwhile. On two slow cores that is some tens
/// of thousands, more than come in a second.
const AT_ONCE: u32 = 10_000;
const SHARE: Duration = Duration::from_millis(250);

/// Looks for old keys.
#[derive(Debug)]
pub struct Forget {
    next_at: Instant,
    /// Where the last statement ended: all that ended before is gone. Not known where nothing was left, so that now and then it is
    /// looked for what somebody else was at, and left.
    up_to: Option<OffsetDateTime>,
    forgotten: Counter,
}

impl Forget {
    pub(super) fn new() -> Self {
        Self {
            next_at: Instant::now() + EVERY,
            up_to: None,
            forgotten: metrics::counter!("sweep_forgotten_keys_total"),
        }
    }

    /// Does so when its time has come.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        let started = Instant::now();
        if started < self.next_at {
            return Ok(());
        }
        self.next_at = started + EVERY;
        while self.run_once(session).await? == u64::from(AT_ONCE) {
            if started.elapsed() >= SHARE {
                self.next_at = started;
                break;
            }
        }
        Ok(())
    }

    /// Forgets some, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let Forgotten { count, up_to } = session
            .run(&(self.up_to, AT_ONCE), |conn, (from, limit)| {
                Box::pin(names::forget(conn, None, *from, *limit))
            })
            .await
            .context("cannot forget old idempotency keys")?;
        self.up_to = up_to.filter(|_| count == u64::from(AT_ONCE));
        self.forgotten.increment(count);
        Ok(count)
    }
}
