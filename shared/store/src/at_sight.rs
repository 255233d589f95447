//! What an order's status alone forbids is refused at sight, without a lock: a kitchen that asks again and again for an order that
//! is not paid yet must not stand in the way of whoever charges it.
//!
//! One statement sees one moment, in which it was so. What is legal, and what an earlier run of the very request may have done, is
//! decided under locks (`moves.rs`).

use domain::order::moves::{Move, Refusal, Ruling, Standing, Wanted};
use domain::order::status::OrderStatus;
use sqlx::PgConnection;

/// What a look says.
pub(super) enum Sight {
    /// To be decided under locks.
    Open,
    Refused {
        refusal: Refusal,
        status: OrderStatus,
    },
    NotFound,
}

/// Looks whether this is refused whatever its charges say.
pub(super) async fn look(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<Sight> {
    if !is_often_early(ask.wanted) {
        return Ok(Sight::Open);
    }
    let seen = sqlx::query!(
        r#"SELECT status AS "status!: OrderStatus", version AS "version!", customer_id AS "customer_id!", location AS "location!",
                  EXISTS (SELECT FROM order_events WHERE subject = $1 AND request = $2) AS "is_done!"
           FROM shown_orders WHERE id = $1"#,
        ask.order_id,
        ask.request
    )
    .fetch_optional(conn)
    .await?;
    let Some(seen) = seen.filter(|seen| ask.by.may_see(&seen.customer_id, &seen.location)) else {
        return Ok(Sight::NotFound);
    };
    if seen.is_done || !ask.expected.has(seen.version) {
        return Ok(Sight::Open);
    }
    // Of charges in flight, wishes and deadlines none makes legal what the status forbids.
    let standing = Standing { status: seen.status, in_flight: false, late: false, wished: false };
    Ok(match standing.rule(ask.wanted, ask.reason.is_some()) {
        Ruling::Refused(refusal) => Sight::Refused { refusal, status: seen.status },
        _ => Sight::Open,
    })
}

/// What the kitchen asks for, perhaps before the order is paid. All else is seldom refused, and one look more would be for nothing.
const fn is_often_early(wanted: Wanted) -> bool {
    matches!(wanted.to(), OrderStatus::Accepted | OrderStatus::Preparing | OrderStatus::Rejected)
}
