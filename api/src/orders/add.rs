//! `POST /orders/{id}/items`: more lines for an order that is still open, with a charge of their own; and
//! `POST /orders/{id}/payment`: a new charge for an order whose payment failed.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use domain::catalogue::menu::MenuAt;
use domain::order::additions::{AdditionRequest, NewAddition, PaymentRequest};
use domain::order::status::OrderStatus;
use domain::payment::new_payment_id;
use store::additions::{Add, PayAnew};
use store::read;

use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::parameters::{KeyHeader, OrderId, Versions};
use crate::http::problems::{BadBody, Changed, Faults, NoOrder, TokenNeeded};
use crate::identity::caller::Caller;
use crate::orders::accept::unacceptable;
use crate::orders::body::LineBody;
use crate::orders::earlier;
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::{Answer, hand_in};
use crate::orders::read::decisive;
use crate::orders::target::Target;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Add to an order.
///
/// Possible up to `CONFIRMED`. The same article at the same price raises its quantity. The addition has a charge of its own,
/// which is made once the order's first charge has succeeded. If it fails, the addition is removed and the order goes on.
/// A retry must have the same `payment_reference`; under the same `Idempotency-Key` it is answered as the first one.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/items", tag = "orders",
    params(OrderId, KeyHeader, Versions),
    request_body = AdditionBody,
    responses(
        (status = 200, description = "Added", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`duplicate_payment_reference`, `not_open` or `deadline_passed`, with the `current_status`; or `price_mismatch` or `out_of_stock`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The JSON is not a valid addition. What its schema cannot say: a line comes to less than nothing (`below_zero`), an amount has the wrong sign for its kind (`wrong_sign`), more places than its currency (`too_precise`) or more than 13 digits (`too_large`), the lines do not come to the `total` (`total_mismatch`), nothing is to be paid (`nothing_to_pay`), an id has what nobody sees (`invisible_character`), a product is none of the catalogue (`unknown_product`), has its price in another currency (`other_currency`), is not sold there (`not_sold_here`), lacks its variation (`required`) or has no such one (`unknown_variation`), or more or less is chosen than it wants (`unknown_option`, `repeated`, `too_few`, `too_many`). Or the order would have more than it may (`too_many`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, TokenNeeded, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn add_items(
    State(state): State<AppState>,
    Caller(by): Caller,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?;
    let Target { order_id, expected, key } = of.with_body(&body);
    let request: AdditionRequest<'_> = body::parse(&body)?;
    // Prices are read in the order's currency, which never changes.
    let order = decisive(state.clone(), move |conn| Box::pin(read::order(conn, order_id))).await?;
    let order = order.filter(|order| by.may_see(&order.customer_id, order.location()));
    let order = order.ok_or_else(|| ApiError::not_found("order"))?;
    let currency = order.total.currency();
    let addition = state
        .shelf
        .read_with(|menu| {
            let menu = MenuAt { menu, location: order.location() };
            NewAddition::parse_with(&request, order_id, currency, &menu)
        })
        .await?;
    let key = key.by(&by, &state);
    let addition = match addition.map_err(unacceptable) {
        Ok(addition) => addition,
        Err(refusal) => return earlier::added(&state, order_id, key, &by, refusal).await,
    };
    hand_in(
        &state,
        Asked { ask: Ask::Add(Add { order_id, by, addition, expected }), key },
        body.into_held(),
        order.status,
    )
    .await
}

/// Pay anew.
///
/// For an order whose payment failed: charges its total again. A retry must have the same `payment_reference`;
/// under the same `Idempotency-Key` it is answered as the first one.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/payment", tag = "orders",
    params(OrderId, KeyHeader, Versions),
    request_body = PaymentBody,
    responses(
        (status = 200, description = "The charge is under way", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`duplicate_payment_reference`, `same_status`, `illegal_move`, `charges_open`, or `out_of_stock` (what the order gave back when its payment failed is gone), with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`payment_reference` is missing or not valid (`invisible_character`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, TokenNeeded, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn pay_anew(
    State(state): State<AppState>,
    Caller(by): Caller,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?;
    let Target { order_id, expected, key } = of.with_body(&body);
    let request: PaymentRequest<'_> = body::parse(&body)?;
    let reference = request.parse().map_err(ApiError::invalid)?;
    let key = key.by(&by, &state);
    let ask = PayAnew { order_id, by, payment_id: new_payment_id(order_id), reference, expected };
    hand_in(&state, Asked { ask: Ask::Pay(ask), key }, None, OrderStatus::PaymentProcessing).await
}

/// What is to be added.
#[derive(Debug, utoipa::ToSchema)]
#[schema(example = json!({"payment_reference": "table-7-second-round", "total": 9.98, "items": [
    {"item_id": "item_002", "item_name": "Fries", "quantity": 2, "price": 4.99}]}))]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct AdditionBody {
    /// 1 to 200 lines; with those it has, an order may have 200.
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<LineBody>,
    /// The caller's name for this payment, 1 to 200 characters: the same one again is refused.
    #[schema(example = "table-7-second-round", min_length = 1, max_length = 200)]
    payment_reference: String,
    /// What the lines come to. Where it is given, it must be right.
    #[schema(example = 9.98, minimum = 0, maximum = 10_000_000_000_000_i64)]
    total: Option<f64>,
}

/// How it is paid.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct PaymentBody {
    /// The caller's name for this payment, 1 to 200 characters: the same one again is refused.
    #[schema(example = "other-card", min_length = 1, max_length = 200)]
    payment_reference: String,
}
