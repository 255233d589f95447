//! Which mails people get about their orders: as they choose (`/users/me/mails`), and none by the link that stands in each
//! (`/unsubscribe/{token}`), without logging in. Mail is for whom the embedded issuer knows: of nobody else is there an address.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::mail::Mail;
use runtime::unsubscribe::{self, List};
use serde::Serialize;
use store::sale_notices;
use time::OffsetDateTime;

use super::caller::{Counted, Known};
use super::own::own_id;
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::pages::page;
use crate::http::problems::{BadBody, Faults, TokenNeeded};
use crate::orders::read::decisive;
use crate::state::AppState;

/// Which mails somebody gets.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MailsView {
    /// Those about their orders.
    mails: Vec<Mail>,
    /// When they chose them; null: never, and these are what everybody gets.
    #[serde(with = "crate::http::times::option")]
    chosen_at: Option<OffsetDateTime>,
}

/// Read which mails the caller gets about their orders.
#[utoipa::path(
    get, path = "/api/v1/users/me/mails", tag = "people", operation_id = "read_own_mails",
    responses(
        (status = 200, description = "Those that are sent, where this house sends mail", body = MailsView),
        (status = 404, description = "The caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    Known(by): Known,
) -> Result<Json<MailsView>, ApiError> {
    let id = own_id(&by.id)?;
    let found = decisive(state, move |conn| Box::pin(store::mail::preferences(conn, id))).await?;
    let (mails, chosen_at) = found.ok_or_else(|| ApiError::not_found("user"))?;
    Ok(Json(MailsView { mails, chosen_at }))
}

/// Choose which mails the caller gets about their orders.
///
/// In the place of what was chosen before; an empty list is none.
#[utoipa::path(
    put, path = "/api/v1/users/me/mails", tag = "people", operation_id = "choose_own_mails",
    request_body = MailsBody,
    responses(
        (status = 200, description = "Chosen", body = MailsView),
        (status = 404, description = "The caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known, or names no mail (`unknown_mail`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn choose(
    State(state): State<AppState>,
    Known(by): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MailsView>, ApiError> {
    let mails = parse(&body::read_json(&headers, body, &state.room).await?)?;
    let id = own_id(&by.id)?;
    let chosen = decisive(state, move |conn| {
        Box::pin(async move {
            store::mail::prefer(conn, id, &mails).await?;
            store::mail::preferences(conn, id).await
        })
    });
    let (mails, chosen_at) = chosen.await?.ok_or_else(|| ApiError::not_found("user"))?;
    Ok(Json(MailsView { mails, chosen_at }))
}

/// `{mails}`
fn parse(body: &[u8]) -> Result<Vec<Mail>, ApiError> {
    let mut fields = Fields::read(body)?;
    let names = fields.texts("mails", Mail::ALL.len(), 50);
    if names.is_none() {
        fields.require("mails");
    }
    let mut mails = Vec::new();
    for (index, name) in names.iter().flatten().enumerate() {
        match Mail::parse(name) {
            Some(mail) if !mails.contains(&mail) => mails.push(mail),
            Some(_) => {}
            None => fields.add(&format!("mails[{index}]"), "unknown_mail", "is no mail that is sent"),
        }
    }
    fields.finish()?;
    Ok(mails)
}

/// Ask whether the mails are to end.
///
/// The link in each mail. Whoever looks at it, a program that checks links among them, ends nothing: the page has a button that does.
#[utoipa::path(
    get, path = "/api/v1/unsubscribe/{token}", tag = "people", operation_id = "ask_to_unsubscribe",
    params(("token" = String, Path, description = "As it stands in the mail")),
    responses(
        (status = 200, description = "A page with a button", body = String, content_type = "text/html"),
        (status = 404, description = "No such link was sent", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    )
)]
pub(crate) async fn ask(
    State(state): State<AppState>,
    _: Counted,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    let (_, list) = read_link(&state, &token)?;
    let button = "<form method=\"post\"><button>No more of these mails</button></form>";
    Ok(page("Mails from this house", &format!("<p>You get mails {}.</p>{button}", in_words(list))))
}

/// End the mails.
///
/// What the button does, and what a mail program does at one click (RFC 8058): whatever the body is. Doing it twice is harmless.
#[utoipa::path(
    post, path = "/api/v1/unsubscribe/{token}", tag = "people", operation_id = "unsubscribe",
    params(("token" = String, Path, description = "As it stands in the mail")),
    responses(
        (status = 200, description = "No more of them is sent", body = String, content_type = "text/html"),
        (status = 404, description = "No such link was sent", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    )
)]
pub(crate) async fn unsubscribe(
    State(state): State<AppState>,
    _: Counted,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    let (person, list) = read_link(&state, &token)?;
    decisive(state, move |conn| {
        Box::pin(async move {
            match list {
                List::Orders => store::mail::prefer(conn, person, &[]).await.map(drop),
                List::Sales => sale_notices::remove_all(conn, person).await,
            }
        })
    })
    .await?;
    Ok(page("Done", &format!("<p>You get no more mails {}.</p>", in_words(list))))
}

fn read_link(state: &AppState, token: &str) -> Result<(uuid::Uuid, List), ApiError> {
    unsubscribe::read(state.identity.secrets(), token).ok_or_else(|| ApiError::not_found("link"))
}

const fn in_words(list: List) -> &'static str {
    match list {
        List::Orders => "about your orders",
        List::Sales => "about sales",
    }
}

/// Which mails somebody wants.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct MailsBody {
    /// All that are to be sent.
    #[schema(max_items = 11)]
    mails: Vec<Mail>,
}
