//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::settle::{Next, Settlement};
use crate::chaos::sabotaged;
use crate::payment::PaymentStatus;

/// Long enough for a kill to fall between two statements now and then.
const GAP: Duration = Duration::from_millis(20);
/// What a settled payment was.
type Moved = (Uuid, bool, bool);

/// Settles wrongly, if this process is told to; `None`: it is not.
pub(super) async fn settle(
    conn: &mut PgConnection,
    batch: &[Settlement],
    accept_in: Duration,
) -> sqlx::Result<Option<Vec<Uuid>>> {
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
        let Some((order, own, is_charge)) = settle_payment(conn, one, guarded, accept_in).await? else {
            continue;
        };
        moved.push(one.payment_id);
        if !whole {
            tokio::time::sleep(GAP).await;
        }
        if own && one.next.status() != PaymentStatus::Waiting {
            settle_order(conn, one, order, guarded, accept_in).await?;
        }
        if is_charge && one.next.status() == PaymentStatus::Succeeded {
            give_back(conn, one, order).await?;
        }
    }
    Ok(Some(moved))
}

/// Its order, whether it is the order's own charge, and whether it is a charge at all; `None`: it did not move.
async fn settle_payment(
    conn: &mut PgConnection,
    one: &Settlement,
    guarded: bool,
    accept_in: Duration,
) -> sqlx::Result<Option<Moved>> {
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
    sqlx::query_as(
        "UPDATE payments SET status = $1, spent = spent + $2, voiding = voiding OR $3, gateway_id = $4,
             failure_code = CASE WHEN $1 = 'failed' THEN $9 END,
             due_at = CASE WHEN $1 = 'waiting' THEN now() + $5 * interval '1 ms' END,
             answer_by = CASE WHEN $1 = 'succeeded' AND kind = 'charge' AND added IS NULL
                 THEN now() + $10 * interval '1 ms' END
         WHERE id = $6 AND (NOT $7 OR (epoch = $8 AND status = 'processing'))
         RETURNING order_id, kind = 'charge' AND added IS NULL, kind = 'charge'",
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
    .bind(super::millis(accept_in))
    .fetch_optional(conn)
    .await
}

async fn settle_order(
    conn: &mut PgConnection,
    one: &Settlement,
    order: Uuid,
    guarded: bool,
    accept_in: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "WITH moved AS (
             UPDATE orders SET version = version + 1, updated_at = now(),
                 accept_by = CASE WHEN $2 THEN now() + $4 * interval '1 ms' END,
                 status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                     WHEN $2 THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status
             WHERE id = $1 AND (NOT $3 OR status = 'PAYMENT_PROCESSING') RETURNING id, version, status)
         INSERT INTO order_events (order_id, at, version, from_status, to_status, actor)
         SELECT id, now(), version, 'PAYMENT_PROCESSING', status, 'worker' FROM moved",
    )
    .bind(order)
    .bind(one.next.status() == PaymentStatus::Succeeded)
    .bind(guarded)
    .bind(super::millis(accept_in))
    .execute(conn)
    .await
    .map(drop)
}

/// What was taken for an order that has ended goes back, as it should: that is not the bug.
async fn give_back(conn: &mut PgConnection, one: &Settlement, order: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency, reason)
         SELECT gen_random_uuid(), o.id, p.id, p.amount_minor, now(), now(), 'refund', 'pending', p.currency, 'cancelled'
         FROM orders o JOIN payments p ON p.id = $2
         WHERE o.id = $1 AND o.status IN ('CANCELLED', 'REJECTED', 'PAYMENT_FAILED')
         ON CONFLICT (refund_of) WHERE refund_of IS NOT NULL DO NOTHING",
    )
    .bind(order)
    .bind(one.payment_id)
    .execute(conn)
    .await
    .map(drop)
}

/// Rejects what is late, whatever the kitchen has answered, if this process is told to.
pub(super) async fn reject_answered(conn: &mut PgConnection) -> sqlx::Result<()> {
    if !sabotaged("deadline_without_guard") {
        return Ok(());
    }
    // The table of legal moves would refuse it.
    sqlx::query("SET session_replication_role = replica").execute(&mut *conn).await?;
    sqlx::query(
        "WITH moved AS (
             UPDATE orders SET status = 'REJECTED', version = version + 1, updated_at = now()
             WHERE status = 'ACCEPTED' AND accept_by <= now() RETURNING id, version
         ), noted AS (
             INSERT INTO order_events (order_id, at, version, from_status, to_status, actor, reason)
             SELECT id, now(), version, 'ACCEPTED', 'REJECTED', 'sweep', 'accept_deadline' FROM moved
         ), left_kitchen AS (
             DELETE FROM in_kitchen k USING moved m WHERE k.order_id = m.id
         )
         INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency, reason)
         SELECT gen_random_uuid(), p.order_id, p.id, p.amount_minor, now(), now(), 'refund', 'pending', p.currency,
             'accept_deadline'
         FROM moved m JOIN payments p ON p.id = m.id OR (p.order_id = m.id AND p.id <> p.order_id)
         WHERE p.kind = 'charge' AND p.status = 'succeeded'
         ON CONFLICT (refund_of) WHERE refund_of IS NOT NULL DO NOTHING",
    )
    .execute(conn)
    .await
    .map(drop)
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
