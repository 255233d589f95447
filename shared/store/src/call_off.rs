//! call off: charges that are not final when their time is over. From that moment nobody claims one to charge it (`claim/`). Of an
//! order's own charge that was never sent, or of the one that pays it anew, the order ends at once, whatever the gateway does
//! meanwhile: `PAYMENT_FAILED`, or `CANCELLED` where somebody wished that. An addition's ends alone. What may have been sent is
//! never charged again, only voided: until the gateway has said so, nobody knows.

mod others;

use std::time::Duration;

use domain::order::status::OrderStatus;
use domain::payment::PaymentStatus;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::moves::{Step, apply, lock_charges, lock_orders, never_sent, note_processing};

/// What became of charges whose time was over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CalledOff {
    /// They are only voided from now on.
    pub voiding: usize,
    /// Nothing was ever sent for them: their orders have ended, or they are additions, and have.
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
/// By how much an api's clock, which makes the ids, may be ahead of the database's.
const SLACK: Duration = Duration::from_secs(60);

/// Whose charges are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those that orders came in with, in the queue.
    First,
    /// Those of orders that are paid anew.
    Anew,
    /// Those of additions, which end alone: the order goes on, and their lines are taken off it (`additions.rs`).
    Additions,
}

/// A charge whose time is over.
#[derive(Debug, Clone, Copy)]
struct Late {
    id: Uuid,
    order_id: Uuid,
}

/// Calls off up to `limit` charges in the queue: those with a time of their own that is over, and those that are
/// older than `age`. What somebody else is just deciding is passed over. While the clock is not believed (`clock.rs`), no time
/// is over.
pub async fn call_off(conn: &mut PgConnection, age: Duration, limit: u32) -> sqlx::Result<CalledOff> {
    call_off_but(conn, Whose::First, age, limit, &[]).await
}

/// The same of these, but for `except`.
pub async fn call_off_but(
    conn: &mut PgConnection,
    whose: Whose,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<CalledOff> {
    call_off_these(conn, whose, age, limit, None, except).await
}

/// The same, of one alone.
pub async fn call_off_one(
    conn: &mut PgConnection,
    whose: Whose,
    age: Duration,
    id: Uuid,
) -> sqlx::Result<CalledOff> {
    call_off_these(conn, whose, age, 1, Some(id), &[]).await
}

/// Which they are.
pub async fn overdue(
    conn: &mut PgConnection,
    whose: Whose,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    let late = lock_late(conn, whose, age, limit, None, except).await?;
    Ok(late.into_iter().map(|late| late.id).collect())
}

async fn call_off_these(
    conn: &mut PgConnection,
    whose: Whose,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<CalledOff> {
    let mut tx = conn.begin().await?;
    let late = lock_late(&mut tx, whose, age, limit, only, except).await?;
    if late.is_empty() {
        tx.rollback().await?;
        return Ok(CalledOff::default());
    }
    let done = if whose == Whose::Additions {
        others::end_additions(&mut tx, &late).await?
    } else {
        end_orders(&mut tx, &late).await?
    };
    tx.commit().await?;
    Ok(done)
}

async fn lock_late(
    conn: &mut PgConnection,
    whose: Whose,
    age: Duration,
    limit: u32,
    only: Option<Uuid>,
    except: &[Uuid],
) -> sqlx::Result<Vec<Late>> {
    match whose {
        Whose::First => lock_overdue(conn, age, limit, only, except).await,
        Whose::Anew => others::lock_anew(conn, age, limit, only, except).await,
        Whose::Additions => others::lock_additions(conn, age, limit, only, except).await,
    }
}

/// Ends the orders of those that were never sent. The others are only voided.
async fn end_orders(conn: &mut PgConnection, late: &[Late]) -> sqlx::Result<CalledOff> {
    let mut orders: Vec<Uuid> = late.iter().map(|late| late.order_id).collect();
    orders.sort_unstable();
    let charges = lock_charges(conn, &orders).await?;
    let mut unsent = never_sent(conn, &charges).await?;
    let never_claimed = charges.iter().filter(|charge| charge.status == PaymentStatus::Pending);
    unsent.extend(never_claimed.map(|charge| charge.id));
    let (ends, doubts): (Vec<Late>, Vec<Late>) =
        late.iter().copied().partition(|late| unsent.contains(&late.id));
    let doubts: Vec<Uuid> = doubts.iter().map(|late| late.id).collect();
    only_void(conn, &doubts).await?;
    let ends: Vec<Uuid> = ends.iter().map(|late| late.order_id).collect();
    let ended = if ends.is_empty() {
        0
    } else {
        let steps = steps(conn, &ends).await?;
        note_processing(conn, &ends).await?;
        apply(conn, &steps, &charges, &unsent).await?.len()
    };
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
) -> sqlx::Result<Vec<Late>> {
    sqlx::query_as!(
        Late,
        r#"
        WITH expired AS (
            SELECT id FROM open_charges WHERE expires_at <= now() ORDER BY expires_at
        ), old AS (
            SELECT id FROM open_charges
            WHERE id < first_id(now() - ($1::bigint - $3::bigint) * interval '1 ms') AND expires_at IS NULL
                AND created_at < now() - $1::bigint * interval '1 ms'
            ORDER BY id
        )
        SELECT c.id AS "id!", c.id AS "order_id!" FROM (TABLE expired UNION ALL TABLE old) overdue JOIN open_charges c ON c.id = ANY(ARRAY[overdue.id])
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
        r#"
        WITH own AS (
            UPDATE open_charges SET voiding = true, due_at = CASE WHEN trying IS NULL THEN now() ELSE due_at END
            WHERE id = ANY($1)
        )
        UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
        WHERE id = ANY($1) AND status IN ('processing', 'waiting')
        "#,
        charges
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The ends of these orders, from where they are shown.
async fn steps(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Step>> {
    let steps = lock_orders(conn, orders).await?.into_iter().map(|order| Step {
        order_id: order.id,
        from: order.status,
        to: if order.wished { OrderStatus::Cancelled } else { OrderStatus::PaymentFailed },
        actor: if order.wished { order.cancel_actor.unwrap_or_default() } else { "sweep".to_owned() },
        reason: if order.wished { order.cancel_reason } else { Some(EXPIRED.to_owned()) },
        refund_reason: if order.wished { "cancelled" } else { EXPIRED },
        keeps: false,
        request: order.cancel_request.filter(|_| order.wished),
    });
    Ok(steps.collect())
}
