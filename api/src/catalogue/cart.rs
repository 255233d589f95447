//! `/cart`: what somebody means to order. What is in it is held for them for a while from its last change on; looking renews nothing.
//! A customer has one cart; a guest has whichever their `Cart-Token` opens, and takes it along when they log in.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::catalogue::cart::{Cart, CartRequest};
use domain::catalogue::menu::MenuAt;
use domain::limits::DEFAULT_CURRENCY;
use domain::money::currency_of;
use domain::order::details::{Address, Customer, Fulfilment};
use domain::order::request::{CartRef, OrderRequest};
use domain::problems::Problem;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use store::session::Session;
use store::stock::carts::{self, Fill, Filled};
use time::OffsetDateTime;
use tokio::sync::MutexGuard;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::ANSWER_TIMEOUT;
use crate::http::arrival::Arrival;
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::SentKey;
use crate::http::parameters::KeyHeader;
use crate::http::problems::{BadBody, Faults, TokenNeeded};
use crate::http::work::to_the_end;
use crate::identity::caller::{Orderer, shown_or_counted};
use crate::identity::followed::hex;
use crate::identity::key_file::random;
use crate::orders::accept::{place, read_order, unacceptable};
use crate::orders::body::{AdjustmentBody, ItemBody, LineBody, PaymentMethodBody};
use crate::orders::earlier;
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Carts of guests are called so.
const GUEST: &str = "guest:";
/// Most of one thing that a guest's cart may hold: nobody knows who it is, and what it holds nobody else can have.
const MOST_OF_GUESTS: u32 = 20;
/// Most bytes of a cart's lines as they were sent, which are kept for a week.
const MAX_LINES: usize = 64 * 1024;
/// The header that opens a guest's cart.
const CART_TOKEN: &str = "cart-token";

/// What opens a guest's cart.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
struct CartToken {
    /// Opens a guest's cart. A guest who fills one without it gets a new cart, and its token
    #[param(rename = "Cart-Token", required = false, pattern = "^[0-9a-f]{64}$")]
    token: String,
}

/// Whose cart it is.
#[derive(Debug)]
pub(crate) enum Shopper {
    /// Somebody's, by their token or that of the cart.
    Known(String),
    /// Nobody's yet.
    New,
}

impl FromRequestParts<AppState> for Shopper {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let principal = shown_or_counted(parts, &state.identity).await?;
        if let Some(token) = parts.headers.get(CART_TOKEN) {
            let token = token.as_bytes();
            // No other opens a cart: what many send by mistake must not be one that they share.
            if token.len() != 64 || !token.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(ApiError::invalid_one(
                    "Cart-Token",
                    "invalid",
                    "must be one that was given here",
                ));
            }
            return Ok(Self::Known(of_guest(token)));
        }
        match principal {
            Some(by) => Ok(Self::Known(format!("customer:{}", by.id))),
            None => Ok(Self::New),
        }
    }
}

/// Kept hashed: whoever reads the database opens no cart.
fn of_guest(token: &[u8]) -> String {
    format!("{GUEST}{}", hex(&Sha256::digest(token)))
}

/// What is in a cart.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CartView {
    /// Null: nothing was ever put in.
    id: Option<Uuid>,
    /// Opens the cart, in the header `Cart-Token`. Shown once, to a guest whose cart is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// As they would be ordered now.
    #[schema(value_type = Vec<ItemBody>)]
    items: Vec<domain::order::lines::Item>,
    /// Where it is to be ordered.
    #[schema(example = "main")]
    location: String,
    /// Their sum.
    #[schema(value_type = f64, example = 30.97)]
    total: Box<RawValue>,
    currency: &'static str,
    /// Until when it holds what is counted of it.
    #[serde(with = "crate::http::times::option")]
    held_until: Option<OffsetDateTime>,
    /// What is wrong with lines that could be ordered when they were put in.
    problems: Vec<Problem>,
}

impl CartView {
    fn new(cart: Cart, kept: Option<&carts::Cart>, token: Option<String>) -> Self {
        let Cart { location, currency, items, total, problems, .. } = cart;
        Self {
            id: kept.map(|kept| kept.id),
            token,
            location,
            items,
            total: total.to_json(),
            currency: currency.code(),
            held_until: kept.map(|kept| kept.held_until),
            problems,
        }
    }
}

