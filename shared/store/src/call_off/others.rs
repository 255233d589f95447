//! Charges beside those that orders came in with: of orders that are paid anew, and of additions.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{CalledOff, EXPIRED, Late, only_void};
use crate::moves::never_sent_of;

/// Those of orders that are paid anew, locked; before them the charge that the order came with, as everybody does. Nothing is
/// waited for while a row is held.
pub(super) async fn lock_anew(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<Vec<Late>> {
    sqlx::query_as!(
        Late,
        r#"
        SELECT p.id, p.order_id FROM payments p JOIN payments own ON own.id = p.order_id
        WHERE now() <= (SELECT until FROM clock_trust) AND p.due_at IS NOT NULL AND decides(p)
            AND charge_ends_at(p.expires_at, p.created_at, $1) <= now()
            AND ($3::uuid IS NULL OR p.id = $3) AND p.id <> ALL($4)
            AND (NOT p.voiding OR p.status = 'waiting' AND NOT EXISTS (
                SELECT FROM payment_attempts a WHERE a.payment_id = p.id AND a.outcome IS DISTINCT FROM 'unavailable'))
        ORDER BY p.id LIMIT $2 FOR UPDATE OF own, p SKIP LOCKED
        "#,
        crate::millis(age),
        i64::from(limit),
        only,
        except
    )
    .fetch_all(conn)
    .await
}

/// Those of additions, locked; nothing else is, and nothing is waited for. One that is held has no time yet.
pub(super) async fn lock_additions(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<Vec<Late>> {
    sqlx::query_as!(
        Late,
        r#"
        SELECT p.id, p.order_id FROM payments p
        WHERE now() <= (SELECT until FROM clock_trust) AND p.due_at IS NOT NULL AND p.kind = 'charge' AND p.added IS NOT NULL
            AND charge_ends_at(p.expires_at, p.created_at, $1) <= now()
            AND ($3::uuid IS NULL OR p.id = $3) AND p.id <> ALL($4)
            AND (NOT p.voiding OR p.status = 'waiting' AND NOT EXISTS (
                SELECT FROM payment_attempts a WHERE a.payment_id = p.id AND a.outcome IS DISTINCT FROM 'unavailable'))
        ORDER BY p.id LIMIT $2 FOR UPDATE SKIP LOCKED
        "#,
        crate::millis(age),
        i64::from(limit),
        only,
        except
    )
    .fetch_all(conn)
    .await
}

/// Ends those that were never sent; the others are only voided. The tries are looked at by a statement of their own: one that began
/// before the lock was held may not see what the last of them came to.
pub(super) async fn end_additions(conn: &mut PgConnection, late: &[Late]) -> sqlx::Result<CalledOff> {
    let ids: Vec<Uuid> = late.iter().map(|late| late.id).collect();
    let waiting =
        sqlx::query_scalar!("SELECT id FROM payments WHERE id = ANY($1) AND status <> 'pending'", &ids)
            .fetch_all(&mut *conn)
            .await?;
    let doubts = if waiting.is_empty() { waiting } else { doubts(conn, &waiting).await? };
    only_void(conn, &doubts).await?;
    let ended = sqlx::query!(
        "UPDATE payments SET status = 'failed', due_at = NULL, failure_code = $3
         WHERE id = ANY($1) AND id <> ALL($2) AND status IN ('pending', 'waiting')",
        &ids,
        &doubts,
        EXPIRED
    )
    .execute(conn)
    .await?;
    let ended = usize::try_from(ended.rows_affected()).unwrap_or(usize::MAX);
    Ok(CalledOff { voiding: doubts.len(), ended })
}

/// Those of these claimed charges that a gateway may have looked at, or is being asked about.
async fn doubts(conn: &mut PgConnection, claimed: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    let unsent = never_sent_of(conn, claimed).await?;
    Ok(claimed.iter().filter(|id| !unsent.contains(id)).copied().collect())
}
