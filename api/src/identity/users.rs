//! `/users`: what admins see and change about people of the embedded issuer. Nobody else may, by any field of any endpoint.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::person::Role;
use serde::{Deserialize, Serialize};
use store::accounts::users::{self, Change, Changed};
use uuid::Uuid;

use super::account::{UserView, embedded, locations, make_user, refused, role};
use super::caller::Admin;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{AdminsOnly, BadBody, Faults};
use crate::http::work::to_the_end;
use crate::state::AppState;

/// Users on a page.
const PAGE_SIZE: i64 = 100;

/// A page of users.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct UserPage {
    users: Vec<UserView>,
    /// Of the next page; null: this is the last.
    next_cursor: Option<Uuid>,
}

/// Make a user.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "people", operation_id = "make_user",
    request_body = NewUserBody,
    responses(
        (status = 201, description = "Made", body = UserView),
        (status = 409, description = "`email_taken` or `phone_taken`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid (`invisible_character`) or not known; nobody has this role (`unknown_role`); or the password is easy to guess (`too_easy`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, AdminsOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn make(
    State(state): State<AppState>,
    Admin(_): Admin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    make_user(state.clone(), Fields::of(&headers, body, &state.room).await?, true).await
}

/// What may be asked of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    role: Option<String>,
    cursor: Option<Uuid>,
}

/// List users, oldest first, a hundred a page.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "people", operation_id = "list_users",
    params(
        ("role" = Option<Role>, Query, description = "Only those of this role"),
        ("cursor" = Option<Uuid>, Query, description = "The last answer's `next_cursor`"),
    ),
    responses(
        (status = 200, description = "One page", body = UserPage),
        (status = 422, description = "A parameter is not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        AdminsOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Admin(_): Admin,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<UserPage>, ApiError> {
    let Query(query) = query
        .map_err(|_| ApiError::invalid_one("query", "invalid", "role and cursor may be given, once each"))?;
    let role = query.role.as_deref().map(|name| {
        let wanted = "must be customer, staff, manager or admin";
        Role::parse(name).ok_or_else(|| ApiError::invalid_one("role", "unknown_role", wanted))
    });
    let input = (role.transpose()?, query.cursor.unwrap_or_default());
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        let found = session
            .run(&input, |conn, (role, after)| Box::pin(users::list(conn, *role, *after, PAGE_SIZE + 1)))
            .await?;
        let more = found.len() as i64 > PAGE_SIZE;
        let page: Vec<UserView> = found.into_iter().take(PAGE_SIZE as usize).map(UserView::from).collect();
        let next_cursor = page.last().filter(|_| more).map(|last| last.id);
        Ok::<_, ApiError>(Json(UserPage { users: page, next_cursor }))
    })
    .await
}

/// Change what somebody may do.
///
/// Their sessions end where that is something else than before: they log in again.
#[utoipa::path(
    patch, path = "/api/v1/users/{id}", tag = "people", operation_id = "change_user",
    params(("id" = Uuid, Path, description = "The user's id")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "Changed", body = UserView),
        (status = 404, description = "There is no such user", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`last_admin`: nobody could see to people any more", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known; or nobody has this role (`unknown_role`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, AdminsOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    Admin(_): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UserView>, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("user"))?;
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let change =
        Change { role: role(&mut fields), locations: locations(&mut fields), active: fields.flag("active") };
    fields.finish()?;
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        let input = (id, change);
        let mut session = embedded.session.lock().await;
        let changed =
            session.run(&input, |conn, (id, change)| Box::pin(users::change(conn, *id, change))).await?;
        identity.followed.changed();
        match changed {
            Changed::Done(user) => Ok(Json(UserView::from(user))),
            other => Err(refused(&other)),
        }
    })
    .await
}

/// Somebody new.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserBody {
    #[schema(
        example = "ann@example.com",
        max_length = 254,
        pattern = r"^[!-?A-~]+@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$"
    )]
    email: String,
    #[schema(format = Password, min_length = 8, max_length = 128)]
    password: String,
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(example = "+1 555 010 0123", max_length = 40, pattern = r"^\+[ ./()-]*([0-9][ ./()-]*){6,15}$")]
    phone: Option<String>,
    /// `customer` where it is left out.
    role: Option<Role>,
    #[schema(max_items = 100)]
    locations: Option<Vec<String>>,
}

/// What is to be another; what is left out stays.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    role: Option<Role>,
    #[schema(max_items = 100)]
    locations: Option<Vec<String>>,
    active: Option<bool>,
}
