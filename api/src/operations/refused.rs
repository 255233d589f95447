//! `/internal/channels/{channel}/refused`: documents that could not be taken, to be looked at. Sent again they are on the public
//! address (`orders/from_channel`), where orders are accepted.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::channel::name::ChannelName;
use serde::Serialize;
use store::refused::{self, Refused};
use time::OffsetDateTime;
use uuid::Uuid;

use super::state::Internal;
use crate::http::channel::{channel_name, refused_id};
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// What is kept of a channel.
#[derive(Debug, Serialize)]
pub(super) struct RefusedList {
    channel: ChannelName,
    /// Newest first.
    refused: Vec<RefusedView>,
}

/// A document, without what stands in it.
#[derive(Debug, Serialize)]
struct RefusedView {
    id: Uuid,
    #[serde(with = "crate::http::times")]
    first_at: OffsetDateTime,
    #[serde(with = "crate::http::times")]
    last_at: OffsetDateTime,
    times: i32,
    bytes: i32,
    errors: serde_json::Value,
}

impl From<Refused> for RefusedView {
    fn from(one: Refused) -> Self {
        let Refused { id, first_at, last_at, times, size, problems } = one;
        Self { id, first_at, last_at, times, bytes: size, errors: problems.0 }
    }
}

/// What is kept of a channel.
pub(super) async fn list(
    State(state): State<Internal>,
    _: Manager,
    Path(channel): Path<String>,
) -> Result<Json<RefusedList>, ApiError> {
    let channel = channel_name(&channel)?;
    let list = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        let all = refused::list(&mut conn, &channel).await?;
        Ok::<_, sqlx::Error>(RefusedList {
            channel,
            refused: all.into_iter().map(RefusedView::from).collect(),
        })
    });
    Ok(Json(list.await?))
}

/// One document, byte by byte as it came.
pub(super) async fn read(
    State(state): State<Internal>,
    _: Manager,
    Path((channel, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (channel, id) = (channel_name(&channel)?, refused_id(&id)?);
    let found = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        refused::find(&mut conn, &channel, id).await
    });
    let body = found.await?.ok_or_else(|| ApiError::not_found("refused document"))?.body;
    // It may be anything: nobody is to run it.
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, body).into_response())
}

/// One that is seen to goes.
pub(super) async fn forget(
    State(state): State<Internal>,
    _: Manager,
    Path((channel, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let input = (channel_name(&channel)?, refused_id(&id)?);
    let gone = to_the_end(async move {
        let mut session = state.session.lock().await;
        session.run(&input, |conn, (channel, id)| Box::pin(refused::forget(conn, channel, *id))).await
    });
    if gone.await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("refused document")) }
}
