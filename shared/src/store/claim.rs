//! claim: the payments named by a hint become this worker's, under a new epoch and until a lease ends.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::read::money;
use crate::money::Money;
use crate::origin::Origin;
use crate::payment::AttemptAction;

/// A payment that this worker, and nobody else, may now take to the gateway.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The payment, and the gateway's idempotency key.
    pub payment_id: Uuid,
    /// The order that it is for.
    pub order_id: Uuid,
    /// Of a refund: the charge that it gives back.
    pub refund_of: Option<Uuid>,
    /// How much.
    pub amount: Money,
    /// Of this claim. Settling under another one does nothing.
    pub epoch: i32,
    /// Number of the try whose row this claim wrote.
    pub number: i32,
    /// What is to be asked of the gateway.
    pub action: AttemptAction,
    /// Tries that already count against the retry budget.
    pub spent: i32,
    /// Where it came from, where the message that named it knew.
    pub origin: Option<Box<Origin>>,
}

/// Claims those of `hints` that may be claimed: never claimed before, or due. The rest is somebody else's, done,
/// or not due yet, and is missing from the answer; so is what another transaction is just moving. Their order
/// starts to be processed, an attempt row stands before any call is made, and one that a dead worker left open
/// is closed as abandoned.
pub async fn claim(conn: &mut PgConnection, hints: &[Uuid], lease: Duration) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"
        WITH hint AS (
            SELECT DISTINCT id FROM unnest($1::uuid[]) AS hint(id)
        ), due AS (
            SELECT p.id FROM hint JOIN payments p ON p.id = hint.id
            WHERE p.status = 'pending' OR (p.status IN ('processing', 'waiting') AND p.due_at <= now())
            ORDER BY p.id FOR UPDATE OF p SKIP LOCKED
        ), claimed AS (
            UPDATE payments p
            SET status = 'processing', epoch = p.epoch + 1, attempts = p.attempts + 1,
                due_at = now() + $2::bigint * interval '1 ms'
            FROM due WHERE p.id = due.id
            RETURNING p.id, p.order_id, p.refund_of, p.kind, p.amount_minor, p.currency, p.epoch, p.attempts, p.spent,
                CASE WHEN p.voiding THEN 'void' WHEN p.kind = 'refund' THEN 'refund' ELSE 'charge' END::attempt_action
                    AS action
        ), abandoned AS (
            UPDATE payment_attempts a SET outcome = 'abandoned', finished_at = now(), code = 'lease_expired'
            FROM claimed c WHERE c.attempts > 1 AND a.payment_id = c.id AND a.number = c.attempts - 1
                AND a.outcome IS NULL
        ), tried AS (
            INSERT INTO payment_attempts (payment_id, started_at, number, epoch, action)
            SELECT id, now(), attempts, epoch, action FROM claimed
        ), moved AS (
            UPDATE orders o SET status = 'PAYMENT_PROCESSING', version = o.version + 1, updated_at = now()
            FROM claimed c WHERE o.id = c.order_id AND o.status = 'PENDING' AND c.kind = 'charge'
            RETURNING o.id, o.version
        ), noted AS (
            INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor)
            SELECT id, now(), version, 'moved', 'PENDING', 'PAYMENT_PROCESSING', 'worker' FROM moved
        )
        SELECT id, order_id, refund_of, amount_minor, currency, epoch, attempts AS number, spent,
               action AS "action!: AttemptAction"
        FROM claimed
        "#,
        hints,
        super::millis(lease),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Claimed {
                payment_id: row.id,
                order_id: row.order_id,
                refund_of: row.refund_of,
                amount: money(row.amount_minor, &row.currency)?,
                epoch: row.epoch,
                number: row.number,
                action: row.action,
                spent: row.spent,
                origin: None,
            })
        })
        .collect()
}