fn no_cart() -> ApiError {
    ApiError::not_found("cart")
}

async fn find(state: &AppState, owner: &str) -> Result<Option<carts::Cart>, ApiError> {
    let owner = owner.to_owned();
    decisive(state.clone(), move |conn| Box::pin(async move { carts::read(conn, &owner).await })).await
}

/// Read the cart.
///
/// Renews nothing. Who has none gets an empty one; a guest without `Cart-Token` has none.
#[utoipa::path(
    get, path = "/api/v1/cart", tag = "cart", operation_id = "read_cart",
    params(CartToken),
    responses(
        (status = 200, description = "What is in it, at the prices of now", body = CartView),
        (status = 404, description = "Nobody's cart", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`Cart-Token` is none that was given here", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security((), ("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    shopper: Shopper,
) -> Result<Json<CartView>, ApiError> {
    let Shopper::Known(owner) = shopper else { return Err(no_cart()) };
    let Some(kept) = find(&state, &owner).await? else {
        if owner.starts_with("guest:") {
            return Err(no_cart());
        }
        let menu = state.shelf.shown();
        let mut empty = Cart::read(RawValue::NULL, DEFAULT_CURRENCY, &*menu);
        empty.problems.clear();
        return Ok(Json(CartView::new(empty, None, None)));
    };
    let currency = currency_of(&kept.currency).unwrap_or(DEFAULT_CURRENCY);
    let menu = state.shelf.fresh().await?;
    let there = MenuAt { menu: &*menu, location: &kept.location };
    Ok(Json(CartView::new(Cart::read(&kept.lines, currency, &there), Some(&kept), None)))
}

/// Where carts are changed, one after the other.
async fn in_turn(state: &AppState) -> Result<MutexGuard<'_, Session>, ApiError> {
    let turn = tokio::time::timeout(ANSWER_TIMEOUT, state.carts.lock()).await;
    turn.map_err(|_| ApiError::unavailable("too many carts are being changed"))
}

