//! deadline: confirmed orders that the kitchen did not answer in time are rejected, and their money goes back. Any number of
//! workers may do so: one of them takes each deadline under a lock, the same that the kitchen's answer takes.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::Counter;
use runtime::chaos::crash_point;
use store::deadline::{Unanswered, put_off_deadline, reject_unanswered, reject_unanswered_one, unanswered};
use store::session::{Session, StoreError};

use super::AT_ONCE;

/// How long a deadline rests that the database refused to act on: a fault of ours, which somebody has to look at.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// Watches the deadlines.
#[derive(Debug)]
pub struct Deadlines {
    rejected: Counter,
    refused: Counter,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        let counter = |name| {
            let counter = metrics::counter!(name);
            counter.increment(0);
            counter
        };
        Self {
            rejected: counter("sweep_rejected_orders_total"),
            refused: counter("sweep_refused_deadlines_total"),
        }
    }

    /// Rejects what is late, up to [`AT_ONCE`] orders, and says how many deadlines had passed.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<usize> {
        let swept = session.run(&AT_ONCE, |conn, limit| Box::pin(reject_unanswered(conn, *limit))).await;
        let swept = match swept {
            Err(StoreError::Refused(_)) => self.one_by_one(session).await?,
            swept => swept.context("cannot reject what nobody answered")?,
        };
        if swept.rejected > 0 {
            crash_point("worker.after_deadline");
            tracing::info!(orders = swept.rejected, "rejected: the kitchen did not answer in time");
            self.rejected.increment(swept.rejected as u64);
        }
        Ok(swept.found)
    }

    /// Rejects each by itself; one that is refused is told and put off.
    async fn one_by_one(&mut self, session: &mut Session) -> Result<Unanswered> {
        let late = session.run(&AT_ONCE, |conn, limit| Box::pin(unanswered(conn, *limit))).await;
        let mut all = Unanswered::default();
        for id in late.context("cannot see what nobody answered")? {
            match session.run(&id, |conn, id| Box::pin(reject_unanswered_one(conn, *id))).await {
                Ok(one) => {
                    all.found += one.found;
                    all.rejected += one.rejected;
                }
                Err(StoreError::Refused(error)) => {
                    tracing::error!(%error, payment = %id, "cannot reject an order through a fault of ours; put off");
                    self.refused.increment(1);
                    let put_off =
                        session.run(&id, |conn, id| Box::pin(put_off_deadline(conn, *id, REFUSED_FOR))).await;
                    put_off.context("cannot put off what cannot be rejected")?;
                }
                Err(error) => return Err(error).context("cannot reject what nobody answered"),
            }
        }
        Ok(all)
    }
}
