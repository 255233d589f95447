//! The gateway as the worker sees it: one request, and what its answer means for the money.

mod answer;
pub mod breaker;
mod client;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use domain::payment::AttemptAction;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode, Uri};
use runtime::chaos::sabotaged;
use serde::de::DeserializeOwned;
use store::claim::Claimed;
use url::Url;
use uuid::Uuid;

pub use self::answer::{Answer, Asked, Reason};
use self::answer::{MAX_CODE, clean};
use self::client::{Client, Failure};
use self::wire::{ChargeReceipt, Problem, RefundReceipt, VoidReply};

/// A client of the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    client: Client,
    charges: Uri,
    refunds: Uri,
    timeout: Duration,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest delay that a gateway's Retry-After is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Gateway {
    /// A client of the gateway at `url`; `timeout` bounds each request as a whole.
    pub fn new(url: &str, timeout: Duration) -> Result<Self> {
        // Without the user and the password that may stand before the host.
        let shown = url.rsplit('@').next().unwrap_or_default();
        let wrong = || format!("GATEWAY_URL={shown} is no URL such as http://127.0.0.1:9090");
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
        let parsed = Url::parse(url).ok().filter(is_http).with_context(wrong)?;
        let client = Client::new(parsed, timeout).context("cannot set up the gateway client")?;
        let charges = client.uri("/v1/charges").with_context(wrong)?;
        let refunds = client.uri("/v1/refunds").with_context(wrong)?;
        Ok(Self { client, charges, refunds, timeout })
    }

    /// Asks what the claim says, once, under the payment's own key.
    pub async fn ask(&self, claim: &Claimed) -> Asked {
        match claim.action {
            AttemptAction::Charge => {
                let sent = self.send(claim, self.charges.clone(), Some(wire::charge(claim))).await?;
                let is_ours = |receipt: &ChargeReceipt| {
                    is_ours(&receipt.key, claim) && receipt.money() == Ok(claim.amount)
                };
                done(&sent, is_ours, |receipt| receipt.id, Refusal::IsDoubt)
            }
            AttemptAction::Refund => {
                let sent = self.send(claim, self.refunds.clone(), Some(wire::refund(claim))).await?;
                let is_ours = |receipt: &RefundReceipt| is_ours(&receipt.key, claim);
                done(&sent, is_ours, |receipt| receipt.id, Refusal::IsNo)
            }
            AttemptAction::Void => {
                let path = format!("/v1/charges/by-key/{}/void", claim.payment_id);
                let uri = self.client.uri(&path).expect("a path like the others");
                let sent = self.send(claim, uri, None).await?;
                match read::<VoidReply>(&sent, Refusal::IsDoubt)? {
                    Ok(VoidReply::Voided) => Ok(Answer::Voided),
                    Ok(VoidReply::AlreadyCharged(charge)) => {
                        Ok(Answer::Done { gateway_id: clean(charge.id, MAX_CODE) })
                    }
                    // A declined void is no void.
                    Err(Answer::Declined(reason)) => Ok(Answer::InDoubt(reason)),
                    Err(answer) => Ok(answer),
                }
            }
        }
    }

    async fn send(
        &self,
        claim: &Claimed,
        uri: Uri,
        body: Option<String>,
    ) -> std::result::Result<Response<Bytes>, Answer> {
        let mut request = self.client.post(uri, body);
        let headers = request.headers_mut();
        headers.insert(IDEMPOTENCY_KEY, id(key_of(claim)));
        let origin = claim.origin.as_deref();
        // An order whose client gave no id has its request's.
        let request_id = origin.and_then(|origin| origin.request_id.as_ref());
        headers.insert(
            REQUEST_ID,
            request_id.map_or_else(|| id(claim.order_id), |request_id| visible(request_id.as_str())),
        );
        if let Some(trace) = origin.and_then(|origin| origin.trace) {
            headers.insert(TRACEPARENT, visible(&trace.to_string()));
        }
        self.client.send(request).await.map_err(|failure| self.unanswered(failure))
    }

    /// What it means that no answer came.
    fn unanswered(&self, failure: Failure) -> Answer {
        let reason = match failure {
            Failure::Unreachable => Reason::new("unreachable", "the gateway cannot be reached"),
            Failure::Timeout => Reason::new("timeout", format!("no whole answer within {:?}", self.timeout)),
            Failure::Broken => Reason::new("no_answer", "the connection broke before the answer was whole"),
            Failure::TooLong => Reason::new("malformed_reply", "the answer is longer than any should be"),
        };
        match failure {
            // Nothing was sent.
            Failure::Unreachable => Answer::Unavailable { reason, retry_after: None },
            Failure::Timeout | Failure::Broken | Failure::TooLong => Answer::InDoubt(reason),
        }
    }
}

