//! later: orders that are wanted later. Until their time comes the charge of such an order is held, a payment that nobody claims,
//! and the queue knows nothing of it. Then it is let go, and the order with it becomes `PAYMENT_PROCESSING`: from there it goes the
//! way of one that is paid anew. Whoever cancels it before finds that nothing was ever sent, and ends it at once (`moves.rs`).

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

/// The charges of up to `limit` orders whose time has come, but for `except`, soonest first, locked for the rest of the transaction.
/// What somebody is just cancelling is passed over. While the clock is not believed (`clock.rs`), no time has come.
pub async fn held(conn: &mut PgConnection, limit: u32, except: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM payments
         WHERE status = 'held' AND held_until <= now() AND id <> ALL($2) AND now() <= (SELECT until FROM clock_trust)
         ORDER BY held_until LIMIT $1 FOR UPDATE SKIP LOCKED",
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Lets up to `limit` such orders go, and says how many. The time that a charge has, `age` where the order says nothing, begins now.
pub async fn let_go(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<usize> {
    let mut tx = conn.begin().await?;
    let held = held(&mut tx, limit, except).await?;
    if held.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let gone = begin(&mut tx, age, &held).await?;
    tx.commit().await?;
    Ok(gone)
}

/// The same for one.
pub async fn let_go_one(conn: &mut PgConnection, age: Duration, id: Uuid) -> sqlx::Result<usize> {
    let mut tx = conn.begin().await?;
    sqlx::query!("SELECT id FROM payments WHERE id = $1 FOR UPDATE", id).fetch_optional(&mut *tx).await?;
    let gone = begin(&mut tx, age, &[id]).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Lets those go that the caller holds. A statement of its own: what it waited for, it sees.
async fn begin(conn: &mut PgConnection, age: Duration, held: &[Uuid]) -> sqlx::Result<usize> {
    let gone = sqlx::query!(
        r#"
        WITH freed AS (
            UPDATE payments SET status = 'pending', due_at = now(),
                expires_at = coalesce(expires_at, now() + $2::bigint * interval '1 ms')
            WHERE id = ANY($1) AND status = 'held' AND held_until <= now()
            RETURNING id
        ), moved AS (
            UPDATE orders o SET status = 'PAYMENT_PROCESSING', version = o.version + 1, updated_at = now()
            FROM freed f WHERE o.id = f.id AND o.status = 'PENDING'
            RETURNING o.id, o.version
        )
        INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason, payment_id)
        SELECT id, now(), version, 'moved', 'PENDING', 'PAYMENT_PROCESSING', 'sweep', 'its_time', id FROM moved
        "#,
        held,
        crate::millis(age)
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(gone.rows_affected()).unwrap_or(usize::MAX))
}
