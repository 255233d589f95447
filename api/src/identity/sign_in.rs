//! `/auth`: register, log in, stay logged in, log out, who am I. For people of the embedded issuer.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::person::Role;
use serde::Serialize;
use serde_json::json;
use store::accounts::sessions::{self, Renewed};
use store::accounts::users::{self, By};
use uuid::Uuid;

use super::account::{MAX_EMAIL, UserView, busy, embedded, fault, make_user, new_password};
use super::caller::{Known, Unhurried};
use super::embedded::Tokens;
use super::passwords;
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults};
use crate::http::work::to_the_end;
use crate::state::AppState;

/// One text for an unknown address and a wrong password: nobody learns who is known here.
const WRONG: &str = "no such user, or another password";

/// Register.
///
/// Makes a customer. Their `id` is the `customer_id` of their orders.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "people",
    request_body = RegisterBody,
    responses(
        (status = 201, description = "Registered; now log in", body = UserView),
        (status = 409, description = "`email_taken` or `phone_taken`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid (`invisible_character`) or not known; or the password is easy to guess (`too_easy`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    )
)]
pub(crate) async fn register(
    _: Unhurried,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    make_user(state.clone(), Fields::of(&headers, body, &state.room).await?, false).await
}

/// Log in.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "people",
    request_body = LoginBody,
    responses(
        (status = 200, description = "Logged in", body = Tokens),
        (status = 401, description = "No such user, or another password", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    )
)]
pub(crate) async fn log_in(
    _: Unhurried,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let (email, password) = (fields.secret("email"), fields.secret("password"));
    fields.finish()?;
    let (email, password) = (email.unwrap_or_default(), password.unwrap_or_default());
    let tokens = by_password(state.clone(), email, password).await?;
    Ok(Json(tokens.ok_or_else(|| ApiError::bad_token(WRONG))?).into_response())
}

/// Tokens for who knows the password; `None`: nobody does.
async fn by_password(state: AppState, email: String, password: String) -> Result<Option<Tokens>, ApiError> {
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let email = email.trim().to_lowercase();
        // Longer ones nobody has: not worth a hash's time for each of many megabytes.
        let possible =
            email.len() <= MAX_EMAIL && password.len() <= passwords::MAX_CHARS * 4 && !email.contains('\0');
        let found = if possible {
            let mut session = embedded.session.lock().await;
            session.run(&By::Email(email), |conn, by| Box::pin(users::find(conn, by))).await?
        } else {
            None
        };
        let password = if possible { password } else { String::new() };
        let kept = found.as_ref().map(|(_, hash)| hash.clone());
        let is = embedded.passwords.is(password, kept).await.map_err(|error| fault(&error))?.map_err(busy)?;
        match found.filter(|(user, _)| is && user.active) {
            Some((user, hash)) => embedded.log_in(user.id, hash).await,
            None => Ok(None),
        }
    })
    .await
}

/// Get the next tokens.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "people",
    request_body = RefreshBody,
    responses(
        (status = 200, description = "The next pair", body = Tokens),
        (status = 401, description = "The session is over, or this refresh token was used before", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`refresh_token` is missing", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    )
)]
pub(crate) async fn refresh(
    _: Unhurried,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let token = refresh_token(&state, &headers, body).await?;
    let tokens = renew(state, token).await?;
    Ok(Json(tokens.ok_or_else(|| ApiError::bad_token("logged out: log in again"))?).into_response())
}

async fn refresh_token(state: &AppState, headers: &HeaderMap, body: Body) -> Result<String, ApiError> {
    let mut fields = Fields::of(headers, body, &state.room).await?;
    let token = fields.secret("refresh_token");
    fields.finish()?;
    Ok(token.unwrap_or_default())
}

