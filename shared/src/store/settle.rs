//! settle: what a try came to is committed: the attempt is closed, the payment and its order move, the event is
//! noted, a whole batch in one transaction. Guarded by the epoch: a worker that lost its lease settles nothing.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Claimed;
use super::events::{Change, note};
use super::refunds::{Owed, owe};
use crate::chaos::crash_point;
use crate::event::What;
use crate::order::OrderStatus;
use crate::payment::{AttemptOutcome, PaymentKind, PaymentStatus};

/// How a try ended, and what follows for the payment.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The payment.
    pub payment_id: Uuid,
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

/// Commits `batch`. Returns the payments that moved; one that is missing was superseded: its lease had run out
/// and another worker has it, or had it already settled by an earlier run of this very batch. Its attempt row is
/// closed all the same, because the answer is true whoever owns the payment.
///
/// `accept_in` is how long the kitchen has for a confirmed order. Where the order is to be cancelled, it is, and what was
/// taken is given back; so is what was taken for an order that has ended meanwhile, or that another charge has paid. Both are decided on the order's own
/// row as it is once it is locked, so that a cancellation that commits just before is seen.
pub async fn settle(
    conn: &mut PgConnection,
    batch: &[Settlement],
    accept_in: Duration,
) -> sqlx::Result<Vec<Uuid>> {
    #[cfg(feature = "chaos")]
    if let Some(settled) = super::sabotage::settle(conn, batch, accept_in).await? {
        follow_up(conn, &settled).await?;
        return Ok(settled.iter().map(|one| one.id).collect());
    }
    let mut tx = conn.begin().await?;
    let settled = move_payments(&mut tx, batch, accept_in).await?;
    crash_point("worker.mid_settle");
    follow_up(&mut tx, &settled).await?;
    tx.commit().await?;
    Ok(settled.iter().map(|one| one.id).collect())
}

