//! policy: what an answer of the gateway means for a payment. Pure, and all of it on one screen.

use std::time::Duration;

use domain::payment::{AttemptAction, AttemptOutcome};
use domain::retry::RetryDelays;
use runtime::chaos::sabotaged;
use store::claim::Claimed;
use store::settle::{Next, Settlement};

use crate::gateway::{Answer, Reason};

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

impl RetryPolicy {
    /// Between tries that a person has to make possible and that hold nobody up: as long as after a refused refund in the end.
    const fn patient(self) -> RetryDelays {
        let max = if self.refused_refund.as_nanos() > self.delays.max.as_nanos() {
            self.refused_refund
        } else {
            self.delays.max
        };
        RetryDelays { max, ..self.delays }
    }
}

/// What an answer means for the payment. Pure: the whole policy of charging stands here. `probe`: it was asked while
/// the breaker was not closed, which spends nothing.
///
/// | | charged | declined | void | in doubt | pending, unavailable, too many, misconfigured | refused |
/// |---|---|---|---|---|---|---|
/// | charge | succeeded | failed | failed | again, and counts; when the budget is spent: void | again | ever later |
/// | void | succeeded | - | failed | void again | void again | ever later |
/// | refund | succeeded | later, for ever | later, for ever | again | again; misconfigured: ever later | ever later |
pub fn settlement(claim: &Claimed, answer: Answer, probe: bool, policy: RetryPolicy) -> Settlement {
    let tries = u32::try_from(claim.number).unwrap_or(1);
    let again = |spend, void, delay| Next::Retry { delay, spend, void };
    let later = |delays: RetryDelays, told: Option<Duration>| {
        again(false, false, delays.after(tries).max(told.unwrap_or_default()))
    };
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
        (_, Answer::Pending { reason, retry_after }) => {
            (AttemptOutcome::Pending, Some(reason), later(policy.delays, retry_after))
        }
        (_, Answer::Unavailable { reason, retry_after } | Answer::TooMany { reason, retry_after }) => {
            (AttemptOutcome::Unavailable, Some(reason), later(policy.delays, retry_after))
        }
        (_, Answer::Refused(reason)) => {
            (AttemptOutcome::Refused, Some(reason), later(policy.patient(), None))
        }
        // Charges and voids are held back by the breaker, and go on as soon as that is closed.
        (action, Answer::Misconfigured { reason, .. }) => {
            let delays = if action == AttemptAction::Refund { policy.patient() } else { policy.delays };
            (AttemptOutcome::Misconfigured, Some(reason), later(delays, None))
        }
    };
    let (code, message) = reason.map(|reason| (reason.code, reason.message)).unzip();
    Settlement { code, message, ..Settlement::new(claim, outcome, next) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::{Currency, Money};
    use uuid::Uuid;

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
            queued: true,
            origin: None,
            names: None,
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
