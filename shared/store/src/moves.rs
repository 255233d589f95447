//! moves: what people ask for is carried out: an order moves and its event is noted, together with what follows for its
//! payments. What the clock does to orders that nobody answered goes the same way (`deadline.rs`).
//!
//! Every transaction here locks the charges of an order before the order, as claiming and settling do. So whoever ends
//! an order knows of each charge whether it was ever sent, and no charge can be sent that is not told so.

mod apply;
mod locks;

use domain::event::What;
use domain::order::moves::{Move, Refusal, Ruling, Standing, Wanted};
use domain::order::status::OrderStatus;
use runtime::chaos::crash_point;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

pub(crate) use self::apply::{Step, apply, note_processing};
pub(crate) use self::locks::{lock_charges, lock_order, lock_orders, never_sent, never_sent_of};
use super::at_sight::{self, Sight};
use super::events::{Change, done_before, note};
use super::keyed::{Before, Keyed, Request};
use super::read::{self, Whole};

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Moved {
    /// The order as it stands now: moved, or with the wish noted.
    Done {
        /// With all that belongs to it.
        whole: Box<Whole>,
        /// Whether it is only a wish yet.
        wish: bool,
    },
    /// It was not to be moved so. A normal outcome of a race.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// Where it stands.
        status: OrderStatus,
    },
    /// The same was asked under the same key before, and done: the order as it stands now.
    Replayed {
        /// With all that belongs to it.
        whole: Box<Whole>,
    },
    /// Something else was asked under the same key before.
    KeyReused,
    /// There is no such order, or not for whoever asks.
    NotFound,
}

/// What a transaction came to.
pub(super) enum Decided {
    Done {
        wish: bool,
    },
    Refused {
        refusal: Refusal,
        status: OrderStatus,
    },
    /// Nothing is done: its key says that something was, before.
    Before(Before),
    NotFound,
}

