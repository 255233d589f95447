//! moves: what people ask for is carried out by movers, each on a database connection of its own, one request a
//! transaction. A handler hands in and awaits: a client that hangs up cuts no transaction short.
//!
//! An order that somebody else holds (a report, an operator's session, a program that hangs) holds nobody up but those who ask
//! something of that very order: their requests are laid aside and tried again, in their order, until they have waited for as
//! long as a client does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use domain::order::moves::{Actor, Move};
use metrics::{Counter, Histogram};
use runtime::batch::{Batch, Desk, Lane};
use runtime::chaos::crash_point;
use store::accept::IdempotencyKey;
use store::additions::{Add, PayAnew, add, pay_anew};
use store::channel_told::{Tell, tell};
use store::collect::{Collect, collect};
use store::keyed::Keyed;
use store::moves::{Moved, carry_out};
use store::session::{PATIENCE, Session, StoreError};
use uuid::Uuid;

use crate::orders::fault::{Fault, Outage};

/// What people ask for, under a key where they gave one.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What.
    pub ask: Ask,
    /// The `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
}

/// What people ask for.
#[derive(Debug, Clone)]
pub enum Ask {
    /// To move an order.
    Move(Move),
    /// To add to it.
    Add(Add),
    /// To pay for it anew.
    Pay(PayAnew),
    /// To write down that the money for it came in.
    Collect(Collect),
    /// To write down what its channel says of it.
    Tell(Box<Tell>),
}

impl Ask {
    /// By whom.
    pub(crate) const fn by(&self) -> &Actor {
        match self {
            Self::Move(ask) => &ask.by,
            Self::Add(ask) => &ask.by,
            Self::Pay(ask) => &ask.by,
            Self::Collect(ask) => &ask.by,
            Self::Tell(ask) => &ask.by,
        }
    }

    const fn order_id(&self) -> Uuid {
        match self {
            Self::Move(ask) => ask.order_id,
            Self::Add(ask) => ask.order_id,
            Self::Pay(ask) => ask.order_id,
            Self::Collect(ask) => ask.order_id,
            Self::Tell(ask) => ask.order_id,
        }
    }
}

/// What a handler gets back.
pub type Answer = Result<Moved, Fault>;
/// Where handlers hand in.
pub type MoveDesk = Desk<Asked, Answer>;
/// Where a mover takes its requests from.
pub type MoveLane = Lane<Asked, Answer>;

/// Between tries of what somebody else holds. A try that fails takes 50 ms.
const HELD_AGAIN: Duration = Duration::from_millis(100);

/// What is asked of an order that somebody else holds.
#[derive(Debug)]
struct Held {
    order_id: Uuid,
    /// With the time when each is given up.
    asks: VecDeque<(Batch<Asked, Answer>, Instant)>,
    next_at: Instant,
}

/// Carries requests out.
#[derive(Debug)]
pub struct Mover {
    lane: MoveLane,
    session: Session,
    /// Whose turn is next comes first.
    held: VecDeque<Held>,
    outage: Outage,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    commit_seconds: Histogram,
    moved: Counter,
    wished: Counter,
    replayed: Counter,
    key_reused: Counter,
    refused: Counter,
    failed: Counter,
    held: Counter,
}

