//! Bugs on purpose that need SQL of their own, for the chaos harness alone: it has to notice each of them.

use std::time::Duration;

use domain::order::status::OrderStatus;
use domain::payment::{PaymentKind, PaymentStatus};
use runtime::chaos::sabotaged;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Next, Settled, Settlement};
use crate::claim;

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
    if sabotaged("claim_after_call") {
        let own: Vec<Uuid> = batch.iter().filter(|one| one.is_own).map(|one| one.payment_id).collect();
        claim::write(conn, &own, GAP.into()).await?;
        return Ok(None);
    }
    let guarded = !sabotaged("no_epoch_guard");
    let whole = !sabotaged("settle_outside_transaction");
    let deletes = !sabotaged("queue_row_stays");
    let depends = !sabotaged("payment_unguarded");
    if guarded && whole && deletes && depends {
        return Ok(None);
    }
    // The database's own guards have to go, too, or they would catch the bug first.
    if !guarded {
        sqlx::query("SET session_replication_role = replica").execute(&mut *conn).await?;
    }
    let mut settled = Vec::new();
    for one in batch {
        write_try(conn, one).await?;
        let paid = if !one.is_own {
            settle_payment(conn, one, guarded, accept_in).await?
        } else if matches!(one.next, Next::Retry { .. }) {
            put_back(conn, one, guarded).await?
        } else {
            take_out(conn, one, guarded, deletes, depends, accept_in).await?
        };
        let Some((order_id, kind, is_addition, amount_minor)) = paid else { continue };
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

/// The row of the try, as it should be.
async fn write_try(conn: &mut PgConnection, one: &Settlement) -> sqlx::Result<()> {
    sqlx::query(
        "WITH tried AS (
             UPDATE payment_attempts SET outcome = $1, code = $2, finished_at = clock_timestamp()
             WHERE payment_id = $3 AND number = $4 AND epoch = $5)
         INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code)
         SELECT id, claimed_at, clock_timestamp(), attempts, epoch, trying, $1, $2 FROM open_charges
         WHERE id = $3 AND epoch = $5 AND trying IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .bind(one.outcome)
    .bind(&one.code)
    .bind(one.payment_id)
    .bind(one.number)
    .bind(one.epoch)
    .execute(conn)
    .await
    .map(drop)
}

/// An order's own charge becomes final. Where it is `guarded`, under its epoch alone; it `deletes` the row from the queue; and
/// whether it writes the payment `depends` on there having been one. `None`: it did not move.
async fn take_out(
    conn: &mut PgConnection,
    one: &Settlement,
    guarded: bool,
    deletes: bool,
    depends: bool,
    accept_in: Duration,
) -> sqlx::Result<Option<Paid>> {
    let gateway_id = match &one.next {
        Next::Succeeded { gateway_id } => Some(gateway_id.clone()),
        Next::Failed | Next::Retry { .. } => None,
    };
    let found: Option<(i64,)> = sqlx::query_as(
        "WITH found AS (
             SELECT * FROM open_charges WHERE id = $1 AND (NOT $2 OR NOT $4 OR (epoch = $3 AND trying IS NOT NULL))
         ), gone AS (
             DELETE FROM open_charges c USING found f WHERE c.id = f.id AND $5 AND (NOT $2 OR c.epoch = $3)
         ), again AS (
             UPDATE payments SET status = $6, gateway_id = $7, failure_code = $8 WHERE id = $1 AND NOT $2
             RETURNING amount_minor
         ), final AS (
             INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, epoch, attempts, spent, kind, status,
                                   voiding, currency, gateway_id, failure_code)
             SELECT id, id, amount_minor, created_at, CASE WHEN $6 = 'succeeded' THEN now() + $9 * interval '1 ms' END,
                 epoch, attempts, spent, 'charge', $6, voiding, currency, $7, $8
             FROM found ON CONFLICT DO NOTHING
             RETURNING amount_minor
         )
         TABLE again UNION ALL TABLE final",
    )
    .bind(one.payment_id)
    .bind(guarded)
    .bind(one.epoch)
    .bind(depends)
    .bind(deletes)
    .bind(one.next.status())
    .bind(gateway_id)
    .bind(one.code.as_ref().filter(|_| one.next == Next::Failed))
    .bind(crate::millis(accept_in))
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(amount_minor,)| (one.payment_id, PaymentKind::Charge, false, amount_minor)))
}

/// It is to be tried again, as it should be. `None`: it did not move.
async fn put_back(conn: &mut PgConnection, one: &Settlement, guarded: bool) -> sqlx::Result<Option<Paid>> {
    let Next::Retry { delay, spend, void } = one.next else { return Ok(None) };
    let found: Option<(i64,)> = sqlx::query_as(
        "UPDATE open_charges SET trying = NULL, claimed_at = NULL, lease_until = NULL, spent = spent + $1,
             voiding = voiding OR $2, due_at = now() + $3 * interval '1 ms'
         WHERE id = $4 AND (NOT $5 OR (epoch = $6 AND trying IS NOT NULL)) RETURNING amount_minor",
    )
    .bind(i32::from(spend))
    .bind(void)
    .bind(crate::millis(delay))
    .bind(one.payment_id)
    .bind(guarded)
    .bind(one.epoch)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(amount_minor,)| (one.payment_id, PaymentKind::Charge, false, amount_minor)))
}

/// Another payment moves. `None`: it did not.
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
    sqlx::query_as(
        "UPDATE payments SET status = $1, spent = spent + $2, voiding = voiding OR $3, gateway_id = $4,
             failure_code = CASE WHEN $1 = 'failed' THEN $9 END,
             due_at = CASE WHEN $1 = 'waiting' THEN now() + $5 * interval '1 ms' END,
             answer_by = CASE WHEN $1 = 'succeeded' AND decides(payments)
                 THEN now() + $10 * interval '1 ms' END
         WHERE id = $6 AND (NOT $7 OR (epoch = $8 AND status = 'processing'))
         RETURNING order_id, kind, added IS NOT NULL, amount_minor",
    )
    .bind(one.next.status())
    .bind(i32::from(spend))
    .bind(void)
    .bind(gateway_id)
    .bind(crate::millis(delay))
    .bind(one.payment_id)
    .bind(guarded)
    .bind(one.epoch)
    .bind(&one.code)
    .bind(crate::millis(accept_in))
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
        "WITH before AS (
             SELECT id, status FROM orders WHERE id = $1 AND (NOT $3 OR status IN ('PENDING', 'PAYMENT_PROCESSING')) FOR UPDATE
         ), moved AS (
             UPDATE orders o SET version = version + CASE WHEN b.status = 'PENDING' THEN 2 ELSE 1 END, updated_at = now(),
                 accept_by = CASE WHEN $2 THEN now() + $4 * interval '1 ms' END,
                 status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                     WHEN $2 THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status
             FROM before b WHERE o.id = b.id RETURNING o.id, version, o.status, b.status AS from_status)
         INSERT INTO order_events (subject, at, began_at, version, what, from_status, to_status, actor, payment_id, amount_minor)
         SELECT id, now(), CASE WHEN from_status = 'PENDING' THEN now() END, version, 'moved',
             CASE WHEN from_status = 'PENDING' THEN from_status ELSE 'PAYMENT_PROCESSING' END, status, 'worker', $5, $6
         FROM moved RETURNING to_status",
    )
    .bind(order)
    .bind(paid)
    .bind(guarded)
    .bind(crate::millis(accept_in))
    .bind(one.payment_id)
    .bind(paid.then_some(amount_minor))
    .fetch_optional(conn)
    .await
}
