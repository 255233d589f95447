//! Plays a request's fate: its work is done or not, in time or late, and answered well, with garbage or not at all,
//! as the dice fell. The work itself knows nothing of this.

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use runtime::tasks::uncancelled;

use crate::Gateway;
use crate::fate::Fate;
use crate::problem::Problem;

/// What a broken proxy leaves of an answer: JSON that ends in the middle.
const GARBAGE: &str = r#"{"id":"ch_00"#;

/// Times of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long the gateway takes for it.
    pub(crate) latency: Duration,
    /// How long it is held if it gets no answer.
    pub(crate) hold: Duration,
}

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
        Fate::TooMany => Problem::too_many().into_response(),
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
        Fate::Malformed => {
            let mut answer = work(pace.latency).await;
            answer.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(GARBAGE);
            answer
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
