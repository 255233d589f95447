//! accept: the writers. Each owns a database connection and commits what gathered while its last batch was being
//! committed; after the commit, and never before, the payments' names go to the publisher.

use std::time::{Duration, Instant};

use anyhow::Result;
use domain::message::PaymentsDue;
use domain::order::payment_method::NoCharge;
use domain::origin::Origins;
use futures_util::future::BoxFuture;
use metrics::{Counter, Histogram};
use runtime::batch::{Batch, Desk, Lane};
use runtime::chaos::crash_point;
use sqlx::PgConnection;
use store::accept::{self, Accept, Accepted};
use store::session::{Session, StoreError};
use tokio::sync::mpsc;
use tracing::field::display;

use crate::orders::fault::{Fault, Outage};

/// What a handler gets back for its order.
pub type Answer = Result<Accepted, Fault>;
/// Where handlers hand in orders.
pub type AcceptDesk = Desk<Accept, Answer>;
/// Where a writer takes its batches from.
pub type AcceptLane = Lane<Accept, Answer>;

/// A writer.
#[derive(Debug)]
pub struct Writer {
    lane: AcceptLane,
    session: Session,
    publish: mpsc::Sender<PaymentsDue>,
    publish_grace: Duration,
    how: How,
    outage: Outage,
    metrics: Metrics,
}

/// How a batch is written.
type How =
    for<'c> fn(&'c mut PgConnection, &'c [Accept], Duration) -> BoxFuture<'c, sqlx::Result<Vec<Accepted>>>;

#[derive(Debug)]
struct Metrics {
    batch_size: Histogram,
    commit_seconds: Histogram,
    accepted: Counter,
    of_channels: Counter,
    elsewhere: Counter,
    replayed: Counter,
    key_reused: Counter,
    failed: Counter,
    out_of_stock: Counter,
    not_published: Counter,
}

impl Writer {
    /// A writer on its own connection; `publish` takes the names of what became durable.
    pub fn new(
        lane: AcceptLane,
        session: Session,
        publish: mpsc::Sender<PaymentsDue>,
        publish_grace: Duration,
    ) -> Self {
        let outcome = |outcome: &'static str| metrics::counter!("accept_orders_total", "outcome" => outcome);
        let metrics = Metrics {
            batch_size: metrics::histogram!("accept_batch_size"),
            commit_seconds: metrics::histogram!("accept_commit_seconds"),
            accepted: outcome("accepted"),
            of_channels: metrics::counter!("accept_channel_orders_total"),
            elsewhere: metrics::counter!("accept_paid_elsewhere_total"),
            replayed: outcome("replayed"),
            key_reused: outcome("key_reused"),
            failed: outcome("failed"),
            out_of_stock: outcome("out_of_stock"),
            not_published: metrics::counter!("publish_payments_total", "outcome" => "dropped"),
        };
        let how: How = |conn, orders, grace| Box::pin(accept::accept(conn, orders, grace));
        Self { lane, session, publish, publish_grace, how, outage: Outage::default(), metrics }
    }

    /// The same for orders of what is counted.
    pub fn of_stocked(
        lane: AcceptLane,
        session: Session,
        publish: mpsc::Sender<PaymentsDue>,
        publish_grace: Duration,
    ) -> Self {
        let how: How = |conn, orders, grace| Box::pin(accept::accept_stocked(conn, orders, grace));
        Self { how, ..Self::new(lane, session, publish, publish_grace) }
    }

    /// Writes batches until every desk is gone and all that was handed in is answered.
    pub async fn run(mut self) -> Result<()> {
        while self.run_once().await.is_some() {}
        Ok(())
    }

    /// Writes one batch and says how many orders were in it; `None`: there will be no more.
    pub async fn run_once(&mut self) -> Option<usize> {
        let batch = self.lane.collect().await?;
        let size = batch.commands.len();
        self.metrics.batch_size.record(u32::try_from(size).unwrap_or(u32::MAX));
        let answers = self.write(&batch).await;
        crash_point("api.after_commit");
        self.publish(&batch, &answers);
        crash_point("api.after_handover");
        batch.answer(answers);
        Some(size)
    }

