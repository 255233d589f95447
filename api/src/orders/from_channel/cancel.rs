//! A channel calls an order off that it sent before.

use axum::response::{IntoResponse, Response};
use domain::channel::document::Document;
use domain::channel::name::ChannelName;
use domain::channel::settings::ChannelSettings;
use domain::channel::told::CalledOff;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use serde_json::value::RawValue;
use store::channel_told::{self, Found};
use uuid::Uuid;

use super::own_name::named;
use crate::http::error::ApiError;
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::hand_in;
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Cancels the order that the channel says is off, or wishes to. The same again finds that it is.
pub(super) async fn cancel(
    state: &AppState,
    channel: ChannelName,
    off: CalledOff,
    by: Actor,
) -> Result<Response, ApiError> {
    let Some(found) = find(state, channel.clone(), off.clone()).await? else {
        let detail = "the channel calls off an order that it never sent";
        return Err(ApiError::invalid_one("status", "no_such_order", detail));
    };
    if is_off(found.status) {
        return as_it_stands(state, found.id, &by).await;
    }
    let ask = Move {
        request: Uuid::now_v7(),
        order_id: found.id,
        wanted: Wanted::Cancel,
        by: by.clone(),
        reason: Some("the channel called it off".to_owned()),
        expected: Expected::default(),
    };
    let asked = Asked { ask: Ask::Move(ask), key: None };
    match hand_in(state, asked, None, OrderStatus::Cancelled).await {
        Ok(done) => Ok(done.into_response()),
        // Somebody may have been faster, to the same end.
        Err(refused) => match find(state, channel, off).await {
            Ok(Some(now)) if is_off(now.status) => as_it_stands(state, now.id, &by).await,
            _ => Err(refused),
        },
    }
}

/// The same of an order that has just come, where its channel had called it off before: documents overtake each other.
pub(super) async fn overtaken(
    state: &AppState,
    channel: ChannelName,
    settings: &ChannelSettings,
    order_id: String,
    location: &str,
    document: &Document,
    by: Actor,
) -> Result<Option<Response>, ApiError> {
    let of = channel.clone();
    let kept = decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::calling_off(conn, &of, &order_id).await })
    });
    for (id, body) in kept.await? {
        let Some(off) = read_off(&body, settings) else { continue };
        if off.location.as_deref().is_some_and(|named| named != location) {
            continue;
        }
        // Where numbers come again, that of an older order may lie here.
        let is_this = match settings.unique_days {
            Some(_) => off.document.is_surely(document),
            None => off.document.may_be(document),
        };
        if is_this {
            let done = cancel(state, channel.clone(), off, by).await?;
            seen_to(state, channel, id).await;
            return Ok(Some(done));
        }
    }
    Ok(None)
}

/// The order that a document calls off, as it lies there.
pub(super) fn read_off(document: &[u8], settings: &ChannelSettings) -> Option<CalledOff> {
    let document: &RawValue = serde_json::from_slice(document).ok()?;
    settings.dialect.called_off(document, settings)
}

/// A document that is no longer to be kept. Where it cannot be let go, somebody looks at it once more.
pub(super) async fn seen_to(state: &AppState, channel: ChannelName, id: Uuid) {
    let gone = decisive(state.clone(), move |conn| {
        Box::pin(async move { store::refused::forget(conn, &channel, id).await })
    });
    if let Err(error) = gone.await {
        tracing::warn!(cause = error.cause.as_deref(), "a document that was seen to is still kept");
    }
}

async fn find(state: &AppState, channel: ChannelName, off: CalledOff) -> Result<Option<Found>, ApiError> {
    decisive(state.clone(), move |conn| {
        Box::pin(async move {
            let key = named(&channel, &off.document, [0; 32]);
            channel_told::of_document(conn, &channel, &off, key.as_ref()).await
        })
    })
    .await
}

const fn is_off(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Cancelled | OrderStatus::Rejected)
}

async fn as_it_stands(state: &AppState, order_id: Uuid, by: &Actor) -> Result<Response, ApiError> {
    let read = decisive(state.clone(), move |conn| Box::pin(store::read::whole(conn, order_id)));
    let whole = read.await?.filter(|one| by.may_see(&one.order.customer_id, one.order.location()));
    let whole = whole.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(OrderView::whole(whole, state.payment_deadline).tagged())
}
