//! `POST /channels/{channel}/orders`: an aggregator's document as it is. What it does not price, the channel's price list
//! does; then it goes the way of every order.

use std::time::Duration;

use axum::extract::{Extension, FromRequestParts, Path, Query, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::dialect::{Dialect, Incoming};
use domain::channel::name::{ChannelKey, ChannelName};
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::limits::MAX_ID_CHARS;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::problems::{Problem, text_problem};
use runtime::batch::Held;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::accept::{Accepted, IdempotencyKey};
use store::channels::{self, Channel};
use store::{self, prices};
use uuid::Uuid;

use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::channel::{channel_name, refused_id};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::SentKey;
use crate::http::parameters::KeyHeader;
use crate::http::problems::{BadBody, ChannelOnly, Faults, NoOrder, TokenNeeded};
use crate::identity::caller::{Caller, OfChannel};
use crate::identity::secrets::purpose_of;
use crate::identity::signature;
use crate::orders::accept::{channel_id_reused, commit, replayed};
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::hand_in;
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
/// the channel's own id of the diner, or nobody. `status` and `statusHistory` are kept as they came and
/// shown by `GET /orders/{id}/history`; they do not move the order.
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
        (status = 200, description = "The document says that its order is off: it is cancelled, or to be cancelled once its charge is known", body = OrderView),
        (status = 409, description = "`duplicate_channel_order_id`: the channel has sent another order of this name before. With its `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The JSON is not a valid document, or an item has no price, neither there nor in the channel's price list (`no_price`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
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
    let by = match by {
        Some(by) => by.actor(),
        None => signer(&state, &channel, set.as_ref(), &parts, &body)?,
    };
    let key = key.with_body(&body).by(&by, &state);
    let from = Sent { channel, settings: set.map(|set| set.settings), paid, by, key };
    // Kept as it came if it cannot be taken: beside what is made of it, for the moment.
    let document = body.to_vec();
    let taken = take(&state, arrival, from.clone(), &document, body.into_held()).await;
    if let Err(refused) = &taken {
        keep(&state, from, document, refused).await;
    }
    taken
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
        (status = 422, description = "As with the document itself", body = ProblemBody, content_type = "application/problem+json"),
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
    decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::forget(conn, &channel, id).await })
    })
    .await?;
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
    let whole = find.await?.filter(|whole| by.may_see(&whole.order.customer_id));
    let whole = whole.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(OrderView::whole(whole, state.payment_deadline).tagged())
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

/// Takes a document: accepts its order, or cancels the one that it says is off.
async fn take(
    state: &AppState,
    arrival: Arrival,
    from: Sent,
    body: &[u8],
    held: Held,
) -> Result<Response, ApiError> {
    let settings = from.settings.clone().unwrap_or_default();
    if settings.dialect == Dialect::Plain {
        return take_plain(state, arrival, from, settings, body, held).await;
    }
    let wanted = "must be a JSON object";
    let document: &RawValue = body::parse_as(body, "not_an_order", wanted)?;
    let Sent { channel, by, key, .. } = from;
    let read = settings.dialect.read(channel, document, &settings, state.accept_deadline);
    let read = read.ok_or_else(|| ApiError::internal(&"a dialect that nobody reads"))?;
    let incoming = read.map_err(ApiError::invalid)?;
    if incoming.is_cancelled {
        return cancel(state, &incoming.order, by).await;
    }
    let own = document_key(&incoming, &settings);
    let is_own = key.is_none() && own.is_some();
    match commit(state, arrival, incoming.order, key.or(own), held).await {
        Err(refused) if is_own && refused.has("key_reused") => {
            let detail = "the platform has sent this document before, with different content";
            Err(ApiError::invalid_one("_id", "duplicate_channel_order_id", detail))
        }
        done => done,
    }
}

/// The document's own name, where the channel's numbers come again: so a late repeat of an old document stays the old order,
/// though its number is another's by now.
fn document_key(incoming: &Incoming, settings: &ChannelSettings) -> Option<IdempotencyKey> {
    settings.unique_days?;
    let key = incoming.order.details.as_ref()?.key.as_ref()?;
    let made_at = incoming.made_at.map(|at| at.unix_timestamp().to_string()).unwrap_or_default();
    Some(IdempotencyKey {
        // Nobody who asks is called so: they all have a kind before their name.
        principal: purpose_of(key.channel.as_str()),
        key: format!("{} {made_at}", incoming.document_id.as_ref()?),
        request_hash: key.content,
        keep: REPEATED,
    })
}

/// How long after its number was given away a document is still known.
const REPEATED: Duration = Duration::from_secs(400 * 86_400);

/// Cancels the order that the channel says is off, or wishes to. The same again finds that it is.
async fn cancel(state: &AppState, order: &NewOrder, by: Actor) -> Result<Response, ApiError> {
    let key = order.details.as_ref().and_then(|details| details.key.clone());
    let key = key.ok_or_else(|| ApiError::internal(&"a channel's order has no name"))?;
    let find = decisive(state.clone(), move |conn| {
        Box::pin(async move { channels::named(conn, &key.channel, &key.order_id).await })
    });
    let Some((order_id, status)) = find.await? else {
        let detail = "the channel calls off an order that it never sent";
        return Err(ApiError::invalid_one("status", "no_such_order", detail));
    };
    if matches!(status, OrderStatus::Cancelled | OrderStatus::Rejected) {
        let found = decisive(state.clone(), move |conn| Box::pin(store::read::whole(conn, order_id))).await?;
        let whole = found.ok_or_else(|| ApiError::not_found("order"))?;
        return Ok(OrderView::whole(whole, state.payment_deadline).tagged());
    }
    let ask = Move {
        request: Uuid::now_v7(),
        order_id,
        wanted: Wanted::Cancel,
        by,
        reason: Some("the channel called it off".to_owned()),
        expected: Expected::default(),
    };
    let asked = Asked { ask: Ask::Move(ask), key: None };
    Ok(hand_in(state, asked, None, OrderStatus::Cancelled).await?.into_response())
}