async fn renew(state: AppState, token: String) -> Result<Option<Tokens>, ApiError> {
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        let Some(named) = embedded.read_refresh_token(&token) else { return Ok(None) };
        let mut session = embedded.session.lock().await;
        let renewed = session
            .run(&named, |conn, (id, generation)| Box::pin(sessions::renew(conn, *id, *generation)))
            .await?;
        drop(session);
        match renewed {
            Renewed::On(session) => embedded.tokens(&session).map(Some),
            Renewed::Over => Ok(None),
            Renewed::Stolen => {
                metrics::counter!("identity_stolen_sessions_total").increment(1);
                tracing::warn!(session = %named.0, "a refresh token was used again: the session is ended");
                identity.followed.changed();
                Ok(None)
            }
        }
    })
    .await
}

/// Log in or get the next tokens, as OAuth 2.0 has it.
///
/// `grant_type=password` with `username` (the e-mail address) and `password`, or `grant_type=refresh_token` with
/// `refresh_token`, as a form (RFC 6749, 4.3 and 6). Errors have that standard's shape.
#[utoipa::path(
    post, path = "/api/v1/auth/token", tag = "people",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Logged in", body = Tokens),
        (status = 400, description = "`invalid_request`, `invalid_grant` or `unsupported_grant_type`", body = TokenError),
        (status = 408, description = "The body did not arrive in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    )
)]
pub(crate) async fn token(
    _: Unhurried,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read(&headers, body, &state.room).await?.to_vec();
    let mut form = std::collections::BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(&body) {
        if form.insert(name.into_owned(), value.into_owned()).is_some() {
            return Ok(oauth_error("invalid_request"));
        }
    }
    let mut field = |name: &str| form.remove(name);
    let tokens = match field("grant_type").as_deref() {
        Some("password") => match (field("username"), field("password")) {
            (Some(email), Some(password)) => by_password(state, email, password).await?,
            _ => return Ok(oauth_error("invalid_request")),
        },
        Some("refresh_token") => match field("refresh_token") {
            Some(token) => renew(state, token).await?,
            None => return Ok(oauth_error("invalid_request")),
        },
        Some(_) => return Ok(oauth_error("unsupported_grant_type")),
        None => return Ok(oauth_error("invalid_request")),
    };
    Ok(tokens.map_or_else(|| oauth_error("invalid_grant"), |tokens| Json(tokens).into_response()))
}

fn oauth_error(code: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": code }))).into_response()
}

/// Log out.
///
/// Ends the session: its refresh token at once, its access tokens within five seconds. What is no session any more is no error.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "people",
    request_body = RefreshBody,
    responses(
        (status = 204, description = "Logged out"),
        (status = 422, description = "`refresh_token` is missing", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    )
)]
pub(crate) async fn log_out(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let token = refresh_token(&state, &headers, body).await?;
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        if let Some((id, _)) = embedded.read_refresh_token(&token) {
            let mut session = embedded.session.lock().await;
            // What was over before has been seen: whoever logs out a thousand times makes nobody look a thousand times.
            if session.run(&id, |conn, id| Box::pin(sessions::end(conn, *id))).await? {
                identity.followed.changed();
            }
        }
        Ok::<_, ApiError>(StatusCode::NO_CONTENT)
    })
    .await
}

