//! Plays a request's fate: its work is done or not, in time or late, and answered well, with garbage or not at all,
//! as the dice fell. The work itself knows nothing of this.

use std::future::Future;
use std::time::Duration;

use std::collections::BTreeMap;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header;
use axum::http::response::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use runtime::tasks::uncancelled;
use serde_json::value::RawValue;

use crate::Gateway;
use crate::fate::{Fate, Pace};
use crate::problem::Problem;

/// What a broken proxy leaves of an answer: JSON that ends in the middle.
const GARBAGE: &str = r#"{"id":"ch_00"#;

/// What is added to an answer to make it huge. A reader of JSON does not mind it.
const PADDING: usize = 1 << 20;

/// Runs `work`, which is given the time that it shall take, as `fate` wants it.
pub(crate) async fn play<W, F>(gateway: &Gateway, fate: Fate, pace: Pace, work: W) -> Response
where
    W: FnOnce(Duration) -> F,
    F: Future<Output = Response> + Send + 'static,
{
    if fate != Fate::Plain {
        gateway.counters.fault(fate);
    }
    match fate {
        Fate::Plain => work(pace.latency).await,
        Fate::Misconfigured => Problem::misconfigured(pace.misconfigured).into_response(),
        Fate::TooMany => Problem::too_many(pace.retry_after_seconds).into_response(),
        Fate::ErrorBefore => {
            pause(pace.latency).await;
            Problem::internal().into_response()
        }
        Fate::TimeoutBefore => silence(gateway, pace.hold).await,
        Fate::ErrorAfter => {
            work(pace.latency).await;
            Problem::internal().into_response()
        }
        Fate::TimeoutAfter => {
            work(pace.latency).await;
            silence(gateway, pace.hold).await
        }
        Fate::Malformed => with_body(work(pace.latency).await, GARBAGE),
        Fate::ForeignReceipt => {
            let (head, body) = taken_apart(work(pace.latency).await).await;
            let foreign = of_another_amount(&body).unwrap_or(body);
            with_body(Response::from_parts(head, Body::empty()), foreign)
        }
        Fate::Huge => {
            let (head, body) = taken_apart(work(pace.latency).await).await;
            let huge = [&*body, &b" ".repeat(PADDING)].concat();
            with_body(Response::from_parts(head, Body::empty()), huge)
        }
        Fate::Pending => {
            #[expect(clippy::disallowed_methods, reason = "it lands whether or not anybody asks again")]
            tokio::spawn(work(pace.hold));
            Problem::pending().into_response()
        }
        // The one fate that a client cannot end by hanging up.
        Fate::Late => match uncancelled(work(pace.hold)).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a late charge or refund was lost");
                Problem::internal().into_response()
            }
        },
    }
}

fn with_body(mut answer: Response, body: impl Into<Body>) -> Response {
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    *answer.body_mut() = body.into();
    answer
}

async fn taken_apart(answer: Response) -> (Parts, Bytes) {
    let (head, body) = answer.into_parts();
    (head, to_bytes(body, usize::MAX).await.unwrap_or_default())
}

/// A receipt with a digit before its amount; `None`: this is no receipt.
fn of_another_amount(body: &[u8]) -> Option<Bytes> {
    let mut receipt: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    let amount = receipt.get_mut("amount")?;
    *amount = RawValue::from_string(format!("1{amount}")).ok()?;
    serde_json::to_vec(&receipt).ok().map(Bytes::from)
}

/// Waits; for no time it does not even ask the clock.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Holds the request, then closes the connection without a byte. A stop ends the hold: nothing is under way.
async fn silence(gateway: &Gateway, hold: Duration) -> Response {
    gateway.stop.or_stopped(pause(hold)).await;
    // A body that fails before its first byte makes hyper drop the connection, the unsent head with it.
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))]);
    Response::new(Body::from_stream(broken))
}
