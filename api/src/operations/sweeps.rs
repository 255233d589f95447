//! `POST /internal/sweeps/stale-orders`: for schedulers of somebody else's.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::deadline::{Unanswered, reject_unanswered_but, reject_unanswered_one, unanswered};
use store::session::{Session, StoreError};
use uuid::Uuid;

use super::state::Internal;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// Orders in one transaction of a sweep.
const AT_ONCE: u32 = 256;
/// Transactions in one request: 10,000 orders, and then it answers; who has more asks again.
const ROUNDS: usize = 40;
/// Orders that cannot be rejected and that the others go on without. Beyond that something is wrong with all of them.
const MOST_LEFT: usize = 256;

/// What became of a sweep.
#[derive(Debug, Default, Serialize)]
pub(super) struct Swept {
    /// Orders that were rejected because nobody had answered them in time.
    rejected: usize,
    /// Late orders that could not be: somebody holds them, or their rows are bad. The workers try on.
    left: usize,
}

/// `POST /internal/sweeps/stale-orders`: the sweep that workers do anyway, now. Harmless at any time, any number at once.
pub(super) async fn sweep_stale_orders(
    State(state): State<Internal>,
    _: Manager,
) -> Result<Json<Swept>, ApiError> {
    let swept = to_the_end(async move {
        let mut session = state.session.lock().await;
        sweep(&mut session).await
    });
    Ok(Json(swept.await?))
}

/// One that cannot be rejected is left, and the others are.
async fn sweep(session: &mut Session) -> Result<Swept, StoreError> {
    let (mut rejected, mut left) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let swept =
            session.run(&left, |conn, left| Box::pin(reject_unanswered_but(conn, AT_ONCE, left))).await;
        let swept = match swept {
            Err(error) if error.may_be_one() && left.len() < MOST_LEFT => {
                one_by_one(session, &mut left).await?
            }
            swept => swept?,
        };
        rejected += swept.rejected;
        if swept.found < AT_ONCE as usize {
            break;
        }
    }
    Ok(Swept { rejected, left: left.len() })
}

/// Rejects each by itself, but for those of `left`, to which it adds those that it cannot.
async fn one_by_one(session: &mut Session, left: &mut Vec<Uuid>) -> Result<Unanswered, StoreError> {
    let late = session.run(&*left, |conn, left| Box::pin(unanswered(conn, AT_ONCE, left))).await?;
    let mut all = Unanswered::default();
    let each = session.run_each(
        &late,
        |conn, id| Box::pin(reject_unanswered_one(conn, *id)),
        |id, outcome| match outcome {
            Ok(one) => {
                all.found += one.found;
                all.rejected += one.rejected;
            }
            Err(error) => {
                tracing::error!(payment_id = %id, %error, "cannot reject an order that nobody answered; the others go on");
                all.found += 1;
                left.push(id);
            }
        },
    );
    each.await?;
    Ok(all)
}
