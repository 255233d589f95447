//! settle: what a try came to is committed: its row is written, the payment and its order move, the event is noted, a whole
//! batch in one transaction. Guarded by the epoch: a worker that lost its lease settles nothing.
//!
//! Two roads: own charges of orders, which wait in a queue of their own, and all the others.

mod columns;
mod few;
mod others;
mod own;
#[cfg(feature = "chaos")]
mod sabotage;

use std::collections::HashMap;
use std::time::Duration;

use domain::event::What;
use domain::order::status::OrderStatus;
use domain::payment::{AttemptOutcome, PaymentKind, PaymentStatus};
use runtime::chaos::crash_point;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

pub use self::few::KEPT;
use crate::claim::Claimed;
use crate::events::{Change, note};
use crate::refunds::{Owed, owe};

/// How a try ended, and what follows for the payment.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The payment.
    pub payment_id: Uuid,
    /// Whether it is its order's own charge.
    pub is_own: bool,
    /// The epoch under which it was claimed.
    pub epoch: i32,
    /// The try.
    pub number: i32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The gateway's code, or ours.
    pub code: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// What follows.
    pub next: Next,
}

impl Settlement {
    /// Of what was claimed, with no more to say.
    pub fn new(claim: &Claimed, outcome: AttemptOutcome, next: Next) -> Self {
        Self {
            payment_id: claim.payment_id,
            is_own: claim.queued,
            epoch: claim.epoch,
            number: claim.number,
            outcome,
            code: None,
            message: None,
            next,
        }
    }
}

/// What follows for the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The money moved. The order is confirmed.
    Succeeded {
        /// The gateway's id of the charge.
        gateway_id: String,
    },
    /// Nothing was taken and nothing will be. The order's payment failed.
    Failed,
    /// It is to be looked at again.
    Retry {
        /// When.
        delay: Duration,
        /// Whether this try counts against the budget.
        spend: bool,
        /// From now on it is only voided, never charged.
        void: bool,
    },
}

impl Next {
    pub(super) const fn status(&self) -> PaymentStatus {
        match self {
            Self::Succeeded { .. } => PaymentStatus::Succeeded,
            Self::Failed => PaymentStatus::Failed,
            Self::Retry { .. } => PaymentStatus::Waiting,
        }
    }
}

/// A payment that its settlement moved, and what that did to its order.
pub(super) struct Settled {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) kind: PaymentKind,
    pub(super) is_addition: bool,
    pub(super) status: PaymentStatus,
    pub(super) amount_minor: i64,
    /// Where its order went by it; `PAYMENT_FAILED` is left out, because nothing more follows from it.
    pub(super) moved_to: Option<OrderStatus>,
}

impl Settled {
    /// Whether money moved, and no order was confirmed by it.
    fn took_unconfirmed(&self) -> bool {
        self.status == PaymentStatus::Succeeded && self.moved_to != Some(OrderStatus::Confirmed)
    }
}