/// Put these lines into the cart, in the place of those that were in it.
///
/// What is counted of them is held from now on for 15 minutes (`CART_HOLD_SECONDS`), all of it or none.
#[utoipa::path(
    put, path = "/api/v1/cart", tag = "cart", operation_id = "fill_cart",
    params(CartToken),
    request_body = CartBody,
    responses(
        (status = 200, description = "They are in it, and held", body = CartView),
        (status = 409, description = "`out_of_stock`, with what there is, what the cart holds itself among it; `price_mismatch`. What was in it is in it still", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A line is not valid. What its schema cannot say: there is no such location, or it is closed (`unknown_location`); a line comes to less than nothing (`below_zero`), an amount has the wrong sign for its kind (`wrong_sign`), more places than its currency (`too_precise`) or more than 13 digits (`too_large`); an id has what nobody sees (`invisible_character`); a product is none of the catalogue (`unknown_product`), has its price in another currency (`other_currency`), is not sold there (`not_sold_here`), lacks its variation (`required`) or has no such one (`unknown_variation`), or more or less is chosen than it wants (`unknown_option`, `repeated`, `too_few`, `too_many`). Or a guest wants to hold more than a guest may (`too_many`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security((), ("token" = []))
)]
pub(crate) async fn fill(
    State(state): State<AppState>,
    shopper: Shopper,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CartView>, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?;
    let request: CartRequest<'_> = body::parse(&body)?;
    let cart = read_request(&state, &request).await?;
    let lines = request.lines().ok_or_else(no_cart)?.to_owned();
    if lines.get().len() > MAX_LINES {
        let detail = format!("must be written in {MAX_LINES} bytes at most");
        return Err(ApiError::invalid_one("items", "too_many", detail));
    }
    let is_guest = !matches!(&shopper, Shopper::Known(owner) if !owner.starts_with(GUEST));
    if is_guest && cart.takes.iter().any(|take| take.quantity > MOST_OF_GUESTS) {
        let detail = format!("a guest's cart may hold {MOST_OF_GUESTS} of one thing: log in for more");
        return Err(ApiError::invalid_one("items", "too_many", detail));
    }
    // Its room is its own until it is written.
    let held = body.into_held();
    let (owner, token) = match shopper {
        Shopper::Known(owner) => (owner, None),
        Shopper::New => {
            let token = random::<32>().map_err(|error| ApiError::internal(&format!("{error:#}")))?;
            let token = hex(&token);
            (of_guest(token.as_bytes()), Some(token))
        }
    };
    let (takes, currency, location) = (cart.takes.clone(), cart.currency.code(), cart.location.clone());
    let ask = Fill { owner, id: Uuid::now_v7(), location, currency, lines, takes, keep: state.cart_hold };
    to_the_end(async move {
        let _held = held;
        let mut session = in_turn(&state).await?;
        match session.run_alone(&ask, |conn, ask| Box::pin(carts::fill(conn, ask))).await? {
            Filled::Done(kept) => Ok::<_, ApiError>(Json(CartView::new(cart, Some(&kept), token))),
            Filled::OutOfStock(shorts) => Err(ApiError::out_of_stock(&ask.takes, &shorts)),
        }
    })
    .await
}

/// What is to be in it, by what is known of the locations and of the catalogue.
async fn read_request(state: &AppState, request: &CartRequest<'_>) -> Result<Cart, ApiError> {
    let seen = state.places.now().await?;
    let read = state.shelf.read_with(|menu| request.parse(&seen.open, menu)).await?;
    match read.map_err(unacceptable) {
        // One that names a location that is not known may know more than we do.
        Err(refused) if refused.has("unknown_location") => {
            let seen = state.places.anew().await?;
            state.shelf.read_with(|menu| request.parse(&seen.open, menu)).await?.map_err(unacceptable)
        }
        read => read,
    }
}

/// Let go of the cart.
///
/// What it held can be had by others within a second.
#[utoipa::path(
    delete, path = "/api/v1/cart", tag = "cart", operation_id = "release_cart",
    params(CartToken),
    responses(
        (status = 204, description = "It is no more"),
        (status = 404, description = "There is none", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`Cart-Token` is none that was given here", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security((), ("token" = []))
)]
pub(crate) async fn release(State(state): State<AppState>, shopper: Shopper) -> Result<StatusCode, ApiError> {
    let Shopper::Known(owner) = shopper else { return Err(no_cart()) };
    to_the_end(async move {
        let mut session = in_turn(&state).await?;
        let gone = session.run_alone(&owner, |conn, owner| Box::pin(carts::release(conn, owner))).await?;
        if gone { Ok(StatusCode::NO_CONTENT) } else { Err(no_cart()) }
    })
    .await
}

/// Order what is in the cart.
///
/// At the prices of now; a `total` that is named must be right. What the cart holds becomes the order's; what it holds no longer is
/// taken, if there is enough. Then the cart is no more.
#[utoipa::path(
    post, path = "/api/v1/cart/checkout", tag = "cart", operation_id = "check_out",
    params(KeyHeader, CartToken),
    request_body = CheckoutBody,
    responses(
        (status = 202, description = "Accepted, durable", body = OrderView, headers(("Location" = String, description = "The order"))),
        (status = 404, description = "There is no cart", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`out_of_stock`, `price_mismatch`; `cart_changed`: it is not as it was read, or was ordered already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The order is not valid, as with `POST /orders`. What its schema cannot say: it comes to less than nothing (`below_zero`), an amount has the wrong sign for its kind (`wrong_sign`), more places than its currency (`too_precise`) or more than 13 digits (`too_large`), it all does not come to the `total` (`total_mismatch`); there is no such address (`unknown_address`); what goes together is not there together (`required`, `conflict`); a telephone number has fewer than three digits (`no_phone_number`); a time is none (`no_time`), has passed (`in_the_past`) or is too far away (`too_far`); an id has what nobody sees (`invisible_character`); a name in `metadata` is none (`empty`, `control_character`, `too_long`), or there is too much of it (`too_many`, `too_long`). Or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn check_out(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let orderer = Orderer::from_request_parts(&mut parts, &state).await?;
    let shopper = Shopper::from_request_parts(&mut parts, &state).await?;
    body::expect_json(&parts.headers)?;
    let key = SentKey::of(&parts)?;
    let body = body::read(&parts.headers, body, &state.room).await?;
    let Shopper::Known(owner) = shopper else { return Err(no_cart()) };
    let by = orderer.actor();
    let key = key.with_body(&body).by(by, &state);
    let kept = find(&state, &owner).await?;
    if let (None, Some(key)) = (&kept, &key) {
        // It may have become an order under this very key.
        return earlier::accepted(&state, Some(key.clone()), by, no_cart()).await;
    }
    let kept = kept.ok_or_else(no_cart)?;
    let raw = |text: &str| serde_json::value::to_raw_value(text).map_err(|error| ApiError::internal(&error));
    let (currency, location) = (raw(&kept.currency)?, raw(&kept.location)?);
    let asked: OrderRequest<'_> = body::parse(&body)?;
    let asked = asked.of_cart(&kept.lines, &currency, &location);
    let mut order = match read_order(&asked, &state).await {
        Ok(order) => order,
        // The first one under this key may have been made of another cart.
        Err(refusal) => return earlier::accepted(&state, key, by, refusal).await,
    };
    order.cart = Some(CartRef { id: kept.id, version: kept.version });
    place(&state, arrival, &orderer, order, key, body.into_held()).await
}

/// What is to be in a cart.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct CartBody {
    /// 1 to 200 lines, as those of an order.
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<LineBody>,
    /// ISO 4217 code, in any case. The default is that of its location.
    #[schema(example = "USD")]
    currency: Option<String>,
    /// The id of the location where it is to be ordered. The default is `main`.
    #[schema(example = "main")]
    location: Option<String>,
}

/// What an order of the cart has beside its lines: all that one has that is sent whole, but for `items`, `currency` and `location`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[schema(example = json!({"customer_id": "customer_123"}))]
pub(crate) struct CheckoutBody {
    /// 1 to 200 characters.
    #[schema(example = "customer_123", min_length = 1, max_length = 200)]
    customer_id: String,
    /// Up to 50 amounts beside the lines, all of which are added.
    #[schema(max_items = 50)]
    adjustments: Option<Vec<AdjustmentBody>>,
    /// What the order comes to. Where it is given, it must be right: else 422 `total_mismatch`.
    #[schema(example = 30.97, minimum = 0, maximum = 10_000_000_000_000_i64)]
    total: Option<f64>,
    /// What is to be minded with the order as a whole.
    #[schema(example = "Ring twice", max_length = 1000)]
    note: Option<String>,
    /// Take what the cart holds and what else is there, and leave the rest; not beside `total`.
    allow_partial: Option<bool>,
    /// Texts that are kept and shown, and read by nobody here.
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"campaign": "spring"}))]
    metadata: Option<BTreeMap<String, String>>,
    /// How it is paid. The default is by card.
    payment: Option<PaymentMethodBody>,
    /// The channel that sends the order: 1 to 50 characters, in any case. Requires `channel_order_id`.
    #[schema(example = "dishdash", min_length = 1, max_length = 50)]
    channel: Option<String>,
    /// The channel's own id of the order, 1 to 200 characters. The same id again is the same order.
    #[schema(example = "A-1042", min_length = 1, max_length = 200)]
    channel_order_id: Option<String>,
    /// How it is handed over; a `delivery` needs a `delivery_address`.
    fulfilment: Option<Fulfilment>,
    /// Whom to call.
    customer: Option<Customer>,
    /// Where to bring it.
    delivery_address: Option<Address>,
    /// Instead of it, the id of an address that the customer keeps (`/users/me/addresses`); the order takes a copy.
    delivery_address_id: Option<Uuid>,
    /// When the customer fetches the order, RFC 3339.
    #[schema(example = "2026-01-31T18:30:00+01:00")]
    pickup_time: Option<String>,
    /// When the charge is called off if its outcome is not known by then, RFC 3339: a time within seven days.
    expires_at: Option<String>,
    /// For when it is ordered, RFC 3339: a time within a year. The default is as soon as can be.
    #[schema(example = "2026-01-31T18:30:00Z")]
    wanted_at: Option<String>,
}