/// Who am I.
///
/// Whoever the token names, whichever issuer it is from; so it verifies a token, too.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "people",
    responses(
        (status = 200, description = "Who the token names", body = MeView),
        (status = 401, description = "The token is missing or not good", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn who_am_i(Known(principal): Known) -> Response {
    let me = MeView {
        id: principal.id.clone(),
        role: principal.role,
        locations: principal.locations.to_vec(),
        channels: principal.channels.clone(),
        until: (principal.until < u64::MAX).then_some(principal.until),
    };
    Json(me).into_response()
}

/// Change the password.
///
/// Every other session ends.
#[utoipa::path(
    put, path = "/api/v1/auth/password", tag = "people",
    request_body = PasswordBody,
    responses(
        (status = 204, description = "Changed"),
        (status = 403, description = "The password is kept by the token's issuer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is not good, or the current password is another", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing or not known; or the password is easy to guess (`too_easy`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change_password(
    _: Unhurried,
    State(state): State<AppState>,
    Known(principal): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let current = fields.secret("current_password");
    let Some((kept, id)) = principal.session.zip(Uuid::try_parse(&principal.id).ok()) else {
        return Err(ApiError::forbidden("the password is kept by the token's issuer"));
    };
    let new = new_password(&mut fields, "new_password", &[]);
    fields.finish()?;
    let (current, new) = (current.unwrap_or_default(), new.unwrap_or_default());
    to_the_end(async move {
        let (identity, embedded) = embedded(&state)?;
        let mut session = embedded.session.lock().await;
        let found = session.run(&By::Id(id), |conn, by| Box::pin(users::find(conn, by))).await?;
        drop(session);
        let (user, hash) = found.ok_or_else(|| ApiError::bad_token(WRONG))?;
        if let Some((code, detail)) =
            passwords::problem(&new, &[&user.email, user.name.as_deref().unwrap_or("")])
        {
            return Err(ApiError::invalid_one("new_password", code, detail));
        }
        let is = embedded.passwords.is(current, Some(hash)).await;
        if !is.map_err(|error| fault(&error))?.map_err(busy)? {
            return Err(ApiError::bad_token("the current password is another"));
        }
        let hash = embedded.passwords.hash(new).await.map_err(|error| fault(&error))?.map_err(busy)?;
        let input = (id, hash, kept);
        let mut session = embedded.session.lock().await;
        session
            .run(&input, |conn, (id, hash, kept)| Box::pin(users::set_password(conn, *id, hash, Some(*kept))))
            .await?;
        identity.followed.changed();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The keys that check this issuer's tokens.
#[utoipa::path(
    get, path = "/api/v1/auth/jwks.json", tag = "people",
    responses((status = 200, description = "A JWK set", body = serde_json::Value, content_type = "application/jwk-set+json"), Faults)
)]
pub(crate) async fn public_keys(State(state): State<AppState>) -> Result<Response, ApiError> {
    let (_, embedded) = embedded(&state)?;
    Ok(([(header::CONTENT_TYPE, "application/jwk-set+json")], embedded.public_keys()).into_response())
}

/// Whoever a token names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MeView {
    /// Of a customer: the `customer_id` of their orders.
    id: String,
    role: Role,
    /// Of staff and managers: where they may look and act.
    locations: Vec<String>,
    /// Of a machine: through which channels it may order.
    channels: Vec<String>,
    /// Until when the token is good, in seconds since 1970; null: until it is ended.
    until: Option<u64>,
}

/// Who registers.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterBody {
    #[schema(
        example = "maria@example.com",
        max_length = 254,
        pattern = r"^[!-?A-~]+@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$"
    )]
    email: String,
    /// 8 to 128 characters, not easy to guess.
    #[schema(example = "copper lantern seventy walrus", format = Password, min_length = 8, max_length = 128)]
    password: String,
    #[schema(max_length = 200)]
    name: Option<String>,
    /// A + and 6 to 15 digits; spaces, hyphens, dots and brackets between them are dropped.
    #[schema(example = "+1 555 010 0123", max_length = 40, pattern = r"^\+[ ./()-]*([0-9][ ./()-]*){6,15}$")]
    phone: Option<String>,
}

/// Who logs in.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    #[schema(example = "maria@example.com")]
    email: String,
    #[schema(example = "copper lantern seventy walrus", format = Password)]
    password: String,
}

/// What a session goes on or ends with.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshBody {
    refresh_token: String,
}

/// A form.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct TokenForm {
    #[schema(example = "password", pattern = "^(password|refresh_token)$")]
    grant_type: String,
    username: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

/// What OAuth 2.0 says of an error.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the answer in openapi.json")]
pub(crate) struct TokenError {
    #[schema(example = "invalid_grant")]
    error: String,
}

/// The old and the new.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    #[schema(format = Password)]
    current_password: String,
    #[schema(format = Password, min_length = 8, max_length = 128)]
    new_password: String,
}
