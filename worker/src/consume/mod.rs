//! consume: messages are taken from the broker, the payments that they name are claimed in one statement and charged
//! side by side, and each message is acknowledged when all of its payments are settled or handed to `due_at`.
//!
//! While PostgreSQL is away nothing is taken. What was in hand goes back at once: a worker that reaches PostgreSQL may
//! have it, and nothing is held so long that RabbitMQ takes it away. It goes back once: RabbitMQ before 4.3 counts each
//! return, and lays aside as poison what was returned too often.

mod gather;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use broker::{Broker, Consumer, Delivery, Outage};
use domain::message::MAX_PAYMENTS;
use futures_util::future::join_all;
use runtime::chaos::{crash_point, sabotaged};
use runtime::tasks::Stop;
use runtime::trace;
use store::claim::Claimed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::gather::{ClaimSize, Messages, gather, hand_over};
use crate::charge::Till;
use crate::claim::{Claimer, Claims};
use crate::config::WorkerSettings;

/// Takes messages and sees their payments through.
#[derive(Debug)]
pub struct Consumption {
    claimer: Claimer,
    till: Arc<Till>,
    in_hand: Arc<Semaphore>,
    /// How much one claim takes.
    claim: ClaimSize,
    under_way: TaskTracker,
    prefetch: u16,
    no_broker: Outage,
    no_database: Outage,
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many payments were named and so many claimed; the rest is done, not due, or somebody else's.
    Taken {
        /// By the messages.
        named: usize,
        /// For this worker.
        claimed: usize,
    },
    /// The breaker opened, or the stop came: take nothing more.
    Pause,
}

