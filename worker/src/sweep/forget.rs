//! forget: idempotency keys that were kept long enough, and logins that ended long ago, as fast as they once came.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::accounts::sessions;
use store::names::{self, Forgotten};
use store::session::{Session, StoreError};
use time::OffsetDateTime;

use crate::aside::{Aside, may_be_one};

/// How often; while there are more, again in the next round of chores.
const EVERY: Duration = Duration::from_secs(60);
/// How many in one statement, and for how long in one go: the other chores wait meanwhile. On two slow cores that is some tens
/// of thousands, more than come in a second.
const AT_ONCE: u32 = 10_000;
const SHARE: Duration = Duration::from_millis(250);
/// As long as one of them is aside, they are forgotten one by one.
const ONE_BY_ONE: u32 = 256;

/// Looks for old keys and sessions.
#[derive(Debug)]
pub struct Forget {
    next_at: Instant,
    /// Where the last statement ended: all that ended before is gone. Not known where nothing was left, so that now and then it is
    /// looked for what somebody else was at, and left.
    up_to: Option<OffsetDateTime>,
    aside: Aside,
    forgotten: Counter,
    /// The same of sessions.
    sessions_up_to: Option<OffsetDateTime>,
    forgotten_sessions: Counter,
}

impl Forget {
    pub(super) fn new() -> Self {
        Self {
            next_at: Instant::now() + EVERY,
            up_to: None,
            aside: Aside::new("forget"),
            forgotten: metrics::counter!("sweep_forgotten_keys_total"),
            sessions_up_to: None,
            forgotten_sessions: metrics::counter!("sweep_forgotten_sessions_total"),
        }
    }

    /// Does so when its time has come.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        if Instant::now() < self.next_at {
            return Ok(());
        }
        self.round(session).await
    }

    /// Does so, for as long as there is more and its share of the time lasts.
    pub(super) async fn round(&mut self, session: &mut Session) -> Result<()> {
        let started = Instant::now();
        self.next_at = started + EVERY;
        // Each whatever became of the other.
        let sessions = self.forget_sessions(session).await;
        // More than one by one, or as many as that.
        while self.run_once(session).await? >= u64::from(ONE_BY_ONE) {
            if started.elapsed() >= SHARE {
                self.next_at = started;
                break;
            }
        }
        if sessions? == u64::from(AT_ONCE) {
            self.next_at = started;
        }
        Ok(())
    }

    /// Forgets some sessions, and says how many.
    pub async fn forget_sessions(&mut self, session: &mut Session) -> Result<u64> {
        let old = (self.sessions_up_to, AT_ONCE);
        let done =
            session.run(&old, |conn, (from, limit)| Box::pin(sessions::forget(conn, None, *from, *limit)));
        let Forgotten { count, up_to } = done.await.context("cannot forget old sessions")?;
        self.sessions_up_to = up_to.filter(|_| count == u64::from(AT_ONCE));
        self.forgotten_sessions.increment(count);
        Ok(count)
    }

    /// Forgets some, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let forgotten = self.forget(session).await.context("cannot forget old idempotency keys")?;
        self.forgotten.increment(forgotten);
        Ok(forgotten)
    }

    async fn forget(&mut self, session: &mut Session) -> Result<u64, StoreError> {
        let except = self.aside.resting();
        if except.is_empty() {
            let old = (self.up_to, AT_ONCE);
            let done =
                session.run(&old, |conn, (from, limit)| Box::pin(names::forget(conn, None, *from, *limit)));
            match done.await {
                Ok(Forgotten { count, up_to }) => {
                    self.up_to = up_to.filter(|_| count == u64::from(AT_ONCE));
                    return Ok(count);
                }
                Err(error) if may_be_one(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let found =
            session.run(&except, |conn, except| Box::pin(names::to_forget(conn, ONE_BY_ONE, except))).await?;
        let (mut done, aside) = (0, &mut self.aside);
        let one_by_one = session.run_each(
            &found,
            |conn, id| Box::pin(names::forget_one(conn, *id)),
            |id, outcome| done += aside.heard(id, outcome).unwrap_or(0),
        );
        one_by_one.await?;
        Ok(done)
    }
}
