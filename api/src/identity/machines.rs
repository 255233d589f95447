//! `/service-tokens`: what machines show. Made and ended by admins; shown once.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::channel::name::ChannelName;
use domain::moment;
use domain::person::Role;
use serde::Serialize;
use store::accounts::service_tokens::{self, ServiceToken};
use time::OffsetDateTime;

use super::account::{MAX_LOCATIONS, embedded, fault, locations};
use super::caller::Admin;
use super::followed::{new_service_token, service_role};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{AdminsOnly, BadBody, Faults};
use crate::http::work::to_the_end;
use crate::state::AppState;

/// Tokens on the list: newest first; older ones are all but surely ended.
const SHOWN: i64 = 1_000;

/// A token, without what is secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ServiceTokenView {
    /// The part of the token after `cmd_`.
    id: String,
    /// The service's. Two tokens of one name are one service: so one can follow the other.
    name: String,
    role: Role,
    /// Through which channels it may order.
    channels: Vec<String>,
    locations: Vec<String>,
    created_by: String,
    #[serde(with = "crate::http::times")]
    created_at: OffsetDateTime,
    /// It ends by itself; null: it does not.
    #[serde(with = "crate::http::times::option")]
    until: Option<OffsetDateTime>,
    /// It was ended; null: it was not.
    #[serde(with = "crate::http::times::option")]
    ended_at: Option<OffsetDateTime>,
}

impl From<ServiceToken> for ServiceTokenView {
    fn from(token: ServiceToken) -> Self {
        let ServiceToken {
            id, name, role, channels, locations, created_by, created_at, until, ended_at, ..
        } = token;
        Self { id, name, role, channels, locations, created_by, created_at, until, ended_at }
    }
}

/// Those there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ServiceTokens {
    service_tokens: Vec<ServiceTokenView>,
}

/// A new token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NewServiceTokenView {
    id: String,
    /// Shown now and never again.
    token: String,
}

/// Make a service token.
#[utoipa::path(
    post, path = "/api/v1/service-tokens", tag = "people", operation_id = "make_service_token",
    request_body = NewServiceTokenBody,
    responses(
        (status = 201, description = "Made. The token is shown this once", body = NewServiceTokenView),
        (status = 409, description = "`too_many`: 10,000 are good already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known; or no machine has this role (`unknown_role`). What its schema cannot say: a name has what nobody sees, or spaces at its ends (`invisible_character`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, AdminsOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn make(
    State(state): State<AppState>,
    Admin(by): Admin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&headers, body, &state.room).await?;
    let (new, token) = parse(fields, by.id.clone())?;
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        if !session.run(&new, |conn, new| Box::pin(service_tokens::insert(conn, new))).await? {
            return Err(ApiError::taken("name", "too_many", "too many service tokens are good: end some"));
        }
        identity.followed.changed();
        let made = NewServiceTokenView { id: new.id, token };
        Ok((StatusCode::CREATED, Json(made)).into_response())
    })
    .await
}

fn parse(mut fields: Fields, created_by: String) -> Result<(ServiceToken, String), ApiError> {
    let name = fields.text("name", 50).unwrap_or_default();
    if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
        fields.add("name", "invalid", "may have lower-case letters, digits, - and _");
    }
    let role = fields.optional_text("role", 20).map_or(Some(Role::Service), |name| service_role(&name));
    if role.is_none() {
        fields.add("role", "unknown_role", "must be service, staff, manager or admin");
    }
    let mut channels = Vec::new();
    for (index, name) in fields.texts("channels", MAX_LOCATIONS, 50).unwrap_or_default().iter().enumerate() {
        match ChannelName::parse(name) {
            Ok(channel) => channels.push(channel.as_str().to_owned()),
            Err((code, detail)) => fields.add(&format!("channels[{index}]"), code, detail),
        }
    }
    let locations = locations(&mut fields).unwrap_or_default();
    let until = fields.optional_text("until", 40).and_then(|text| {
        let time = moment::parse(&text);
        if time.is_none() {
            fields.add("until", "no_time", "must be a time such as 2027-01-31T18:00:00Z");
        }
        time
    });
    fields.finish()?;
    let (id, token, secret_hash) = new_service_token().map_err(|error| fault(&error))?;
    let new = ServiceToken {
        id,
        name,
        role: role.unwrap_or(Role::Service),
        channels,
        locations,
        secret_hash,
        created_by,
        created_at: OffsetDateTime::UNIX_EPOCH,
        until,
        ended_at: None,
    };
    Ok((new, token))
}

/// List service tokens, newest first.
#[utoipa::path(
    get, path = "/api/v1/service-tokens", tag = "people", operation_id = "list_service_tokens",
    responses((status = 200, description = "Up to a thousand", body = ServiceTokens), AdminsOnly, Faults),
    security(("token" = []))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Admin(_): Admin,
) -> Result<Json<ServiceTokens>, ApiError> {
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        let found = session.run(&SHOWN, |conn, limit| Box::pin(service_tokens::list(conn, *limit))).await?;
        let service_tokens = found.into_iter().map(ServiceTokenView::from).collect();
        Ok::<_, ApiError>(Json(ServiceTokens { service_tokens }))
    })
    .await
}

/// End a service token.
///
/// It is refused everywhere within five seconds.
#[utoipa::path(
    delete, path = "/api/v1/service-tokens/{id}", tag = "people", operation_id = "end_service_token",
    params(("id" = String, Path, description = "The token's id")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "There is no such token", body = ProblemBody, content_type = "application/problem+json"),
        AdminsOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn end(
    State(state): State<AppState>,
    Admin(_): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if id.contains('\0') {
        return Err(ApiError::not_found("service token"));
    }
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        if !session.run(&id, |conn, id| Box::pin(service_tokens::end(conn, id))).await? {
            return Err(ApiError::not_found("service token"));
        }
        identity.followed.changed();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A machine.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewServiceTokenBody {
    /// The service's: lower-case letters, digits, `-` and `_`.
    #[schema(example = "till", min_length = 1, max_length = 50, pattern = r"^[a-z0-9_-]+$")]
    name: String,
    /// `service` where it is left out; not `customer`.
    role: Option<Role>,
    /// Through which channels it may order.
    #[schema(max_items = 100)]
    channels: Option<Vec<String>>,
    #[schema(max_items = 100)]
    locations: Option<Vec<String>>,
    /// When it ends by itself (RFC 3339).
    #[schema(format = DateTime)]
    until: Option<String>,
}
