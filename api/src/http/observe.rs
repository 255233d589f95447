//! Around every request: an id that is taken over or given, and its place in a trace, both returned and logged; one
//! metric; and the body of every error.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use domain::origin::RequestId;
use domain::trace_parent::TraceParent;
use futures_util::FutureExt;
use metrics::Histogram;
use runtime::trace::{self, Span};
use tower::layer::layer_fn;
use tower::{Layer, Service, service_fn};
use tracing::Instrument;
use tracing::field::display;
use uuid::Uuid;

use crate::http::arrival::{Arrival, Id};
use crate::http::error::{ApiError, render};

/// The header that carries a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What others call it. Where a request has several, the first of these counts.
static OTHER_NAMES: [HeaderName; 2] =
    [HeaderName::from_static("x-correlation-id"), HeaderName::from_static("correlation-id")];
/// What everybody may see of what is below `/api/`, and everybody between us and the client keep for a while.
const PUBLIC: [&str; 1] = ["/api/v1/auth/jwks.json"];
/// The header that carries its place in a trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The routes of one path, as seen from around them.
#[derive(Debug)]
struct Pattern {
    /// The path with its placeholders.
    path: Box<str>,
    /// Whether nobody between us and the client may keep the answers: orders, people, tokens.
    private: bool,
    /// Every histogram that was needed so far, by method and status: a look-up by labels makes three strings each time.
    requests: RwLock<Vec<((&'static str, StatusCode), Histogram)>>,
}

/// What is around the routes of this path.
pub(crate) fn observed(
    path: &str,
) -> impl Layer<
    Route,
    Service: Service<Request, Response = Response, Error = Infallible, Future: Send>
                 + Clone
                 + Send
                 + Sync
                 + 'static,
>
+ Clone
+ Send
+ Sync
+ 'static
+ use<> {
    let private = path.starts_with("/api/") && !PUBLIC.contains(&path);
    let pattern = Arc::new(Pattern { path: path.into(), private, requests: RwLock::default() });
    layer_fn(move |mut route: Route| {
        let pattern = Arc::clone(&pattern);
        // Routes are always ready.
        service_fn(move |request| observe(request, &mut route, Arc::clone(&pattern)))
    })
}

/// Begins at once: the request is handed on without being kept for the first poll.
fn observe(
    mut request: Request,
    route: &mut Route,
    pattern: Arc<Pattern>,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
    let started = Instant::now();
    let path = &*pattern.path;
    let id = given(request.headers());
    let id = id.map_or_else(|| Id::Ours(Uuid::now_v7()), Id::Given);
    let method = request.method().clone();
    let mut step = begin(request.headers(), &method, path);
    let arrival = Arrival { id, trace: step.place() };
    let Arrival { id, trace } = arrival.clone();
    let trace_id = move || trace.map(|trace| display(trace.trace_id));
    let span = tracing::debug_span!("request", %id, trace_id = trace_id(), %method, path);
    request.extensions_mut().insert(arrival);
    // What a handler leaves half done when it panics is its own: state that is shared changes through desks and pools.
    let answer = AssertUnwindSafe(route.call(request)).catch_unwind().instrument(span.clone());
    async move {
        let mut response = match answer.await {
            Ok(Ok(response)) => response,
            Err(_panic) => ApiError::internal(&"a handler panicked").into_response(),
        };
        if let Some(error) = response.extensions_mut().remove::<ApiError>() {
            render(&mut response, error.body(&id, trace));
            if let Some(cause) = error.cause {
                let (trace_id, path) = (trace_id(), &*pattern.path);
                tracing::error!(%id, trace_id, %method, path, cause, "a request failed through a fault of ours");
            }
        }
        let headers = response.headers_mut();
        // What is no page is never to be read as one, whatever somebody sent that is in it.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if pattern.private {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(value) = id.header() {
            headers.insert(REQUEST_ID, value);
        }
        if let Some(value) = trace.and_then(|trace| HeaderValue::try_from(trace.to_string()).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        let status = response.status();
        pattern.record(method_label(&method), status, started.elapsed());
        step.note("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            step.fail("answered 5xx");
        }
        span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
        Ok(response)
    }
}

impl Pattern {
    fn record(&self, method: &'static str, status: StatusCode, took: Duration) {
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = requests.iter().find(|(of, _)| *of == (method, status)) {
            known.record(took);
            return;
        }
        drop(requests);
        let path = self.path.to_string();
        let labels = [("method", method.to_owned()), ("path", path), ("status", status.as_str().to_owned())];
        let new = metrics::histogram!("http_request_seconds", &labels);
        new.record(took);
        self.requests.write().unwrap_or_else(PoisonError::into_inner).push(((method, status), new));
    }
}

/// The request's step in its trace. Only orders have traces: health checks and strangers would drown them.
fn begin(headers: &HeaderMap, method: &Method, path: &str) -> Span {
    let came = header(headers, &TRACEPARENT, TraceParent::parse);
    let verb = match *method {
        Method::POST if path == "/api/v1/orders" || path == "/api/v1/channels/{channel}/orders" => "accept",
        Method::POST | Method::PUT if path.starts_with("/api/v1/orders/{id}/") => "move",
        Method::GET | Method::HEAD if path.starts_with("/api/") => "read",
        _ => return Span::pass(came),
    };
    let mut step = Span::begin(verb, trace::Kind::Server, came);
    step.note("http.request.method", method_label(method));
    step.note_with("http.route", || path.to_owned());
    step
}

/// The id that a request came with.
fn given(headers: &HeaderMap) -> Option<RequestId> {
    let named = |name| header(headers, name, RequestId::parse);
    named(&REQUEST_ID).or_else(|| OTHER_NAMES.iter().find_map(named))
}

/// What a header says, where it is there once and can be read.
fn header<T>(headers: &HeaderMap, name: &HeaderName, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next()?, values.next());
    if second.is_some() { None } else { read(first.to_str().ok()?) }
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_a_fault_of_ours_like_any_other() {
        async fn panic() {
            panic!("a test");
        }
        let app = Router::new().route("/panic", get(panic)).layer(observed("/panic"));
        for _ in 0..2 {
            let request = Request::get("/panic").header(REQUEST_ID, "mine").body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers()[REQUEST_ID], "mine");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.contains("urn:request:mine") && !body.contains("a test"), "{body}");
        }
    }
}