impl Mover {
    /// A mover on its own connection.
    pub fn new(lane: MoveLane, session: Session) -> Self {
        let outcome = |outcome: &'static str| metrics::counter!("move_orders_total", "outcome" => outcome);
        let metrics = Metrics {
            commit_seconds: metrics::histogram!("move_commit_seconds"),
            moved: outcome("moved"),
            wished: outcome("wished"),
            replayed: outcome("replayed"),
            key_reused: outcome("key_reused"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            held: metrics::counter!("move_held_total"),
        };
        Self { lane, session, held: VecDeque::new(), outage: Outage::default(), metrics }
    }

    /// Carries out until every desk is gone and all that was handed in is answered.
    pub async fn run(mut self) -> Result<()> {
        while self.run_once().await {}
        Ok(())
    }

    /// Carries out what is there (waits for one), or what is held and whose time has come; false: there will be no more.
    pub async fn run_once(&mut self) -> bool {
        let Some(front) = self.held.front() else {
            let Some(batch) = self.lane.collect().await else { return false };
            self.take(batch).await;
            return true;
        };
        let pause = front.next_at.saturating_duration_since(Instant::now());
        match tokio::time::timeout(pause, self.lane.collect()).await {
            Ok(Some(batch)) => self.take(batch).await,
            Ok(None) => tokio::time::sleep(pause).await,
            Err(_) => {}
        }
        if self.held.front().is_some_and(|front| front.next_at <= Instant::now()) {
            self.again().await;
        }
        true
    }

    async fn take(&mut self, batch: Batch<Asked, Answer>) {
        let until = Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(batch.commands.len());
        for asked in &batch.commands {
            let is_held = self.held.iter().any(|held| held.order_id == asked.ask.order_id());
            answers.push(if is_held { None } else { self.carry_out(asked).await });
        }
        for one in batch.answer_some(answers) {
            self.metrics.held.increment(1);
            self.lay_aside(one, until);
        }
    }

    fn lay_aside(&mut self, one: Batch<Asked, Answer>, until: Instant) {
        let order_id = one.commands[0].ask.order_id();
        match self.held.iter_mut().find(|held| held.order_id == order_id) {
            Some(held) => held.asks.push_back((one, until)),
            None => {
                let next_at = Instant::now() + HELD_AGAIN;
                self.held.push_back(Held { order_id, asks: VecDeque::from([(one, until)]), next_at });
            }
        }
    }

    /// Tries what is asked of the first held order, up to one that is held still.
    async fn again(&mut self) {
        let Some(mut held) = self.held.pop_front() else { return };
        held.asks.retain(|(one, _)| one.is_awaited());
        while let Some((one, until)) = held.asks.pop_front() {
            match self.carry_out(&one.commands[0]).await {
                Some(answer) => one.answer(vec![answer]),
                None => {
                    held.asks.push_front((one, until));
                    break;
                }
            }
        }
        let (late, early): (VecDeque<_>, VecDeque<_>) =
            held.asks.drain(..).partition(|(_, until)| *until <= Instant::now());
        for (one, _) in late {
            self.metrics.failed.increment(1);
            tracing::warn!(order = %held.order_id, "cannot move an order: somebody else holds it");
            one.answer(vec![Err(Fault::Held)]);
        }
        if !early.is_empty() {
            let next_at = Instant::now() + HELD_AGAIN;
            self.held.push_back(Held { asks: early, next_at, ..held });
        }
    }

    /// What became of it; nothing, where somebody else holds the order.
    async fn carry_out(&mut self, asked: &Asked) -> Option<Answer> {
        let started = Instant::now();
        let outcome = self.session.run_alone(asked, |conn, Asked { ask, key }| {
            let key = key.as_ref();
            match ask {
                Ask::Move(ask) => Box::pin(carry_out(conn, Keyed { ask, key })),
                Ask::Add(ask) => Box::pin(add(conn, Keyed { ask, key })),
                Ask::Pay(ask) => Box::pin(pay_anew(conn, Keyed { ask, key })),
                Ask::Collect(ask) => Box::pin(collect(conn, Keyed { ask, key })),
                Ask::Tell(ask) => Box::pin(tell(conn, Keyed { ask: &**ask, key })),
            }
        });
        let outcome = outcome.await;
        self.outage.met(&outcome, "move orders");
        if matches!(outcome, Err(StoreError::Held)) {
            return None;
        }
        crash_point("api.after_move");
        self.metrics.commit_seconds.record(started.elapsed());
        match &outcome {
            Ok(Moved::Done { wish: false, .. }) => self.metrics.moved.increment(1),
            Ok(Moved::Done { wish: true, .. }) => self.metrics.wished.increment(1),
            Ok(Moved::Replayed { .. }) => self.metrics.replayed.increment(1),
            Ok(Moved::KeyReused) => self.metrics.key_reused.increment(1),
            Ok(Moved::Refused { .. } | Moved::NotFound) => self.metrics.refused.increment(1),
            Err(_) => self.metrics.failed.increment(1),
        }
        Some(outcome.map_err(|error| match error {
            StoreError::Held => Fault::Held,
            StoreError::Unavailable(_) => Fault::Unavailable,
            StoreError::Refused(_) => {
                tracing::error!(%error, order = %asked.ask.order_id(), "an order was not moved through a fault of ours");
                Fault::Internal
            }
        }))
    }
}
