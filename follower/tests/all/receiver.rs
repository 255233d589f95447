//! Somebody who receives webhooks: remembers what came, and answers as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Came {
    /// Its order and version.
    pub(crate) fn of(&self) -> Result<(String, i64)> {
        let body: Value = serde_json::from_str(&self.body)?;
        let version = body["data"]["version"].as_i64().unwrap_or(0);
        Ok((body["subject"].as_str().unwrap_or("").to_owned(), version))
    }
}

#[derive(Debug, Default)]
struct Shared {
    came: Mutex<Vec<Came>>,
    /// By path, or by an event's id.
    answers: Mutex<HashMap<String, u16>>,
    /// Whoever comes to a path that is answered 0 waits for this.
    released: Notify,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(serve(listener, app, ServeLimits::default(), Stop::new()));
        Ok(Self { url, shared })
    }

    /// From now on it answers this to what comes to a path, or to an event of this id; 0: nothing, until it is released.
    pub(crate) fn answer(&self, what: &str, status: u16) {
        self.shared.answers.lock().unwrap().insert(what.to_owned(), status);
    }

    pub(crate) fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// What came to this path, in its order.
    pub(crate) fn came(&self, path: &str) -> Vec<Came> {
        self.shared.came.lock().unwrap().iter().filter(|one| one.path == path).cloned().collect()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let came = Came {
        path: uri.path().to_owned(),
        headers: headers.clone(),
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answers = shared.answers.lock().unwrap().clone();
    let status = answers.get(&came.id).or_else(|| answers.get(&came.path)).copied().unwrap_or(204);
    let released = shared.released.notified();
    shared.came.lock().unwrap().push(came);
    if status == 0 {
        released.await;
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    // Whoever followed it would be seen at another path.
    (status, [(header::LOCATION, "/elsewhere")], "x".repeat(100_000)).into_response()
}
