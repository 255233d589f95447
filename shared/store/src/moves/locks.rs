//! What of an order decides, its charges and then itself, is locked and looked at.

use domain::order::moves::Refusal;
use domain::order::status::OrderStatus;
use domain::payment::{PaymentKind, PaymentStatus};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Decided;

/// A charge of an order, or what its channel took instead, locked.
pub(crate) struct Charge {
    pub(crate) id: Uuid,
    pub(crate) order_id: Uuid,
    kind: PaymentKind,
    pub(crate) status: PaymentStatus,
    pub(crate) amount_minor: i64,
    pub(crate) answer_by: Option<OffsetDateTime>,
    /// Not that of an addition.
    own: bool,
}

impl Charge {
    /// The order's own, claimed at least once and not final: it may have been sent.
    pub(crate) const fn in_flight(&self) -> bool {
        self.own && matches!(self.status, PaymentStatus::Processing | PaymentStatus::Waiting)
    }

    /// Money was taken for it: here, in hand or by its channel.
    pub(crate) fn took_money(&self) -> bool {
        self.status == PaymentStatus::Succeeded && self.kind != PaymentKind::Free
    }

    /// It was our gateway that took it.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind == PaymentKind::Charge
    }
}

/// Locks all charges of these orders: first each order's own and nothing else, then the others, in the order of their ids.
///
/// A statement sees what was committed when it began. A settlement that it waits for takes an order's own charge out of the
/// queue and writes it among the payments, where that statement cannot see it; so where none is found, there is another look, and
/// that finds it. Whoever adds a charge holds the order's own meanwhile: once that is held, the next statement sees all others.
pub(crate) async fn lock_charges(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    let mut charges = lock_own(conn, orders).await?;
    let is_missing = |order: &&Uuid| !charges.iter().any(|charge| charge.id == **order);
    let missing: Vec<Uuid> = orders.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        charges.extend(lock_own(conn, &missing).await?);
    }
    let others = sqlx::query_as!(
        Charge,
        r#"SELECT id, order_id, kind AS "kind: PaymentKind", status AS "status: PaymentStatus", amount_minor, answer_by,
                  added IS NULL AS "own!" FROM payments
           WHERE order_id = ANY($1) AND id <> order_id AND kind <> 'refund' ORDER BY id FOR UPDATE"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    charges.extend(others);
    Ok(charges)
}

/// Locks what these orders came with, in the queue or among the payments.
async fn lock_own(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    sqlx::query_as!(
        Charge,
        r#"
        WITH queued AS (
            SELECT id, charge_status(c) AS status, amount_minor FROM open_charges c WHERE id = ANY($1) ORDER BY id FOR UPDATE
        ), final AS (
            SELECT id, kind, status, amount_minor, answer_by FROM payments WHERE id = ANY($1) ORDER BY id FOR UPDATE
        )
        SELECT id AS "id!", id AS "order_id!", 'charge'::payment_kind AS "kind!: PaymentKind",
            status AS "status!: PaymentStatus", amount_minor AS "amount_minor!", NULL::timestamptz AS answer_by, true AS "own!"
        FROM queued
        UNION ALL
        SELECT id, id, kind, status, amount_minor, answer_by, true FROM final
        "#,
        orders
    )
    .fetch_all(conn)
    .await
}

/// Those of these charges that wait for another try, and at which no gateway ever looked: each of their tries says so. The caller
/// holds them, so nobody takes one to the gateway before it ends.
///
/// A statement of its own: what came of the last try was committed by whoever the lock was waited for, and only a new snapshot
/// shows it.
pub(crate) async fn never_sent(conn: &mut PgConnection, charges: &[Charge]) -> sqlx::Result<Vec<Uuid>> {
    let waiting = charges.iter().filter(|charge| charge.status == PaymentStatus::Waiting);
    let waiting: Vec<Uuid> = waiting.map(|charge| charge.id).collect();
    if waiting.is_empty() { Ok(waiting) } else { never_sent_of(conn, &waiting).await }
}

/// The same of these.
pub(crate) async fn never_sent_of(conn: &mut PgConnection, waiting: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM unnest($1::uuid[]) AS waiting(id)
           WHERE NOT EXISTS (
               SELECT FROM payment_attempts a
               WHERE a.payment_id = waiting.id AND a.outcome IS DISTINCT FROM 'unavailable')"#,
        waiting
    )
    .fetch_all(conn)
    .await
}

/// What of an order decides, locked.
pub(crate) struct Locked {
    pub(crate) id: Uuid,
    pub(crate) status: OrderStatus,
    pub(crate) version: i32,
    pub(crate) customer_id: String,
    pub(crate) location: String,
    pub(crate) wished: bool,
    pub(crate) cancel_actor: Option<String>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) cancel_request: Option<Uuid>,
    pub(crate) seen_at: OffsetDateTime,
}

impl Locked {
    /// The answer to somebody who has seen another version.
    pub(crate) const fn changed(&self) -> Decided {
        Decided::Refused { refusal: Refusal::VersionChanged { now: self.version }, status: self.status }
    }
}

/// Locks an order.
pub(crate) async fn lock_order(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Locked>> {
    Ok(lock_orders(conn, &[id]).await?.pop())
}

/// Locks orders, one after the other, as everybody does who locks several. Status and version are those that are shown, as by
/// `shown_orders`: of a row that was waited for, the view would show what it was before. The time is one that is believed
/// (`clock.rs`).
pub(crate) async fn lock_orders(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Locked>> {
    sqlx::query_as!(
        Locked,
        r#"SELECT o.id, CASE WHEN charge.begun THEN 'PAYMENT_PROCESSING' ELSE o.status END AS "status!: OrderStatus",
                  o.version + charge.begun::int AS "version!", o.customer_id, o.location,
                  o.cancel_requested_at IS NOT NULL AS "wished!", o.cancel_actor, o.cancel_reason, o.cancel_request,
                  least(clock_timestamp(), (SELECT until FROM clock_trust)) AS "seen_at!"
           FROM orders o, LATERAL (SELECT o.status = 'PENDING' AND EXISTS (
               SELECT FROM open_charges c WHERE c.id = o.id AND c.began_at IS NOT NULL) AS begun) AS charge
           WHERE o.id = ANY($1) ORDER BY o.id FOR UPDATE OF o"#,
        ids
    )
    .fetch_all(conn)
    .await
}
