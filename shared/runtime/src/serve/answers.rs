//! What is around each request: its place among those of HTTP/2, and the word that an answer is the last.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, Request, Response, StatusCode, Version};
use futures_util::future::{Either, ready};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service as HyperService, service_fn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Service, ServiceExt};

use super::Peer;
use crate::tasks::Stop;

/// `app`, within `places` requests of HTTP/2 at once. Its answers after `stop` close their connections; HTTP/2 has a way
/// of its own for that, and hyper takes the header off.
pub(super) fn around<S>(
    app: S,
    peer: Peer,
    places: Arc<Semaphore>,
    stop: Stop,
) -> impl HyperService<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // A service of hyper's own, and not one of tower's in an adapter: that would clone both once more a request.
    service_fn(move |mut request: Request<Incoming>| {
        // A connection of HTTP/1 has one request at a time, and connections are counted already.
        let place = match request.version() {
            Version::HTTP_2 => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return Either::Left(ready(Ok(come_again()))),
            },
            _ => None,
        };
        request.extensions_mut().insert(peer);
        let (answer, stop) = (app.clone().oneshot(request), stop.clone());
        Either::Right(async move {
            let mut answer = answer.await?;
            if stop.is_stopped() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(match place {
                Some(place) => answer.map(|body| Body::new(Placed { body, _place: place })),
                None => answer,
            })
        })
    })
}

/// 503, from before any handler: it has no body.
fn come_again() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// An answer's body that keeps its request's place until it is sent: a client that does not read it holds it in memory.
struct Placed {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
