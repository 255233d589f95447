//! What was sent to a webhook and what came of it; a test; and what is to be sent again.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::moment;
use serde::Deserialize;
use serde_json::json;
use sqlx::Connection;
use store::deliveries::{self, Key, New, Which};
use time::OffsetDateTime;
use uuid::Uuid;

use super::view::{DeliveriesView, ReplayBody, Replayed, Tested};
use super::{expect_own, find, parse_id};
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults, ManagersOnly};
use crate::http::work::to_the_end;
use crate::identity::caller::Keeper;
use crate::orders::read::misread;
use crate::state::AppState;

/// On a page.
const PAGE: i64 = 100;
/// Sent again at once, at most: some tens of milliseconds under locks. Ask again for more.
const MAX_REPLAYED: i64 = 5_000;
/// Where they stand.
const STATUSES: [&str; 4] = ["behind", "waiting", "taken", "parked"];

/// What may be asked, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveriesQuery {
    /// `behind`, `waiting`, `taken` or `parked` alone
    #[param(pattern = "^(behind|waiting|taken|parked)$")]
    status: Option<String>,
    /// The last answer's `next`
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9]{1,9}$")]
    after: Option<String>,
}

/// List what was sent to a webhook.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "list_deliveries",
    params(("id" = String, Path, description = "The webhook's id"), DeliveriesQuery),
    responses(
        (status = 200, description = "A page, by order and version, each with its tries. What was taken is shown for a week", body = DeliveriesView),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    query: Result<Query<DeliveriesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<DeliveriesView>, ApiError> {
    let id = parse_id(&id)?;
    let Query(DeliveriesQuery { status, after }) = query.map_err(|refused| misread(&refused.body_text()))?;
    if status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let detail = format!("must be one of {}", STATUSES.join(", "));
        return Err(ApiError::invalid_one("status", "unknown_status", detail));
    }
    let after = after.map_or(Some((Uuid::nil(), 0)), |text| event(&text));
    let after = after
        .ok_or_else(|| ApiError::invalid_one("after", "invalid", "must be the next of an earlier answer"))?;
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        find(&mut conn, &by, id).await?;
        let (shown, attempts) = deliveries::list(&mut conn, id, status.as_deref(), after, PAGE).await?;
        let is_full = i64::try_from(shown.len()).is_ok_and(|shown| shown == PAGE);
        Ok::<_, ApiError>(Json(DeliveriesView::new(shown, &attempts, is_full)))
    })
    .await
}

/// Send a test to a webhook.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 202, description = "An event of the type `webhook.test` is on its way, as any other would be", body = Tested),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`set_with_channel`: it is a channel's platform", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn test(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        expect_own(&find(&mut conn, &by, id).await?)?;
        let key = Key { webhook: id, subject: Uuid::now_v7(), version: 1 };
        let event = domain::told::id_of(key.subject, key.version);
        let now = OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
        let body = json!({"specversion": "1.0", "id": event, "source": format!("/api/v1/webhooks/{id}"), "type": "webhook.test",
            "subject": key.subject, "time": now.unwrap_or_default(), "datacontenttype": "application/json", "data": {}});
        let new = New { key, kind: "webhook.test".to_owned(), body: body.to_string() };
        let mut tx = conn.begin().await?;
        deliveries::add(&mut tx, &[new]).await?;
        tx.commit().await?;
        Ok::<_, ApiError>((StatusCode::ACCEPTED, Json(Tested { event })).into_response())
    })
    .await
}

/// Send again what was parked.
///
/// Oldest first, 5,000 at once: ask again until it is 0. Of an order each is sent before those that wait behind it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "replay_deliveries",
    params(("id" = String, Path, description = "The webhook's id")),
    request_body = ReplayBody,
    responses(
        (status = 200, description = "How many are sent again", body = Replayed),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known; or an `event` is there beside `from` or `to` (`conflict`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn replay(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Replayed>, ApiError> {
    let id = parse_id(&id)?;
    let body = body::read_json(&headers, body, &state.room).await?;
    let which = which(&body)?;
    drop(body);
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        find(&mut conn, &by, id).await?;
        let mut tx = conn.begin().await?;
        let replayed = deliveries::replay(&mut tx, id, which, MAX_REPLAYED).await?;
        tx.commit().await?;
        Ok::<_, ApiError>(Json(Replayed { replayed }))
    })
    .await
}

fn which(body: &[u8]) -> Result<Which, ApiError> {
    let mut fields = Fields::read(body)?;
    let one = fields.optional_text("event", 100);
    let is_one = one.is_some();
    let one = one.and_then(|text| {
        let read = event(&text);
        if read.is_none() {
            fields.add("event", "invalid", "must be an event's id");
        }
        read
    });
    let mut time = |name: &str| {
        let text = fields.optional_text(name, 40)?;
        let time = moment::parse(&text);
        if time.is_none() {
            fields.add(name, "no_time", "must be a time such as 2026-01-31T18:00:00Z");
        }
        time
    };
    let (from, to) = (time("from"), time("to"));
    if is_one && (from.is_some() || to.is_some()) {
        fields.add("event", "conflict", "cannot be given together with from or to");
    }
    fields.finish()?;
    Ok(one.map_or(Which::Made(from, to), |(subject, version)| Which::One(subject, version)))
}

/// The order and the version that an event's id names.
fn event(text: &str) -> Option<(Uuid, i32)> {
    let (subject, version) = text.split_once('_')?;
    Some((Uuid::try_parse(subject).ok()?, version.parse().ok()?))
}