/// An id as a header.
fn id(id: Uuid) -> HeaderValue {
    visible(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// What is known to have visible characters alone, as a header.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible characters")
}

/// The one key of this payment, whichever try it is.
fn key_of(claim: &Claimed) -> Uuid {
    if is_keyed_anew(claim) { Uuid::new_v4() } else { claim.payment_id }
}

fn is_ours(key: &str, claim: &Claimed) -> bool {
    key == claim.payment_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) || is_keyed_anew(claim)
}

/// The bug of asking again under another key.
fn is_keyed_anew(claim: &Claimed) -> bool {
    sabotaged("new_key_per_try") || (claim.refund_of.is_some() && sabotaged("new_key_per_refund"))
}

/// What it means that the gateway finds a request wrong (404, 422).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Of a charge or a void: we send nothing wrong, so nobody knows what it made of it.
    IsDoubt,
    /// Of a refund: there is nothing (more) to give back. Asking soon again changes nothing.
    IsNo,
}

/// The answer to a charge or a refund; `is_ours` compares the receipt with what was asked.
fn done<T: DeserializeOwned>(
    response: &Response<Bytes>,
    is_ours: impl Fn(&T) -> bool,
    id: impl Fn(T) -> String,
    refusal: Refusal,
) -> Asked {
    match read::<T>(response, refusal)? {
        Ok(receipt) if is_ours(&receipt) => Ok(Answer::Done { gateway_id: clean(id(receipt), MAX_CODE) }),
        Ok(_) => {
            Err(Answer::InDoubt(Reason::new("foreign_receipt", "the receipt is not for what was asked")))
        }
        Err(answer) => Ok(answer),
    }
}

/// The body of a success, or what another status means. The outer error is an outage.
fn read<T: DeserializeOwned>(
    response: &Response<Bytes>,
    refusal: Refusal,
) -> std::result::Result<std::result::Result<T, Answer>, Answer> {
    let (status, body) = (response.status(), response.body());
    let retry_after = retry_after(response);
    if status.is_success() {
        return serde_json::from_slice(body)
            .map(Ok)
            .map_err(|_| Answer::InDoubt(Reason::new("malformed_reply", "the answer cannot be read")));
    }
    let reason = serde_json::from_slice::<Problem>(body)
        .map(|problem| Reason::new(problem.code, problem.message))
        .unwrap_or_else(|_| Reason::new(format!("http_{}", status.as_u16()), "the gateway gave no reason"));
    match status {
        StatusCode::PAYMENT_REQUIRED => Ok(Err(Answer::Declined(reason))),
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY if refusal == Refusal::IsNo => {
            Ok(Err(Answer::Declined(reason)))
        }
        StatusCode::GONE => Ok(Err(Answer::Voided)),
        StatusCode::TOO_MANY_REQUESTS => Ok(Err(Answer::Unavailable { reason, retry_after })),
        StatusCode::SERVICE_UNAVAILABLE => Err(Answer::Unavailable { reason, retry_after }),
        status if status.is_server_error() => Err(Answer::InDoubt(reason)),
        // In progress, or a refusal that we do not know: the gateway lives, and what happened to the money under
        // this key is for a retry, and at last for a void, to find out.
        _ => Ok(Err(Answer::InDoubt(reason))),
    }
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
