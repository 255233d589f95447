//! consume: messages are taken from the broker, the payments that they name are claimed in one statement and charged
//! side by side, and each message is acknowledged when all of its payments are settled or handed to `due_at`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use broker::{Broker, Consumer, Delivery};
use domain::message::MAX_PAYMENTS;
use domain::retry::RetryDelays;
use futures_util::FutureExt;
use futures_util::future::join_all;
use runtime::chaos::{crash_point, sabotaged};
use runtime::tasks::Stop;
use runtime::trace::{self, Kind};
use store::claim::Claimed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::charge::Till;
use crate::claim::{self, Claimer, Claims};
use crate::config::{MAX_CLAIM, WorkerSettings};

/// Between tries to reach a broker that is away.
const RECONNECT: RetryDelays =
    RetryDelays { initial: Duration::from_millis(200), max: Duration::from_secs(5) };

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
}

/// How many payments one claim takes.
#[derive(Debug, Clone, Copy)]
struct ClaimSize {
    /// A claim that names so many takes no further message: an eighth of the room. One that has to wait until most of the
    /// room is free leaves gateway and settlements idle meanwhile; one of a single small message costs a statement.
    enough: usize,
    /// At most: no more than can be in hand, or it would wait for room for ever.
    most: usize,
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

impl Consumption {
    /// Consumption with a claimer of its own.
    pub fn new(claimer: Claimer, till: Arc<Till>, settings: &WorkerSettings) -> Self {
        // Room for one whole claim at least, or a full message could never be taken.
        let in_hand = usize::from(settings.worker_concurrency).max(MAX_PAYMENTS);
        Self {
            claimer,
            till,
            in_hand: Arc::new(Semaphore::new(in_hand)),
            claim: ClaimSize { enough: in_hand.div_ceil(8), most: MAX_CLAIM.min(in_hand) },
            under_way: TaskTracker::new(),
            // A message may name one payment only: as many messages as payments may be in hand.
            prefetch: settings.worker_concurrency,
        }
    }

    /// Counts the payments in hand, whenever it is called.
    pub fn in_hand(&self) -> impl Fn() -> usize + Send + 'static {
        let (room, size) = (Arc::clone(&self.in_hand), self.in_hand.available_permits());
        move || size.saturating_sub(room.available_permits())
    }

