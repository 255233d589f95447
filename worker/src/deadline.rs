//! deadline: confirmed orders that the kitchen did not answer in time are rejected, and their money goes back. Charges that
//! have been tried for too long are called off, and additions are let go or taken off. Any number of workers may do so: one of
//! them takes each deadline under a lock, the same that the kitchen's answer takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use runtime::chaos::crash_point;
use runtime::tasks::Stop;
use store::additions::{drop_failed, release_held};
use store::deadline::{Unanswered, put_off_deadline, reject_unanswered, reject_unanswered_one, unanswered};
use store::session::{Session, StoreError};
use store::sweep::call_off;

use crate::config::WorkerSettings;

/// Orders in one transaction: row locks no longer than some milliseconds.
pub const AT_ONCE: u32 = 256;
/// How often charges are looked for that have been tried for too long: it is a matter of a day.
const CALL_OFF_EVERY: Duration = Duration::from_secs(60);
/// How long a deadline rests that the database refused to act on: a fault of ours, which somebody has to look at.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// Charges called off at once.
const CALL_OFF_AT_ONCE: u32 = 10_000;

/// Watches the deadlines.
#[derive(Debug)]
pub struct Deadlines {
    session: Session,
    interval: Duration,
    payment_deadline: Duration,
    rejected: Counter,
    refused: Counter,
    called_off: Counter,
}

impl Deadlines {
    /// On a connection of its own.
    pub fn new(session: Session, settings: &WorkerSettings) -> Self {
        Self {
            session,
            interval: settings.sweep_interval,
            payment_deadline: settings.payment_deadline,
            rejected: metrics::counter!("sweep_rejected_orders_total"),
            refused: metrics::counter!("sweep_refused_deadlines_total"),
            called_off: metrics::counter!("sweep_called_off_charges_total"),
        }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: Stop) -> Result<()> {
        self.rejected.increment(0);
        self.refused.increment(0);
        self.called_off.increment(0);
        let mut well = true;
        let mut call_off_at = Instant::now();
        while !stop.is_stopped() {
            // Each whatever became of the others: what stops one of them must not stop all.
            let rejected = self.run_once().await;
            let tended = self.tend_additions().await;
            let called_off = if Instant::now() >= call_off_at {
                call_off_at = Instant::now() + CALL_OFF_EVERY;
                self.call_off().await.map(drop)
            } else {
                Ok(())
            };
            let done = tended.and(called_off).and(rejected);
            let full = match done {
                Ok(found) => {
                    well = true;
                    found == AT_ONCE as usize
                }
                Err(error) => {
                    if std::mem::take(&mut well) {
                        tracing::warn!(error = format!("{error:#}"), "cannot watch the deadlines; trying on");
                    }
                    false
                }
            };
            if !full {
                stop.or_stopped(tokio::time::sleep(self.interval)).await;
            }
        }
        Ok(())
    }

    /// Rejects what is late, up to [`AT_ONCE`] orders, and says how many deadlines had passed.
    pub async fn run_once(&mut self) -> Result<usize> {
        let swept = self.session.run(&AT_ONCE, |conn, limit| Box::pin(reject_unanswered(conn, *limit))).await;
        let swept = match swept {
            Err(StoreError::Refused(_)) => self.one_by_one().await?,
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
    async fn one_by_one(&mut self) -> Result<Unanswered> {
        let late = self.session.run(&AT_ONCE, |conn, limit| Box::pin(unanswered(conn, *limit))).await;
        let mut all = Unanswered::default();
        for id in late.context("cannot see what nobody answered")? {
            match self.session.run(&id, |conn, id| Box::pin(reject_unanswered_one(conn, *id))).await {
                Ok(one) => {
                    all.found += one.found;
                    all.rejected += one.rejected;
                }
                Err(StoreError::Refused(error)) => {
                    tracing::error!(%error, payment = %id, "cannot reject an order through a fault of ours; put off");
                    self.refused.increment(1);
                    let put_off = self
                        .session
                        .run(&id, |conn, id| Box::pin(put_off_deadline(conn, *id, REFUSED_FOR)))
                        .await;
                    put_off.context("cannot put off what cannot be rejected")?;
                }
                Err(error) => return Err(error).context("cannot reject what nobody answered"),
            }
        }
        Ok(all)
    }

    /// Lets additions go whose order's own charge is known, and takes the lines of those off whose charge failed.
    pub async fn tend_additions(&mut self) -> Result<()> {
        let released = self.session.run(&AT_ONCE, |conn, limit| Box::pin(release_held(conn, *limit))).await;
        released.context("cannot let additions go")?;
        let dropped = self.session.run(&AT_ONCE, |conn, limit| Box::pin(drop_failed(conn, *limit))).await;
        dropped.context("cannot take failed additions off")?;
        Ok(())
    }

    /// Calls off charges that are older than the payment deadline: they are only voided from now on. Says how many.
    pub async fn call_off(&mut self) -> Result<u64> {
        let age = self.payment_deadline;
        let done = self
            .session
            .run(&CALL_OFF_AT_ONCE, move |conn, limit| Box::pin(call_off(conn, age, *limit)))
            .await
            .context("cannot call off old charges")?;
        if done > 0 {
            tracing::warn!(charges = done, "called off: not charged within the payment deadline");
            self.called_off.increment(done);
        }
        Ok(done)
    }
}
