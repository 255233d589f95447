//! `/users/me`: what people keep about themselves: their addresses, whoever issued their tokens; and their name and telephone number,
//! where the embedded issuer knows them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::limits::MAX_NAME_CHARS;
use domain::order::details::{Address, MAX_PLACE_CHARS};
use serde::Serialize;
use store::accounts::addresses::{self, Kept, MAX_ADDRESSES};
use store::accounts::users::{self, By, Changed};
use time::OffsetDateTime;
use uuid::Uuid;

use super::account::{UserView, embedded, phone, refused};
use super::caller::{Known, Unhurried};
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults, TokenNeeded};
use crate::http::work::to_the_end;
use crate::orders::read::decisive;
use crate::state::AppState;

/// Longest name of an address, and of a person.
const MAX_LABEL: usize = 200;

/// An address that the caller keeps.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AddressView {
    /// As `delivery_address_id` of an order.
    id: Uuid,
    /// What they call it.
    #[schema(example = "Home")]
    label: Option<String>,
    /// With the house's number.
    #[schema(example = "12 St James's Square")]
    street: String,
    #[schema(example = "London")]
    city: String,
    /// There are places without.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "SW1Y 4JH")]
    postal_code: Option<String>,
    /// When it was last changed.
    #[serde(with = "crate::http::times")]
    updated_at: OffsetDateTime,
}

impl From<Kept> for AddressView {
    fn from(Kept { id, label, address, updated_at }: Kept) -> Self {
        let Address { street, city, postal_code } = address;
        Self { id, label, street, city, postal_code, updated_at }
    }
}

/// All that the caller keeps.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AddressList {
    /// The oldest first.
    addresses: Vec<AddressView>,
}

/// List the caller's own addresses.
#[utoipa::path(
    get, path = "/api/v1/users/me/addresses", tag = "people", operation_id = "list_own_addresses",
    responses((status = 200, description = "All of them", body = AddressList), TokenNeeded, Faults),
    security(("token" = []))
)]
pub(crate) async fn list_addresses(
    State(state): State<AppState>,
    Known(by): Known,
) -> Result<Json<AddressList>, ApiError> {
    let all = decisive(state, move |conn| Box::pin(async move { addresses::list(conn, &by.id).await }));
    Ok(Json(AddressList { addresses: all.await?.into_iter().map(AddressView::from).collect() }))
}

/// Keep an address.
#[utoipa::path(
    post, path = "/api/v1/users/me/addresses", tag = "people", operation_id = "keep_address",
    request_body = AddressBody,
    responses(
        (status = 201, description = "Kept", body = AddressView),
        (status = 422, description = "A field is missing, not valid or not known, or there are twenty already (`too_many`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn keep_address(
    State(state): State<AppState>,
    Known(by): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (label, address) = parse(&body::read_json(&headers, body, &state.room).await?)?;
    let id = Uuid::now_v7();
    let kept = decisive(state, move |conn| {
        Box::pin(async move { addresses::insert(conn, &by.id, id, label.as_deref(), &address).await })
    });
    let kept = kept.await?.ok_or_else(|| {
        ApiError::invalid_one("addresses", "too_many", format!("must be at most {MAX_ADDRESSES}"))
    })?;
    Ok((StatusCode::CREATED, Json(AddressView::from(kept))).into_response())
}

/// Change an address. Orders that were given it before keep what it was.
#[utoipa::path(
    put, path = "/api/v1/users/me/addresses/{address}", tag = "people", operation_id = "change_address",
    params(("address" = Uuid, Path, description = "Its id")),
    request_body = AddressBody,
    responses(
        (status = 200, description = "Changed", body = AddressView),
        (status = 404, description = "The caller has no such address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change_address(
    State(state): State<AppState>,
    Known(by): Known,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AddressView>, ApiError> {
    let (label, address) = parse(&body::read_json(&headers, body, &state.room).await?)?;
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("address"))?;
    let kept = decisive(state, move |conn| {
        Box::pin(async move { addresses::replace(conn, &by.id, id, label.as_deref(), &address).await })
    });
    kept.await?.map(|kept| Json(kept.into())).ok_or_else(|| ApiError::not_found("address"))
}

/// Forget an address. Orders that were given it before keep it.
#[utoipa::path(
    delete, path = "/api/v1/users/me/addresses/{address}", tag = "people", operation_id = "forget_address",
    params(("address" = Uuid, Path, description = "Its id")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "The caller has no such address", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn forget_address(
    State(state): State<AppState>,
    Known(by): Known,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("address"))?;
    let gone =
        decisive(state, move |conn| Box::pin(async move { addresses::remove(conn, &by.id, id).await }));
    if gone.await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("address")) }
}

