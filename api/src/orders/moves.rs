//! What people do with an order: `POST /orders/{id}/accept`, `/reject`, `/cancel`, `/no-show`, and `PUT /orders/{id}/status`.
//! Parse, hand to a mover, answer with the whole order. Whoever loses a race is told where the order stands.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::order::moves::{Actor, MAX_REASON_CHARS, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::problems::{Problem, text_problem, too_long};
use runtime::batch::Held;
use serde::Deserialize;
use store::moves::Moved;
use uuid::Uuid;

use crate::config::ANSWER_TIMEOUT;
use crate::http::body::{self, Room};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::key::{Replayed, key_reused};
use crate::http::parameters::{KeyHeader, OrderId, Versions};
use crate::http::problems::{BadBody, Changed, Faults, NoOrder, StaffOnly, TokenNeeded};
use crate::identity::caller::{Caller, Staff};
use crate::orders::answers::channel_id_reused;
use crate::orders::fault::Fault;
use crate::orders::mover::{Ask, Asked};
use crate::orders::target::Target;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Take an order.
///
/// The kitchen takes a confirmed order, before its `accept_by`.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/accept", tag = "kitchen",
    params(OrderId, KeyHeader, Versions),
    responses(
        (status = 200, description = "Taken", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`same_status`, `illegal_move` or `deadline_passed`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        NoOrder, StaffOnly, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn accept(
    State(state): State<AppState>,
    Staff(by): Staff,
    of: Target,
) -> Result<Answer, ApiError> {
    carry_out(&state, by, of, Wanted::Accept, None).await
}

/// Refuse an order.
///
/// The kitchen refuses a confirmed order; its money goes back.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/reject", tag = "kitchen",
    params(OrderId, KeyHeader, Versions),
    request_body = RejectBody,
    responses(
        (status = 200, description = "Refused; each charge has a refund", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`same_status` or `illegal_move`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`reason` is missing or not valid, or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, StaffOnly, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn reject(
    State(state): State<AppState>,
    Staff(by): Staff,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (MoveBody { reason, .. }, of) = MoveBody::read(&headers, body, &state.room, of).await?;
    expect_reason(reason.as_deref())?;
    carry_out(&state, by, of, Wanted::Reject, reason).await
}

/// Call an order off.
///
/// By its customer or the restaurant, up to `PREPARING`. What was charged goes back. While a charge is under way that the gateway
/// may have seen, this is a wish: the answer shows it as `cancel_requested`, and the order is `CANCELLED` once the charge is known.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/cancel", tag = "orders",
    params(OrderId, KeyHeader, Versions),
    request_body = Option<CancelBody>,
    responses(
        (status = 200, description = "Cancelled, or to be cancelled once the charge is known", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`same_status` or `illegal_move`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`reason` is not valid, or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, TokenNeeded, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Caller(by): Caller,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (MoveBody { reason, .. }, of) = MoveBody::read(&headers, body, &state.room, of).await?;
    carry_out(&state, by, of, Wanted::Cancel, reason).await
}

/// Nobody came.
///
/// The restaurant ends an order that is `READY` and that nobody fetched or took in: it becomes `CANCELLED`, with the reason
/// `no_show`. `refund` says whether the money goes back or stays.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/no-show", tag = "kitchen",
    params(OrderId, KeyHeader, Versions),
    request_body = NoShowBody,
    responses(
        (status = 200, description = "Cancelled; each charge has a refund, or the history says that it is `kept`", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`same_status` or `illegal_move`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`refund` is missing or not valid, or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, StaffOnly, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn no_show(
    State(state): State<AppState>,
    Staff(by): Staff,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (MoveBody { refund, .. }, of) = MoveBody::read(&headers, body, &state.room, of).await?;
    let refund = refund.ok_or_else(|| ApiError::invalid_one("refund", "required", "is required"))?;
    carry_out(&state, by, of, Wanted::NoShow { refund }, None).await
}

/// Move an order on.
///
/// `PREPARING` (taking it by that, if it was not taken yet), `READY`, `DELIVERED`; and with a reason `REJECTED`, or one step
/// back, from `PREPARING` to `ACCEPTED`.
#[utoipa::path(
    put, path = "/api/v1/orders/{id}/status", tag = "kitchen",
    params(OrderId, KeyHeader, Versions),
    request_body = StatusBody,
    responses(
        (status = 200, description = "Moved", body = OrderView, headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: it was done before, under the same key"))),
        (status = 409, description = "`same_status`, `illegal_move` or `deadline_passed`, with the `current_status`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`status` is not one of the statuses, or `REJECTED` or a step back has no `reason` (`required`), or the `Idempotency-Key` was used before, for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, NoOrder, StaffOnly, Changed, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn set_status(
    State(state): State<AppState>,
    Staff(by): Staff,
    of: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (MoveBody { reason, status, .. }, of) = MoveBody::read(&headers, body, &state.room, of).await?;
    let status = status.ok_or_else(|| ApiError::invalid_one("status", "required", "is required"))?;
    if status == OrderStatus::Rejected {
        expect_reason(reason.as_deref())?;
    }
    carry_out(&state, by, of, Wanted::Status(status), reason).await
}

/// Who refuses an order says why.
fn expect_reason(reason: Option<&str>) -> Result<(), ApiError> {
    reason.map(|_| ()).ok_or_else(|| ApiError::invalid_one("reason", "required", "is required"))
}

/// The order as it stands now, and whether that was so before.
pub(crate) type Answer = (Replayed, Response);

async fn carry_out(
    state: &AppState,
    by: Actor,
    of: Target,
    wanted: Wanted,
    reason: Option<String>,
) -> Result<Answer, ApiError> {
    let Target { order_id, expected, key } = of;
    let key = key.by(&by, state);
    let ask = Move { request: Uuid::now_v7(), order_id, wanted, by, reason, expected };
    hand_in(state, Asked { ask: Ask::Move(ask), key }, None, wanted.to()).await
}

/// Hands in what is to lead to `to`, and answers what came of it; `held` is let go when it is done or given up.
pub(crate) async fn hand_in(
    state: &AppState,
    asked: Asked,
    held: Held,
    to: OrderStatus,
) -> Result<Answer, ApiError> {
    // The mover, not this future, does the writing: it is dropped when the client hangs up.
    let by = asked.ask.by().clone();
    let done = |whole, before| {
        Ok((Replayed(before), OrderView::whole(whole, state.payment_deadline).shown_to(&by).tagged()))
    };
    match state.moves.ask(asked, held, ANSWER_TIMEOUT).await.map_err(Fault::from).flatten() {
        Ok(Moved::Done { whole, .. }) => done(*whole, false),
        Ok(Moved::Replayed { whole }) => done(*whole, true),
        Ok(Moved::KeyReused) => Err(key_reused()),
        Ok(Moved::Refused { refusal, status }) => Err(refused(refusal, status, to)),
        Ok(Moved::NotFound) => Err(ApiError::not_found("order")),
        Err(Fault::Internal) => Err(ApiError::internal(&"the mover could not move the order")),
        Err(Fault::Full) => Err(ApiError::unavailable("too many requests are waiting")),
        Err(Fault::Unavailable) => Err(ApiError::unavailable("orders cannot be moved right now")),
        Err(Fault::Held) => Err(ApiError::unavailable("somebody else is working on this order right now")),
    }
}

pub(crate) fn refused(refusal: Refusal, status: OrderStatus, to: OrderStatus) -> ApiError {
    let (from, to) = (status.as_str(), to.as_str());
    match refusal {
        Refusal::SameStatus => {
            ApiError::conflict("same_status", format!("the order is already {from}"), status)
        }
        Refusal::IllegalMove => {
            ApiError::conflict("illegal_move", format!("an order that is {from} cannot become {to}"), status)
        }
        Refusal::DeadlinePassed => {
            let detail = "accept_by has passed, so the order will be rejected";
            ApiError::conflict("deadline_passed", detail, status)
        }
        Refusal::NotOpen => ApiError::conflict(
            "not_open",
            format!("an order that is {from}, or that waits to be cancelled, takes no additions"),
            status,
        ),
        Refusal::DuplicateReference => {
            let detail = "the order already has a payment with this reference";
            ApiError::conflict("duplicate_payment_reference", detail, status)
        }
        Refusal::TooMuch => ApiError::invalid_one(
            "items",
            "too_many",
            "more than an order may have, with what it has already",
        ),
        Refusal::ChargesOpen => {
            let detail = "additions are still being charged; retry in a moment";
            ApiError::conflict("charges_open", detail, status)
        }
        Refusal::OutOfStock => {
            ApiError::conflict("out_of_stock", "there is not enough of what it takes", status)
        }
        Refusal::NothingDue => ApiError::conflict("nothing_due", "no money is awaited for the order", status),
        Refusal::OtherAmountDue { .. } => {
            ApiError::conflict("other_amount_due", "another amount is due; the order says which", status)
        }
        Refusal::VersionChanged { now } => ApiError::changed(now, status),
        Refusal::KitchenBegan => ApiError::conflict(
            "kitchen_began",
            format!("an order that is {from} goes as it was ordered"),
            status,
        ),
        Refusal::SaidOtherwise => channel_id_reused(status),
        Refusal::ReasonNeeded => ApiError::invalid_one("reason", "required", "is required for a step back"),
    }
}

/// What the bodies have in common; what is missing or wrong is told with its place.
#[derive(Debug, Default)]
struct MoveBody {
    reason: Option<String>,
    status: Option<OrderStatus>,
    refund: Option<bool>,
}

impl MoveBody {
    /// Reads a body that may be left out; what it says belongs to the key.
    async fn read(
        headers: &HeaderMap,
        body: Body,
        room: &Room,
        of: Target,
    ) -> Result<(Self, Target), ApiError> {
        #[derive(Deserialize)]
        struct Raw {
            reason: Option<serde_json::Value>,
            status: Option<serde_json::Value>,
            refund: Option<serde_json::Value>,
            /// What nobody knows.
            #[serde(flatten)]
            unknown: serde_json::Map<String, serde_json::Value>,
        }
        let body = body::read(headers, body, room).await?;
        let of = of.with_body(&body);
        if body.is_empty() {
            return Ok((Self::default(), of));
        }
        body::expect_json(headers)?;
        let raw: Raw = body::parse(&body)?;
        let unknown = |name: String| Problem {
            code: "unknown_field",
            detail: "is not known here".to_owned(),
            // Shown as it came, which may be anything.
            attr: name.chars().filter(|c| !c.is_control()).take(50).collect(),
        };
        let mut problems: Vec<Problem> = raw.unknown.into_iter().map(|(name, _)| unknown(name)).collect();
        let reason = raw.reason.and_then(|value| reason(&value, &mut problems));
        let status = raw.status.and_then(|value| status(&value, &mut problems));
        let refund = raw.refund.and_then(|value| refund(&value, &mut problems));
        if problems.is_empty() {
            Ok((Self { reason, status, refund }, of))
        } else {
            Err(ApiError::invalid(problems))
        }
    }
}

fn reason(value: &serde_json::Value, problems: &mut Vec<Problem>) -> Option<String> {
    let problem = match value.as_str() {
        None => ("not_text", "must be a string".to_owned()),
        Some(text) => {
            match too_long(text, MAX_REASON_CHARS).or_else(|| text_problem(text.trim(), MAX_REASON_CHARS)) {
                None => return Some(text.trim().to_owned()),
                Some(problem) => problem,
            }
        }
    };
    problems.push(Problem { code: problem.0, detail: problem.1, attr: "reason".to_owned() });
    None
}

fn status(value: &serde_json::Value, problems: &mut Vec<Problem>) -> Option<OrderStatus> {
    let status = value.as_str().and_then(OrderStatus::parse);
    if status.is_none() {
        let known: Vec<&str> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        let detail = format!("must be one of {}", known.join(", "));
        problems.push(Problem { code: "unknown_status", detail, attr: "status".to_owned() });
    }
    status
}

fn refund(value: &serde_json::Value, problems: &mut Vec<Problem>) -> Option<bool> {
    let refund = value.as_bool();
    if refund.is_none() {
        let detail = "must be true or false".to_owned();
        problems.push(Problem { code: "not_true_or_false", detail, attr: "refund".to_owned() });
    }
    refund
}

/// Why.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct RejectBody {
    /// 1 to 500 characters.
    #[schema(example = "out of buns", min_length = 1, max_length = 500)]
    reason: String,
}

/// Why, if there is more to say.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct CancelBody {
    /// 1 to 500 characters.
    #[schema(example = "changed my mind", min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// What becomes of its money.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct NoShowBody {
    /// true: it goes back. false: it stays.
    #[schema(example = false)]
    refund: bool,
}

/// Where the order stands now.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct StatusBody {
    /// `PREPARING`, `READY`, `DELIVERED`, `REJECTED`, or back to `ACCEPTED`; any case.
    #[schema(example = "PREPARING")]
    status: String,
    /// 1 to 500 characters; required for `REJECTED` and for a step back.
    #[schema(example = "the stove went out", min_length = 1, max_length = 500)]
    reason: Option<String>,
}
