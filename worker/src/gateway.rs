//! The gateway as the worker sees it: one request, and what its answer means for the money.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use shared::chaos::sabotaged;
use shared::payment::{
    AttemptAction, ChargeReceipt, ChargeRequest, GatewayProblem, RefundReceipt, RefundRequest, VoidReply,
};
use shared::store::claim::Claimed;
use uuid::Uuid;

/// What an answer, or its absence, means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The money moved, now or earlier under the same key.
    Done {
        /// The gateway's id.
        gateway_id: String,
    },
    /// The gateway said no.
    Declined(Reason),
    /// The key is void: it took nothing and never will.
    Voided,
    /// Nobody knows whether the money moved.
    InDoubt(Reason),
    /// The request was not looked at.
    Unavailable {
        /// Why.
        reason: Reason,
        /// When to come again, where the gateway said so.
        retry_after: Option<Duration>,
    },
}

/// A machine code and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Such as `timeout` or the gateway's own `card_declined`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Reason {
    fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: clean(code.into(), MAX_CODE), message: clean(message.into(), MAX_MESSAGE) }
    }
}

/// `Ok`: the gateway works, whatever it said. `Err`: an outage, which the breaker counts.
pub type Asked = std::result::Result<Answer, Answer>;

/// Longest code or id that is kept of what a gateway says; real ones have 30 characters.
const MAX_CODE: usize = 200;
/// Longest message that is kept.
const MAX_MESSAGE: usize = 1_000;

/// What a third party says, fit to be stored: PostgreSQL takes no NUL, and no row should grow because a gateway talks.
fn clean(text: String, max_chars: usize) -> String {
    if text.len() <= max_chars && !text.contains(char::is_control) {
        return text;
    }
    text.chars().filter(|c| !c.is_control()).take(max_chars).collect()
}

/// A client of the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    http: reqwest::Client,
    charges: Url,
    refunds: Url,
    timeout: Duration,
}

/// Longest wait for a connection. A gateway that does not even accept is not looking at the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest delay that a gateway's Retry-After is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Gateway {
    /// A client of the gateway at `url`; `timeout` bounds each request as a whole.
    pub fn new(url: &str, timeout: Duration) -> Result<Self> {
        let wrong = || format!("GATEWAY_URL={url} is no URL such as http://127.0.0.1:9090");
        let parsed = Url::parse(url).ok().filter(|url| url.has_host()).with_context(wrong)?;
        // Only the first caller in a process installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A redirect is no answer to a charge, and following one would send it somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if parsed.scheme() == "http" {
            // No certificate is ever looked at; without this a machine without a CA bundle could not even start.
            http = http.tls_certs_only([]);
        }
        let http = http.build().context("cannot set up the gateway client")?;
        let under = |path: &str| parsed.join(path).with_context(wrong);
        // Below whatever path the gateway's URL has.
        let base = parsed.path().trim_end_matches('/');
        let charges = under(&format!("{base}/v1/charges"))?;
        let refunds = under(&format!("{base}/v1/refunds"))?;
        Ok(Self { http, charges, refunds, timeout })
    }

    /// Asks what the claim says, once, under the payment's own key.
    pub async fn ask(&self, claim: &Claimed) -> Asked {
        match claim.action {
            AttemptAction::Charge => {
                let body = ChargeRequest::new(claim.order_id, claim.amount);
                let sent = self.send(claim, self.charges.clone(), Some(&body)).await?;
                done(
                    sent,
                    |receipt: &ChargeReceipt| {
                        is_ours(&receipt.key, claim) && receipt.money() == Ok(claim.amount)
                    },
                    |r| r.id,
                    Refusal::IsDoubt,
                )
                .await
            }
            AttemptAction::Refund => {
                let body = RefundRequest {
                    charge_key: claim.refund_of.map(|id| id.to_string()).unwrap_or_default(),
                    reference: claim.order_id.to_string(),
                    amount: claim.amount.to_json(),
                    currency: claim.amount.currency().code().to_owned(),
                };
                let sent = self.send(claim, self.refunds.clone(), Some(&body)).await?;
                done(sent, |receipt: &RefundReceipt| is_ours(&receipt.key, claim), |r| r.id, Refusal::IsNo)
                    .await
            }
            AttemptAction::Void => {
                let mut url = self.charges.clone();
                url.set_path(&format!("{}/by-key/{}/void", url.path(), claim.payment_id));
                let sent = self.send(claim, url, None::<&()>).await?;
                match read::<VoidReply>(sent, Refusal::IsDoubt).await? {
                    Ok(VoidReply::Voided) => Ok(Answer::Voided),
                    Ok(VoidReply::AlreadyCharged { charge }) => {
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
        url: Url,
        body: Option<&impl serde::Serialize>,
    ) -> std::result::Result<Response, Answer> {
        let origin = claim.origin.as_deref();
        let request_id = origin.and_then(|origin| origin.request_id.as_ref());
        let mut request = self
            .http
            .post(url)
            .header("idempotency-key", key_of(claim).to_string())
            // An order whose client gave no id has its request's.
            .header(
                "x-request-id",
                request_id.map_or_else(|| claim.order_id.to_string(), ToString::to_string),
            );
        if let Some(trace) = origin.and_then(|origin| origin.trace) {
            request = request.header("traceparent", trace.to_string());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| self.unanswered(&error))
    }

    /// What it means that no answer came.
    fn unanswered(&self, error: &reqwest::Error) -> Answer {
        if error.is_connect() {
            // Nothing was sent.
            let reason = Reason::new("unreachable", "the gateway cannot be reached");
            return Answer::Unavailable { reason, retry_after: None };
        }
        Answer::InDoubt(if error.is_timeout() {
            Reason::new("timeout", format!("no answer within {:?}", self.timeout))
        } else {
            Reason::new("no_answer", "the connection broke before the answer was whole")
        })
    }
}

/// The one key of this payment, whichever try it is.
fn key_of(claim: &Claimed) -> Uuid {
    if is_keyed_anew(claim) { Uuid::new_v4() } else { claim.payment_id }
}

fn is_ours(key: &str, claim: &Claimed) -> bool {
    key == claim.payment_id.to_string() || is_keyed_anew(claim)
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
async fn done<T: DeserializeOwned>(
    response: Response,
    is_ours: impl Fn(&T) -> bool,
    id: impl Fn(T) -> String,
    refusal: Refusal,
) -> Asked {
    match read::<T>(response, refusal).await? {
        Ok(receipt) if is_ours(&receipt) => Ok(Answer::Done { gateway_id: clean(id(receipt), MAX_CODE) }),
        Ok(_) => {
            Err(Answer::InDoubt(Reason::new("foreign_receipt", "the receipt is not for what was asked")))
        }
        Err(answer) => Ok(answer),
    }
}

/// The body of a success, or what another status means. The outer error is an outage.
async fn read<T: DeserializeOwned>(
    response: Response,
    refusal: Refusal,
) -> std::result::Result<std::result::Result<T, Answer>, Answer> {
    let status = response.status();
    let retry_after = retry_after(&response);
    let body = response.bytes().await.map_err(|error| {
        Answer::InDoubt(if error.is_timeout() {
            Reason::new("timeout", "the answer did not end in time")
        } else {
            Reason::new("no_answer", "the connection broke before the answer was whole")
        })
    })?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map(Ok)
            .map_err(|_| Answer::InDoubt(Reason::new("malformed_reply", "the answer cannot be read")));
    }
    let reason = serde_json::from_slice::<GatewayProblem>(&body)
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

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
