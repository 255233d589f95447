//! call off: charges that are not final when their time is over. Of an order's own charge that was never sent, the order ends at
//! once, whatever the gateway does meanwhile: `PAYMENT_FAILED`, or `CANCELLED` where somebody wished that. What may have been sent
//! is never charged again, only voided: until the gateway has said so, nobody knows.

use std::time::Duration;

use domain::order::status::OrderStatus;
use domain::payment::PaymentStatus;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::moves::{Step, apply, lock_charges, never_sent, note_processing};

/// What became of charges whose time was over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CalledOff {
    /// They are only voided from now on.
    pub voiding: usize,
    /// Nothing was ever sent for them, and their orders have ended.
    pub ended: usize,
}

impl CalledOff {
    /// All of them.
    pub const fn found(self) -> usize {
        self.voiding + self.ended
    }
}

/// Why an order failed whose charge was not sent in time.
const EXPIRED: &str = "expired";
/// By how much an api's clock, which makes the ids, may be behind the database's.
const SLACK: Duration = Duration::from_secs(60);

/// Calls off up to `limit` orders' own charges in the queue: those with a time of their own that is over, and those that are
/// older than `age`. What somebody else is just deciding is passed over. While the clock is not believed (`clock.rs`), no time
/// is over.
pub async fn call_off(conn: &mut PgConnection, age: Duration, limit: u32) -> sqlx::Result<CalledOff> {
    call_off_but(conn, age, limit, &[]).await
}

/// The same, but for `except`.
pub async fn call_off_but(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<CalledOff> {
    call_off_these(conn, age, limit, None, except).await
}

/// The same, of one alone.
pub async fn call_off_one(conn: &mut PgConnection, age: Duration, id: Uuid) -> sqlx::Result<CalledOff> {
    call_off_these(conn, age, 1, Some(id), &[]).await
}

/// Which they are.
pub async fn overdue(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    lock_overdue(conn, age, limit, None, except).await
}

async fn call_off_these(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<CalledOff> {
    let mut tx = conn.begin().await?;
    let overdue = lock_overdue(&mut tx, age, limit, only, except).await?;
    if overdue.is_empty() {
        tx.rollback().await?;
        return Ok(CalledOff::default());
    }
    let charges = lock_charges(&mut tx, &overdue).await?;
    let mut unsent = never_sent(&mut tx, &charges).await?;
    let never_claimed = charges.iter().filter(|charge| charge.status == PaymentStatus::Pending);
    unsent.extend(never_claimed.map(|charge| charge.id));
    let (ends, doubts): (Vec<Uuid>, Vec<Uuid>) = overdue.into_iter().partition(|id| unsent.contains(id));
    only_void(&mut tx, &doubts).await?;
    let ended = if ends.is_empty() {
        0
    } else {
        let steps = steps(&mut tx, &ends).await?;
        note_processing(&mut tx, &ends).await?;
        apply(&mut tx, &steps, &charges, &unsent).await?.len()
    };
    tx.commit().await?;
    Ok(CalledOff { voiding: doubts.len(), ended })
}

/// Orders' own charges whose time is over, locked. What is called off already is looked at again only if nothing was ever sent for
/// it: it was wished away while it was under way. (By the index of expiring ones, and by ids, which are in the order of time: a
/// walk through the whole queue would come too dear where it is long.)
async fn lock_overdue(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        WITH expired AS (
            SELECT id FROM open_charges WHERE expires_at <= now() ORDER BY expires_at
        ), old AS (
            SELECT id FROM open_charges
            WHERE id < first_id(now() - ($1::bigint - $3::bigint) * interval '1 ms') AND expires_at IS NULL
                AND created_at < now() - $1::bigint * interval '1 ms'
            ORDER BY id
        )
        SELECT c.id AS "id!" FROM (TABLE expired UNION ALL TABLE old) overdue JOIN open_charges c ON c.id = ANY(ARRAY[overdue.id])
        WHERE now() <= (SELECT until FROM clock_trust) AND ($4::uuid IS NULL OR c.id = $4) AND c.id <> ALL($5)
            AND (NOT c.voiding OR c.trying IS NULL AND NOT EXISTS (
                SELECT FROM payment_attempts a WHERE a.payment_id = c.id AND a.outcome IS DISTINCT FROM 'unavailable'))
        LIMIT $2 FOR UPDATE OF c SKIP LOCKED
        "#,
        crate::millis(age),
        i64::from(limit),
        crate::millis(SLACK.min(age)),
        only,
        except,
    )
    .fetch_all(conn)
    .await
}

/// These may have been sent: they are never charged again, only voided, at once where nothing is under way.
async fn only_void(conn: &mut PgConnection, charges: &[Uuid]) -> sqlx::Result<()> {
    if charges.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE open_charges SET voiding = true, due_at = CASE WHEN trying IS NULL THEN now() ELSE due_at END
         WHERE id = ANY($1)",
        charges
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The ends of these orders, from where they are shown. They are locked one after the other, as everybody does who locks several.
async fn steps(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Step>> {
    let rows = sqlx::query!(
        r#"SELECT id, CASE WHEN status = 'PENDING' AND EXISTS (
                      SELECT FROM open_charges c WHERE c.id = o.id AND c.began_at IS NOT NULL)
                      THEN 'PAYMENT_PROCESSING' ELSE status END AS "status!: OrderStatus",
                  cancel_requested_at IS NOT NULL AS "wished!", cancel_actor, cancel_reason, cancel_request
           FROM orders o WHERE id = ANY($1) ORDER BY id FOR UPDATE"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    let steps = rows.into_iter().map(|row| Step {
        order_id: row.id,
        from: row.status,
        to: if row.wished { OrderStatus::Cancelled } else { OrderStatus::PaymentFailed },
        actor: if row.wished { row.cancel_actor.unwrap_or_default() } else { "sweep".to_owned() },
        reason: if row.wished { row.cancel_reason } else { Some(EXPIRED.to_owned()) },
        refund_reason: if row.wished { "cancelled" } else { EXPIRED },
        keeps: false,
        request: row.cancel_request.filter(|_| row.wished),
    });
    Ok(steps.collect())
}

/// Calls off up to `limit` other charges (of additions, of orders that are paid anew) whose time is over; says how many.
pub async fn call_off_others(conn: &mut PgConnection, age: Duration, limit: u32) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
        WHERE now() <= (SELECT until FROM clock_trust) AND id = ANY(ARRAY(
            SELECT id FROM payments
            WHERE due_at IS NOT NULL AND kind = 'charge' AND NOT voiding
                AND coalesce(expires_at, created_at + $1::bigint * interval '1 ms') < now()
            ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
        "#,
        crate::millis(age),
        i64::from(limit)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Which they are, but for `except`.
pub async fn others_overdue(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT id FROM payments
        WHERE now() <= (SELECT until FROM clock_trust) AND due_at IS NOT NULL AND kind = 'charge' AND NOT voiding
            AND coalesce(expires_at, created_at + $1::bigint * interval '1 ms') < now() AND id <> ALL($3)
        ORDER BY id LIMIT $2
        "#,
        crate::millis(age),
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Calls off one of them.
pub async fn call_off_other(conn: &mut PgConnection, payment_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
         WHERE id = $1 AND due_at IS NOT NULL AND kind = 'charge' AND NOT voiding",
        payment_id
    )
    .execute(conn)
    .await
    .map(drop)
}
