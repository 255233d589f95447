//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::events::note;
use super::refunds::{Owed, owe};
use super::settle::{Next, Settled, Settlement};
use crate::chaos::sabotaged;
use crate::order::OrderStatus;
use crate::payment::{PaymentKind, PaymentStatus};

/// Long enough for a kill to fall between two statements now and then.
const GAP: Duration = Duration::from_millis(20);
/// What a settled payment is: its order, its kind, whether it is an addition's, its amount.
type Paid = (Uuid, PaymentKind, bool, i64);

/// Settles wrongly, if this process is told to; `None`: it is not.
pub(super) async fn settle(
    conn: &mut PgConnection,
    batch: &[Settlement],
    accept_in: Duration,
) -> sqlx::Result<Option<Vec<Settled>>> {
    let guarded = !sabotaged("no_epoch_guard");
    let whole = !sabotaged("settle_outside_transaction");
    if guarded && whole {
        return Ok(None);
    }
    // The database's own guards have to go, too, or they would catch the bug first.
    if !guarded {
        sqlx::query("SET session_replication_role = replica").execute(&mut *conn).await?;
    }
    let mut settled = Vec::new();
    for one in batch {
        let Some((order_id, kind, is_addition, amount_minor)) =
            settle_payment(conn, one, guarded, accept_in).await?
        else {
            continue;
        };
        if !whole {
            tokio::time::sleep(GAP).await;
        }
        let status = one.next.status();
        let decides = kind == PaymentKind::Charge && !is_addition && status != PaymentStatus::Waiting;
        let moved_to = if decides {
            settle_order(conn, one, order_id, amount_minor, guarded, accept_in).await?
        } else {
            None
        };
        settled.push(Settled {
            id: one.payment_id,
            order_id,
            kind,
            is_addition,
            status,
            amount_minor,
            moved_to,
        });
    }
    Ok(Some(settled))
}

/// `None`: it did not move.
async fn settle_payment(
    conn: &mut PgConnection,
    one: &Settlement,
    guarded: bool,
    accept_in: Duration,
) -> sqlx::Result<Option<Paid>> {
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
         RETURNING order_id, kind, added IS NOT NULL, amount_minor",
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
    amount_minor: i64,
    guarded: bool,
    accept_in: Duration,
) -> sqlx::Result<Option<OrderStatus>> {
    let paid = one.next.status() == PaymentStatus::Succeeded;
    sqlx::query_scalar(
        "WITH moved AS (
             UPDATE orders SET version = version + 1, updated_at = now(),
                 accept_by = CASE WHEN $2 THEN now() + $4 * interval '1 ms' END,
                 status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                     WHEN $2 THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status
             WHERE id = $1 AND (NOT $3 OR status = 'PAYMENT_PROCESSING') RETURNING id, version, status)
         INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, payment_id, amount_minor)
         SELECT id, now(), version, 'moved', 'PAYMENT_PROCESSING', status, 'worker', $5, $6 FROM moved RETURNING to_status",
    )
    .bind(order)
    .bind(paid)
    .bind(guarded)
    .bind(super::millis(accept_in))
    .bind(one.payment_id)
    .bind(paid.then_some(amount_minor))
    .fetch_optional(conn)
    .await
}

/// Takes back what was counted for events of these orders, if this process is told to.
pub(super) async fn uncount(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    if !sabotaged("event_not_counted") {
        return Ok(());
    }
    sqlx::query("UPDATE orders SET version = version - 1 WHERE id = ANY($1)")
        .bind(orders)
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
    let mut tx = conn.begin().await?;
    let charges: Vec<(Uuid,)> = sqlx::query_as(
        "WITH moved AS (
             UPDATE orders SET status = 'REJECTED', version = version + 1, updated_at = now()
             WHERE status = 'ACCEPTED' AND accept_by <= now() RETURNING id, version
         ), noted AS (
             INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason)
             SELECT id, now(), version, 'moved', 'ACCEPTED', 'REJECTED', 'sweep', 'accept_deadline' FROM moved
         ), left_kitchen AS (
             DELETE FROM in_kitchen k USING moved m WHERE k.order_id = m.id
         )
         SELECT p.id FROM moved m JOIN payments p ON p.id = m.id OR (p.order_id = m.id AND p.id <> p.order_id)
         WHERE p.kind = 'charge' AND p.status = 'succeeded'",
    )
    .fetch_all(&mut *tx)
    .await?;
    // Nobody else touches these charges here, so they need not be held.
    let owed: Vec<Owed> = charges
        .into_iter()
        .map(|(charge_id,)| Owed { charge_id, why: "accept_deadline".to_owned(), actor: "sweep".to_owned() })
        .collect();
    let changes = owe(&mut tx, &owed).await?;
    note(&mut tx, &changes).await?;
    tx.commit().await
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
