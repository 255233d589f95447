//! How long orders stay in each status.

use axum::Json;
use axum::extract::State;
use domain::order::status::OrderStatus;
use domain::rolled::lengths::percentile;
use serde::Serialize;
use store::rollups::read::{self, Stayed};

use super::asked::{Asked, Faulty};
use super::found::{Numbers, Of, PeriodView, by_periods};
use super::query::{self, Queried, StatusQuery};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::state::AppState;

/// Stays in a status that began in a period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct StatusNumbers {
    /// When
    #[serde(flatten)]
    period: PeriodView,
    /// Where the orders stood
    status: OrderStatus,
    /// How often orders came to stand there
    entries: i64,
    /// How many of these stays are over; the others go on, or are the orders' end
    finished: i64,
    /// How long those lasted, on average, in milliseconds; null: none is over
    mean_ms: Option<i64>,
    /// Half of them lasted no longer; read from a histogram, and so off by an eighth at most
    p50_ms: Option<i64>,
    /// Nineteen of twenty lasted no longer
    p95_ms: Option<i64>,
}

/// How long orders stay.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct StatusMetrics {
    /// Of what they are
    #[serde(flatten)]
    of: Of,
    /// By period and status; where no order came to stand, there is none
    statuses: Vec<StatusNumbers>,
}

/// How long orders stay in each status.
///
/// A stay belongs to the period in which it **began**, however late it ends: the numbers of a period change as its stays end, and are
/// never late.
#[utoipa::path(
    get, path = "/api/v1/analytics/status-metrics", tag = "analytics", operation_id = "status_metrics",
    params(StatusQuery),
    responses(
        (status = 200, description = "By period and status", body = StatusMetrics),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid. What its schema cannot say: a time is none (`no_time`), `to` is not after `from` (`from_after_to`) or too long after it (`too_far_apart`); there is no such time zone (`unknown_time_zone`); a channel has what nobody sees (`invisible_character`, `control_character`), nothing (`empty`), or too much of it (`too_long`)", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn status_metrics(
    State(state): State<AppState>,
    by: Keeper,
    query: Queried<StatusQuery>,
) -> Result<Json<StatusMetrics>, ApiError> {
    let (query, status) = query::read(query)?.split();
    let mut faulty = Faulty::default();
    let status = status.and_then(|text| {
        let status = OrderStatus::parse(text.trim());
        if status.is_none() {
            let known: Vec<&str> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
            faulty.add("status", "unknown_status", format!("must be one of {}", known.join(", ")));
        }
        status
    });
    let asked = Asked::parse(&by, query, faulty)?;
    let found = by_periods(state, asked, move |conn, found| {
        Box::pin(read::stays(conn, &found.which, &found.span, &found.periods, status))
    });
    let (found, stays) = found.await?;
    let statuses = stays.iter().filter_map(|stayed| shown(&found, stayed)).collect();
    Ok(Json(StatusMetrics { of: found.into(), statuses }))
}

fn shown(found: &Numbers, stayed: &Stayed) -> Option<StatusNumbers> {
    let finished: i64 = stayed.buckets.iter().map(|(_, stays)| stays).sum();
    Some(StatusNumbers {
        period: found.periods.get(stayed.period)?.into(),
        status: stayed.status,
        entries: stayed.entries,
        finished,
        mean_ms: stayed.total_ms.checked_div(finished),
        p50_ms: percentile(&stayed.buckets, 50),
        p95_ms: percentile(&stayed.buckets, 95),
    })
}
