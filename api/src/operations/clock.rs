//! `/internal/clock`: whether the database's clock is believed, and an operator's word that it is right.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use store::clock::{standing, trust};

use super::state::Internal;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// More time than this is a wrong number.
const MOST: u64 = 24 * 60 * 60;

/// How the clock stands.
#[derive(Debug, Serialize)]
pub(super) struct ClockView {
    /// Whether deadlines count.
    trusted: bool,
    /// How much further than anybody watched the clock went.
    distrusted_seconds: i64,
    /// Orders whose deadline has passed by the clock.
    late_orders: i64,
}

/// What an operator may say.
#[derive(Debug, Deserialize)]
pub(super) struct Trust {
    /// Time that late orders get before they are rejected.
    more_seconds: Option<u64>,
}

/// `GET /internal/clock`
pub(super) async fn read_clock(
    State(state): State<Internal>,
    _: Manager,
) -> Result<Json<ClockView>, ApiError> {
    let seen = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        standing(&mut conn).await
    });
    let seen = seen.await?;
    let trusted = seen.beyond_seconds <= 0.0;
    let distrusted_seconds = if trusted { 0 } else { seen.beyond_seconds as i64 };
    Ok(Json(ClockView { trusted, distrusted_seconds, late_orders: seen.late_orders }))
}

/// `POST /internal/clock?more_seconds=`: the clock is right; late orders get so much time more, or are rejected now.
pub(super) async fn trust_clock(
    state: State<Internal>,
    manager: Manager,
    query: Result<Query<Trust>, QueryRejection>,
) -> Result<Json<ClockView>, ApiError> {
    let more = query.map_or(MOST + 1, |Query(said)| said.more_seconds.unwrap_or(0));
    if more > MOST {
        let detail = format!("must be a number of seconds up to {MOST}");
        return Err(ApiError::invalid_one("more_seconds", "out_of_range", detail));
    }
    let session = state.0.session.clone();
    let put_off = to_the_end(async move {
        let more = Duration::from_secs(more);
        let mut session = session.lock().await;
        session.run(&more, |conn, more| Box::pin(trust(conn, *more))).await
    });
    let put_off = put_off.await?;
    tracing::warn!(more_seconds = more, put_off, "an operator says that the database's clock is right");
    read_clock(state, manager).await
}
