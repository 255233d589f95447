//! moves: what people ask for is carried out by movers, each on a database connection of its own, one request a
//! transaction. A handler hands in and awaits: a client that hangs up cuts no transaction short.

use std::time::Instant;

use anyhow::Result;
use domain::order::moves::Move;
use metrics::{Counter, Histogram};
use runtime::batch::{Desk, Lane};
use runtime::chaos::crash_point;
use store::accept::IdempotencyKey;
use store::additions::{Add, PayAnew, add, pay_anew};
use store::keyed::Keyed;
use store::moves::{Moved, carry_out};
use store::session::{Session, StoreError};
use uuid::Uuid;

use crate::orders::fault::Fault;

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
}

impl Ask {
    const fn order_id(&self) -> Uuid {
        match self {
            Self::Move(ask) => ask.order_id,
            Self::Add(ask) => ask.order_id,
            Self::Pay(ask) => ask.order_id,
        }
    }
}

/// What a handler gets back.
pub type Answer = Result<Moved, Fault>;
/// Where handlers hand in.
pub type MoveDesk = Desk<Asked, Answer>;
/// Where a mover takes its requests from.
pub type MoveLane = Lane<Asked, Answer>;

/// Carries requests out.
#[derive(Debug)]
pub struct Mover {
    lane: MoveLane,
    session: Session,
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
        };
        Self { lane, session, metrics }
    }

    /// Carries out until every desk is gone and all that was handed in is answered.
    pub async fn run(mut self) -> Result<()> {
        while self.run_once().await {}
        Ok(())
    }

    /// Carries out what is there (waits for one); false: there will be no more.
    pub async fn run_once(&mut self) -> bool {
        let Some(batch) = self.lane.collect().await else { return false };
        let mut answers = Vec::with_capacity(batch.commands.len());
        for asked in &batch.commands {
            answers.push(self.carry_out(asked).await);
        }
        batch.answer(answers);
        true
    }

    async fn carry_out(&mut self, asked: &Asked) -> Answer {
        let started = Instant::now();
        let outcome = self.session.run(asked, |conn, Asked { ask, key }| {
            let key = key.as_ref();
            match ask {
                Ask::Move(ask) => Box::pin(carry_out(conn, Keyed { ask, key })),
                Ask::Add(ask) => Box::pin(add(conn, Keyed { ask, key })),
                Ask::Pay(ask) => Box::pin(pay_anew(conn, Keyed { ask, key })),
            }
        });
        let outcome = outcome.await;
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
        outcome.map_err(|error| match error {
            StoreError::Unavailable(cause) => {
                tracing::warn!(cause, order = %asked.ask.order_id(), "cannot move an order");
                Fault::Unavailable
            }
            StoreError::Refused(_) => {
                tracing::error!(%error, order = %asked.ask.order_id(), "an order was not moved through a fault of ours");
                Fault::Internal
            }
        })
    }
}
