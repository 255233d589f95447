//! charge: a claimed payment is taken to the gateway once, and what its answer means is handed to be settled.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use domain::money::Money;
use domain::payment::{AttemptAction, AttemptOutcome};
use domain::retry::RetryDelays;
use domain::trace_parent::TraceParent;
use metrics::{Counter, Histogram};
use runtime::chaos::{crash_point, sabotaged};
use runtime::trace::{Kind, Span};
use store::claim::Claimed;
use store::settle::{Next, Settlement};
use uuid::Uuid;

use crate::breaker::{Breaker, Called};
use crate::claim;
use crate::gateway::{Answer, Gateway, Reason};
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
            && let Some(age) = age(end.order_id)
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
    order_id: Uuid,
    is_refund: bool,
    amount: Money,
    number: i32,
}

/// How long ago an id was made, by the time in it and this machine's clock.
fn age(id: Uuid) -> Option<Duration> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    (SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).elapsed().ok()
}

/// When a payment is tried again, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Between tries.
    pub delays: RetryDelays,
    /// Tries of a charge that may end in doubt before its key is voided.
    pub budget: i32,
    /// After a refund that the gateway refused: long, because only a person can change its mind.
    pub refused_refund: Duration,
}

/// How long a payment rests that could not be sent because the breaker was open. It is taken up when a sweep may take
/// work again, whatever this says; long enough not to be looked at for nothing.
const RELEASED_FOR: Duration = Duration::from_millis(500);

