//! refunds: money on its way back. Each comes to be in the transaction of what causes it (`moves.rs`, `settle.rs`), and takes
//! the same road as a charge; `list/refunds.rs` lists them for whoever looks after them.

use std::collections::HashMap;

use domain::event::What;
use domain::payment::new_payment_id;
use sqlx::PgConnection;
use uuid::Uuid;

use super::events::Change;

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
