//! forget: idempotency keys that were kept long enough.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::names;
use store::session::Session;

/// How often, and how many at once: a minute's worth at ten thousand orders a second would hold the writer for long. While
/// there are more, the next go a second later.
const EVERY: Duration = Duration::from_secs(60);
const NEXT: Duration = Duration::from_secs(1);
const AT_ONCE: u32 = 10_000;

/// Looks for old keys.
#[derive(Debug)]
pub struct Forget {
    next_at: Instant,
    forgotten: Counter,
}

impl Forget {
    pub(super) fn new() -> Self {
        Self { next_at: Instant::now() + EVERY, forgotten: metrics::counter!("sweep_forgotten_keys_total") }
    }

    /// Does so when its time has come.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        if Instant::now() < self.next_at {
            return Ok(());
        }
        self.next_at = Instant::now() + EVERY;
        if self.run_once(session).await? == u64::from(AT_ONCE) {
            self.next_at = Instant::now() + NEXT;
        }
        Ok(())
    }

    /// Forgets some, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let forgotten = session
            .run(&AT_ONCE, |conn, limit| Box::pin(names::forget(conn, None, *limit)))
            .await
            .context("cannot forget old idempotency keys")?;
        self.forgotten.increment(forgotten);
        Ok(forgotten)
    }
}
