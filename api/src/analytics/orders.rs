//! How many orders come, and what becomes of them.

use axum::Json;
use axum::extract::State;
use domain::order::status::OrderStatus;
use domain::rolled::hour::Orders;
use serde::Serialize;
use store::rollups::read;

use super::asked::{Asked, Faulty};
use super::found::{Numbers, Of, PeriodView, by_periods};
use super::query::{self, NumbersQuery, Queried};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::state::AppState;

/// How often what happened in a period.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
pub(crate) struct OrderCounts {
    /// Orders came in
    accepted: i64,
    /// were confirmed: paid, or to be paid otherwise
    confirmed: i64,
    /// failed to be paid; one that is paid anew may fail again
    failed: i64,
    /// were refused by the kitchen, or not answered in time
    rejected: i64,
    /// were cancelled
    cancelled: i64,
    /// were handed over
    delivered: i64,
}

impl From<Orders> for OrderCounts {
    fn from(orders: Orders) -> Self {
        let Orders { accepted, confirmed, failed, rejected, cancelled, delivered } = orders;
        Self { accepted, confirmed, failed, rejected, cancelled, delivered }
    }
}

/// The same, of one period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct OrderNumbers {
    /// When
    #[serde(flatten)]
    period: PeriodView,
    /// How often
    #[serde(flatten)]
    counts: OrderCounts,
}

/// Why orders ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Reason {
    /// What they became
    pub(super) status: OrderStatus,
    /// A code; `other`: in words of people; `none`: nobody said
    #[schema(example = "accept_deadline")]
    pub(super) reason: String,
    /// How often
    pub(super) times: i64,
}

impl From<read::Ended> for Reason {
    fn from(ended: read::Ended) -> Self {
        let read::Ended { status, reason, times } = ended;
        Self { status, reason, times }
    }
}

/// How many orders.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct OrderMetrics {
    /// Of what they are
    #[serde(flatten)]
    of: Of,
    /// By period; one in which nothing happened is left out
    orders: Vec<OrderNumbers>,
    /// Why orders failed, were rejected or cancelled, in all of the time, most frequent first
    reasons: Vec<Reason>,
}

/// How many orders come, and what becomes of them.
///
/// Each is counted in the period in which it happened: one that came yesterday and is delivered today counts in both.
#[utoipa::path(
    get, path = "/api/v1/analytics/order-metrics", tag = "analytics", operation_id = "order_metrics",
    params(NumbersQuery),
    responses(
        (status = 200, description = "By period", body = OrderMetrics),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid. What its schema cannot say: a time is none (`no_time`), `to` is not after `from` (`from_after_to`) or too long after it (`too_far_apart`); there is no such time zone (`unknown_time_zone`); a channel has what nobody sees (`invisible_character`, `control_character`), nothing (`empty`), or too much of it (`too_long`)", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn order_metrics(
    State(state): State<AppState>,
    by: Keeper,
    query: Queried<NumbersQuery>,
) -> Result<Json<OrderMetrics>, ApiError> {
    let asked = Asked::parse(&by, query::read(query)?, Faulty::default())?;
    let found = by_periods(state, asked, |conn, Numbers { which, span, periods, .. }| {
        Box::pin(async move {
            let orders = read::orders(conn, which, span, periods).await?;
            Ok((orders, read::reasons(conn, which, span, periods).await?))
        })
    });
    let (found, (orders, reasons)) = found.await?;
    let orders = orders.into_iter().filter_map(|(period, orders)| {
        Some(OrderNumbers { period: found.periods.get(period)?.into(), counts: orders.into() })
    });
    let (orders, reasons) = (orders.collect(), reasons.into_iter().map(Reason::from).collect());
    Ok(Json(OrderMetrics { of: found.into(), orders, reasons }))
}
