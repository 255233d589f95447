//! moves: what people ask for is carried out by movers, each on a database connection of its own, one request a
//! transaction. A handler hands in and awaits: a client that hangs up cuts no transaction short.

use std::time::Instant;

use anyhow::Result;
use domain::order::moves::Move;
use metrics::{Counter, Histogram};
use runtime::batch::{Desk, Lane};
use runtime::chaos::crash_point;
use store::additions::{Add, PayAnew, add, pay_anew};
use store::moves::{Moved, carry_out};
use store::session::{Session, StoreError};
use uuid::Uuid;

use crate::orders::fault::Fault;

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
pub type MoveDesk = Desk<Ask, Answer>;
/// Where a mover takes its requests from.
pub type MoveLane = Lane<Ask, Answer>;

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
        for ask in &batch.commands {
            answers.push(self.carry_out(ask).await);
        }
        batch.answer(answers);
        true
    }

    async fn carry_out(&mut self, ask: &Ask) -> Answer {
        let started = Instant::now();
        let outcome = match ask {
            Ask::Move(ask) => self.session.run(ask, |conn, ask| Box::pin(carry_out(conn, ask))).await,
            Ask::Add(ask) => self.session.run(ask, |conn, ask| Box::pin(add(conn, ask))).await,
            Ask::Pay(ask) => self.session.run(ask, |conn, ask| Box::pin(pay_anew(conn, ask))).await,
        };
        crash_point("api.after_move");
        self.metrics.commit_seconds.record(started.elapsed());
        match &outcome {
            Ok(Moved::Done { wish: false, .. }) => self.metrics.moved.increment(1),
            Ok(Moved::Done { wish: true, .. }) => self.metrics.wished.increment(1),
            Ok(Moved::Refused { .. } | Moved::NotFound) => self.metrics.refused.increment(1),
            Err(_) => self.metrics.failed.increment(1),
        }
        outcome.map_err(|error| match error {
            StoreError::Unavailable(cause) => {
                tracing::warn!(cause, order = %ask.order_id(), "cannot move an order");
                Fault::Unavailable
            }
            StoreError::Refused(_) => {
                tracing::error!(%error, order = %ask.order_id(), "an order was not moved through a fault of ours");
                Fault::Internal
            }
        })
    }
}
