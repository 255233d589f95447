//! refunds: money on its way back, for whoever looks after it. Reads only: refunds come to be in `moves.rs` and
//! `settle.rs`, in the transaction of what causes them, and take the same road as charges.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::money;
use crate::money::Money;
use crate::payment::PaymentStatus;

/// A refund and how far it got.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Its id, and the gateway's idempotency key.
    pub id: Uuid,
    /// The order that it is for.
    pub order_id: Uuid,
    /// The charge that it gives back.
    pub charge_id: Uuid,
    /// The client's name for that charge.
    pub payment_reference: Option<String>,
    /// How much.
    pub amount: Money,
    /// Why: `rejected`, `cancelled`, `accept_deadline`, `late_capture`, ..
    pub reason: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The gateway's last answer was no. It is asked again, slowly, and somebody should find out why.
    pub refused: bool,
    /// Tries made.
    pub attempts: i32,
    /// The code of the last try that was answered, where it did not succeed.
    pub code: Option<String>,
    /// Since when it is there.
    pub created_at: OffsetDateTime,
    /// When it is looked at again; `None` once it is final.
    pub due_at: Option<OffsetDateTime>,
}

/// Which refunds to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct RefundFilter {
    /// Only those that stand here.
    pub status: Option<PaymentStatus>,
    /// Only those that the gateway refused at the last try and that are not final.
    pub refused: bool,
}

/// Up to `limit` refunds, newest first, passing `offset` of them over.
pub async fn list(
    conn: &mut PgConnection,
    filter: RefundFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Refund>> {
    let rows = sqlx::query!(
        r#"
        SELECT p.id, p.order_id, p.refund_of AS "charge_id!", c.reference AS payment_reference, p.amount_minor, p.currency,
            coalesce(p.reason, '') AS "reason!", p.status AS "status: PaymentStatus", p.attempts, p.created_at, p.due_at,
            coalesce(p.status = 'waiting' AND last.outcome IN ('declined', 'voided'), false) AS "refused!",
            last.code AS "code?"
        FROM payments p
        LEFT JOIN payments c ON c.id = p.refund_of
        LEFT JOIN LATERAL (
            SELECT a.outcome, a.code FROM payment_attempts a
            WHERE a.payment_id = p.id AND a.outcome IS NOT NULL ORDER BY a.number DESC LIMIT 1) last ON true
        WHERE p.refund_of IS NOT NULL AND ($1::payment_status IS NULL OR p.status = $1)
            AND (NOT $2 OR (p.status = 'waiting' AND last.outcome IN ('declined', 'voided')))
        ORDER BY p.created_at DESC, p.id LIMIT $3 OFFSET $4
        "#,
        filter.status as Option<PaymentStatus>,
        filter.refused,
        limit,
        offset
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Refund {
                id: row.id,
                order_id: row.order_id,
                charge_id: row.charge_id,
                payment_reference: row.payment_reference,
                amount: money(row.amount_minor, &row.currency)?,
                reason: row.reason,
                status: row.status,
                refused: row.refused,
                attempts: row.attempts,
                code: row.code,
                created_at: row.created_at,
                due_at: row.due_at,
            })
        })
        .collect()
}