    async fn write(&mut self, batch: &Batch<Accept, Answer>) -> Vec<Answer> {
        let started = Instant::now();
        let outcome = self.commit(&batch.commands).await;
        self.metrics.commit_seconds.record(started.elapsed());
        self.outage.met(&outcome, "accept orders");
        match outcome {
            Ok(accepted) => accepted.into_iter().map(Ok).collect(),
            Err(StoreError::Unavailable(_)) => {
                batch.commands.iter().map(|_| Err(Fault::Unavailable)).collect()
            }
            // One order must not take its neighbours down: each is tried by itself.
            Err(StoreError::Refused(_) | StoreError::Held) if batch.commands.len() > 1 => {
                let mut answers = Vec::with_capacity(batch.commands.len());
                for order in &batch.commands {
                    answers.push(self.write_alone(order).await);
                }
                answers
            }
            Err(StoreError::Held) => batch.commands.iter().map(|_| Err(Fault::Held)).collect(),
            Err(error) => batch.commands.iter().map(|order| Err(internal(&error, order))).collect(),
        }
    }

    async fn write_alone(&mut self, order: &Accept) -> Answer {
        let (how, grace) = (self.how, self.publish_grace);
        crash_point("api.before_commit");
        let alone = std::slice::from_ref(order);
        let outcome = self.session.run_alone(alone, move |conn, orders| how(conn, orders, grace));
        match outcome.await {
            Ok(mut one) => one.pop().ok_or(Fault::Internal),
            Err(StoreError::Unavailable(_)) => Err(Fault::Unavailable),
            Err(StoreError::Held) => Err(Fault::Held),
            Err(error) => Err(internal(&error, order)),
        }
    }

    async fn commit(&mut self, orders: &[Accept]) -> Result<Vec<Accepted>, StoreError> {
        let (how, grace) = (self.how, self.publish_grace);
        crash_point("api.before_commit");
        self.session.run(orders, move |conn, orders| how(conn, orders, grace)).await
    }

    /// Hands on the names of what is new. Never waits: a full publisher means a slow broker, and the sweep finds
    /// what is not published.
    fn publish(&self, batch: &Batch<Accept, Answer>, answers: &[Answer]) {
        let mut fresh = Vec::with_capacity(answers.len());
        // (What is held is let go by a sweep.)
        let (mut of_channels, mut uncharged, mut elsewhere, mut held) = (0, 0, 0, 0);
        // Made only when the first order is met that has one.
        let mut origins = Origins::new();
        for (one, answer) in batch.commands.iter().zip(answers) {
            let new = matches!(answer, Ok(Accepted::New { .. }));
            of_channels +=
                u64::from(new && one.order.details.as_ref().is_some_and(|details| details.key.is_some()));
            match answer {
                Ok(Accepted::New { created_at }) => {
                    // There is nothing to claim.
                    if let Some(no_charge) = one.order.uncharged() {
                        uncharged += 1;
                        elsewhere += u64::from(no_charge.because == NoCharge::Elsewhere);
                        continue;
                    }
                    if one.order.is_held(*created_at) {
                        held += 1;
                        continue;
                    }
                    if let Some(origin) = &one.order.origin {
                        origins.resize(fresh.len(), None);
                        origins.push(Some(origin.clone()));
                    }
                    fresh.push(one.order.payment_id());
                }
                Ok(Accepted::Replay(_)) => self.metrics.replayed.increment(1),
                Ok(Accepted::KeyReused | Accepted::ChannelIdReused(_)) => {
                    self.metrics.key_reused.increment(1);
                }
                Ok(Accepted::OutOfStock(_) | Accepted::CartChanged) => self.metrics.out_of_stock.increment(1),
                Err(_) => self.metrics.failed.increment(1),
            }
        }
        let count = fresh.len() as u64;
        self.metrics.accepted.increment(count + uncharged + held);
        self.metrics.of_channels.increment(of_channels);
        self.metrics.elsewhere.increment(elsewhere);
        if fresh.is_empty() {
            return;
        }
        if !origins.is_empty() {
            origins.resize(fresh.len(), None);
        }
        if self.publish.try_send(PaymentsDue::new(fresh).from_origins(origins)).is_err() {
            self.metrics.not_published.increment(count);
        }
    }
}

fn internal(error: &StoreError, one: &Accept) -> Fault {
    let trace_id =
        one.order.origin.as_ref().and_then(|origin| origin.trace).map(|trace| display(trace.trace_id));
    tracing::error!(%error, order = %one.order.id, trace_id, "an order was not accepted through a fault of ours");
    Fault::Internal
}
