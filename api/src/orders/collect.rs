//! `POST /orders/{id}/collect`: staff say that the money came in which was due when the order was handed over.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use domain::order::collected::CollectRequest;
use store::collect::Collect;
use store::read;
use uuid::Uuid;

use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::parameters::{KeyHeader, OrderId, Versions};
use crate::http::problems::{BadBody, Changed, Faults, NoOrder, StaffOnly};
use crate::identity::caller::Staff;
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::{Answer, hand_in};
use crate::orders::read::decisive;
use crate::orders::target::Target;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Take the money.
///
/// Of an order that is paid when it is handed over (`payment.method` is `on_delivery`): what was `due` came in. The history says who
/// took it and when. `amount` may be left out; where it is given, it must be what was due.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/collect", tag = "kitchen",
    params(OrderId, KeyHeader, Versions),
    request_body = Option<CollectBody>,
    responses(
        (status = 200, description = "Written down", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`nothing_due` or `other_amount_due`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`amount` has more places than the currency of the order (`too_precise`) or more than 13 digits (`too_large`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, StaffOnly, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn collect(
    State(state): State<AppState>,
    Staff(by): Staff,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let body = body::read(&headers, body, &state.room).await?;
    let Target { order_id, expected, key } = of.with_body(&body);
    let key = key.by(&by, &state);
    let order = decisive(state.clone(), move |conn| Box::pin(read::order(conn, order_id))).await?;
    let order = order.ok_or_else(|| ApiError::not_found("order"))?;
    let amount_minor = if body.is_empty() {
        None
    } else {
        body::expect_json(&headers)?;
        let request: CollectRequest<'_> = body::parse(&body)?;
        request.parse(order.total.currency()).map_err(ApiError::invalid)?
    };
    let ask = Collect { request: Uuid::now_v7(), order_id, by, amount_minor, expected };
    hand_in(&state, Asked { ask: Ask::Collect(ask), key }, None, order.status).await
}

/// What came in.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct CollectBody {
    /// How much; it must be what was due.
    #[schema(example = 30.97, minimum = 0, maximum = 10_000_000_000_000_i64)]
    amount: Option<f64>,
}
