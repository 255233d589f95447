//! `POST /orders`: parse, hand to a writer, answer 202 once the order is durable. Orders of channels
//! (`from_channel`) are committed and answered here, too.

use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::response::Response;
use domain::location::Locations;
use domain::order::NewOrder;
use domain::order::details::Address;
use domain::order::moves::Actor;
use domain::order::request::OrderRequest;
use domain::origin::Origin;
use domain::problems::Problem;
use domain::trace_parent::TraceParent;
use runtime::batch::{Held, NotTaken};
use runtime::trace::{Kind, Span};
use store::accept::{Accept, Accepted, IdempotencyKey};
use store::accounts::addresses;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::config::ANSWER_TIMEOUT;
use crate::http::arrival::{Arrival, Id};
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::{SentKey, key_reused};
use crate::http::parameters::KeyHeader;
use crate::http::problems::{BadBody, Faults, TokenNeeded};
use crate::identity::caller::Orderer;
use crate::orders::answers::{accepted, again, channel_id_reused};
use crate::orders::body::NewOrderBody;
use crate::orders::earlier;
use crate::orders::fault::Fault;
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::orders::writer::Answer;
use crate::state::AppState;

/// Accept an order.
///
/// The order is durable when the answer arrives; its payment follows. With an `Idempotency-Key` the request can be retried
/// safely: the same content under the same key gives the same answer and no second order. The same is true, without a time limit,
/// of the same content under the same `channel` and `channel_order_id`.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "orders",
    params(
        KeyHeader,
        ("X-Request-Id" = Option<String>, Header, description = "1 to 128 visible ASCII characters without a space. \
            Returned in the answer, written to the logs, and sent to the gateway with the payment. Without one, the order's id is used"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context: the order becomes part of that trace. \
            An answer that is part of a trace has the same header"),
    ),
    request_body = NewOrderBody,
    responses(
        (status = 202, description = "Accepted, durable", body = OrderView, headers(
            ("Location" = String, description = "The order"),
            ("Idempotency-Replayed" = Option<bool>, description = "`true`: this was the answer before. Left out on a first answer"),
            ("X-Request-Id" = String, description = "The request's id, given or made"),
            ("traceparent" = String, description = "The request's place in its trace; left out where there is none"),
        )),
        (status = 409, description = "`duplicate_channel_order_id`: the channel has sent another order of this name before. With its `current_status`. `price_mismatch`: a price that was named is not, or no longer, the catalogue's. `out_of_stock`, with what there is: nothing of the order was taken, or, with `allow_partial`, nothing at all is there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The JSON is not a valid order. What its schema cannot say: a line or the whole comes to less than nothing (`below_zero`), an amount has the wrong sign for its kind (`wrong_sign`), more places than its currency (`too_precise`) or more than 13 digits (`too_large`), it all does not come to the `total` (`total_mismatch`); a product is none of the catalogue (`unknown_product`), has its price in another currency (`other_currency`), is not sold there (`not_sold_here`), lacks its variation (`required`) or has no such one (`unknown_variation`), or more or less is chosen than it wants (`unknown_option`, `repeated`, `too_few`, `too_many`); there is no such location, or it is closed (`unknown_location`), and no such address (`unknown_address`); what goes together is not there together (`required`, `conflict`); a telephone number has fewer than three digits (`no_phone_number`); a time is none (`no_time`), has passed (`in_the_past`) or is too far away (`too_far`); an id has what nobody sees (`invisible_character`); a name in `metadata` is none (`empty`, `control_character`, `too_long`), or there is too much of it (`too_many`, `too_long`). Or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn accept_order(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    // Not by extractors of their own: that of the headers copies them.
    let (mut parts, body) = request.into_parts();
    let orderer = Orderer::from_request_parts(&mut parts, &state).await?;
    let by = orderer.actor();
    body::expect_json(&parts.headers)?;
    let key = SentKey::of(&parts)?;
    let body = body::read(&parts.headers, body, &state.room).await?;
    drop(parts);
    let asked = parse(&body, &state).await;
    let key = key.with_body(&body).by(by, &state);
    match asked {
        Ok(order) => place(&state, arrival, &orderer, order, key, body.into_held()).await,
        Err(refusal) => earlier::accepted(&state, key, by, refusal).await,
    }
}

/// Whether there may be such an order, and by them; and its way to a writer.
pub(crate) async fn place(
    state: &AppState,
    arrival: Arrival,
    orderer: &Orderer,
    order: NewOrder,
    key: Option<IdempotencyKey>,
    held: Held,
) -> Result<Response, ApiError> {
    let order = match checked(order, orderer, state).await {
        Ok(order) => order,
        Err(refusal) => return earlier::accepted(state, key, orderer.actor(), refusal).await,
    };
    if let Some(passed) = order.has_passed(OffsetDateTime::now_utc()) {
        // What came before under its name is answered as it was then. (What has been forgotten since is called off at once.)
        let asked = Accept { order: order.clone(), key: key.clone() };
        let before = decisive(state.clone(), move |conn| {
            Box::pin(async move { store::accept::came_before(conn, &asked).await })
        });
        if !before.await? {
            return Err(ApiError::invalid_one(passed, "in_the_past", "must be a time to come"));
        }
    }
    if key.is_none() && order.channel().is_none() && !order.goes_alone() {
        let gone = state.shelf.sold_out(&order.takes).await?;
        if !gone.is_empty() {
            metrics::counter!("accept_orders_total", "outcome" => "out_of_stock").increment(1);
            return Err(ApiError::out_of_stock(&order.takes, &gone));
        }
    }
    commit(state, arrival, orderer.actor(), order, key, held).await
}

/// The order, if whoever asks may have it made.
async fn checked(mut order: NewOrder, orderer: &Orderer, state: &AppState) -> Result<NewOrder, ApiError> {
    let by = orderer.actor();
    if order.from_catalogue && order.is_reduced() && !by.is_of_the_house() {
        return Err(ApiError::forbidden("a discount on what the catalogue has is for the house to give"));
    }
    orderer.expect_at(order.location())?;
    if !by.may_see(&order.customer_id, order.location()) {
        return Err(ApiError::forbidden("customer_id is somebody else"));
    }
    if let Some(channel) = order.channel() {
        orderer.expect(channel)?;
    }
    if order.is_paid_elsewhere() && !by.is_of_the_house() {
        return Err(ApiError::forbidden(
            "payment.method elsewhere is believed of the house and of its services",
        ));
    }
    if order.names_gateway_customer() && !by.is_of_the_house() {
        // At the gateway it stands for whoever it belongs to: their card would pay.
        return Err(ApiError::forbidden(
            "payment.gateway_customer is believed of the house and of its services",
        ));
    }
    if let Some(id) = order.address_id() {
        let address = own_address(state, &order, id).await?.ok_or_else(|| {
            let detail = "the customer has no such address";
            ApiError::invalid_one("delivery_address_id", "unknown_address", detail)
        })?;
        order.bring_to(address);
    }
    order.to_be_taken_within(state.accept_deadline);
    Ok(order)
}

/// The address of its customer's that an order names, as it is now.
async fn own_address(state: &AppState, order: &NewOrder, id: Uuid) -> Result<Option<Address>, ApiError> {
    let owner = order.customer_id.clone();
    let found =
        decisive(state.clone(), move |conn| Box::pin(async move { addresses::find(conn, &owner, id).await }));
    Ok(found.await?.map(|kept| kept.address))
}

/// Hands an order to a writer and answers once it is durable; `held` is let go when the order is written or given up.
async fn commit(
    state: &AppState,
    arrival: Arrival,
    by: &Actor,
    order: NewOrder,
    key: Option<IdempotencyKey>,
    held: Held,
) -> Result<Response, ApiError> {
    let (order, accepted) = write(state, arrival, order, key, held).await?;
    answer(state, by, order, accepted)
}

/// The order as it was handed in, and what became of it.
pub(crate) async fn write(
    state: &AppState,
    arrival: Arrival,
    order: NewOrder,
    key: Option<IdempotencyKey>,
    held: Held,
) -> Result<(NewOrder, Accepted), ApiError> {
    let order = of_request(order, arrival.id, arrival.trace);
    // Its own share of a group commit, and the wait for it.
    let mut wait = Span::begin("commit", Kind::Internal, arrival.trace);
    wait.note_with("order_id", || order.id.to_string());
    wait.note_with("payment_id", || order.payment_id().to_string());
    // The writer, not this future, does the writing: it is dropped when the client hangs up.
    let is_plain = order.takes.is_empty() && order.cart.is_none();
    let desk = if is_plain { &state.accept } else { &state.accept_stocked };
    let answer = desk.ask(Accept { order, key }, held, ANSWER_TIMEOUT).await;
    wait.note("outcome", outcome(&answer));
    drop(wait);
    match answer.map_err(Fault::from).and_then(|(order, became)| Ok((order, became?))) {
        Ok(done) => Ok(done),
        Err(Fault::Internal) => Err(ApiError::internal(&"the writer could not store the order")),
        Err(Fault::Full) => Err(ApiError::unavailable("too many orders are waiting to be stored")),
        Err(Fault::Unavailable) => Err(ApiError::unavailable("orders cannot be stored right now")),
        Err(Fault::Held) => Err(ApiError::unavailable("the same order is being stored right now")),
    }
}

/// The answer to an order, by what became of it.
pub(crate) fn answer(
    state: &AppState,
    by: &Actor,
    order: NewOrder,
    became: Accepted,
) -> Result<Response, ApiError> {
    let deadline = state.payment_deadline;
    match became {
        Accepted::New { created_at } => {
            Ok(accepted(&OrderView::accepted(order, created_at, deadline).shown_to(by)))
        }
        Accepted::Partly(order) => Ok(accepted(&OrderView::as_accepted(*order, deadline).shown_to(by))),
        // The first answer once more.
        Accepted::Replay(earlier) => Ok(again(&OrderView::as_accepted(*earlier, deadline).shown_to(by))),
        Accepted::ChannelIdReused(status) => Err(channel_id_reused(status)),
        Accepted::KeyReused => Err(key_reused()),
        Accepted::OutOfStock(shorts) => Err(ApiError::out_of_stock(&order.takes, &shorts)),
        Accepted::CartChanged => {
            let detail = "the cart is not as it was read, or was ordered already";
            Err(ApiError::taken("cart", "cart_changed", detail))
        }
    }
}

const fn outcome(answer: &Result<Answer, NotTaken>) -> &'static str {
    match answer {
        Ok((_, Ok(Accepted::New { .. } | Accepted::Partly(_)))) => "accepted",
        Ok((_, Ok(Accepted::Replay(_)))) => "replayed",
        Ok((_, Ok(Accepted::KeyReused | Accepted::ChannelIdReused(_)))) => "key_reused",
        Ok((_, Ok(Accepted::OutOfStock(_) | Accepted::CartChanged))) => "out_of_stock",
        Ok((_, Err(_))) => "failed",
        Err(NotTaken::Late) => "unanswered",
        Err(NotTaken::Full | NotTaken::Stopped) => "refused",
    }
}

async fn parse(body: &[u8], state: &AppState) -> Result<NewOrder, ApiError> {
    let wanted = "must be a JSON object with customer_id and items, each given once";
    let asked: OrderRequest<'_> = body::parse_as(body, "not_an_order", wanted)?;
    read_order(&asked, state).await
}

/// The same of what was read.
pub(crate) async fn read_order(asked: &OrderRequest<'_>, state: &AppState) -> Result<NewOrder, ApiError> {
    match parse_at(asked, state, &state.places.now().await?.open).await {
        // One that names a location that is not known may know more than we do.
        Err(refused) if refused.has("unknown_location") => {
            parse_at(asked, state, &state.places.anew().await?.open).await
        }
        parsed => parsed,
    }
}

/// The order, by what is known of the locations and of the catalogue.
async fn parse_at(
    asked: &OrderRequest<'_>,
    state: &AppState,
    places: &Locations,
) -> Result<NewOrder, ApiError> {
    let parsed = state.shelf.read_with(|menu| NewOrder::parse_with(asked, places, menu)).await?;
    parsed.map_err(unacceptable)
}

/// A price that was the right one a moment ago is a conflict, and not a mistake.
pub(crate) fn unacceptable(problems: Vec<Problem>) -> ApiError {
    if problems.iter().all(|problem| problem.code == "price_mismatch") {
        ApiError::outdated(problems)
    } else {
        ApiError::invalid(problems)
    }
}

/// The order as this request's.
fn of_request(mut order: NewOrder, request: Id, trace: Option<TraceParent>) -> NewOrder {
    let given = match request {
        Id::Given(id) => Some(id),
        // One id for both: so the request's goes wherever the order's does, and a client whose answer got lost can look
        // whether there is such an order.
        Id::Ours(id) => {
            order.id = id;
            None
        }
    };
    order.origin = Origin::new(trace, given);
    order
}
