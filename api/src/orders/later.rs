//! `GET /orders/later`: what is wanted later, for whoever plans the kitchen's day.

use axum::Json;
use axum::extract::{Query, State};
use domain::location::is_id;
use serde::{Deserialize, Serialize};
use store::list;
use uuid::Uuid;

use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, StaffOnly};
use crate::identity::caller::Staff;
use crate::orders::read::{MAX_PAGE_SIZE, PAGE_SIZE, decisive, misread};
use crate::orders::view::OrderView;
use crate::state::AppState;

/// What may be asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaterQuery {
    /// Only those of this location
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
    /// 1 to 100; 20 where it is left out
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
    page_size: Option<usize>,
    /// The last answer's `next_cursor`
    cursor: Option<Uuid>,
}

/// Some of the orders that wait for their time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LaterPage {
    /// Soonest first.
    orders: Vec<OrderView>,
    /// Pass this as `cursor` to get the next page; null on the last page.
    next_cursor: Option<Uuid>,
}

/// List the orders that wait for their time, soonest first.
///
/// Those that are wanted later and have not ended, until their location's lead time before they are wanted.
#[utoipa::path(
    get, path = "/api/v1/orders/later", tag = "orders", operation_id = "list_orders_for_later",
    params(LaterQuery),
    responses(
        (status = 200, description = "One page", body = LaterPage),
        (status = 422, description = "A parameter is not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        StaffOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list_later(
    State(state): State<AppState>,
    Staff(by): Staff,
    query: Result<Query<LaterQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<LaterPage>, ApiError> {
    let Query(query) = query.map_err(|refused| misread(&refused.body_text()))?;
    let page_size = query.page_size.unwrap_or(PAGE_SIZE);
    if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
        let wanted = format!("must be a number from 1 to {MAX_PAGE_SIZE}");
        return Err(ApiError::invalid_one("page_size", "out_of_range", wanted));
    }
    if query.location.as_ref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::invalid_one("location", "unknown_location", "must be the id of a location"));
    }
    if !query.location.as_ref().is_none_or(|id| by.may_act_at(id)) {
        return Err(ApiError::forbidden("these are orders of another location"));
    }
    let locations = match query.location {
        Some(one) => vec![one],
        None => by.locations().unwrap_or_default().to_vec(),
    };
    let found = decisive(state, move |conn| {
        Box::pin(async move { list::later(conn, &locations, query.cursor, page_size).await })
    });
    let list::Later { orders, next } = found.await?;
    let orders = orders.into_iter().map(|order| OrderView::in_list(order).shown_to(&by)).collect();
    Ok(Json(LaterPage { orders, next_cursor: next }))
}