    /// Consumes until `stop`, then finishes what is in hand. Reconnects for as long as it takes, and takes nothing
    /// while the breaker is not closed: the broker keeps what is not taken.
    pub async fn run(mut self, broker: Broker, stop: Stop) -> Result<()> {
        let mut failures = 0;
        metrics::gauge!("claim_broker_up").set(0);
        metrics::counter!("claim_dead_letters_total").increment(0);
        while !stop.is_stopped() {
            if stop.or_stopped(self.till.breaker.closed()).await.is_none() {
                break;
            }
            match stop.or_stopped(broker.consumer(self.prefetch)).await {
                None => break,
                Some(Ok(consumer)) => {
                    if failures > 0 {
                        tracing::info!("consuming from the broker again");
                    }
                    failures = u32::from(!self.consume(consumer, &stop).await);
                }
                Some(Err(error)) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "no broker; trying on, the sweep carries the work"
                        );
                    }
                }
            }
            if failures > 0 {
                stop.or_stopped(tokio::time::sleep(RECONNECT.after(failures))).await;
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Consumes from one connection, until it is lost (false), or the breaker opens or the stop comes (true).
    async fn consume(&mut self, mut consumer: Consumer, stop: &Stop) -> bool {
        metrics::gauge!("claim_broker_up").set(1);
        let well = loop {
            match self.run_once(&mut consumer, stop).await {
                Ok(Step::Taken { .. }) => {}
                Ok(Step::Pause) => break true,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "lost the broker or the database; trying on"
                    );
                    break false;
                }
            }
        };
        metrics::gauge!("claim_broker_up").set(0);
        if stop.is_stopped() {
            // Acknowledgements need the connection.
            self.finish().await;
        }
        consumer.close().await;
        well
    }

    /// Waits until all that was claimed is settled.
    pub async fn finish(&self) {
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
    }

    /// Takes the messages that are there (waits for one), claims their payments, and starts to charge them. Once
    /// this returns they are under way; `finish` waits for their settlement. An error means that the consumer is to
    /// be dropped: what it delivered comes again.
    pub async fn run_once(&mut self, consumer: &mut Consumer, stop: &Stop) -> Result<Step> {
        let first = tokio::select! {
            // Whether to take comes before what there is to take.
            biased;
            () = stop.stopped() => return Ok(Step::Pause),
            () = self.till.breaker.opened() => return Ok(Step::Pause),
            delivery = consumer.next() => delivery?,
        };
        let begun = trace::now();
        let mut deliveries = gather(first, consumer, self.claim).await?;
        let named: Vec<Uuid> = deliveries.iter().flat_map(|(_, payments)| payments).copied().collect();
        if named.is_empty() {
            return Ok(Step::Taken { named: 0, claimed: 0 });
        }
        // First room, then the claim: its lease should not run while it waits.
        let count = u32::try_from(named.len()).context("a claim is small")?;
        let room = Arc::clone(&self.in_hand).acquire_many_owned(count);
        let Some(room) = stop.or_stopped(room).await else { return Ok(Step::Pause) };
        if sabotaged("repeat_is_new") {
            self.repeat(&deliveries).await?;
        }
        let mut claimed = self.claimer.named(&named).await?;
        hand_over(&mut deliveries, &mut claimed.claims, begun);
        let step = Step::Taken { named: named.len(), claimed: claimed.claims.len() };
        self.start(deliveries, claimed, room?);
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
    fn start(&self, deliveries: Vec<(Delivery, Vec<Uuid>)>, claimed: Claims, mut room: OwnedSemaphorePermit) {
        let since = claimed.since;
        let mut claimed: HashMap<Uuid, Claimed> =
            claimed.claims.into_iter().map(|one| (one.payment_id, one)).collect();
        for (delivery, payments) in deliveries {
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

/// Gives each claim the origin that came with its payment's name, and notes the claim in its trace.
fn hand_over(deliveries: &mut [(Delivery, Vec<Uuid>)], claims: &mut [Claimed], begun: Option<SystemTime>) {
    let mut origins = HashMap::new();
    for message in deliveries.iter_mut().filter_map(|(delivery, _)| delivery.message.as_mut().ok()) {
        origins.extend(message.payments.iter().zip(message.origins.drain(..)));
    }
    if origins.is_empty() && begun.is_none() {
        return;
    }
    for claim in claims {
        claim.origin = origins.remove(&claim.payment_id).flatten();
        claim::step(claim, "claim", Kind::Consumer, begun);
    }
}

/// `first` and whatever else is there, up to one claim's worth. Poison is laid aside.
async fn gather(
    first: Delivery,
    consumer: &mut Consumer,
    size: ClaimSize,
) -> Result<Vec<(Delivery, Vec<Uuid>)>> {
    let mut deliveries = Vec::new();
    let mut named = 0;
    let mut next = Some(first);
    while let Some(delivery) = next {
        match &delivery.message {
            Ok(message) => {
                let payments = message.payments.clone();
                named += payments.len();
                deliveries.push((delivery, payments));
            }
            Err(malformed) => {
                tracing::error!(%malformed, "a poisoned message; it is laid aside as a dead letter");
                metrics::counter!("claim_dead_letters_total").increment(1);
                crash_point("worker.before_bury");
                delivery.bury().await?;
            }
        }
        if named >= size.enough || named + MAX_PAYMENTS > size.most {
            break;
        }
        next = consumer.next().now_or_never().transpose()?;
    }
    Ok(deliveries)
}
