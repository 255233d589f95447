//! A channel sends the document of an order that is there: what it says otherwise now is written down, and the answer is the order
//! as it stands today.

use axum::response::{IntoResponse, Response};
use domain::channel::told::{Ruling, Told};
use domain::order::moves::Actor;
use store::accept::IdempotencyKey;
use store::channel_told::{self, Tell};
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::orders::answers::again;
use crate::orders::mover::{Ask, Asked};
use crate::orders::moves::{hand_in, refused};
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// Writes down what is told. Most of what comes again says nothing new: that is seen without a lock.
pub(super) async fn tell(
    state: &AppState,
    order_id: Uuid,
    told: Told,
    by: Actor,
    key: Option<IdempotencyKey>,
) -> Result<Response, ApiError> {
    let (looked, whose) = (told.clone(), by.clone());
    let look = decisive(state.clone(), move |conn| {
        Box::pin(async move { channel_told::look(conn, order_id, &whose, &looked).await })
    });
    match look.await? {
        Some((Ruling::Refused(refusal), status)) => Err(refused(refusal, status, status)),
        Some((Ruling::Changes(_), status)) => {
            let ask = Ask::Tell(Box::new(Tell { request: Uuid::now_v7(), order_id, by, told }));
            Ok(hand_in(state, Asked { ask, key }, None, status).await?.into_response())
        }
        Some((Ruling::Nothing, _)) | None => {
            let read = decisive(state.clone(), move |conn| Box::pin(store::read::whole(conn, order_id)));
            let whole = read.await?.filter(|one| by.may_see(&one.order.customer_id, one.order.location()));
            let whole = whole.ok_or_else(|| ApiError::not_found("order"))?;
            Ok(again(&OrderView::again(whole, state.payment_deadline)))
        }
    }
}
