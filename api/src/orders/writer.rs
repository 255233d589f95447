//! accept: the writers. Each owns a database connection and commits what gathered while its last batch was being
//! committed; after the commit, and never before, the payments' names go to the publisher.

use std::time::{Duration, Instant};

use anyhow::Result;
use domain::message::PaymentsDue;
use domain::order::NewOrder;
use domain::order::status::OrderStatus;
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

/// What became of an order.
pub type Became = Result<Accepted, Fault>;
/// What a handler gets back: its order, and what became of it.
pub type Answer = (NewOrder, Became);
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
        let goes_alone = |one: &Accept| one.order.goes_alone();
        if batch.commands.iter().any(goes_alone) {
            let (together, others) = batch.part(goes_alone);
            if !together.commands.is_empty() {
                self.write(together).await;
            }
            self.write_each(others).await;
        } else {
            self.write(batch).await;
        }
        Some(size)
    }

    async fn write(&mut self, batch: Batch<Accept, Answer>) {
        let started = Instant::now();
        let outcome = self.commit(&batch.commands).await;
        self.metrics.commit_seconds.record(started.elapsed());
        self.outage.met(&outcome, "accept orders");
        let answers = match outcome {
            Ok(accepted) => accepted.into_iter().map(Ok).collect(),
            Err(StoreError::Unavailable(_)) => {
                batch.commands.iter().map(|_| Err(Fault::Unavailable)).collect()
            }
            // One order must not take its neighbours down: each is tried by itself.
            Err(StoreError::Refused(_) | StoreError::Held) if batch.commands.len() > 1 => {
                return self.write_each(batch).await;
            }
            Err(StoreError::Held) => batch.commands.iter().map(|_| Err(Fault::Held)).collect(),
            Err(error) => batch.commands.iter().map(|order| Err(internal(&error, order))).collect(),
        };
        self.answer(batch, answers);
    }

    /// Each by itself, and each is answered before the next is begun: whoever waits for somebody else's order for too long is told
    /// 503, and is then not to find that it was committed. So what nobody waits for any more is left alone. An outage ends it.
    async fn write_each(&mut self, batch: Batch<Accept, Answer>) {
        let mut is_out = false;
        for one in batch.one_by_one() {
            let answer = match is_out || !one.is_awaited() {
                true => Err(Fault::Unavailable),
                false => self.write_alone(&one.commands[0]).await,
            };
            is_out |= matches!(answer, Err(Fault::Unavailable)) && one.is_awaited();
            self.answer(one, vec![answer]);
        }
    }

    fn answer(&self, batch: Batch<Accept, Answer>, answers: Vec<Became>) {
        crash_point("api.after_commit");
        self.publish(&batch, &answers);
        crash_point("api.after_handover");
        batch.answer_with(answers, |command, became| (command.order, became));
    }

    async fn write_alone(&mut self, order: &Accept) -> Became {
        let (how, grace) = (self.how, self.publish_grace);
        crash_point("api.before_commit");
        let started = Instant::now();
        let alone = std::slice::from_ref(order);
        let outcome = self.session.run_alone(alone, move |conn, orders| how(conn, orders, grace)).await;
        self.metrics.commit_seconds.record(started.elapsed());
        self.outage.met(&outcome, "accept orders");
        match outcome {
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

    /// What came of an order of which there is nothing to hand on.
    fn count(&self, answer: &Became) {
        match answer {
            Ok(Accepted::New { .. } | Accepted::Partly(_)) => {}
            Ok(Accepted::Replay(_)) => self.metrics.replayed.increment(1),
            Ok(Accepted::KeyReused | Accepted::ChannelIdReused(_)) => self.metrics.key_reused.increment(1),
            Ok(Accepted::OutOfStock(_) | Accepted::CartChanged) => self.metrics.out_of_stock.increment(1),
            Err(_) => self.metrics.failed.increment(1),
        }
    }

    /// Hands on the names of what is new. Never waits: a full publisher means a slow broker, and the sweep finds
    /// what is not published.
    fn publish(&self, batch: &Batch<Accept, Answer>, answers: &[Became]) {
        let mut fresh = Vec::with_capacity(answers.len());
        // (What is held is let go by a sweep.)
        let (mut of_channels, mut uncharged, mut elsewhere, mut held) = (0, 0, 0, 0);
        // Made only when the first order is met that has one.
        let mut origins = Origins::new();
        for (one, answer) in batch.commands.iter().zip(answers) {
            let new = matches!(answer, Ok(Accepted::New { .. } | Accepted::Partly(_)));
            of_channels += u64::from(new && one.order.channel().is_some());
            let fresh_one = match answer {
                Ok(Accepted::New { created_at }) => Fresh {
                    is_uncharged: one.order.uncharged().is_some(),
                    is_elsewhere: one.order.is_paid_elsewhere(),
                    is_held: one.order.is_held(*created_at),
                },
                Ok(Accepted::Partly(cut)) => Fresh {
                    is_uncharged: cut.status == OrderStatus::Confirmed,
                    is_elsewhere: cut.is_paid_elsewhere(),
                    is_held: cut.details.as_ref().is_some_and(|details| details.held_until.is_some()),
                },
                other => {
                    self.count(other);
                    continue;
                }
            };
            // There is nothing to claim.
            if fresh_one.is_uncharged {
                uncharged += 1;
                elsewhere += u64::from(fresh_one.is_elsewhere);
                continue;
            }
            if fresh_one.is_held {
                held += 1;
                continue;
            }
            if let Some(origin) = &one.order.origin {
                origins.resize(fresh.len(), None);
                origins.push(Some(origin.clone()));
            }
            fresh.push(one.order.payment_id());
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

/// What is to be done for an order that has just become durable.
struct Fresh {
    is_uncharged: bool,
    is_elsewhere: bool,
    is_held: bool,
}

fn internal(error: &StoreError, one: &Accept) -> Fault {
    let trace_id =
        one.order.origin.as_ref().and_then(|origin| origin.trace).map(|trace| display(trace.trace_id));
    tracing::error!(%error, order = %one.order.id, trace_id, "an order was not accepted through a fault of ours");
    Fault::Internal
}
