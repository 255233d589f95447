//! due: what is due is claimed straight from the database and charged: payments whose publish was lost, whose retry
//! has come, or whose worker died. With no broker at all it carries the whole work; with an open breaker it is the one
//! that sends the probe.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use runtime::chaos::sabotaged;
use runtime::tasks::Stop;
use runtime::trace::{self, Kind};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::charge::Till;
use crate::claim::{self, Claimer, Claims};
use crate::config::{MAX_CLAIM, WorkerSettings};
use crate::gateway::breaker::Admission;

/// Finds what is due and sees it through.
#[derive(Debug)]
pub struct Sweep {
    claimer: Claimer,
    till: Arc<Till>,
    interval: Duration,
    in_hand: Arc<Semaphore>,
    /// The last look found as much as it had room for.
    more: bool,
    /// Room that is worth another look then: a quarter, so that statements stay few and the gateway busy.
    worth_a_look: u32,
    under_way: TaskTracker,
}

impl Sweep {
    /// A sweep with a claimer of its own, and with room of its own, so that a full queue never starves retries.
    pub fn new(claimer: Claimer, till: Arc<Till>, settings: &WorkerSettings) -> Self {
        Self {
            claimer,
            till,
            interval: settings.sweep_interval,
            more: false,
            worth_a_look: u32::from(settings.worker_concurrency).div_ceil(4),
            in_hand: Arc::new(Semaphore::new(usize::from(settings.worker_concurrency))),
            under_way: TaskTracker::new(),
        }
    }

    /// Counts the payments in hand, whenever it is called.
    pub fn in_hand(&self) -> impl Fn() -> usize + Send + 'static {
        let (room, size) = (Arc::clone(&self.in_hand), self.in_hand.available_permits());
        move || size.saturating_sub(room.available_permits())
    }

    /// Sweeps until `stop`, then finishes what is in hand.
    pub async fn run(mut self, stop: Stop) -> Result<()> {
        let found = |what: &'static str| metrics::counter!("sweep_runs_total", "found" => what);
        let (some, nothing, error_met) = (found("some"), found("nothing"), found("error"));
        let mut well = true;
        while !stop.is_stopped() {
            match self.run_once().await {
                Ok(swept) => {
                    well = true;
                    if swept > 0 { &some } else { &nothing }.increment(1);
                }
                Err(error) => {
                    error_met.increment(1);
                    if std::mem::take(&mut well) {
                        tracing::warn!(error = format!("{error:#}"), "cannot sweep; trying on");
                    }
                }
            }
            if self.more {
                stop.or_stopped(self.room()).await;
            } else {
                stop.or_stopped(tokio::time::sleep(self.interval)).await;
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Waits for room worth a look: a backlog is worked off as fast as it can be charged, not by so much an interval.
    async fn room(&self) {
        // Never closed, so this comes back with the room, and gives it back at once.
        drop(self.in_hand.acquire_many(self.worth_a_look).await);
    }

    /// Waits until all that was claimed is settled.
    pub async fn finish(&self) {
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
    }

    /// Claims what is due, as far as there is room and the breaker lets it, and starts to charge it. Says how much
    /// that was. Once this returns it is under way; `finish` waits for its settlement.
    pub async fn run_once(&mut self) -> Result<usize> {
        self.more = false;
        if ["no_sweep", "ack_before_settle_no_sweep", "no_confirms_no_sweep"].into_iter().any(sabotaged) {
            return Ok(0);
        }
        let admission = self.till.breaker.admits();
        let limit = match admission {
            Admission::None => return Ok(0),
            Admission::One => 1,
            Admission::Some(room) => room.min(MAX_CLAIM),
            Admission::All => MAX_CLAIM,
        };
        let limit = limit.min(self.in_hand.available_permits());
        let Ok(count) = u32::try_from(limit) else { return Ok(0) };
        // Only this loop takes from this room, so what is available stays so.
        let Ok(mut room) = Arc::clone(&self.in_hand).try_acquire_many_owned(count) else { return Ok(0) };
        if count == 0 {
            return Ok(0);
        }
        let begun = trace::now();
        let Claims { claims, since } = self.claimer.due(count).await?;
        let swept = claims.len();
        self.more = admission == Admission::All && swept == limit;
        for mut claim in claims {
            claim::step(&mut claim, "sweep", Kind::Internal, begun);
            let place = room.split(1);
            let till = Arc::clone(&self.till);
            self.under_way.spawn(async move {
                till.charge(claim, since).await;
                drop(place);
            });
        }
        Ok(swept)
    }
}
