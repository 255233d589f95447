//! sweep: finds what is due. A payment is due when its publish was lost, its retry has come, or the worker that
//! held it let its lease run out; one column says so for all of them.

use std::time::Duration;

use runtime::chaos::crash_point;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::claim::{Claimed, Terms, claim};

/// Claims up to `limit` due payments, longest due first. What another worker is just claiming is passed over.
pub async fn claim_due(
    conn: &mut PgConnection,
    limit: u32,
    terms: impl Into<Terms>,
) -> sqlx::Result<Vec<Claimed>> {
    let terms = terms.into();
    let mut tx = conn.begin().await?;
    let due = due(&mut tx, limit, terms.age).await?;
    if due.is_empty() {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    crash_point("worker.mid_sweep");
    let claimed = claim(&mut tx, &due, terms).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Up to `limit` payments that are due, longest due first, locked for the rest of the transaction. Charges whose time is over,
/// which nobody may claim, stand in nobody's way.
pub async fn due(conn: &mut PgConnection, limit: u32, age: Option<Duration>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        WITH own AS (
            SELECT id, due_at FROM open_charges
            WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                AND (voiding OR charge_ends_at(expires_at, created_at, $2) > now()
                     OR now() > (SELECT until FROM clock_trust))
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ), others AS (
            SELECT id, due_at FROM payments
            WHERE due_at <= now() AND (kind <> 'charge' OR voiding
                OR charge_ends_at(expires_at, created_at, $2) > now()
                OR now() > (SELECT until FROM clock_trust))
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        SELECT id AS "id!" FROM (TABLE own UNION ALL TABLE others) due ORDER BY due_at LIMIT $1
        "#,
        i64::from(limit),
        age.map(super::millis)
    )
    .fetch_all(conn)
    .await
}

/// Puts off when a payment that is not final is looked at again. For one that cannot be claimed: it must not stand in
/// the way of those behind it.
pub async fn postpone(conn: &mut PgConnection, payment_id: Uuid, by: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH own AS (UPDATE open_charges SET due_at = now() + $2::bigint * interval '1 ms' WHERE id = $1)
        UPDATE payments SET due_at = now() + $2::bigint * interval '1 ms' WHERE id = $1 AND due_at IS NOT NULL
        "#,
        payment_id,
        super::millis(by)
    )
    .execute(conn)
    .await
    .map(drop)
}
