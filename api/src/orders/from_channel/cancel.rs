//! A channel calls an order off that it sent before.

use axum::response::{IntoResponse, Response};
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use store::channels;
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::hand_in;
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Cancels the order that the channel says is off, or wishes to. The same again finds that it is.
pub(super) async fn cancel(state: &AppState, order: &NewOrder, by: Actor) -> Result<Response, ApiError> {
    let key = order.details.as_ref().and_then(|details| details.key.clone());
    let key = key.ok_or_else(|| ApiError::internal(&"a channel's order has no name"))?;
    let find = decisive(state.clone(), move |conn| {
        Box::pin(async move { channels::named(conn, &key.channel, &key.order_id).await })
    });
    let Some((order_id, status)) = find.await? else {
        let detail = "the channel calls off an order that it never sent";
        return Err(ApiError::invalid_one("status", "no_such_order", detail));
    };
    if matches!(status, OrderStatus::Cancelled | OrderStatus::Rejected) {
        let found = decisive(state.clone(), move |conn| Box::pin(store::read::whole(conn, order_id))).await?;
        let whole = found.ok_or_else(|| ApiError::not_found("order"))?;
        return Ok(OrderView::whole(whole, state.payment_deadline).tagged());
    }
    let ask = Move {
        request: Uuid::now_v7(),
        order_id,
        wanted: Wanted::Cancel,
        by,
        reason: Some("the channel called it off".to_owned()),
        expected: Expected::default(),
    };
    let asked = Asked { ask: Ask::Move(ask), key: None };
    Ok(hand_in(state, asked, None, OrderStatus::Cancelled).await?.into_response())
}
