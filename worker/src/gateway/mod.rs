//! The gateway as the worker sees it: one request, and what its answer means for the money.

pub(crate) mod address;
mod answer;
pub mod breaker;
mod client;
mod meaning;
mod pace;
mod setup;
mod token;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use domain::payment::AttemptAction;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Response, Uri};
use runtime::chaos::sabotaged;
use store::claim::Claimed;
use url::Url;
use uuid::Uuid;

pub use self::answer::{Answer, Asked, Reason};
use self::client::{Client, Failure};
use self::setup::Setup;
use self::token::Token;
use crate::config::WorkerSettings;

/// A client of the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    client: Client,
    charges: Uri,
    refunds: Uri,
    timeout: Duration,
    token: Option<Arc<Token>>,
    setup: Arc<Setup>,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Gateway {
    /// A client of the gateway at `url`, which asks for no token; `timeout` bounds each request as a whole.
    pub fn new(url: &str, timeout: Duration) -> Result<Self> {
        Self::at(address::parse(url, false)?, None, timeout)
    }

    /// A client of the gateway that the settings name.
    pub fn of(settings: &WorkerSettings) -> Result<Self> {
        let address = address::parse(&settings.gateway_url, settings.gateway_plain_http)?;
        Self::at(address, Token::of(settings)?, settings.gateway_timeout)
    }

    fn at(address: Url, token: Option<Token>, timeout: Duration) -> Result<Self> {
        let wrong = format!("GATEWAY_URL={address} is no URL such as http://127.0.0.1:9090");
        let client = Client::new(address, timeout).context("cannot set up the gateway client")?;
        let charges = client.uri("/v1/charges").context(wrong.clone())?;
        let refunds = client.uri("/v1/refunds").context(wrong)?;
        meaning::declare_metrics();
        Ok(Self { client, charges, refunds, timeout, token: token.map(Arc::new), setup: Arc::default() })
    }

    /// Asks what the claim says, once, under the payment's own key.
    pub async fn ask(&self, claim: &Claimed) -> Asked {
        let (uri, body) = match claim.action {
            AttemptAction::Charge => (self.charges.clone(), Some(wire::charge(claim))),
            AttemptAction::Refund => (self.refunds.clone(), Some(wire::refund(claim))),
            AttemptAction::Void => {
                let path = format!("/v1/charges/by-key/{}/void", claim.payment_id);
                (self.client.uri(&path).expect("a path like the others"), None)
            }
        };
        let response = self.send(claim, uri, body).await?;
        let asked = meaning::of(claim, &response);
        self.setup.note(claim.action, response.status(), &asked);
        if let (Err(Answer::Misconfigured { .. }), Some(token)) = (&asked, &self.token) {
            token.read_again().await;
        }
        asked
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
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.header());
        }
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
