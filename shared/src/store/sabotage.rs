//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::settle::{Next, Settlement};
use crate::chaos::sabotaged;
use crate::payment::PaymentStatus;

/// Long enough for a kill to fall between two statements now and then.
const GAP: Duration = Duration::from_millis(20);

/// Settles wrongly, if this process is told to; `None`: it is not.
pub(super) async fn settle(conn: &mut PgConnection, batch: &[Settlement]) -> sqlx::Result<Option<Vec<Uuid>>> {
    let guarded = !sabotaged("no_epoch_guard");
    let whole = !sabotaged("settle_outside_transaction");
    if guarded && whole {
        return Ok(None);
    }
    // The database's own guards have to go, too, or they would catch the bug first.
    if !guarded {
        sqlx::query("SET session_replication_role = replica").execute(&mut *conn).await?;
    }
    let mut moved = Vec::new();
    for one in batch {
        let (gateway_id, delay, spend, void) = match &one.next {
            Next::Succeeded { gateway_id } => (Some(gateway_id.clone()), Duration::ZERO, false, false),
            Next::Failed => (None, Duration::ZERO, false, false),
            Next::Retry { delay, spend, void } => (None, *delay, *spend, *void),
        };
        sqlx::query(
            "UPDATE payment_attempts SET outcome = $1, code = $2, finished_at = clock_timestamp()
             WHERE payment_id = $3 AND number = $4 AND epoch = $5",
        )
        .bind(one.outcome)
        .bind(&one.code)
        .bind(one.payment_id)
        .bind(one.number)
        .bind(one.epoch)
        .execute(&mut *conn)
        .await?;
        let order: Option<Uuid> = sqlx::query_scalar(
            "UPDATE payments SET status = $1, spent = spent + $2, voiding = voiding OR $3, gateway_id = $4,
                 failure_code = CASE WHEN $1 = 'failed' THEN $9 END,
                 due_at = CASE WHEN $1 = 'waiting' THEN now() + $5 * interval '1 ms' END
             WHERE id = $6 AND (NOT $7 OR (epoch = $8 AND status = 'processing')) RETURNING order_id",
        )
        .bind(one.next.status())
        .bind(i32::from(spend))
        .bind(void)
        .bind(gateway_id)
        .bind(super::millis(delay))
        .bind(one.payment_id)
        .bind(guarded)
        .bind(one.epoch)
        .bind(&one.code)
        .fetch_optional(&mut *conn)
        .await?;
        let Some(order) = order else { continue };
        moved.push(one.payment_id);
        if !whole {
            tokio::time::sleep(GAP).await;
        }
        if one.next.status() != PaymentStatus::Waiting {
            sqlx::query(
                "WITH moved AS (
                     UPDATE orders SET version = version + 1, updated_at = now(),
                         status = CASE WHEN $2 THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status
                     WHERE id = $1 AND (NOT $3 OR status = 'PAYMENT_PROCESSING') RETURNING id, version, status)
                 INSERT INTO order_events (order_id, at, version, from_status, to_status, actor)
                 SELECT id, now(), version, 'PAYMENT_PROCESSING', status, 'worker' FROM moved",
            )
            .bind(order)
            .bind(one.next.status() == PaymentStatus::Succeeded)
            .bind(guarded)
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(Some(moved))
}

/// Makes a new payment, with a new key, of each of these.
pub async fn copy_payments(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency)
         SELECT gen_random_uuid(), order_id, amount_minor, now(), now(), kind, 'pending', currency
         FROM payments WHERE id = ANY($1)",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}