/// Carries out what is asked for. Running it twice is harmless: the second run finds the first one's event.
pub async fn carry_out(conn: &mut PgConnection, asked: impl Into<Keyed<'_, Move>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.request, key };
    match at_sight::look(conn, ask).await? {
        Sight::Open => {}
        Sight::NotFound => return Ok(Moved::NotFound),
        Sight::Refused { refusal, status } => {
            return answer(conn, Decided::Refused { refusal, status }, request).await;
        }
    }
    let mut tx = conn.begin().await?;
    let decided = rule_and_move(&mut tx, ask).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

/// Ends the transaction as what came of it says, with the request's key where it is done. Aloud, whatever it was: a transaction
/// that is merely dropped keeps its locks until the connection's next use.
pub(super) async fn end(
    mut tx: Transaction<'_, Postgres>,
    decided: Decided,
    request: Request<'_>,
) -> sqlx::Result<Decided> {
    if let Decided::Done { .. } = decided {
        match request.take_key(&mut tx).await? {
            None | Some(Before::This) => {
                crash_point("api.before_move");
                tx.commit().await?;
                return Ok(decided);
            }
            Some(before) => {
                tx.rollback().await?;
                return Ok(Decided::Before(before));
            }
        }
    }
    tx.rollback().await?;
    Ok(decided)
}

/// The answer. What it shows is read after the commit: nobody waits for a lock meanwhile, and it may show what happened since.
/// What was refused may have been done before, by the same request.
pub(super) async fn answer(
    conn: &mut PgConnection,
    decided: Decided,
    request: Request<'_>,
) -> sqlx::Result<Moved> {
    let before = match decided {
        Decided::NotFound => return Ok(Moved::NotFound),
        Decided::Done { .. } => Before::This,
        Decided::Before(before) => before,
        Decided::Refused { refusal, status } => match request.before(conn).await? {
            None => return Ok(Moved::Refused { refusal, status }),
            Some(before) => before,
        },
    };
    if before == Before::Other {
        return Ok(Moved::KeyReused);
    }
    let Some(whole) = read::whole(conn, request.order_id).await?.map(Box::new) else {
        return Ok(Moved::NotFound);
    };
    Ok(match decided {
        Decided::Done { wish } => Moved::Done { whole, wish },
        _ => Moved::Replayed { whole },
    })
}

async fn rule_and_move(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<Decided> {
    let charges =
        if touches_money(ask.wanted) { lock_charges(conn, &[ask.order_id]).await? } else { Vec::new() };
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    // To and fro between these two a request that runs a second time would be legal again.
    let to_and_fro = matches!(ask.wanted.to(), OrderStatus::Accepted | OrderStatus::Preparing);
    if to_and_fro && done_before(conn, ask.order_id, ask.request).await? {
        return Ok(Decided::Done { wish: false });
    }
    if !ask.expected.has(order.version) {
        // It has changed, perhaps by this very request.
        return Ok(match done_before(conn, ask.order_id, ask.request).await? {
            true => Decided::Done { wish: order.wished },
            false => order.changed(),
        });
    }
    let cancels = ask.wanted.to() == OrderStatus::Cancelled;
    let unsent = if cancels { never_sent(conn, &charges).await? } else { Vec::new() };
    let standing = Standing {
        status: order.status,
        in_flight: charges.iter().any(|charge| charge.in_flight() && !unsent.contains(&charge.id)),
        late: charges.iter().any(|charge| charge.answer_by.is_some_and(|by| by <= order.seen_at)),
        wished: order.wished,
    };
    let ruling = standing.rule(ask.wanted, ask.reason.is_some());
    match ruling {
        Ruling::Move => {
            if order.status == OrderStatus::PaymentProcessing {
                note_processing(conn, &[ask.order_id]).await?;
            }
            apply(conn, &[step(ask, order.status)], &charges, &unsent).await?;
        }
        Ruling::Wish => {
            note_processing(conn, &[ask.order_id]).await?;
            wish(conn, ask).await?;
        }
        Ruling::Wished => {}
        Ruling::Refused(_) if done_before(conn, ask.order_id, ask.request).await? => {}
        Ruling::Refused(refusal) => return Ok(Decided::Refused { refusal, status: order.status }),
    }
    Ok(Decided::Done { wish: matches!(ruling, Ruling::Wish | Ruling::Wished) })
}

/// Whether what is asked for may end a payment, or answers what its deadline asks.
const fn touches_money(wanted: Wanted) -> bool {
    !matches!(wanted.to(), OrderStatus::Ready | OrderStatus::Delivered)
}

fn step(ask: &Move, from: OrderStatus) -> Step {
    let to = ask.wanted.to();
    let (reason, refund_reason) = match ask.wanted {
        Wanted::NoShow { .. } => (Some(NO_SHOW.to_owned()), NO_SHOW),
        _ if to == OrderStatus::Rejected => (ask.reason.clone(), "rejected"),
        _ => (ask.reason.clone(), "cancelled"),
    };
    Step {
        order_id: ask.order_id,
        from,
        to,
        actor: ask.by.name(),
        reason,
        refund_reason,
        keeps: ask.wanted == Wanted::NoShow { refund: false },
        request: Some(ask.request),
    }
}

/// Why an order was cancelled that nobody came for, and its money went back.
const NO_SHOW: &str = "no_show";

/// Notes that the order is to be cancelled once its charge is known. The charge is never sent again, only voided; what
/// that finds, or what a worker that just sent it hears, settles the wish.
async fn wish(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH wished AS (
            UPDATE orders SET cancel_requested_at = now(), cancel_actor = $2, cancel_reason = $3, cancel_request = $4
            WHERE id = $1 AND cancel_requested_at IS NULL
        ), own AS (
            UPDATE open_charges SET voiding = true, due_at = CASE WHEN trying IS NULL THEN now() ELSE due_at END WHERE id = $1
        )
        UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
        WHERE (id = $1 OR (order_id = $1 AND id <> order_id)) AND kind = 'charge'
            AND status IN ('pending', 'processing', 'waiting')
        "#,
        ask.order_id,
        ask.by.name(),
        ask.reason,
        ask.request
    )
    .execute(&mut *conn)
    .await?;
    let change = Change {
        order_id: ask.order_id,
        what: What::CancelWished,
        actor: ask.by.name(),
        reason: ask.reason.clone(),
        money: None,
        items: None,
        request: Some(ask.request),
    };
    note(conn, &[change]).await
}