/// Read what is known of the caller.
#[utoipa::path(
    get, path = "/api/v1/users/me", tag = "people", operation_id = "read_own_account",
    responses(
        (status = 200, description = "The caller", body = UserView),
        (status = 404, description = "The caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read_account(
    State(state): State<AppState>,
    Known(by): Known,
) -> Result<Json<UserView>, ApiError> {
    let id = own_id(&by.id)?;
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        let found = session.run(&By::Id(id), |conn, by| Box::pin(users::find(conn, by))).await?;
        found.map(|(user, _)| Json(UserView::from(user))).ok_or_else(|| ApiError::not_found("user"))
    })
    .await
}

/// Change the caller's name or telephone number.
#[utoipa::path(
    patch, path = "/api/v1/users/me", tag = "people", operation_id = "change_own_account",
    request_body = OwnBody,
    responses(
        (status = 200, description = "Changed", body = UserView),
        (status = 404, description = "The caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`phone_taken`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change_account(
    State(state): State<AppState>,
    // Whether a number is somebody's is told to nobody by the thousand.
    _: Unhurried,
    Known(by): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UserView>, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let (name, phone) = (fields.optional_text("name", MAX_LABEL), phone(&mut fields));
    fields.finish()?;
    let input = (own_id(&by.id)?, name, phone);
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        let changed = session
            .run(&input, |conn, (id, name, phone)| {
                Box::pin(users::change_own(conn, *id, name.as_deref(), phone.as_deref()))
            })
            .await?;
        match changed {
            Changed::Done(user) => Ok(Json(UserView::from(user))),
            other => Err(refused(&other)),
        }
    })
    .await
}

/// Whoever is not ours is no user.
pub(super) fn own_id(subject: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(subject).map_err(|_| ApiError::not_found("user"))
}

/// `{label?, street, city, postal_code?}`
fn parse(body: &[u8]) -> Result<(Option<String>, Address), ApiError> {
    let mut fields = Fields::read(body)?;
    let label = fields.optional_text("label", MAX_LABEL);
    let street = fields.text("street", MAX_NAME_CHARS).unwrap_or_default();
    let city = fields.text("city", MAX_PLACE_CHARS).unwrap_or_default();
    let postal_code = fields.optional_text("postal_code", MAX_PLACE_CHARS);
    fields.finish()?;
    Ok((label, Address { street, city, postal_code }))
}

/// An address to be kept.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressBody {
    /// What you call it.
    #[schema(example = "Home", min_length = 1, max_length = 200)]
    label: Option<String>,
    /// With the house's number.
    #[schema(example = "12 St James's Square", min_length = 1, max_length = 500)]
    street: String,
    #[schema(example = "London", min_length = 1, max_length = 100)]
    city: String,
    /// There are places without.
    #[schema(example = "SW1Y 4JH", min_length = 1, max_length = 100)]
    postal_code: Option<String>,
}

/// What is to be another; what is left out stays.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnBody {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(example = "+1 555 010 0123", max_length = 40, pattern = r"^\+[ ./()-]*([0-9][ ./()-]*){6,15}$")]
    phone: Option<String>,
}
