//! Around every request: an id that is taken over or given, returned and logged; one metric; and the body of
//! every error.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use metrics::Histogram;
use tracing::Instrument;
use uuid::Uuid;

use crate::error::{ApiError, render};

/// The header that carries a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id taken over from a client: it goes into every log line.
const MAX_REQUEST_ID: usize = 128;

/// The middleware.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    // The pattern, never the path itself: a metric must not have a value per order.
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::debug_span!("request", id, %method, path);
    let mut response = next.run(request).instrument(span.clone()).await;

    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        render(&mut response, error.body(&id));
        if let Some(cause) = error.cause {
            tracing::error!(id, %method, path, cause, "a request failed through a fault of ours");
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    record(&path, method_label(&method), status, started.elapsed());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
    response
}

/// A route's histograms, by method and status.
type Route = HashMap<(&'static str, StatusCode), Histogram>;
/// Every histogram that was needed so far: a look-up by labels makes three strings each time.
static REQUESTS: LazyLock<RwLock<HashMap<String, Route>>> = LazyLock::new(RwLock::default);

fn record(path: &str, method: &'static str, status: StatusCode, took: Duration) {
    let requests = REQUESTS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = requests.get(path).and_then(|route| route.get(&(method, status))) {
        known.record(took);
        return;
    }
    drop(requests);
    let labels =
        [("method", method.to_owned()), ("path", path.to_owned()), ("status", status.as_str().to_owned())];
    let new = metrics::histogram!("http_request_seconds", &labels);
    new.record(took);
    let mut requests = REQUESTS.write().unwrap_or_else(PoisonError::into_inner);
    requests.entry(path.to_owned()).or_default().insert((method, status), new);
}

/// A client may invent methods; a metric must not have a value for each.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The client's id where it is a sane one, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => Uuid::now_v7().to_string(),
    }
}
