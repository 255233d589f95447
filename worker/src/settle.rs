//! settle: the writers that commit what tries came to, a batch in one transaction, and give back what was not sent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Result;
use metrics::{Counter, Histogram};
use runtime::batch::{Batch, Desk, Lane};
use runtime::chaos::crash_point;
use store::claim::Claimed;
use store::session::{Session, StoreError};
use store::settle::{self, Settlement};
use uuid::Uuid;

use crate::aside::may_be_one;
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
    /// It could not be committed: the database was away, or somebody else held it, for too long; or it was refused (a fault of
    /// ours, logged). The lease will run out and the payment be taken up again.
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

/// What became of a batch.
#[derive(Debug, Default)]
struct Committed {
    moved: HashSet<Uuid>,
    lost: HashSet<Uuid>,
    /// Somebody else holds the payment or its order.
    held: HashSet<Uuid>,
}

/// Between tries while the database is away.
const PAUSE: Duration = Duration::from_millis(250);
/// Between rounds of tries of what somebody else holds. A try that fails takes 50 ms, in which nothing else is settled.
const HELD_AGAIN: Duration = Duration::from_millis(250);
/// Such tries that may fail in one round: so two fifths of the time at most.
const HELD_IN_VAIN: usize = 2;

/// One that somebody else holds: it comes again, alone, and those that came with it do not wait for it.
#[derive(Debug)]
struct Held {
    one: Batch<Settle, Settled>,
    until: Instant,
}

/// A writer.
#[derive(Debug)]
pub struct Settler {
    lane: SettleLane,
    session: Session,
    accept_deadline: Duration,
    held: VecDeque<Held>,
    held_next_at: Instant,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    batch_size: Histogram,
    commit_seconds: Histogram,
    held: Counter,
    moved: Counter,
    released: Counter,
    superseded: Counter,
    lost: Counter,
}

impl Metrics {
    fn count(&self, answer: Settled) {
        match answer {
            Settled::Moved => self.moved.increment(1),
            Settled::Released => self.released.increment(1),
            Settled::Superseded => self.superseded.increment(1),
            Settled::Lost => self.lost.increment(1),
        }
    }
}

impl Settler {
    /// A writer on its own connection.
    pub fn new(lane: SettleLane, session: Session, accept_deadline: Duration) -> Self {
        let outcome =
            |outcome: Settled| metrics::counter!("settle_payments_total", "outcome" => outcome.as_str());
        let metrics = Metrics {
            batch_size: metrics::histogram!("settle_batch_size"),
            commit_seconds: metrics::histogram!("settle_commit_seconds"),
            held: metrics::counter!("settle_held_total"),
            moved: outcome(Settled::Moved),
            released: outcome(Settled::Released),
            superseded: outcome(Settled::Superseded),
            lost: outcome(Settled::Lost),
        };
        let (held, held_next_at) = (VecDeque::new(), Instant::now());
        Self { lane, session, accept_deadline, held, held_next_at, metrics }
    }

    /// Settles until every desk is gone and all that was handed in is answered.
    pub async fn run(mut self) -> Result<()> {
        while self.run_once().await.is_some() {}
        Ok(())
    }

    /// Settles one batch, and says how many payments were in it; tries again what somebody else held. `None`: there will be no
    /// more.
    pub async fn run_once(&mut self) -> Option<usize> {
        let batch = self.next().await?;
        let size = batch.as_ref().map_or(0, |batch| batch.commands.len());
        if let Some(batch) = batch {
            self.take(batch).await;
        }
        if !self.held.is_empty() && Instant::now() >= self.held_next_at {
            self.again().await;
            self.held_next_at = Instant::now() + HELD_AGAIN;
        }
        Some(size)
    }

    /// The next batch; without one where it is time for what is held.
    async fn next(&self) -> Option<Option<Batch<Settle, Settled>>> {
        if self.held.is_empty() {
            return self.lane.collect().await.map(Some);
        }
        let pause = self.held_next_at.saturating_duration_since(Instant::now());
        match tokio::time::timeout(pause, self.lane.collect()).await {
            Ok(Some(batch)) => Some(Some(batch)),
            Ok(None) => {
                tokio::time::sleep(pause).await;
                Some(None)
            }
            Err(_) => Some(None),
        }
    }

    async fn take(&mut self, batch: Batch<Settle, Settled>) {
        self.metrics.batch_size.record(u32::try_from(batch.commands.len()).unwrap_or(u32::MAX));
        let started = Instant::now();
        let answers = self.settle(&batch.commands).await;
        self.metrics.commit_seconds.record(started.elapsed());
        answers.iter().flatten().for_each(|answer| self.metrics.count(*answer));
        let until = started + SETTLE_PATIENCE;
        for one in batch.answer_some(answers) {
            self.metrics.held.increment(1);
            self.held.push_back(Held { one, until });
        }
    }

