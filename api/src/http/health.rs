//! `GET /health`: this process lives. `GET /ready`: and can do its work. A dead broker only slows payments down, so
//! it is shown and is no 503; without the database nothing can be accepted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::tasks::uncancelled;
use serde::Serialize;
use store::read;

use crate::state::AppState;

/// How long the database may take to answer before it counts as down.
const PATIENCE: Duration = Duration::from_secs(1);

/// This process lives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// What this process needs, and whether it is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    /// `ok`; `degraded`: orders are accepted, payments wait for a sweep; `unavailable`: nothing is accepted; `stopping`:
    /// orders are accepted for a moment more, send the next elsewhere.
    status: &'static str,
    /// `up` or `down`.
    database: &'static str,
    /// `up` or `down`.
    broker: &'static str,
}

/// Alive.
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Ready to accept orders.
#[utoipa::path(get, path = "/ready", tag = "operation", responses(
    (status = 200, description = "Orders are accepted", body = Readiness),
    (status = 503, description = "The database is out, or this process is stopping", body = Readiness),
))]
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    let stopping = state.stop.is_stopped();
    let readers = state.readers.clone();
    let ping = uncancelled(async move {
        tokio::time::timeout(PATIENCE, read::ping(&readers)).await.is_ok_and(|answer| answer.is_ok())
    });
    let database = ping.await.unwrap_or(false);
    let broker = state.broker_up.get();
    let (code, status) = match (database, broker) {
        _ if stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let word = |up| if up { "up" } else { "down" };
    (code, Json(Readiness { status, database: word(database), broker: word(broker) })).into_response()
}