impl Till {
    /// Charges (or voids, or refunds) one payment and sees it settled. Claimed but not sent, because the breaker
    /// refused or the lease is nearly over, is released: that was no attempt.
    pub async fn charge(&self, mut claim: Claimed, claimed_at: Instant) -> Settled {
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
            order_id: claim.order_id,
            is_refund: claim.refund_of.is_some(),
            amount: claim.amount,
            number: claim.number,
        };
        let settlement = settlement(&claim, answer, probe, self.policy);
        let outcome = settlement.outcome;
        step.note("outcome", outcome.as_str());
        if matches!(outcome, AttemptOutcome::InDoubt | AttemptOutcome::Unavailable) {
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

/// What an answer means for the payment. Pure: the whole policy of charging stands here. `probe`: it was asked while
/// the breaker was not closed, which spends nothing.
///
/// | | charged | declined | void | in doubt | unavailable |
/// |---|---|---|---|---|---|
/// | charge | succeeded | failed | failed | again, and counts; when the budget is spent: void | again |
/// | void | succeeded | - | failed | void again | void again |
/// | refund | succeeded | later, for ever | later, for ever | again | again |
pub fn settlement(claim: &Claimed, answer: Answer, probe: bool, policy: RetryPolicy) -> Settlement {
    let tries = u32::try_from(claim.number).unwrap_or(1);
    let again = |spend, void, delay| Next::Retry { delay, spend, void };
    let (outcome, reason, next) = match (claim.action, answer) {
        (_, Answer::Done { gateway_id }) => (AttemptOutcome::Succeeded, None, Next::Succeeded { gateway_id }),
        // The money is owed whatever the gateway says: it stays visible, and is asked for until it goes back.
        (AttemptAction::Refund, Answer::Declined(reason)) => {
            (AttemptOutcome::Declined, Some(reason), again(false, false, policy.refused_refund))
        }
        (AttemptAction::Refund, Answer::Voided) => {
            let reason = Reason { code: "voided".into(), message: "the key is void at the gateway".into() };
            (AttemptOutcome::Voided, Some(reason), again(false, false, policy.refused_refund))
        }
        (_, Answer::Declined(reason)) => (AttemptOutcome::Declined, Some(reason), Next::Failed),
        (AttemptAction::Void, Answer::Voided) => {
            // Voided before that, it was called off: its order is to be cancelled, or it took too long.
            let (code, message) = if claim.spent >= policy.budget {
                ("retries_exhausted", "no try was answered for certain; the key is void, nothing was taken")
            } else {
                ("called_off", "the charge was called off; the key is void, nothing was taken")
            };
            let reason = Reason { code: code.into(), message: message.into() };
            (AttemptOutcome::Voided, Some(reason), Next::Failed)
        }
        (_, Answer::Voided) => {
            let reason = Reason { code: "voided".into(), message: "the key is void at the gateway".into() };
            (AttemptOutcome::Voided, Some(reason), Next::Failed)
        }
        (AttemptAction::Charge, Answer::InDoubt(reason)) if !probe => {
            let spent = claim.spent + 1;
            // Asking whether it happened and then failing it would be unsafe: the request may still land. Only a
            // void closes that door.
            let next = if spent >= policy.budget && sabotaged("fail_without_void") {
                Next::Failed
            } else if spent >= policy.budget {
                again(true, true, Duration::ZERO)
            } else {
                again(true, false, policy.delays.after(u32::try_from(spent).unwrap_or(1)))
            };
            (AttemptOutcome::InDoubt, Some(reason), next)
        }
        (_, Answer::InDoubt(reason)) => {
            (AttemptOutcome::InDoubt, Some(reason), again(false, false, policy.delays.after(tries)))
        }
        (_, Answer::Unavailable { reason, retry_after }) => {
            let delay = policy.delays.after(tries).max(retry_after.unwrap_or_default());
            (AttemptOutcome::Unavailable, Some(reason), again(false, false, delay))
        }
    };
    let (code, message) = reason.map(|reason| (reason.code, reason.message)).unzip();
    Settlement { code, message, ..Settlement::new(claim, outcome, next) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Currency;

    const POLICY: RetryPolicy = RetryPolicy {
        delays: RetryDelays { initial: Duration::from_secs(1), max: Duration::from_secs(30) },
        budget: 3,
        refused_refund: Duration::from_secs(600),
    };

    fn claim(action: AttemptAction, spent: i32) -> Claimed {
        Claimed {
            payment_id: Uuid::now_v7(),
            order_id: Uuid::now_v7(),
            refund_of: None,
            amount: Money::from_minor(3097, Currency::USD),
            epoch: 1,
            number: spent + 1,
            action,
            spent,
            origin: None,
        }
    }

    fn next(action: AttemptAction, spent: i32, answer: Answer) -> Next {
        settlement(&claim(action, spent), answer, false, POLICY).next
    }

    fn reason() -> Reason {
        Reason { code: "x".into(), message: "y".into() }
    }

    #[test]
    fn only_a_decline_or_a_void_fails_a_payment() {
        use AttemptAction::{Charge, Void};
        assert_eq!(next(Charge, 0, Answer::Declined(reason())), Next::Failed);
        assert_eq!(next(Charge, 0, Answer::Voided), Next::Failed);
        assert_eq!(next(Void, 3, Answer::Voided), Next::Failed);
        for spent in 0..1_000 {
            let unavailable = Answer::Unavailable { reason: reason(), retry_after: None };
            for (action, answer) in [
                (Charge, Answer::InDoubt(reason())),
                (Charge, unavailable.clone()),
                (Void, Answer::InDoubt(reason())),
                (Void, unavailable),
            ] {
                assert!(matches!(next(action, spent, answer), Next::Retry { .. }));
            }
        }
    }

    #[test]
    fn doubt_spends_the_budget_and_then_the_key_is_voided_at_once() {
        let doubt = |spent| next(AttemptAction::Charge, spent, Answer::InDoubt(reason()));
        assert!(matches!(doubt(0), Next::Retry { spend: true, void: false, .. }));
        assert!(matches!(doubt(1), Next::Retry { spend: true, void: false, .. }));
        assert_eq!(doubt(2), Next::Retry { spend: true, void: true, delay: Duration::ZERO });
    }

    #[test]
    fn a_probe_spends_nothing() {
        for spent in 0..10 {
            let probed =
                settlement(&claim(AttemptAction::Charge, spent), Answer::InDoubt(reason()), true, POLICY);
            assert!(matches!(probed.next, Next::Retry { spend: false, void: false, .. }));
        }
    }

    #[test]
    fn an_outage_spends_nothing_and_a_gateway_that_names_a_time_is_believed() {
        let later = Duration::from_secs(7);
        let answer = Answer::Unavailable { reason: reason(), retry_after: Some(later) };
        let Next::Retry { delay, spend, void } = next(AttemptAction::Charge, 0, answer) else { panic!() };
        assert_eq!((delay, spend, void), (later, false, false));
    }

    #[test]
    fn a_refund_is_never_given_up() {
        for answer in [
            Answer::Declined(reason()),
            Answer::Voided,
            Answer::InDoubt(reason()),
            Answer::Unavailable { reason: reason(), retry_after: None },
        ] {
            let slow = matches!(answer, Answer::Declined(_) | Answer::Voided);
            let Next::Retry { delay, void: false, .. } = next(AttemptAction::Refund, 0, answer) else {
                panic!()
            };
            assert_eq!(delay == POLICY.refused_refund, slow);
        }
    }

    #[test]
    fn a_charge_found_by_a_void_stands() {
        let answer = Answer::Done { gateway_id: "ch_1".into() };
        assert_eq!(next(AttemptAction::Void, 3, answer), Next::Succeeded { gateway_id: "ch_1".into() });
    }
}
