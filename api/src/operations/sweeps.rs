//! `POST /internal/sweeps/stale-orders`: for schedulers of somebody else's.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::deadline::reject_unanswered;
use store::session::StoreError;

use super::state::Internal;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// Orders in one transaction of a sweep.
const AT_ONCE: u32 = 256;
/// Transactions in one request: 10,000 orders, and then it answers; who has more asks again.
const ROUNDS: usize = 40;

/// What became of a sweep.
#[derive(Debug, Serialize)]
pub(super) struct Swept {
    /// Orders that were rejected because nobody had answered them in time.
    rejected: usize,
}

/// `POST /internal/sweeps/stale-orders`: the sweep that workers do anyway, now. Harmless at any time, any number at once.
pub(super) async fn sweep_stale_orders(
    State(state): State<Internal>,
    _: Manager,
) -> Result<Json<Swept>, ApiError> {
    let swept = to_the_end(async move {
        let mut session = state.session.lock().await;
        let mut rejected = 0;
        for _ in 0..ROUNDS {
            let swept =
                session.run(&AT_ONCE, |conn, limit| Box::pin(reject_unanswered(conn, *limit))).await?;
            rejected += swept.rejected;
            if swept.found < AT_ONCE as usize {
                break;
            }
        }
        Ok::<_, StoreError>(Swept { rejected })
    });
    Ok(Json(swept.await?))
}
