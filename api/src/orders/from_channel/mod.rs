//! `POST /channels/{channel}/orders`: an aggregator's document as it is. What it does not price, the channel's price list
//! does; then it goes the way of every order.

mod cancel;
mod document;
mod kept;
mod own_name;
mod signed;
mod take;
mod tell;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::channel::name::ChannelName;
use domain::channel::settings::ChannelSettings;
use domain::limits::MAX_ID_CHARS;
use domain::order::moves::Actor;
use domain::problems::text_problem;
use serde::Deserialize;
use store::accept::IdempotencyKey;
use store::channels::{self, Channel};

use self::cancel::seen_to;
use self::document::ChannelOrderBody;
use self::kept::keep;
pub(crate) use self::kept::show_counters;
use self::signed::{NOT_SIGNED, signer, token};
use self::take::take;
use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::channel::{channel_name, refused_id};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::SentKey;
use crate::http::parameters::KeyHeader;
use crate::http::problems::{BadBody, ChannelOnly, Faults, NoOrder, TokenNeeded};
use crate::identity::caller::{Caller, OfChannel};
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
/// The aggregator's document as it is; fields that are not listed here are ignored. Its customer is the channel's own id of the
/// diner, or nobody. The same document again (same channel, same `channelOrderId`) makes no second order: the answer shows the
/// order as it stands today. With another time, address, note or customer it changes the order, as long as nobody makes it; with
/// the channel's status for that it cancels it. `status` and `statusHistory` are kept as they came and shown by
/// `GET /orders/{id}/history`.
///
/// A channel that has settings with a secret shows its signature instead of a token: HMAC-SHA256 over the body as it is sent, in
/// the header that the settings name. One without settings is not believed to have taken the money.
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
        (status = 204, description = "It cannot be taken and is kept. A channel of the dialects `shopify` and `woocommerce` that signed it is told no more: these platforms would only send it again, and in the end nothing any more"),
        (status = 200, description = "The document was known, and says another thing now: the order goes as it says; or it is off: cancelled, or to be cancelled once its charge is known", body = OrderView),
        (status = 409, description = "`duplicate_channel_order_id`: the channel has sent another order of this name before; `kitchen_began`: it goes as it was ordered by now; `illegal_move`: it is too late to call it off. With its `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The JSON is not a valid document; it contradicts itself or the parameter `paid` (`conflict`); the channel has no settings, so that `paid` is not believed (`not_believed`); what it comes to is not what it says (`total_mismatch`) or is less than nothing (`below_zero`); an item has no price, neither there nor in the channel's price list (`no_price`); an amount is not exact in its currency (`too_precise`) or too large (`too_large`); a text has what nobody sees (`invisible_character`, `control_character`), nothing where there must be something (`empty`), or too much of it (`too_long`); a time is none (`no_time`) or is too far away (`too_far`); a telephone number has fewer than three digits (`no_phone_number`). Or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ChannelOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn accept_channel_order(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
    Path(channel): Path<String>,
    query: Result<Query<PaidQuery>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    if is_ping(&parts.headers) {
        return ping(&state, &parts, &channel, body).await;
    }
    let by = token(&mut parts, &state).await?;
    let channel = channel_name(&channel)?;
    by.iter().try_for_each(|by| by.expect(&channel))?;
    let set = settings(&state, &channel).await?;
    if by.is_none() && set.as_ref().is_none_or(|set| set.secrets.is_empty()) {
        return Err(ApiError::bad_token(NOT_SIGNED));
    }
    let paid = paid(query)?;
    body::expect_json(&parts.headers)?;
    let key = SentKey::of(&parts)?;
    let body = body::read(&parts.headers, body, &state.room).await?;
    let is_signed = by.is_none();
    let by = match by {
        Some(by) => by.actor(),
        None => signer(&state, &channel, set.as_ref(), &parts, &body)?,
    };
    let key = key.with_body(&body).by(&by, &state);
    let from = Sent { channel, settings: set.map(|set| set.settings), paid, by, key };
    // Kept as it came if it cannot be taken: beside what is made of it, for the moment.
    let document = body.to_vec();
    match take(&state, arrival, from.clone(), &document, body.into_held()).await {
        Err(refused) => keep(&state, from, document, refused, is_signed).await,
        taken => taken,
    }
}

/// Whether this may be a platform that asks if anybody is there. It is not JSON, so it is no document.
fn is_ping(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PING))
        && !headers.contains_key(AUTHORIZATION)
}

