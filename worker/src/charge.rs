//! charge: a claimed payment is taken to the gateway once, and what its answer means is handed to be settled.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use domain::money::Money;
use domain::payment::{AttemptAction, AttemptOutcome};
use domain::trace_parent::TraceParent;
use metrics::{Counter, Histogram};
use runtime::chaos::{crash_point, sabotaged};
use runtime::trace::{Kind, Span};
use store::claim::Claimed;
use store::settle::Next;
use uuid::Uuid;

use crate::claim;
use crate::gateway::breaker::{Breaker, Called};
use crate::gateway::{Answer, Gateway, Reason};
use crate::policy::{RetryPolicy, settlement};
use crate::settle::{Settle, SettleDesk, Settled};

/// All that it takes to bring a claimed payment to its settlement.
#[derive(Debug)]
pub struct Till {
    /// The gateway.
    pub gateway: Gateway,
    /// The breaker in front of it.
    pub breaker: Breaker,
    /// Where settlements are handed in.
    pub settle: SettleDesk,
    /// When to try again.
    pub policy: RetryPolicy,
    /// How long after its claim a payment may still be sent: the lease less a request's time.
    pub send_within: Duration,
    /// What it counts.
    pub metrics: ChargeMetrics,
}

/// What charging counts; looked up once, because every payment passes here.
#[derive(Debug)]
pub struct ChargeMetrics {
    gateway_seconds: Histogram,
    attempts: HashMap<(AttemptAction, AttemptOutcome), Counter>,
    charges: Ended,
    refunds: Ended,
    order_seconds: Histogram,
    tries: Histogram,
}

/// What is counted of payments of one kind that became final.
#[derive(Debug)]
struct Ended {
    succeeded: Counter,
    failed: Counter,
    /// The name of what counts their money.
    money: &'static str,
    /// A counter a currency, in minor units.
    minor: Mutex<HashMap<&'static str, Counter>>,
}

impl Ended {
    fn new(kind: &'static str, money: &'static str) -> Self {
        let ended = |status: &'static str| metrics::counter!("settle_ended_total", "kind" => kind, "status" => status);
        Self { succeeded: ended("succeeded"), failed: ended("failed"), money, minor: Mutex::default() }
    }

    fn succeeded(&self, amount: Money) {
        self.succeeded.increment(1);
        let code = amount.currency().code();
        let mut minor = self.minor.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = minor.entry(code).or_insert_with(|| metrics::counter!(self.money, "currency" => code));
        counter.increment(amount.minor().unsigned_abs());
    }
}

impl ChargeMetrics {
    /// The handles.
    pub fn new() -> Self {
        let mut attempts = HashMap::new();
        for action in AttemptAction::ALL {
            for outcome in AttemptOutcome::ALL {
                let counter = metrics::counter!("charge_attempts_total",
                    "action" => action.as_str(), "outcome" => outcome.as_str());
                attempts.insert((action, outcome), counter);
            }
        }
        Self {
            gateway_seconds: metrics::histogram!("charge_gateway_seconds"),
            attempts,
            charges: Ended::new("charge", "settle_charged_minor_total"),
            refunds: Ended::new("refund", "settle_refunded_minor_total"),
            order_seconds: metrics::histogram!("settle_order_seconds"),
            tries: metrics::histogram!("settle_tries"),
        }
    }

    /// The payment is final: it succeeded, or it failed.
    fn record_end(&self, end: End, succeeded: bool) {
        let kind = if end.is_refund { &self.refunds } else { &self.charges };
        if succeeded {
            kind.succeeded(end.amount)
        } else {
            kind.failed.increment(1)
        }
        self.tries.record(f64::from(end.number));
        if !end.is_refund
            && let Some(age) = end.waits_since.and_then(age)
        {
            self.order_seconds.record(age);
        }
    }

    fn record(&self, action: AttemptAction, outcome: AttemptOutcome) {
        if let Some(counter) = self.attempts.get(&(action, outcome)) {
            counter.increment(1);
        }
    }
}

