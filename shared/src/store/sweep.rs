//! sweep: finds what is due. A payment is due when its publish was lost, its retry has come, or the worker that
//! held it let its lease run out; one column says so for all of them.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::claim::{Claimed, claim};
use crate::chaos::crash_point;

/// Claims up to `limit` due payments, longest due first. What another worker is just claiming is passed over.
pub async fn claim_due(conn: &mut PgConnection, limit: u32, lease: Duration) -> sqlx::Result<Vec<Claimed>> {
    let mut tx = conn.begin().await?;
    let due = sqlx::query_scalar!(
        "SELECT id FROM payments WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        i64::from(limit)
    )
    .fetch_all(&mut *tx)
    .await?;
    if due.is_empty() {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    crash_point("worker.mid_sweep");
    let claimed = claim(&mut tx, &due, lease).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Forgets idempotency keys older than `age`, `limit` at most; says how many.
pub async fn forget_keys(conn: &mut PgConnection, age: Duration, limit: u32) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotency_keys WHERE (principal, key) IN (
            SELECT principal, key FROM idempotency_keys
            WHERE created_at < now() - $1::bigint * interval '1 ms' LIMIT $2
            FOR UPDATE SKIP LOCKED)
        "#,
        super::millis(age),
        i64::from(limit)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
