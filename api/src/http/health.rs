//! `GET /health`: this process lives. `GET /ready`: and can do its work. A dead broker only slows payments down, and for a
//! replica the primary is read, so both are shown and are no 503; without the primary nothing can be accepted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::tasks::uncancelled;
use serde::Serialize;
use store::replica::Standing;

use crate::state::AppState;

/// This process lives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// What this process needs, and whether it is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    /// `ok`; `degraded`: orders are accepted, and something else is not as it should be; `unavailable`: nothing is accepted;
    /// `stopping`: orders are accepted for a moment more, send the next elsewhere.
    status: &'static str,
    /// Where orders are written: `up` or `down`.
    database: &'static str,
    /// Where what is only shown is read: `up`, `lags` or `down`; the database is read while it is not up. Left out where there
    /// is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<&'static str>,
    /// `up` or `down`: payments wait for a sweep.
    broker: &'static str,
}

/// Alive.
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, description = "Alive", body = Health)))]
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
    let reads = state.reads.clone();
    let database = uncancelled(async move { reads.primary_is_up().await }).await.unwrap_or(false);
    let replica = state.reads.replica().map(|(standing, _)| standing);
    let broker = state.broker_up.get();
    let (code, status) = match database {
        _ if stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        true if broker && replica.is_none_or(|standing| standing == Standing::Up) => (StatusCode::OK, "ok"),
        true => (StatusCode::OK, "degraded"),
    };
    let word = |up| if up { "up" } else { "down" };
    let replica = replica.map(|standing| match standing {
        Standing::Up => "up",
        Standing::Lags => "lags",
        Standing::Down => "down",
    });
    let readiness = Readiness { status, database: word(database), replica, broker: word(broker) };
    (code, Json(readiness)).into_response()
}