impl Default for ChargeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What of a claim is looked at once its payment is final.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Since when its order has waited for it.
    waits_since: Option<Uuid>,
    is_refund: bool,
    amount: Money,
    number: i32,
}

/// How long ago an id was made, by the time in it and this machine's clock.
fn age(id: Uuid) -> Option<Duration> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    (SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).elapsed().ok()
}

/// How long a payment rests that could not be sent because the breaker was open, or its turn too far off. It is taken up when a sweep may take
/// work again, whatever this says; long enough not to be looked at for nothing.
const RELEASED_FOR: Duration = Duration::from_millis(500);

impl Till {
    /// Charges (or voids, or refunds) one payment and sees it settled. Claimed but not sent, because the breaker
    /// refused, too many are before it or the lease is nearly over, is released: that was no attempt.
    pub async fn charge(&self, mut claim: Claimed, claimed_at: Instant) -> Settled {
        if !self.breaker.turn().await {
            return self.release(claim, RELEASED_FOR).await;
        }
        if claimed_at.elapsed() > self.send_within {
            return self.release(claim, Duration::ZERO).await;
        }
        let mut step = claim::step(&mut claim, "charge", Kind::Client, None);
        step.note("action", claim.action.as_str());
        let started = Instant::now();
        crash_point(if claim.action == AttemptAction::Void {
            "worker.before_void"
        } else {
            "worker.before_send"
        });
        let Ok(Called { answer, probe }) = self.breaker.call(self.gateway.ask(&claim)).await else {
            step.fail("not sent: the breaker is open");
            drop(step);
            if sabotaged("breaker_open_is_attempt") {
                let reason = Reason { code: "breaker_open".into(), message: String::new() };
                let settlement = settlement(&claim, Answer::InDoubt(reason), false, self.policy);
                return self.settle(Settle::Commit(settlement), None).await;
            }
            return self.release(claim, RELEASED_FOR).await;
        };
        crash_point(if claim.action == AttemptAction::Void {
            "worker.after_void"
        } else {
            "worker.after_answer"
        });
        self.metrics.gateway_seconds.record(started.elapsed());
        let end = End {
            waits_since: claim.waits_since(),
            is_refund: claim.refund_of.is_some(),
            amount: claim.amount,
            number: claim.number,
        };
        let settlement = settlement(&claim, answer, probe, self.policy);
        let outcome = settlement.outcome;
        step.note("outcome", outcome.as_str());
        if !matches!(outcome, AttemptOutcome::Succeeded | AttemptOutcome::Declined | AttemptOutcome::Voided) {
            step.fail("no answer for certain");
        }
        drop(step);
        self.metrics.record(claim.action, outcome);
        let place = claim::place(&claim);
        let succeeded = match settlement.next {
            Next::Succeeded { .. } => Some(true),
            Next::Failed => Some(false),
            Next::Retry { .. } => None,
        };
        let settled = self.settle(Settle::Commit(settlement), place).await;
        tracing::debug!(
            payment = %claim.payment_id,
            order = %claim.order_id,
            request_id = claim.origin.as_ref().and_then(|origin| origin.request_id.as_ref()).map(display),
            trace_id = place.map(|place| display(place.trace_id)),
            number = claim.number,
            action = claim.action.as_str(),
            outcome = outcome.as_str(),
            ?settled,
            "asked the gateway"
        );
        if let (Settled::Moved, Some(succeeded)) = (settled, succeeded) {
            self.metrics.record_end(end, succeeded);
        }
        settled
    }

    async fn release(&self, claim: Claimed, delay: Duration) -> Settled {
        let place = claim::place(&claim);
        self.settle(Settle::Release { claim, delay }, place).await
    }

    /// Sees it committed. In its trace this is the payment's share of a group commit, and the wait for it.
    async fn settle(&self, command: Settle, place: Option<TraceParent>) -> Settled {
        let mut step = Span::begin("settle", Kind::Internal, place);
        // A stopped desk means that the process is going down: the lease will tell.
        let settled = self.settle.submit(command).await.unwrap_or(Settled::Lost);
        step.note("outcome", settled.as_str());
        settled
    }
}
