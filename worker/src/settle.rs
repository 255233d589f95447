//! settle: the writers that commit what tries came to, a batch in one transaction, and give back what was not sent.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use metrics::{Counter, Histogram};
use runtime::batch::{Desk, Lane};
use runtime::chaos::crash_point;
use store::claim::Claimed;
use store::session::{Session, StoreError};
use store::settle::{self, Settlement};
use uuid::Uuid;

use crate::config::SETTLE_PATIENCE;

/// What is to be committed.
#[derive(Debug, Clone)]
pub enum Settle {
    /// How a try ended.
    Commit(Settlement),
    /// A claim of which nothing was sent.
    Release {
        /// The claim.
        claim: Claimed,
        /// When the payment is due again.
        delay: Duration,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The payment moved.
    Moved,
    /// The claim was given back.
    Released,
    /// The lease had run out: somebody else has the payment. A normal outcome.
    Superseded,
    /// It could not be committed: the database was away for too long, or refused it (a fault of ours, logged). The
    /// lease will run out and the payment be taken up again.
    Lost,
}

impl Settled {
    /// As it is counted, and noted in traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Released => "released",
            Self::Superseded => "superseded",
            Self::Lost => "lost",
        }
    }
}

/// Where settlements are handed in.
pub type SettleDesk = Desk<Settle, Settled>;
/// Where a writer takes its batches from.
pub type SettleLane = Lane<Settle, Settled>;

/// What became of a batch; what is in neither was superseded.
#[derive(Debug, Default)]
struct Committed {
    moved: HashSet<Uuid>,
    lost: HashSet<Uuid>,
}

/// Between tries while the database is away.
const PAUSE: Duration = Duration::from_millis(250);

/// A writer.
#[derive(Debug)]
pub struct Settler {
    lane: SettleLane,
    session: Session,
    accept_deadline: Duration,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    batch_size: Histogram,
    commit_seconds: Histogram,
    moved: Counter,
    released: Counter,
    superseded: Counter,
    lost: Counter,
}

impl Settler {
    /// A writer on its own connection.
    pub fn new(lane: SettleLane, session: Session, accept_deadline: Duration) -> Self {
        let outcome =
            |outcome: Settled| metrics::counter!("settle_payments_total", "outcome" => outcome.as_str());
        let metrics = Metrics {
            batch_size: metrics::histogram!("settle_batch_size"),
            commit_seconds: metrics::histogram!("settle_commit_seconds"),
            moved: outcome(Settled::Moved),
            released: outcome(Settled::Released),
            superseded: outcome(Settled::Superseded),
            lost: outcome(Settled::Lost),
        };
        Self { lane, session, accept_deadline, metrics }
    }

    /// Settles until every desk is gone and all that was handed in is answered.
    pub async fn run(mut self) -> Result<()> {
        while self.run_once().await.is_some() {}
        Ok(())
    }

    /// Settles one batch and says how many payments were in it; `None`: there will be no more.
    pub async fn run_once(&mut self) -> Option<usize> {
        let batch = self.lane.collect().await?;
        let size = batch.commands.len();
        self.metrics.batch_size.record(u32::try_from(size).unwrap_or(u32::MAX));
        let started = Instant::now();
        let answers = self.settle(&batch.commands).await;
        self.metrics.commit_seconds.record(started.elapsed());
        for answer in &answers {
            match answer {
                Settled::Moved => self.metrics.moved.increment(1),
                Settled::Released => self.metrics.released.increment(1),
                Settled::Superseded => self.metrics.superseded.increment(1),
                Settled::Lost => self.metrics.lost.increment(1),
            }
        }
        batch.answer(answers);
        Some(size)
    }

    async fn settle(&mut self, commands: &[Settle]) -> Vec<Settled> {
        let mut settlements = Vec::with_capacity(commands.len());
        let mut released = Vec::new();
        let mut release_after = Duration::ZERO;
        for command in commands {
            match command {
                Settle::Commit(settlement) => settlements.push(settlement.clone()),
                Settle::Release { claim, delay } => {
                    released.push(claim.clone());
                    release_after = release_after.max(*delay);
                }
            }
        }
        // One order of rows for every writer, so that no two wait for each other.
        settlements.sort_unstable_by_key(|one| (one.payment_id, one.epoch));
        // Of two tries of one payment only the later can have moved it.
        let superseded: HashSet<(Uuid, i32)> = settlements
            .windows(2)
            .filter(|pair| pair[0].payment_id == pair[1].payment_id)
            .map(|pair| (pair[0].payment_id, pair[0].epoch))
            .collect();
        released.sort_unstable_by_key(|claim| claim.payment_id);
        let Committed { moved, lost } = self.commit_all(&settlements).await;
        let given_back = self.release_all(&released, release_after).await;
        commands
            .iter()
            .map(|command| match command {
                Settle::Commit(one) if superseded.contains(&(one.payment_id, one.epoch)) => {
                    Settled::Superseded
                }
                Settle::Commit(one) if moved.contains(&one.payment_id) => Settled::Moved,
                Settle::Commit(one) if lost.contains(&one.payment_id) => Settled::Lost,
                Settle::Commit(_) => Settled::Superseded,
                Settle::Release { .. } if given_back => Settled::Released,
                Settle::Release { .. } => Settled::Lost,
            })
            .collect()
    }

    /// Commits, for as long as the payments are ours.
    async fn commit_all(&mut self, settlements: &[Settlement]) -> Committed {
        let accept_in = self.accept_deadline;
        let deadline = Instant::now() + SETTLE_PATIENCE;
        let mut batch_size = settlements.len().max(1);
        let mut committed = Committed::default();
        let mut rest = settlements;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch_size.min(rest.len()));
            crash_point("worker.before_settle");
            let done = self
                .session
                .run(now, move |conn, batch| Box::pin(settle::settle(conn, batch, accept_in)))
                .await;
            match done {
                Ok(ids) => {
                    crash_point("worker.after_settle");
                    committed.moved.extend(ids);
                    rest = later;
                }
                Err(StoreError::Unavailable(cause)) if Instant::now() < deadline => {
                    tracing::warn!(cause, payments = now.len(), "cannot settle; trying on");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(StoreError::Unavailable(_)) => {
                    committed.lost.extend(rest.iter().map(|one| one.payment_id));
                    return committed;
                }
                // One payment must not hold up its neighbours: each is tried by itself.
                Err(StoreError::Refused(_)) if batch_size > 1 => batch_size = 1,
                Err(error) => {
                    tracing::error!(%error, payment = %now[0].payment_id, "cannot settle through a fault of ours");
                    committed.lost.insert(now[0].payment_id);
                    rest = later;
                }
            }
        }
        committed
    }

    async fn release_all(&mut self, claims: &[Claimed], delay: Duration) -> bool {
        if claims.is_empty() {
            return true;
        }
        crash_point("worker.before_release");
        let done = self
            .session
            .run(claims, move |conn, claims| Box::pin(settle::release(conn, claims, delay)))
            .await;
        crash_point("worker.after_release");
        done.inspect_err(|error| tracing::warn!(%error, "cannot release claims; their leases will run out"))
            .is_ok()
    }
}
