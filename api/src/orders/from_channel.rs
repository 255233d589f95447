//! `POST /channels/{channel}/orders`: an aggregator's document as it is. What it does not price, the channel's price list
//! does; then it goes the way of every order.

use axum::extract::{Extension, Path, Query, Request, State};
use axum::response::Response;
use domain::channel::name::{ChannelKey, ChannelName};
use domain::channel::order::{ChannelOrder, ChannelRequest};
use domain::channel::price_list::PriceList;
use serde::Deserialize;
use store::accept::Accepted;
use store::{self, prices};

use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::SentKey;
use crate::http::parameters::KeyHeader;
use crate::http::problems::{BadBody, ChannelOnly, Faults};
use crate::identity::caller::OfChannel;
use crate::orders::accept::{channel_id_reused, commit, replayed};
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// What may be said beside the document, as it came.
#[derive(Debug, Deserialize)]
pub(crate) struct PaidQuery {
    paid: Option<String>,
}

/// Accept an order of a channel.
///
/// The aggregator's document as it is; fields that are not listed here are ignored. The same order again (same channel, same
/// `channelOrderId`, same content whatever its status) gives the same answer and no second order. Its customer is
/// `<channel>:<account>`, or the channel where it names no account. `status` and `statusHistory` are kept as they came and
/// shown by `GET /orders/{id}/history`; they do not move the order.
#[utoipa::path(
    post, path = "/api/v1/channels/{channel}/orders", tag = "channels",
    params(
        ("channel" = String, Path, description = "The channel's name, 1 to 50 characters, in any case"),
        ("paid" = Option<bool>, Query, description = "true: the channel took the money. The order is CONFIRMED at once and never \
            charged; should it be rejected or cancelled, the channel has to give the money back. Left out or false: it is charged"),
        KeyHeader,
        ("X-Request-Id" = Option<String>, Header, description = "As with POST /orders"),
        ("traceparent" = Option<String>, Header, description = "As with POST /orders"),
    ),
    request_body = ChannelOrderBody,
    responses(
        (status = 202, description = "Accepted, durable", body = OrderView, headers(
            ("Location" = String, description = "The order"),
            ("Idempotency-Replayed" = Option<bool>, description = "`true`: this was the answer before. Left out on a first answer"),
        )),
        (status = 409, description = "`duplicate_channel_order_id`: the channel has sent another order of this name before. With its `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The JSON is not a valid document, or an item has no price, neither there nor in the channel's price list (`no_price`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ChannelOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn accept_channel_order(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
    by: OfChannel,
    Path(channel): Path<String>,
    query: Result<Query<PaidQuery>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let channel = channel_name(&channel)?;
    by.expect(&channel)?;
    let paid = paid(query)?;
    let (parts, body) = request.into_parts();
    body::expect_json(&parts.headers)?;
    let key = SentKey::of(&parts)?;
    let body = body::read(&parts.headers, body, &state.room).await?;
    let wanted = "must be a JSON object with channelOrderId and items, each given once";
    let document: ChannelRequest<'_> = body::parse_as(&body, "not_an_order", wanted)?;
    let order = ChannelOrder::parse(channel.clone(), &document, paid).map_err(ApiError::invalid)?;
    let list = if order.needs_list() {
        let plus = order.unpriced();
        decisive(state.clone(), move |conn| Box::pin(async move { prices::of(conn, &channel, &plus).await }))
            .await?
    } else {
        PriceList::default()
    };
    let name = order.key().clone();
    match order.priced(&list, state.accept_deadline) {
        Ok(order) => {
            let key = key.with_body(&body).by(&by.actor(), &state);
            commit(&state, arrival, order, key, body.into_held()).await
        }
        Err(problems) => {
            answered_before(state.clone(), name).await?.ok_or_else(|| ApiError::invalid(problems))
        }
    }
}

/// The answer to an order that was accepted when its articles still had prices; `None`: there is no such order.
async fn answered_before(state: AppState, name: ChannelKey) -> Result<Option<Response>, ApiError> {
    let payment_deadline = state.payment_deadline;
    let found = decisive(state, move |conn| {
        Box::pin(async move { store::accept::answered_before(conn, &name).await })
    })
    .await?;
    match found {
        Some(Accepted::Replay(order)) => Ok(Some(replayed(*order, payment_deadline))),
        Some(Accepted::ChannelIdReused(status)) => Err(channel_id_reused(status)),
        _ => Ok(None),
    }
}

pub(crate) fn channel_name(text: &str) -> Result<ChannelName, ApiError> {
    ChannelName::parse(text).map_err(|(code, detail)| ApiError::invalid_one("channel", code, detail))
}

fn paid(
    query: Result<Query<PaidQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Option<bool>, ApiError> {
    let wrong = || ApiError::invalid_one("paid", "not_true_or_false", "must be true or false, given once");
    let Query(PaidQuery { paid }) = query.map_err(|_| wrong())?;
    paid.map(|text| text.to_ascii_lowercase().parse().map_err(|_| wrong())).transpose()
}

/// The aggregators' document.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelOrderBody {
    /// The aggregator's id; kept as it came.
    #[schema(rename = "_id")]
    id: Option<String>,
    /// When the order came to be there; kept as it came.
    created: Option<String>,
    /// Whose order it is there, up to 149 characters; part of the customer's id here.
    account: Option<String>,
    /// Kept as it came.
    brand_id: Option<String>,
    /// What the channel calls it, 1 to 200 characters.
    #[schema(example = "A-1042", min_length = 1, max_length = 200)]
    channel_order_id: String,
    /// Whom to call.
    customer: Option<ChannelCustomer>,
    /// Where to bring it; what has one is a delivery.
    delivery_address: Option<ChannelAddress>,
    /// When it is fetched, RFC 3339.
    #[schema(example = "2026-01-31T18:30:00Z")]
    pickup_time: Option<String>,
    /// 1 to 200 lines.
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<ChannelItem>,
    /// ISO 4217 code; where it is left out, that of the channel's price list, or else USD.
    currency: Option<String>,
    /// As the parameter `paid`.
    order_is_already_paid: Option<bool>,
    /// Kept as it came; no status of ours.
    #[schema(value_type = Option<Object>)]
    status: Option<serde_json::Value>,
    /// Kept as it came.
    #[schema(value_type = Option<Vec<Object>>)]
    status_history: Option<serde_json::Value>,
}

/// One line of the document.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelItem {
    /// 1 to 500 characters.
    #[schema(example = "Burger", min_length = 1, max_length = 500)]
    name: String,
    /// What the till calls it, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: String,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Unit price, a plain decimal; where it is left out, that of the channel's price list.
    #[schema(example = 12.99, minimum = 0)]
    price: Option<f64>,
}

/// Whom to call.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelCustomer {
    /// 1 to 500 characters.
    name: Option<String>,
    /// 4 to 15 digits, and what people put between them.
    phone_number: Option<String>,
}

/// Where to bring it.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelAddress {
    /// 1 to 500 characters.
    street: String,
    /// 1 to 100 characters.
    city: String,
    /// 1 to 100 characters.
    postal_code: Option<String>,
}