/// Why a consumer is to be dropped: what it delivered and was not acknowledged comes again.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The broker hung up, or cannot be reached.
    #[error("no broker")]
    Broker(#[source] anyhow::Error),
    /// Nothing can be claimed.
    #[error("no claim")]
    Database(#[source] anyhow::Error),
}

impl Consumption {
    /// Consumption with a claimer of its own.
    pub fn new(claimer: Claimer, till: Arc<Till>, settings: &WorkerSettings) -> Self {
        // Room for one whole claim at least, or a full message could never be taken.
        let in_hand = usize::from(settings.worker_concurrency).max(MAX_PAYMENTS);
        Self {
            claimer,
            till,
            in_hand: Arc::new(Semaphore::new(in_hand)),
            claim: ClaimSize::of(in_hand),
            under_way: TaskTracker::new(),
            // A message may name one payment only: as many messages as payments may be in hand.
            prefetch: settings.worker_concurrency,
            no_broker: Outage::default(),
            no_database: Outage::default(),
        }
    }

    /// Counts the payments in hand, whenever it is called.
    pub fn in_hand(&self) -> impl Fn() -> usize + Send + 'static {
        let (room, size) = (Arc::clone(&self.in_hand), self.in_hand.available_permits());
        move || size.saturating_sub(room.available_permits())
    }

    /// Consumes until `stop`, then finishes what is in hand. Reconnects for as long as it takes, and takes nothing
    /// while the breaker is not closed or nothing can be claimed: the broker keeps what is not taken.
    pub async fn run(mut self, broker: Broker, stop: Stop) -> Result<()> {
        metrics::gauge!("claim_broker_up").set(0);
        metrics::counter!("claim_dead_letters_total").increment(0);
        while !stop.is_stopped() {
            if stop.or_stopped(self.till.breaker.closed()).await.is_none() {
                break;
            }
            let consumed = match stop.or_stopped(broker.consumer(self.prefetch)).await {
                None => break,
                Some(Ok(consumer)) => self.consume(consumer, &stop).await,
                Some(Err(error)) => Err(Lost::Broker(error)),
            };
            match consumed {
                Ok(()) => {}
                Err(Lost::Broker(error)) => self.rest(&error, &stop).await,
                Err(Lost::Database(error)) => self.until_claims_work(error, &stop).await,
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Consumes from one connection, until the breaker opens or the stop comes, or it is lost.
    async fn consume(&mut self, mut consumer: Consumer, stop: &Stop) -> Result<(), Lost> {
        if self.no_broker.mended() {
            tracing::info!("consuming from the broker again");
        }
        metrics::gauge!("claim_broker_up").set(1);
        let end = loop {
            match self.run_once(&mut consumer, stop).await {
                Ok(Step::Taken { .. }) => {}
                Ok(Step::Pause) => break Ok(()),
                Err(lost) => break Err(lost),
            }
        };
        metrics::gauge!("claim_broker_up").set(0);
        if stop.is_stopped() {
            // Acknowledgements need the connection.
            self.finish().await;
        }
        consumer.close().await;
        end
    }

    /// Waits a little before the broker is asked again.
    async fn rest(&mut self, error: &anyhow::Error, stop: &Stop) {
        let (delay, is_news) = self.no_broker.failed(error);
        if is_news {
            tracing::warn!(error = format!("{error:#}"), "no broker; trying on, the sweep carries the work");
        }
        stop.or_stopped(tokio::time::sleep(delay)).await;
    }

    /// Waits until a claim works, by claiming nothing again and again: a database that answers may still refuse to write.
    async fn until_claims_work(&mut self, mut error: anyhow::Error, stop: &Stop) {
        loop {
            let (delay, is_news) = self.no_database.failed(&error);
            if is_news {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot claim; no message is taken until that works"
                );
            }
            if stop.or_stopped(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
            match stop.or_stopped(self.claimer.named(&[])).await {
                None => return,
                Some(Ok(_)) => break,
                Some(Err(again)) => error = again,
            }
        }
        if self.no_database.mended() {
            tracing::info!("claims work again; messages are taken");
        }
    }

    /// Waits until all that was claimed is settled.
    pub async fn finish(&self) {
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
    }

    /// Takes the messages that are there (waits for one), claims their payments, and starts to charge them. Once
    /// this returns they are under way; `finish` waits for their settlement.
    pub async fn run_once(&mut self, consumer: &mut Consumer, stop: &Stop) -> Result<Step, Lost> {
        let first = tokio::select! {
            // Whether to take comes before what there is to take.
            biased;
            () = stop.stopped() => return Ok(Step::Pause),
            () = self.till.breaker.opened() => return Ok(Step::Pause),
            delivery = consumer.next() => delivery.map_err(Lost::Broker)?,
        };
        let begun = trace::now();
        let mut messages = gather(first, consumer, self.claim).await.map_err(Lost::Broker)?;
        let named: Vec<Uuid> = messages.iter().flat_map(|(_, payments)| payments).copied().collect();
        if named.is_empty() {
            return Ok(Step::Taken { named: 0, claimed: 0 });
        }
        // First room, then the claim: its lease should not run while it waits. (A claim is small; nobody closes the room.)
        let count = u32::try_from(named.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.in_hand).acquire_many_owned(count);
        let Some(Ok(room)) = stop.or_stopped(room).await else { return Ok(Step::Pause) };
        if sabotaged("repeat_is_new") {
            self.repeat(&messages).await.map_err(Lost::Database)?;
        }
        let mut claimed = self.claimer.named(&named).await.map_err(Lost::Database)?;
        hand_over(&mut messages, &mut claimed.claims, begun);
        let step = Step::Taken { named: named.len(), claimed: claimed.claims.len() };
        self.start(messages, claimed, room);
        Ok(step)
    }

    /// The bug of treating a message that comes again as a new payment.
    #[cfg(feature = "chaos")]
    async fn repeat(&mut self, deliveries: &[(Delivery, Vec<Uuid>)]) -> Result<()> {
        let again: Vec<Uuid> = deliveries
            .iter()
            .filter(|(delivery, _)| delivery.redelivered)
            .flat_map(|(_, ids)| ids.clone())
            .collect();
        self.claimer
            .session()
            .run(&again, |conn, ids| Box::pin(store::claim::sabotage::copy_payments(conn, ids)))
            .await?;
        Ok(())
    }

    #[cfg(not(feature = "chaos"))]
    async fn repeat(&mut self, _: &[(Delivery, Vec<Uuid>)]) -> Result<()> {
        Ok(())
    }

    /// Charges each message's payments side by side, and acknowledges it after the last.
    fn start(&self, messages: Messages, claimed: Claims, mut room: OwnedSemaphorePermit) {
        let since = claimed.since;
        let mut claimed: HashMap<Uuid, Claimed> =
            claimed.claims.into_iter().map(|one| (one.payment_id, one)).collect();
        for (delivery, payments) in messages {
            let charges: Vec<_> = payments
                .iter()
                .filter_map(|id| claimed.remove(id))
                .map(|claim| {
                    let place = room.split(1);
                    let till = Arc::clone(&self.till);
                    async move {
                        till.charge(claim, since).await;
                        drop(place);
                    }
                })
                .collect();
            self.under_way.spawn(async move {
                if sabotaged("ack_before_settle_no_sweep") {
                    let _ = delivery.ack().await;
                    join_all(charges).await;
                    return;
                }
                // Whatever each came to, it is settled or has a `due_at`: the message has no more to say.
                join_all(charges).await;
                crash_point("worker.before_ack");
                let acknowledged = delivery.ack().await;
                crash_point("worker.after_ack");
                if let Err(error) = acknowledged {
                    tracing::debug!(
                        error = format!("{error:#}"),
                        "an acknowledgement came too late; the message comes again"
                    );
                }
            });
        }
    }
}
