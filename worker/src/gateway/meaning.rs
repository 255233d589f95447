//! What an answer means for the money: the table from HTTP to [`Answer`]. It is this gateway's contract; a 503 of another may mean
//! that the charge was made. Only the status that the contract names is a success, and only with a receipt of what was asked.

use std::time::Duration;

use bytes::Bytes;
use domain::payment::AttemptAction;
use hyper::header::RETRY_AFTER;
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;
use store::claim::Claimed;

use super::answer::{Answer, Asked, MAX_CODE, Reason, clean};
use super::is_ours;
use super::wire::{ChargeReceipt, Problem, RefundReceipt, VoidReply};

/// Longest delay that a gateway's Retry-After is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What is counted here, from the start, so that the first is seen.
pub(super) fn declare_metrics() {
    metrics::counter!("charge_foreign_receipts_total").increment(0);
}

/// What this answer to what was claimed means.
pub(super) fn of(claim: &Claimed, response: &Response<Bytes>) -> Asked {
    match (claim.action, response.status()) {
        (AttemptAction::Charge, StatusCode::CREATED) => charged(claim, &read(response)?),
        (AttemptAction::Refund, StatusCode::CREATED) => {
            let receipt: RefundReceipt = read(response)?;
            let is_of_charge = claim.refund_of.is_some_and(|charge| receipt.charge_key == charge.to_string());
            let is_receipt =
                is_of_charge && is_ours(&receipt.key, claim) && receipt.money() == Ok(claim.amount);
            done(receipt.id, is_receipt)
        }
        (AttemptAction::Void, StatusCode::OK) => match read(response)? {
            VoidReply::Voided { key } if is_ours(&key, claim) => Ok(Answer::Voided),
            VoidReply::Voided { .. } => Err(foreign()),
            VoidReply::AlreadyCharged(receipt) => charged(claim, &receipt),
        },
        _ => otherwise(claim.action, response),
    }
}

fn charged(claim: &Claimed, receipt: &ChargeReceipt) -> Asked {
    done(receipt.id.clone(), is_ours(&receipt.key, claim) && receipt.money() == Ok(claim.amount))
}

fn done(gateway_id: String, is_receipt: bool) -> Asked {
    if is_receipt { Ok(Answer::Done { gateway_id: clean(gateway_id, MAX_CODE) }) } else { Err(foreign()) }
}

/// A success, but of something else. Whatever it was, it is not what the books are to say.
fn foreign() -> Answer {
    metrics::counter!("charge_foreign_receipts_total").increment(1);
    Answer::InDoubt(Reason::new("foreign_receipt", "the receipt is not for what was asked"))
}

fn read<T: DeserializeOwned>(response: &Response<Bytes>) -> Result<T, Answer> {
    serde_json::from_slice(response.body())
        .map_err(|_| Answer::InDoubt(Reason::new("malformed_reply", "the answer cannot be read")))
}

/// What any other status means. `Err` is an outage, which the breaker counts.
fn otherwise(action: AttemptAction, response: &Response<Bytes>) -> Asked {
    let (reason, retry_after) = (reason(response), retry_after(response));
    match (response.status().as_u16(), action) {
        // The contract names one success. Another says nothing of the money: it may be a page of whoever stands in between.
        (202 | 409, _) => Ok(Answer::Pending { reason, retry_after }),
        (200..=299, _) => Err(Answer::InDoubt(reason)),
        // A declined void is no void.
        (402, AttemptAction::Void) => Ok(Answer::InDoubt(reason)),
        // Of a refund: there is nothing (more) to give back. Asking soon again changes nothing.
        (402, _) | (404 | 422, AttemptAction::Refund) => Ok(Answer::Declined(reason)),
        // One odd order must not stop the others, so this opens no breaker; should all be found wrong, they wait and none fails.
        (400, _) => Ok(Answer::Refused(reason)),
        // A key that is not good (any more), an address where no gateway is. What refunds meet alone must not stop charges.
        (300..=399 | 401 | 403..=405 | 407 | 415 | 426, _) => {
            Err(Answer::Misconfigured { reason, stops_charges: action == AttemptAction::Charge })
        }
        (410, _) => Ok(Answer::Voided),
        (429, _) => Ok(Answer::TooMany { reason, retry_after }),
        (503, _) => Err(Answer::Unavailable { reason, retry_after }),
        (500..=599, _) => Err(Answer::InDoubt(reason)),
        // A refusal that we do not know: the gateway lives, and what happened to the money under this key is for a retry, and at
        // last for a void, to find out.
        _ => Ok(Answer::InDoubt(reason)),
    }
}

/// Why, in the gateway's words if it has some.
fn reason(response: &Response<Bytes>) -> Reason {
    let unsaid = || Reason::new(format!("http_{}", response.status().as_u16()), "the gateway gave no reason");
    serde_json::from_slice::<Problem>(response.body())
        .map_or_else(|_| unsaid(), |problem| Reason::new(problem.code, problem.message))
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
