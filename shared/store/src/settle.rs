//! settle: what a try came to is committed: its row is written, the payment and its order move, the event is noted, a whole
//! batch in one transaction. Guarded by the epoch: a worker that lost its lease settles nothing.
//!
//! An order's own charge leaves the queue and becomes a payment in one statement, once only: what is not deleted is not
//! written. All other payments are in their table from the start.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::Claimed;
use super::events::{Change, note};
use super::refunds::{Owed, owe};
use domain::event::What;
use domain::order::OrderStatus;
use domain::payment::{AttemptOutcome, PaymentKind, PaymentStatus};
use runtime::chaos::crash_point;

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
            is_own: claim.is_own(),
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
    let (own, others): (Vec<&Settlement>, Vec<&Settlement>) = batch.iter().partition(|one| one.is_own);
    let (ended, open): (Vec<&Settlement>, Vec<&Settlement>) =
        own.iter().partition(|one| !matches!(one.next, Next::Retry { .. }));
    let mut done = Done::default();
    if !open.is_empty() {
        lock_own(conn, &own).await?;
        done.moved = put_back(conn, &open).await?;
    }
    if !ended.is_empty() {
        done.add(end_own(conn, &ended, accept_in).await?);
    }
    if done.moved.len() < own.len() {
        close_abandoned(conn, &own).await?;
    }
    if !others.is_empty() {
        done.add(move_payments(conn, &others, accept_in).await?);
    }
    Ok(done)
}

impl Done {
    fn add(&mut self, more: Self) {
        self.moved.extend(more.moved);
        self.unconfirmed.extend(more.unconfirmed);
    }
}

/// Columns of a batch that all statements take.
struct Columns {
    ids: Vec<Uuid>,
    epochs: Vec<i32>,
    numbers: Vec<i32>,
    outcomes: Vec<AttemptOutcome>,
    codes: Vec<Option<String>>,
    messages: Vec<Option<String>>,
    gateway_ids: Vec<Option<String>>,
    delays: Vec<i64>,
    spends: Vec<i32>,
    voids: Vec<bool>,
}

impl Columns {
    fn of(batch: &[&Settlement]) -> Self {
        let retry = |one: &Settlement| match &one.next {
            Next::Retry { delay, spend, void } => (super::millis(*delay), i32::from(*spend), *void),
            Next::Succeeded { .. } | Next::Failed => (0, 0, false),
        };
        let gateway_id = |one: &Settlement| match &one.next {
            Next::Succeeded { gateway_id } => Some(gateway_id.clone()),
            Next::Failed | Next::Retry { .. } => None,
        };
        Self {
            ids: batch.iter().map(|one| one.payment_id).collect(),
            epochs: batch.iter().map(|one| one.epoch).collect(),
            numbers: batch.iter().map(|one| one.number).collect(),
            outcomes: batch.iter().map(|one| one.outcome).collect(),
            codes: batch.iter().map(|one| one.code.clone()).collect(),
            messages: batch.iter().map(|one| one.message.clone()).collect(),
            gateway_ids: batch.iter().map(|one| gateway_id(one)).collect(),
            delays: batch.iter().map(|one| retry(one).0).collect(),
            spends: batch.iter().map(|one| retry(one).1).collect(),
            voids: batch.iter().map(|one| retry(one).2).collect(),
        }
    }
}

