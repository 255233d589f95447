//! clock: watches the database's clock against this machine's own, which nobody can set. One that went further than was watched
//! is not believed: no deadline counts until an operator says that it is right (docs/runbooks.md, `ClockNotTrusted`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Gauge;
use store::clock::{self, TRUSTED_FOR};
use store::session::Session;

/// Often enough that a failover, a slow database and a few lost looks fit into what the clock is trusted for.
const EVERY: Duration = Duration::from_secs(5);
const _: () = assert!(EVERY.as_secs() * 6 <= TRUSTED_FOR.as_secs());

/// Watches.
#[derive(Debug)]
pub struct Clock {
    payment_deadline: Duration,
    next_at: Instant,
    /// As it was seen last.
    trusted: Option<bool>,
    distrusted_seconds: Gauge,
}

impl Clock {
    pub(super) fn new(payment_deadline: Duration) -> Self {
        let distrusted_seconds = metrics::gauge!("sweep_clock_distrusted_seconds");
        Self { payment_deadline, next_at: Instant::now(), trusted: None, distrusted_seconds }
    }

    /// Whether the clock was believed when it was last looked at.
    pub fn is_trusted(&self) -> bool {
        self.trusted == Some(true)
    }

    /// Does so when its time has come.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        if Instant::now() >= self.next_at {
            self.run_once(session).await?;
            self.next_at = Instant::now() + EVERY;
        }
        Ok(())
    }

    /// Looks, and says so once when the clock is no longer believed, and once when it is again.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<()> {
        let age = self.payment_deadline;
        let seen = session.run(&age, |conn, age| Box::pin(clock::watch(conn, *age))).await;
        let seen = seen.context("cannot watch the database's clock")?;
        let before = self.trusted.replace(seen == clock::Clock::Trusted);
        match seen {
            clock::Clock::Trusted => {
                self.distrusted_seconds.set(0.0);
                if before == Some(false) {
                    tracing::info!("the database's clock is believed again: deadlines count");
                }
            }
            clock::Clock::Distrusted { by_seconds } => {
                self.distrusted_seconds.set(by_seconds.max(1.0));
                if before != Some(false) {
                    tracing::error!(
                        by_seconds,
                        "the database's clock went further than anybody watched: no deadline counts until an operator says \
                         that it is right (POST /internal/clock)"
                    );
                }
            }
        }
        Ok(())
    }
}
