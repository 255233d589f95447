//! publish: one task owns the confirm channel. It gathers the names of payments that became durable into messages,
//! sends them pipelined, and awaits the confirms while the next ones gather. What it cannot deliver it lets go:
//! the payments are due in a few seconds, and a worker's sweep finds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use broker::{Broker, Confirm, Outage, Publisher};
use domain::message::PaymentsDue;
use metrics::{Counter, Histogram};
use runtime::chaos::crash_point;
use runtime::trace::{Kind, Span};
use tokio::sync::mpsc;

/// Hints taken at once: what gathers during one round trip of confirms at full load, and then some.
const MAX_TAKEN: usize = 64;

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many payments were confirmed, and so many refused.
    Published {
        /// The broker has them.
        taken: usize,
        /// The broker refused them.
        refused: usize,
    },
    /// There will be no more hints.
    Finished,
}

/// Whether the broker can be published to, for `/ready`.
#[derive(Debug, Clone, Default)]
pub struct BrokerUp(Arc<AtomicBool>);

impl BrokerUp {
    /// Whether it could at the last look.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, up: bool) {
        self.0.store(up, Ordering::Relaxed);
        metrics::gauge!("publish_broker_up").set(u8::from(up));
    }
}

struct Metrics {
    taken: Counter,
    refused: Counter,
    dropped: Counter,
    confirm_seconds: Histogram,
    batch_size: Histogram,
}

/// Publishes until every sender of `hints` is gone; reconnects for as long as it takes.
pub async fn run(broker: Broker, mut hints: mpsc::Receiver<PaymentsDue>, up: BrokerUp) -> Result<()> {
    let outcome = |outcome: &'static str| metrics::counter!("publish_payments_total", "outcome" => outcome);
    let metrics = Metrics {
        taken: outcome("confirmed"),
        refused: outcome("refused"),
        dropped: outcome("dropped"),
        confirm_seconds: metrics::histogram!("publish_confirm_seconds"),
        batch_size: metrics::histogram!("publish_batch_size"),
    };
    up.set(false);
    let (mut outage, mut lost) = (Outage::default(), None);
    while let Some(mut publisher) = connect(&broker, &mut hints, &mut outage, lost, &metrics).await {
        up.set(true);
        outage.mended();
        tracing::info!("publishing to the broker");
        lost = loop {
            match run_once(&mut publisher, &mut hints, &metrics).await {
                Ok(Step::Published { .. }) => {}
                Ok(Step::Finished) => return Ok(()),
                Err(error) => break Some(error),
            }
        };
        up.set(false);
    }
    Ok(())
}

/// Waits for hints and publishes what is there. An error means that the publisher is dead.
async fn run_once(
    publisher: &mut Publisher,
    hints: &mut mpsc::Receiver<PaymentsDue>,
    metrics: &Metrics,
) -> Result<Step> {
    let mut taken = Vec::with_capacity(MAX_TAKEN);
    tokio::select! {
        count = hints.recv_many(&mut taken, MAX_TAKEN) => if count == 0 { return Ok(Step::Finished) },
        () = publisher.closed() => anyhow::bail!("the connection closed"),
    }
    let mut messages = PaymentsDue::gathered(taken);
    let mut steps = begin(&mut messages);
    let started = std::time::Instant::now();
    crash_point("api.before_publish");
    let confirms = publisher.publish(&messages).await.inspect_err(|_| {
        let payments: usize = messages.iter().map(|message| message.payments.len()).sum();
        metrics.dropped.increment(payments as u64);
        steps.iter_mut().for_each(|(_, step)| step.fail("unconfirmed"));
    })?;
    for (message, step) in &mut steps {
        match confirms.get(*message) {
            Some(Confirm::Taken) => {}
            _ => step.fail("refused"),
        }
    }
    drop(steps);
    crash_point("api.after_confirm");
    metrics.confirm_seconds.record(started.elapsed());
    let mut step = (0, 0);
    for (message, confirm) in messages.iter().zip(confirms) {
        let count = message.payments.len();
        metrics.batch_size.record(u32::try_from(count).unwrap_or(u32::MAX));
        match confirm {
            Confirm::Taken => step.0 += count,
            Confirm::Refused => step.1 += count,
        }
    }
    metrics.taken.increment(step.0 as u64);
    metrics.refused.increment(step.1 as u64);
    if step.1 > 0 {
        tracing::warn!(payments = step.1, "the broker refused payments (is its queue full?); they are swept");
    }
    Ok(Step::Published { taken: step.0, refused: step.1 })
}

/// Begins each payment's own step in its trace, and sees to it that what comes after follows from that. Each with the place
/// of its message; none where nothing is traced.
fn begin(messages: &mut [PaymentsDue]) -> Vec<(usize, Span)> {
    let mut steps = Vec::new();
    for (place, message) in messages.iter_mut().enumerate() {
        for (payment, origin) in message.payments.iter().zip(&mut message.origins) {
            let Some(origin) = origin.as_mut().filter(|origin| origin.trace.is_some()) else { continue };
            let mut step = Span::begin("publish", Kind::Producer, origin.trace);
            step.note_with("payment_id", || payment.to_string());
            origin.trace = step.place();
            steps.push((place, step));
        }
    }
    steps
}

/// Tries until the broker is there, and lets go of the hints that come meanwhile: published late they would only
/// repeat what the sweep has done. `None`: there will be no more hints.
async fn connect(
    broker: &Broker,
    hints: &mut mpsc::Receiver<PaymentsDue>,
    outage: &mut Outage,
    mut lost: Option<anyhow::Error>,
    metrics: &Metrics,
) -> Option<Publisher> {
    let attempt = async {
        loop {
            if let Some(error) = lost.take() {
                let (delay, is_news) = outage.failed(&error);
                if is_news {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "no broker; trying on, payments are swept meanwhile"
                    );
                }
                tokio::time::sleep(delay).await;
            }
            match broker.publisher().await {
                Ok(publisher) => return publisher,
                Err(error) => lost = Some(error),
            }
        }
    };
    tokio::pin!(attempt);
    loop {
        tokio::select! {
            publisher = &mut attempt => return Some(publisher),
            hint = hints.recv() => metrics.dropped.increment(hint?.payments.len() as u64),
        }
    }
}
