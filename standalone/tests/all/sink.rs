//! A collector of traces: takes OTLP, protobuf over HTTP, and keeps all spans.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use testbed::until;
use tokio::net::TcpListener;

/// A span as the tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) facts: HashMap<String, String>,
    /// Nanoseconds since 1970.
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

/// The collector; ends with the test.
pub(crate) struct Sink {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Stop,
}

impl Sink {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Stop::new());
        let app = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(serve(listener, app, ServeLimits::default(), stop.clone()));
        Ok(Self { url, seen, stop })
    }

    /// All that came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The spans of a trace by name, once there is one of each of `names`.
    pub(crate) async fn trace(&self, id: &str, names: &[&str]) -> Result<HashMap<String, Seen>> {
        until(&format!("{names:?} of trace {id} arrived"), async || {
            let spans: Vec<Seen> = self.seen().into_iter().filter(|span| span.trace == id).collect();
            let count = spans.len();
            let by_name: HashMap<_, _> = spans.into_iter().map(|span| (span.name.clone(), span)).collect();
            ensure!(by_name.len() == count, "two spans of one name in {by_name:#?}");
            Ok(names.iter().all(|name| by_name.contains_key(*name)).then_some(by_name))
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    if headers["content-type"] != "application/x-protobuf" {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut seen = seen.lock().unwrap();
    for of_service in request.resource_spans {
        let resource = facts(of_service.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.push(Seen {
                service: resource["service.name"].clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                facts: facts(span.attributes),
                begun: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
            });
        }
    }
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn facts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|fact| (fact.key, text(fact.value.and_then(|value| value.value)))).collect()
}
