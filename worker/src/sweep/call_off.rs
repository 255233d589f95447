//! call off: charges that have been tried for longer than the payment deadline are only voided from now on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::session::Session;
use store::sweep::call_off;

/// How often they are looked for: it is a matter of a day.
const EVERY: Duration = Duration::from_secs(60);
/// Charges called off at once.
const AT_ONCE: u32 = 10_000;

/// Looks for old charges.
#[derive(Debug)]
pub struct CallOff {
    payment_deadline: Duration,
    next_at: Instant,
    called_off: Counter,
}

impl CallOff {
    pub(super) fn new(payment_deadline: Duration) -> Self {
        let called_off = metrics::counter!("sweep_called_off_charges_total");
        called_off.increment(0);
        Self { payment_deadline, next_at: Instant::now(), called_off }
    }

    /// Does so when its time has come.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        if Instant::now() >= self.next_at {
            self.next_at = Instant::now() + EVERY;
            self.run_once(session).await?;
        }
        Ok(())
    }

    /// Says how many were called off.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let age = self.payment_deadline;
        let done = session
            .run(&AT_ONCE, move |conn, limit| Box::pin(call_off(conn, age, *limit)))
            .await
            .context("cannot call off old charges")?;
        if done > 0 {
            tracing::warn!(charges = done, "called off: not charged within the payment deadline");
            self.called_off.increment(done);
        }
        Ok(done)
    }
}