/// The payments, and the orders that wait for them, move in one statement.
async fn move_payments(
    conn: &mut PgConnection,
    batch: &[Settlement],
    accept_in: Duration,
) -> sqlx::Result<Vec<Settled>> {
    let ids: Vec<Uuid> = batch.iter().map(|one| one.payment_id).collect();
    let epochs: Vec<i32> = batch.iter().map(|one| one.epoch).collect();
    let numbers: Vec<i32> = batch.iter().map(|one| one.number).collect();
    let outcomes: Vec<AttemptOutcome> = batch.iter().map(|one| one.outcome).collect();
    let codes: Vec<Option<String>> = batch.iter().map(|one| one.code.clone()).collect();
    let messages: Vec<Option<String>> = batch.iter().map(|one| one.message.clone()).collect();
    let statuses: Vec<PaymentStatus> = batch.iter().map(|one| one.next.status()).collect();
    let mut gateway_ids = Vec::with_capacity(batch.len());
    let mut delays = Vec::with_capacity(batch.len());
    let mut spends = Vec::with_capacity(batch.len());
    let mut voids = Vec::with_capacity(batch.len());
    for one in batch {
        let (gateway_id, delay, spend, void) = match &one.next {
            Next::Succeeded { gateway_id } => (Some(gateway_id.clone()), Duration::ZERO, false, false),
            Next::Failed => (None, Duration::ZERO, false, false),
            Next::Retry { delay, spend, void } => (None, *delay, *spend, *void),
        };
        gateway_ids.push(gateway_id);
        delays.push(super::millis(delay));
        spends.push(i32::from(spend));
        voids.push(void);
    }
    sqlx::query_as!(
        Settled,
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::attempt_outcome[], $5::text[], $6::text[],
                                 $7::payment_status[], $8::text[], $9::bigint[], $10::int[], $11::bool[])
                AS input(id, epoch, number, outcome, code, message, status, gateway_id, delay_ms, spend, void)
        ), closed AS (
            UPDATE payment_attempts a
            SET outcome = i.outcome, code = i.code, message = i.message, finished_at = clock_timestamp()
            FROM input i
            WHERE a.payment_id = i.id AND a.number = i.number AND a.epoch = i.epoch
                AND (a.outcome IS NULL OR a.outcome = 'abandoned')
        ), settled AS (
            UPDATE payments p
            SET status = i.status,
                due_at = CASE WHEN i.status = 'waiting' THEN now() + i.delay_ms * interval '1 ms' END,
                gateway_id = i.gateway_id, spent = p.spent + i.spend, voiding = p.voiding OR i.void,
                failure_code = CASE WHEN i.status = 'failed' THEN i.code END,
                answer_by = CASE WHEN i.status = 'succeeded' AND p.kind = 'charge' AND p.added IS NULL
                    THEN now() + $12::bigint * interval '1 ms' END
            FROM input i
            WHERE p.id = i.id AND p.epoch = i.epoch AND p.status = 'processing'
            RETURNING p.id, p.order_id, p.kind, p.added IS NOT NULL AS is_addition, p.status, p.failure_code, p.amount_minor
        ), moved AS (
            UPDATE orders o
            SET status = CASE WHEN o.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                    WHEN s.status = 'succeeded' THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status,
                version = o.version + 1, updated_at = now(),
                accept_by = CASE WHEN s.status = 'succeeded' AND o.cancel_requested_at IS NULL
                    THEN now() + $12::bigint * interval '1 ms' END
            FROM settled s
            WHERE o.id = s.order_id AND o.status = 'PAYMENT_PROCESSING' AND s.kind = 'charge' AND NOT s.is_addition
                AND s.status <> 'waiting'
            RETURNING o.id, o.version, o.status, o.cancel_actor, o.cancel_reason, o.cancel_request, s.id AS payment_id,
                s.failure_code, CASE WHEN s.status = 'succeeded' THEN s.amount_minor END AS taken_minor
        ), noted AS (
            INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason, payment_id,
                                      amount_minor, request)
            SELECT id, now(), version, 'moved', 'PAYMENT_PROCESSING', status, coalesce(cancel_actor, 'worker'),
                coalesce(cancel_reason, failure_code), payment_id, taken_minor, cancel_request FROM moved
        )
        SELECT id AS "id!", order_id AS "order_id!", kind AS "kind!: PaymentKind", is_addition AS "is_addition!",
            status AS "status!: PaymentStatus", amount_minor AS "amount_minor!",
            -- Looked up in a hash of each; a join of the two would compare all with all.
            CASE WHEN id IN (SELECT payment_id FROM moved WHERE status = 'CONFIRMED') THEN 'CONFIRMED'
                WHEN id IN (SELECT payment_id FROM moved WHERE status = 'CANCELLED') THEN 'CANCELLED'
            END::order_status AS "moved_to?: OrderStatus"
        FROM settled
        "#,
        &ids,
        &epochs,
        &numbers,
        &outcomes as &[AttemptOutcome],
        &codes as &[Option<String>],
        &messages as &[Option<String>],
        &statuses as &[PaymentStatus],
        &gateway_ids as &[Option<String>],
        &delays,
        &spends,
        &voids,
        super::millis(accept_in),
    )
    .fetch_all(conn)
    .await
}

/// What few settlements bring with them: money that goes back, and money that moved without moving its order.
async fn follow_up(conn: &mut PgConnection, settled: &[Settled]) -> sqlx::Result<()> {
    let more: Vec<&Settled> = settled
        .iter()
        .filter(|one| one.status == PaymentStatus::Succeeded && one.moved_to != Some(OrderStatus::Confirmed))
        .collect();
    if more.is_empty() {
        return Ok(());
    }
    let orders = lock_orders(conn, &more).await?;
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

/// Gives back claims of which no request was sent: the try did not happen, so its row goes and its number is
/// used again. The payment is due again after `delay`.
pub async fn release(conn: &mut PgConnection, claims: &[Claimed], delay: Duration) -> sqlx::Result<u64> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.payment_id).collect();
    let epochs: Vec<i32> = claims.iter().map(|claim| claim.epoch).collect();
    let numbers: Vec<i32> = claims.iter().map(|claim| claim.number).collect();
    let done = sqlx::query!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[]) AS input(id, epoch, number)
        ), released AS (
            UPDATE payments p
            SET status = 'waiting', attempts = p.attempts - 1, due_at = now() + $4::bigint * interval '1 ms'
            FROM input i WHERE p.id = i.id AND p.epoch = i.epoch AND p.status = 'processing'
            RETURNING p.id, p.epoch
        )
        DELETE FROM payment_attempts a USING input i, released r
        WHERE a.payment_id = i.id AND a.number = i.number AND a.epoch = i.epoch AND r.id = i.id
        "#,
        &ids,
        &epochs,
        &numbers,
        super::millis(delay),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