/// Commits `batch`. Returns the payments that moved; one that is missing was superseded: its lease had run out
/// and another worker has it, or had it already settled by an earlier run of this very batch. The row of its try says how it
/// ended all the same, because the answer is true whoever owns the payment.
///
/// `accept_in` is how long the kitchen has for a confirmed order, where its location does not say. Where the order is to be cancelled, it is, and what was
/// taken is given back; so is what was taken for an order that has ended meanwhile, or that another charge has paid. Both are decided on the order's own
/// row as it is once it is locked, so that a cancellation that commits just before is seen.
pub async fn settle(
    conn: &mut PgConnection,
    batch: &[Settlement],
    accept_in: Duration,
) -> sqlx::Result<Vec<Uuid>> {
    #[cfg(feature = "chaos")]
    if let Some(settled) = sabotage::settle(conn, batch, accept_in).await? {
        let unconfirmed: Vec<&Settled> = settled.iter().filter(|one| one.took_unconfirmed()).collect();
        follow_up(conn, &unconfirmed).await?;
        return Ok(settled.iter().map(|one| one.id).collect());
    }
    let mut tx = conn.begin().await?;
    let Done { moved, unconfirmed } = commit(&mut tx, batch, accept_in).await?;
    crash_point("worker.mid_settle");
    follow_up(&mut tx, &unconfirmed.iter().collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(moved)
}

/// What moved by itself.
#[derive(Default)]
struct Done {
    moved: Vec<Uuid>,
    /// Of those, whose money moved without confirming an order.
    unconfirmed: Vec<Settled>,
}

/// All that moves by itself.
async fn commit(conn: &mut PgConnection, batch: &[Settlement], accept_in: Duration) -> sqlx::Result<Done> {
    // In one sequence, whoever hands them in.
    let mut sorted: Vec<&Settlement> = batch.iter().collect();
    sorted.sort_unstable_by_key(|one| (one.payment_id, one.epoch));
    let (own, others): (Vec<&Settlement>, Vec<&Settlement>) = sorted.into_iter().partition(|one| one.is_own);
    let (ended, open): (Vec<&Settlement>, Vec<&Settlement>) =
        own.iter().partition(|one| !matches!(one.next, Next::Retry { .. }));
    let mut done = Done::default();
    if !open.is_empty() {
        own::lock(conn, &own).await?;
        done.moved = own::put_back(conn, &open).await?;
    }
    if !ended.is_empty() {
        done.add(own::end(conn, &ended, accept_in).await?);
    }
    if done.moved.len() < own.len() {
        own::close_abandoned(conn, &own).await?;
    }
    if !others.is_empty() {
        done.add(others::move_all(conn, &others, accept_in).await?);
    }
    few::keep(conn, batch, &done.moved).await?;
    Ok(done)
}

impl Done {
    fn add(&mut self, more: Self) {
        self.moved.extend(more.moved);
        self.unconfirmed.extend(more.unconfirmed);
    }
}

/// What few settlements bring with them: money that goes back, and money that moved without moving its order.
async fn follow_up(conn: &mut PgConnection, more: &[&Settled]) -> sqlx::Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let orders = lock_orders(conn, more).await?;
    let (mut changes, mut owed) = (Vec::new(), Vec::new());
    for one in more {
        let paid = |what| Change::of_payment(one.order_id, what, "worker", None, (one.id, one.amount_minor));
        let mut give_back = |why: &str| {
            owed.push(Owed { charge_id: one.id, why: why.to_owned(), actor: "worker".to_owned() });
        };
        match (one.kind, one.moved_to) {
            (PaymentKind::Refund, _) => changes.push(paid(What::Refunded)),
            (_, Some(_)) => give_back("cancelled"),
            (_, None) if one.is_addition && !has_ended(&orders, one.order_id) => {
                changes.push(paid(What::AdditionCharged));
            }
            (_, None) => {
                changes.push(paid(What::LateCapture));
                give_back("late_capture");
            }
        }
    }
    changes.extend(owe(conn, &owed).await?);
    note(conn, &changes).await
}

/// The orders of these payments as they stand, locked one after the other, as everybody does who locks several.
async fn lock_orders(
    conn: &mut PgConnection,
    payments: &[&Settled],
) -> sqlx::Result<HashMap<Uuid, OrderStatus>> {
    let ids: Vec<Uuid> = payments.iter().map(|one| one.order_id).collect();
    let rows = sqlx::query!(
        r#"SELECT id, status AS "status: OrderStatus" FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.status)).collect())
}

fn has_ended(orders: &HashMap<Uuid, OrderStatus>, id: Uuid) -> bool {
    use OrderStatus::{Cancelled, PaymentFailed, Rejected};
    matches!(orders.get(&id), Some(Cancelled | Rejected | PaymentFailed))
}

/// Gives back claims of which no request was sent: the try did not happen, so its number is used again, and a row of it
/// goes. Each payment is due again after the delay that it comes with.
pub async fn release(conn: &mut PgConnection, claims: &[(Claimed, Duration)]) -> sqlx::Result<u64> {
    // In one sequence, whoever hands them in.
    let mut claims: Vec<&(Claimed, Duration)> = claims.iter().collect();
    claims.sort_unstable_by_key(|(claim, _)| claim.payment_id);
    let ids: Vec<Uuid> = claims.iter().map(|(claim, _)| claim.payment_id).collect();
    let epochs: Vec<i32> = claims.iter().map(|(claim, _)| claim.epoch).collect();
    let numbers: Vec<i32> = claims.iter().map(|(claim, _)| claim.number).collect();
    let delays: Vec<i64> = claims.iter().map(|(_, delay)| crate::millis(*delay)).collect();
    let done = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[]) AS input(id, epoch, number, delay_ms)
        ), own AS (
            UPDATE open_charges c
            SET trying = NULL, claimed_at = NULL, lease_until = NULL, attempts = c.attempts - 1,
                due_at = now() + i.delay_ms * interval '1 ms'
            FROM input i WHERE c.id = ANY(ARRAY[i.id]) AND c.epoch = i.epoch AND c.trying IS NOT NULL
            RETURNING c.id
        ), others AS (
            UPDATE payments p
            SET status = 'waiting', attempts = p.attempts - 1, due_at = now() + i.delay_ms * interval '1 ms'
            FROM input i WHERE p.id = i.id AND p.epoch = i.epoch AND p.status = 'processing'
            RETURNING p.id, i.number, p.epoch
        ), untried AS (
            DELETE FROM payment_attempts a USING others o
            WHERE a.payment_id = o.id AND a.number = o.number AND a.epoch = o.epoch
        )
        SELECT (SELECT count(*) FROM own) + (SELECT count(*) FROM others) AS "count!"
        "#,
        &ids,
        &epochs,
        &numbers,
        &delays,
    )
    .fetch_one(conn)
    .await?;
    Ok(done.unsigned_abs())
}