    /// Tries again what somebody else held, each alone.
    async fn again(&mut self) {
        let mut in_vain = 0;
        for _ in 0..self.held.len() {
            let Some(Held { one, until }) = self.held.pop_front() else { return };
            let mut answer = self.settle(&one.commands).await.pop().flatten();
            if answer.is_none() && Instant::now() >= until {
                tracing::error!(payment = %one.commands[0].payment_id(), "cannot settle: somebody else holds its rows");
                answer = Some(Settled::Lost);
            }
            match answer {
                Some(answer) => {
                    self.metrics.count(answer);
                    one.answer(vec![answer]);
                }
                None => {
                    self.held.push_back(Held { one, until });
                    in_vain += 1;
                }
            }
            if in_vain == HELD_IN_VAIN {
                return;
            }
        }
    }

    /// What each came to; nothing, where somebody else holds it.
    async fn settle(&mut self, commands: &[Settle]) -> Vec<Option<Settled>> {
        let mut settlements = Vec::with_capacity(commands.len());
        let mut releases = Vec::new();
        for command in commands {
            match command {
                Settle::Commit(settlement) => settlements.push(settlement.clone()),
                Settle::Release { claim, delay } => releases.push((claim.clone(), *delay)),
            }
        }
        settlements.sort_unstable_by_key(|one| (one.payment_id, one.epoch));
        // Of two tries of one payment only the later can have moved it.
        let last: HashMap<Uuid, i32> = settlements.iter().map(|one| (one.payment_id, one.epoch)).collect();
        let committed = self.commit_all(&settlements).await;
        let released = self.release_all(&releases).await;
        let answer = |command: &Settle| match command {
            Settle::Commit(one) if last.get(&one.payment_id) != Some(&one.epoch) => Some(Settled::Superseded),
            Settle::Commit(one) => committed.answer(one.payment_id, Settled::Superseded),
            Settle::Release { claim, .. } => released.answer(claim.payment_id, Settled::Released),
        };
        commands.iter().map(answer).collect()
    }

    /// Commits, for as long as the payments are ours.
    async fn commit_all(&mut self, settlements: &[Settlement]) -> Committed {
        let accept_in = self.accept_deadline;
        let deadline = Instant::now() + SETTLE_PATIENCE;
        let mut alone = false;
        let mut committed = Committed::default();
        let mut rest = settlements;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(if alone { 1 } else { rest.len() });
            crash_point("worker.before_settle");
            let done = self
                .session
                .run_batch(now, move |conn, batch| Box::pin(settle::settle(conn, batch, accept_in)))
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
                Err(error) if now.len() > 1 && may_be_one(&error) => alone = true,
                Err(StoreError::Held) => {
                    committed.held.insert(now[0].payment_id);
                    rest = later;
                }
                Err(error) => {
                    tracing::error!(%error, payment = %now[0].payment_id, "cannot settle through a fault of ours");
                    committed.lost.insert(now[0].payment_id);
                    rest = later;
                }
            }
        }
        committed
    }

    async fn release_all(&mut self, releases: &[(Claimed, Duration)]) -> Committed {
        let mut released = Committed::default();
        let mut alone = false;
        let mut rest = releases;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(if alone { 1 } else { rest.len() });
            crash_point("worker.before_release");
            let done =
                self.session.run_batch(now, |conn, batch| Box::pin(settle::release(conn, batch))).await;
            crash_point("worker.after_release");
            match done {
                Ok(_) => rest = later,
                Err(error) if now.len() > 1 && may_be_one(&error) => alone = true,
                Err(StoreError::Held) => {
                    released.held.insert(now[0].0.payment_id);
                    rest = later;
                }
                Err(error) => {
                    tracing::warn!(%error, claims = now.len(), "cannot release claims; their leases will run out");
                    released.lost.extend(now.iter().map(|(claim, _)| claim.payment_id));
                    rest = later;
                }
            }
        }
        released
    }
}

impl Settle {
    const fn payment_id(&self) -> Uuid {
        match self {
            Self::Commit(settlement) => settlement.payment_id,
            Self::Release { claim, .. } => claim.payment_id,
        }
    }
}

impl Committed {
    /// What a payment came to, `otherwise` where nothing is noted.
    fn answer(&self, payment_id: Uuid, otherwise: Settled) -> Option<Settled> {
        if self.held.contains(&payment_id) {
            None
        } else if self.lost.contains(&payment_id) {
            Some(Settled::Lost)
        } else if self.moved.contains(&payment_id) {
            Some(Settled::Moved)
        } else {
            Some(otherwise)
        }
    }
}
