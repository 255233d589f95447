//! What came before under its key is answered as it was then, even if it would be refused today: prices, products and clocks have
//! moved on meanwhile, and a client whose answer was lost must learn what it ordered.

use axum::response::Response;
use domain::order::moves::Actor;
use store::accept::{Accepted, IdempotencyKey, answered_under};
use store::keyed;
use store::read::{self, Whole};
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::http::key::{Replayed, key_reused};
use crate::orders::answers::again;
use crate::orders::moves::Answer;
use crate::orders::read::decisive;
use crate::orders::view::OrderView;
use crate::state::AppState;

/// The order that the same request under this key made before; else the refusal.
pub(crate) async fn accepted(
    state: &AppState,
    key: Option<IdempotencyKey>,
    by: &Actor,
    refusal: ApiError,
) -> Result<Response, ApiError> {
    let Some(key) = key else { return Err(refusal) };
    let look = decisive(state.clone(), move |conn| Box::pin(async move { answered_under(conn, &key).await }));
    match look.await? {
        Some(Accepted::Replay(order)) => {
            Ok(again(&OrderView::as_accepted(*order, state.payment_deadline).shown_to(by)))
        }
        _ => Err(refusal),
    }
}

/// The order as it stands, if the same request under this key added to it before; else the refusal.
pub(crate) async fn added(
    state: &AppState,
    order_id: Uuid,
    key: Option<IdempotencyKey>,
    by: &Actor,
    refusal: ApiError,
) -> Result<Answer, ApiError> {
    let Some(key) = key else { return Err(refusal) };
    let found = done_under(state, key).await?.filter(|one| one.order.id == order_id);
    let whole = found.ok_or(refusal)?;
    Ok((Replayed(true), OrderView::whole(whole, state.payment_deadline).shown_to(by).tagged()))
}

/// The order as it stands, if the same document under this key told something of it before; else the key was used for something else.
pub(crate) async fn told(state: &AppState, key: IdempotencyKey, by: &Actor) -> Result<Response, ApiError> {
    let found = done_under(state, key).await?;
    let whole = found.filter(|one| by.may_see(&one.order.customer_id, one.order.location()));
    let whole = whole.ok_or_else(key_reused)?;
    Ok(again(&OrderView::again(whole, state.payment_deadline)))
}

/// The order of which the same was asked under this key before, and done.
async fn done_under(state: &AppState, key: IdempotencyKey) -> Result<Option<Whole>, ApiError> {
    let look = decisive(state.clone(), move |conn| {
        Box::pin(async move {
            match keyed::done_under(conn, &key).await? {
                Some(order) => read::whole(conn, order).await,
                None => Ok(None),
            }
        })
    });
    look.await
}
