//! refunds: money on its way back. Each comes to be in the transaction of what causes it (`moves.rs`, `settle.rs`), and takes
//! the same road as a charge; listed for whoever looks after them.

use std::collections::HashMap;

use domain::event::What;
use domain::money::Money;
use domain::payment::{PaymentStatus, new_payment_id};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::events::Change;
use super::read::money;

/// A charge whose money is to go back, all that is left of it.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub(super) charge_id: Uuid,
    /// `rejected`, `cancelled`, `accept_deadline`, `late_capture`.
    pub(super) why: String,
    /// Who or what brought it about.
    pub(super) actor: String,
}

/// Makes the refunds of `owed`, and says what changed by that, to be noted by the caller. A charge of which nothing is left
/// to go back gets none: its own row, which the caller holds, says how much is. So nobody gives back more than came.
pub(super) async fn owe(conn: &mut PgConnection, owed: &[Owed]) -> sqlx::Result<Vec<Change>> {
    if owed.is_empty() {
        return Ok(Vec::new());
    }
    let charges: Vec<Uuid> = owed.iter().map(|one| one.charge_id).collect();
    // A charge's id has its order's time, so its refund's has, too.
    let refunds: Vec<Uuid> = charges.iter().map(|charge| new_payment_id(*charge)).collect();
    let whys: Vec<String> = owed.iter().map(|one| one.why.clone()).collect();
    let actors: HashMap<Uuid, &str> =
        refunds.iter().copied().zip(owed.iter().map(|one| one.actor.as_str())).collect();
    let made = sqlx::query!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS input(charge_id, refund_id, why)
        ), taken AS (
            UPDATE payments charge SET refunded_minor = charge.amount_minor
            FROM input i JOIN payments before ON before.id = i.charge_id
            WHERE charge.id = i.charge_id AND charge.kind = 'charge' AND charge.status = 'succeeded'
                AND charge.refunded_minor < charge.amount_minor
            RETURNING i.refund_id, charge.id, charge.order_id, charge.currency, i.why,
                charge.amount_minor - before.refunded_minor AS amount_minor
        )
        INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency, reason)
        SELECT refund_id, order_id, id, amount_minor, now(), now(), 'refund', 'pending', currency, why
        FROM taken ORDER BY order_id, refund_id
        RETURNING id, order_id, amount_minor, reason
        "#,
        &charges,
        &refunds,
        &whys
    )
    .fetch_all(conn)
    .await?;
    Ok(made
        .into_iter()
        .map(|row| {
            let actor = actors.get(&row.id).copied().unwrap_or_default();
            Change::of_payment(row.order_id, What::RefundOwed, actor, row.reason, (row.id, row.amount_minor))
        })
        .collect())
}

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
        SELECT p.id, p.order_id, p.refund_of AS "charge_id!",
            coalesce(c.reference, d.payment_reference) AS payment_reference, p.amount_minor, p.currency,
            coalesce(p.reason, '') AS "reason!", p.status AS "status: PaymentStatus", p.attempts, p.created_at, p.due_at,
            coalesce(p.status = 'waiting' AND last.outcome IN ('declined', 'voided', 'refused'), false) AS "refused!",
            last.code AS "code?"
        FROM payments p
        LEFT JOIN payments c ON c.id = p.refund_of
        -- Of an order's own charge, which has the order's id.
        LEFT JOIN order_details d ON d.order_id = p.refund_of
        LEFT JOIN LATERAL (
            SELECT a.outcome, a.code FROM payment_attempts a
            WHERE a.payment_id = p.id AND a.outcome IS NOT NULL ORDER BY a.number DESC LIMIT 1) last ON true
        WHERE p.refund_of IS NOT NULL AND ($1::payment_status IS NULL OR p.status = $1)
            AND (NOT $2 OR (p.status = 'waiting' AND last.outcome IN ('declined', 'voided', 'refused')))
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