/// Orders' own charges become final: each leaves the queue, and what comes of it is written.
async fn end_own(conn: &mut PgConnection, batch: &[&Settlement], accept_in: Duration) -> sqlx::Result<Done> {
    let columns = Columns::of(batch);
    let row = sqlx::query!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::attempt_outcome[], $4::text[], $5::text[], $6::text[])
                AS input(id, epoch, outcome, code, message, gateway_id)
        ), ended AS (
            DELETE FROM open_charges c USING input i
            WHERE c.id = ANY(ARRAY[i.id]) AND c.epoch = i.epoch AND c.trying IS NOT NULL
            RETURNING c.id, c.amount_minor, c.created_at, c.began_at, c.claimed_at, c.epoch, c.attempts, c.spent, c.trying,
                c.voiding, c.noted, c.currency, i.outcome, i.code, i.message, i.gateway_id,
                i.gateway_id IS NOT NULL AS is_paid
        ), tried AS (
            INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code, message)
            SELECT id, claimed_at, clock_timestamp(), attempts, epoch, trying, outcome, code, message FROM ended
        ), final AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, epoch, attempts, spent, kind, status,
                                  voiding, currency, gateway_id, failure_code)
            SELECT id, id, amount_minor, created_at, CASE WHEN is_paid THEN now() + $7::bigint * interval '1 ms' END, epoch,
                attempts, spent, 'charge', CASE WHEN is_paid THEN 'succeeded' ELSE 'failed' END::payment_status, voiding,
                currency, gateway_id, CASE WHEN NOT is_paid THEN code END
            FROM ended
        ), moved AS (
            UPDATE orders o
            SET status = CASE WHEN o.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                    WHEN e.is_paid THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status,
                version = o.version + CASE WHEN e.noted THEN 1 ELSE 2 END, updated_at = now(),
                accept_by = CASE WHEN e.is_paid AND o.cancel_requested_at IS NULL
                    THEN now() + $7::bigint * interval '1 ms' END
            FROM ended e
            -- As this statement's snapshot shows it, before a wish that the deletion waited for; and as it is once it is locked.
            WHERE o.id = e.id AND o.status IN ('PENDING', 'PAYMENT_PROCESSING')
            RETURNING o.id, o.version, o.status, o.cancel_actor, o.cancel_reason, o.cancel_request, e.noted, e.began_at,
                CASE WHEN NOT e.is_paid THEN e.code END AS failure_code,
                CASE WHEN e.is_paid THEN e.amount_minor END AS taken_minor
        ), said AS (
            INSERT INTO order_events (subject, at, began_at, version, what, from_status, to_status, actor, reason, payment_id,
                                      amount_minor, request)
            SELECT id, now(), CASE WHEN NOT noted THEN began_at END, version, 'moved',
                CASE WHEN noted THEN 'PAYMENT_PROCESSING' ELSE 'PENDING' END::order_status, status,
                coalesce(cancel_actor, 'worker'), coalesce(cancel_reason, failure_code), id, taken_minor, cancel_request
            FROM moved
        ), unconfirmed AS (
            -- Looked up in a hash of each; a join of the two would compare all with all.
            SELECT id, amount_minor, id IN (SELECT id FROM moved WHERE status = 'CANCELLED') AS is_cancelled
            FROM ended WHERE is_paid AND id NOT IN (SELECT id FROM moved WHERE status = 'CONFIRMED')
        )
        SELECT CASE WHEN (SELECT count(*) FROM ended) < cardinality($1) THEN ARRAY(SELECT id FROM ended) END AS only,
            array_agg(id) AS unconfirmed, array_agg(amount_minor) AS amounts, array_agg(is_cancelled) AS cancelled
        FROM unconfirmed
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &columns.gateway_ids as &[Option<String>],
        super::millis(accept_in),
    )
    .fetch_one(conn)
    .await?;
    let unconfirmed = row.unconfirmed.unwrap_or_default().into_iter();
    let unconfirmed = unconfirmed.zip(row.amounts.unwrap_or_default()).zip(row.cancelled.unwrap_or_default());
    let settled = |((id, amount_minor), is_cancelled)| Settled {
        id,
        order_id: id,
        kind: PaymentKind::Charge,
        is_addition: false,
        status: PaymentStatus::Succeeded,
        amount_minor,
        moved_to: if is_cancelled { Some(OrderStatus::Cancelled) } else { None },
    };
    let unconfirmed = unconfirmed.map(settled).collect();
    Ok(Done { moved: row.only.unwrap_or(columns.ids), unconfirmed })
}

/// Locks the charges of a batch of which some stay in the queue, one after the other, as everybody does who locks several:
/// more than one statement follows.
async fn lock_own(conn: &mut PgConnection, batch: &[&Settlement]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = batch.iter().map(|one| one.payment_id).collect();
    sqlx::query!("SELECT id FROM open_charges WHERE id = ANY($1) ORDER BY id FOR UPDATE", &ids)
        .fetch_all(conn)
        .await
        .map(drop)
}