/// Keeps a document that cannot be taken, so that nothing is lost that a channel sent, even what nobody can read.
async fn keep(state: &AppState, from: Sent, document: Vec<u8>, refused: &ApiError) {
    let Some(problems) = refused.refusal() else { return };
    let (channel, paid) = (from.channel, from.paid == Some(true));
    let mut problems = problems.to_vec();
    if problems.is_empty() {
        let detail = "is not JSON".to_owned();
        problems.push(Problem { code: "unreadable", detail, attr: "body".to_owned() });
    }
    // On a connection for what decides: seldom, and the answer is to be true when it says that it is kept.
    let kept = decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::keep(conn, &channel, &document, paid, &problems).await })
    });
    if let Err(error) = kept.await {
        tracing::error!(cause = error.cause.as_deref(), "a refused document could not be kept");
    }
}

/// Takes a document in the plain dialect. What it does not price, the channel's price list does.
async fn take_plain(
    state: &AppState,
    arrival: Arrival,
    from: Sent,
    settings: ChannelSettings,
    body: &[u8],
    held: Held,
) -> Result<Response, ApiError> {
    let Sent { channel, settings: set, paid, key, .. } = from;
    let wanted = "must be a JSON object with channelOrderId and items, each given once";
    let document: &RawValue = body::parse_as(body, "not_an_order", wanted)?;
    if !document.get().starts_with('{') {
        return Err(ApiError::invalid_one("body", "not_an_order", wanted));
    }
    let order = PlainOrder::parse(channel.clone(), document, &settings, paid).map_err(ApiError::invalid)?;
    if order.is_paid() && set.is_none() {
        let detail = "the channel has no settings, so it is not believed to have taken the money";
        return Err(ApiError::invalid_one("paid", "not_believed", detail));
    }
    let name = order.key().clone();
    let list = if order.needs_list() {
        let plus = order.unpriced();
        decisive(state.clone(), move |conn| Box::pin(async move { prices::of(conn, &channel, &plus).await }))
            .await?
    } else {
        PriceList::default()
    };
    match order.priced(&list, &settings, state.accept_deadline) {
        Ok(incoming) => commit(state, arrival, incoming.order, key, held).await,
        Err(problems) => {
            answered_before(state.clone(), name).await?.ok_or_else(|| ApiError::invalid(problems))
        }
    }
}

const NOT_SIGNED: &str = "the channel did not sign this";

/// Who shows a token; `None`: a signature is shown instead, which is still to be checked.
async fn token(parts: &mut Parts, state: &AppState) -> Result<Option<OfChannel>, ApiError> {
    if signature::is_shown(&parts.headers) && !parts.headers.contains_key(AUTHORIZATION) {
        state.identity.expect_patience(parts)?;
        return Ok(None);
    }
    OfChannel::from_request_parts(parts, state).await.map(Some)
}

async fn settings(state: &AppState, channel: &ChannelName) -> Result<Option<Channel>, ApiError> {
    let channel = channel.clone();
    decisive(state.clone(), move |conn| Box::pin(async move { channels::find(conn, &channel).await })).await
}

/// The channel itself, where it signed the body with one of its secrets.
fn signer(
    state: &AppState,
    channel: &ChannelName,
    set: Option<&Channel>,
    parts: &Parts,
    body: &[u8],
) -> Result<Actor, ApiError> {
    let not_signed = || ApiError::bad_token(NOT_SIGNED);
    let set = set.ok_or_else(not_signed)?;
    let shown = signature::shown(&parts.headers, set.settings.dialect.signature()).ok_or_else(not_signed)?;
    let purpose = purpose_of(channel.as_str());
    let open = |sealed: &Vec<u8>| state.identity.secrets().unseal(&purpose, sealed);
    let secrets: Result<Vec<String>, _> = set.secrets.iter().map(open).collect();
    let secrets =
        secrets.map_err(|why| ApiError::internal(&format!("channel {}: {why}", channel.as_str())))?;
    if !shown.is_of(&secrets, body) {
        return Err(not_signed());
    }
    // No service can be called so: their names have no colon.
    Ok(Actor::Service(purpose))
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
    /// The merchant's there; kept as it came.
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
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelItem {
    /// 1 to 500 characters.
    #[schema(example = "Burger", min_length = 1, max_length = 500)]
    name: String,
    /// What the till calls it, 1 to 200 characters.
    #[schema(example = "P-BURG", min_length = 1, max_length = 200)]
    plu: Option<String>,
    /// 1 to 10,000.
    #[schema(example = 2, minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Unit price, a plain decimal; where it is left out, that of the channel's price list.
    #[schema(example = 12.99, minimum = 0)]
    price: Option<f64>,
    /// What is chosen with it, for each unit: lines as this one.
    #[schema(no_recursion)]
    sub_items: Option<Vec<ChannelItem>>,
    /// To be minded when it is made.
    remark: Option<String>,
}

/// Whom to call.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelCustomer {
    /// 1 to 500 characters.
    name: Option<String>,
    /// The channel's own id of the diner.
    id: Option<String>,
    /// As it comes, up to 40 characters.
    phone_number: Option<String>,
}

/// Where to bring it.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct ChannelAddress {
    /// 1 to 500 characters.
    street: Option<String>,
    /// 1 to 100 characters.
    city: Option<String>,
    /// 1 to 100 characters.
    postal_code: Option<String>,
}