const PING: &[u8] = b"application/x-www-form-urlencoded";

/// Somebody is, where the channel's platform asks so. Who asks learns no more than that.
async fn ping(state: &AppState, parts: &Parts, channel: &str, body: Body) -> Result<Response, ApiError> {
    state.identity.expect_patience(parts)?;
    let set = settings(state, &channel_name(channel)?).await?.ok_or_else(ApiError::unauthenticated)?;
    let body = body::read(&parts.headers, body, &state.room).await?;
    if set.settings.dialect.is_ping(&body) {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(ApiError::unauthenticated())
    }
}

/// Send a refused document again.
///
/// What could not be taken is kept, and shown by the internal endpoints. Once the channel's settings were mended it can be sent
/// again as it came. What is taken now is no longer kept.
#[utoipa::path(
    post, path = "/api/v1/channels/{channel}/refused/{id}", tag = "channels",
    params(
        ("channel" = String, Path, description = "The channel's name, 1 to 50 characters, in any case"),
        ("id" = String, Path, description = "The document's id in the list of refused ones"),
    ),
    responses(
        (status = 202, description = "Accepted, durable", body = OrderView),
        (status = 404, description = "There is no such document, or no longer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "As with the document itself", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "As with the document itself; or what is in the path can be no channel's name", body = ProblemBody, content_type = "application/problem+json"),
        ChannelOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn accept_refused(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
    by: OfChannel,
    Path((channel, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (channel, id) = (channel_name(&channel)?, refused_id(&id)?);
    by.expect(&channel)?;
    let (set, named) = (settings(&state, &channel).await?, channel.clone());
    let find = decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::find(conn, &named, id).await })
    });
    let found = find.await?.ok_or_else(|| ApiError::not_found("refused document"))?;
    let (settings, paid) = (set.map(|set| set.settings), found.paid.then_some(true));
    let from = Sent { channel: channel.clone(), settings, paid, by: by.actor(), key: None };
    let answer = take(&state, arrival, from, &found.body, None).await?;
    seen_to(&state, channel, id).await;
    Ok(answer)
}

/// Read an order by what its channel calls it.
///
/// Of an order whose number was used again since, the newest.
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/orders/{channel_order_id}", tag = "channels",
    params(
        ("channel" = String, Path, description = "The channel's name, 1 to 50 characters, in any case"),
        ("channel_order_id" = String, Path, description = "What the channel calls the order"),
    ),
    responses(
        (status = 200, description = "The order as it stands", body = OrderView),
        (status = 422, description = "What is in the path can be no channel's name", body = ProblemBody, content_type = "application/problem+json"),
        NoOrder, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read_channel_order(
    State(state): State<AppState>,
    Caller(by): Caller,
    Path((channel, order_id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let channel = channel_name(&channel)?;
    // What no order can be called, none is.
    let is_name = text_problem(&order_id, MAX_ID_CHARS).is_none();
    let find = decisive(state.clone(), move |conn| {
        Box::pin(async move {
            if !is_name {
                return Ok(None);
            }
            let Some((id, _)) = channels::named(conn, &channel, &order_id).await? else { return Ok(None) };
            store::read::whole(conn, id).await
        })
    });
    let whole = find.await?.filter(|whole| by.may_see(&whole.order.customer_id, whole.order.location()));
    let whole = whole.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(OrderView::whole(whole, state.payment_deadline).shown_to(&by).tagged())
}

/// Where a document comes from, and what is said beside it.
#[derive(Clone)]
struct Sent {
    channel: ChannelName,
    /// `None`: nothing is set for the channel.
    settings: Option<ChannelSettings>,
    paid: Option<bool>,
    by: Actor,
    key: Option<IdempotencyKey>,
}

async fn settings(state: &AppState, channel: &ChannelName) -> Result<Option<Channel>, ApiError> {
    let channel = channel.clone();
    decisive(state.clone(), move |conn| Box::pin(async move { channels::find(conn, &channel).await })).await
}

fn paid(
    query: Result<Query<PaidQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Option<bool>, ApiError> {
    let wrong = || ApiError::invalid_one("paid", "not_true_or_false", "must be true or false, given once");
    let Query(PaidQuery { paid }) = query.map_err(|_| wrong())?;
    paid.map(|text| text.to_ascii_lowercase().parse().map_err(|_| wrong())).transpose()
}