/// Orders' own charges, which the caller holds, are to be tried again: they stay in the queue, and the rows of their tries
/// are written.
async fn put_back(conn: &mut PgConnection, batch: &[&Settlement]) -> sqlx::Result<Vec<Uuid>> {
    let columns = Columns::of(batch);
    sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::attempt_outcome[], $4::text[], $5::text[], $6::bigint[], $7::int[],
                                 $8::bool[])
                AS input(id, epoch, outcome, code, message, delay_ms, spend, void)
        ), tried AS (
            SELECT i.*, c.claimed_at, c.attempts, c.trying FROM input i JOIN open_charges c ON c.id = ANY(ARRAY[i.id])
            WHERE c.epoch = i.epoch AND c.trying IS NOT NULL
        ), put_back AS (
            UPDATE open_charges c
            SET trying = NULL, claimed_at = NULL, lease_until = NULL, due_at = now() + t.delay_ms * interval '1 ms',
                spent = c.spent + t.spend, voiding = c.voiding OR t.void
            FROM tried t WHERE c.id = ANY(ARRAY[t.id])
            RETURNING c.id, c.attempts, c.epoch, t.claimed_at, t.trying, t.outcome, t.code, t.message
        ), noted AS (
            INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code, message)
            SELECT id, claimed_at, clock_timestamp(), attempts, epoch, trying, outcome, code, message FROM put_back
        )
        SELECT id FROM put_back
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &columns.delays,
        &columns.spends,
        &columns.voids,
    )
    .fetch_all(conn)
    .await
}

/// The late answers of a batch: whoever claimed the charge since has written down that the try was abandoned, and only such a
/// row is changed. A statement after the others, because only a new snapshot shows a claim that they waited for.
async fn close_abandoned(conn: &mut PgConnection, own: &[&Settlement]) -> sqlx::Result<()> {
    let columns = Columns::of(own);
    sqlx::query!(
        r#"
        UPDATE payment_attempts a
        SET outcome = i.outcome, code = i.code, message = i.message, finished_at = clock_timestamp()
        FROM unnest($1::uuid[], $2::int[], $3::int[], $4::attempt_outcome[], $5::text[], $6::text[])
            AS i(id, epoch, number, outcome, code, message)
        WHERE a.payment_id = i.id AND a.number = i.number AND a.epoch = i.epoch AND a.outcome = 'abandoned'
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.numbers,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// All other payments, and the order that waits for one because it is paid anew, move in one statement.
async fn move_payments(
    conn: &mut PgConnection,
    batch: &[&Settlement],
    accept_in: Duration,
) -> sqlx::Result<Done> {
    let columns = Columns::of(batch);
    let statuses: Vec<PaymentStatus> = batch.iter().map(|one| one.next.status()).collect();
    let settled = sqlx::query_as!(
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
        &columns.ids,
        &columns.epochs,
        &columns.numbers,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &statuses as &[PaymentStatus],
        &columns.gateway_ids as &[Option<String>],
        &columns.delays,
        &columns.spends,
        &columns.voids,
        super::millis(accept_in),
    )
    .fetch_all(conn)
    .await?;
    let moved = settled.iter().map(|one| one.id).collect();
    Ok(Done { moved, unconfirmed: settled.into_iter().filter(Settled::took_unconfirmed).collect() })
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
/// goes. The payment is due again after `delay`.
pub async fn release(conn: &mut PgConnection, claims: &[Claimed], delay: Duration) -> sqlx::Result<u64> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.payment_id).collect();
    let epochs: Vec<i32> = claims.iter().map(|claim| claim.epoch).collect();
    let numbers: Vec<i32> = claims.iter().map(|claim| claim.number).collect();
    let done = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[]) AS input(id, epoch, number)
        ), own AS (
            UPDATE open_charges c
            SET trying = NULL, claimed_at = NULL, lease_until = NULL, attempts = c.attempts - 1,
                due_at = now() + $4::bigint * interval '1 ms'
            FROM input i WHERE c.id = ANY(ARRAY[i.id]) AND c.epoch = i.epoch AND c.trying IS NOT NULL
            RETURNING c.id
        ), others AS (
            UPDATE payments p
            SET status = 'waiting', attempts = p.attempts - 1, due_at = now() + $4::bigint * interval '1 ms'
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
        super::millis(delay),
    )
    .fetch_one(conn)
    .await?;
    Ok(done.unsigned_abs())
}
