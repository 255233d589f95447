//! moves: what people ask for is carried out: an order moves and its event is noted, together with what follows for its
//! payments. Also what the kitchen's deadline does to those that nobody answered.
//!
//! Every transaction here locks the charges of an order before the order, as claiming and settling do. So whoever ends
//! an order knows of each charge whether it was ever sent, and no charge can be sent that is not told so.

use sqlx::{Connection, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::read::{self, Whole};
use crate::chaos::crash_point;
use crate::moves::{Move, Refusal, Ruling, Standing, Wanted};
use crate::order::OrderStatus;
use crate::payment::PaymentStatus;

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Moved {
    /// The order as it stands now: moved, or with the wish noted.
    Done {
        /// With all that belongs to it.
        whole: Box<Whole>,
        /// Whether it is only a wish yet.
        wish: bool,
    },
    /// It was not to be moved so. A normal outcome of a race.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// Where it stands.
        status: OrderStatus,
    },
    /// There is no such order, or not for whoever asks.
    NotFound,
}

/// One step of one order, decided.
struct Step {
    order_id: Uuid,
    from: OrderStatus,
    to: OrderStatus,
    actor: String,
    reason: Option<String>,
    /// Why the money goes back, if any does.
    refund_reason: &'static str,
    request: Option<Uuid>,
}

/// Carries `ask` out. Running it twice is harmless: the second run finds the first one's event.
pub async fn carry_out(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<Moved> {
    let mut tx = conn.begin().await?;
    let moved = rule_and_move(&mut tx, ask).await?;
    end(tx, moved).await
}

/// Ends the transaction as what came of it says. Aloud, whatever it was: a transaction that is merely dropped keeps its
/// locks until the connection's next use.
pub(super) async fn end(tx: Transaction<'_, Postgres>, moved: Moved) -> sqlx::Result<Moved> {
    match moved {
        Moved::Done { .. } => {
            crash_point("api.before_move");
            tx.commit().await?;
        }
        Moved::Refused { .. } | Moved::NotFound => tx.rollback().await?,
    }
    Ok(moved)
}

async fn rule_and_move(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<Moved> {
    let charges =
        if touches_money(ask.wanted) { lock_charges(conn, &[ask.order_id]).await? } else { Vec::new() };
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Moved::NotFound) };
    if !ask.by.may_see(&order.customer_id) {
        return Ok(Moved::NotFound);
    }
    let standing = Standing {
        status: order.status,
        in_flight: charges.iter().any(Charge::in_flight),
        late: charges.iter().any(|charge| charge.answer_by.is_some_and(|by| by <= order.seen_at)),
        wished: order.wished,
    };
    let ruling = standing.rule(ask.wanted, ask.reason.is_some());
    match ruling {
        Ruling::Move => {
            apply(conn, &[step(ask, order.status)]).await?;
        }
        Ruling::Wish => wish(conn, ask).await?,
        Ruling::Wished => {}
        Ruling::Refused(_) if done_before(conn, ask).await? => {}
        Ruling::Refused(refusal) => return Ok(Moved::Refused { refusal, status: order.status }),
    }
    let Some(whole) = read::whole(conn, ask.order_id).await? else { return Ok(Moved::NotFound) };
    let wish = matches!(ruling, Ruling::Wish | Ruling::Wished);
    Ok(Moved::Done { whole: Box::new(whole), wish })
}

/// Whether what is asked for may end a payment, or answers what its deadline asks.
const fn touches_money(wanted: Wanted) -> bool {
    !matches!(wanted.to(), OrderStatus::Ready | OrderStatus::Delivered)
}

fn step(ask: &Move, from: OrderStatus) -> Step {
    let to = ask.wanted.to();
    Step {
        order_id: ask.order_id,
        from,
        to,
        actor: ask.by.name(),
        reason: ask.reason.clone(),
        refund_reason: if to == OrderStatus::Rejected { "rejected" } else { "cancelled" },
        request: Some(ask.request),
    }
}

/// A charge of an order, or what its channel took instead, locked.
pub(super) struct Charge {
    status: PaymentStatus,
    pub(super) answer_by: Option<OffsetDateTime>,
    /// Not that of an addition.
    own: bool,
}

impl Charge {
    /// The order's own, claimed at least once and not final: it may have been sent.
    const fn in_flight(&self) -> bool {
        self.own && matches!(self.status, PaymentStatus::Processing | PaymentStatus::Waiting)
    }
}

/// Locks all charges of these orders, in the order of their ids. Whoever adds one locks the others first: one that was
/// being added while the first look waited is there at the second, and after that there are no more.
pub(super) async fn lock_charges(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    lock_those_there(conn, orders).await?;
    lock_those_there(conn, orders).await
}

async fn lock_those_there(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    sqlx::query_as!(
        Charge,
        r#"SELECT status AS "status: PaymentStatus", answer_by, added IS NULL AS "own!" FROM payments
           WHERE (id = ANY($1) OR (order_id = ANY($1) AND id <> order_id)) AND kind <> 'refund'
           ORDER BY id FOR UPDATE"#,
        orders
    )
    .fetch_all(conn)
    .await
}

/// What of an order decides, locked.
struct Locked {
    status: OrderStatus,
    customer_id: String,
    wished: bool,
    seen_at: OffsetDateTime,
}

async fn lock_order(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Locked>> {
    sqlx::query_as!(
        Locked,
        r#"SELECT status AS "status: OrderStatus", customer_id, cancel_requested_at IS NOT NULL AS "wished!",
                  clock_timestamp() AS "seen_at!"
           FROM orders WHERE id = $1 FOR UPDATE"#,
        id
    )
    .fetch_optional(conn)
    .await
}

async fn done_before(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM order_events WHERE order_id = $1 AND request = $2) AS "done!""#,
        ask.order_id,
        ask.request
    )
    .fetch_one(conn)
    .await
}

/// Notes that the order is to be cancelled once its charge is known. The charge is never sent again, only voided; what
/// that finds, or what a worker that just sent it hears, settles the wish.
async fn wish(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH wished AS (
            UPDATE orders SET cancel_requested_at = now(), cancel_actor = $2, cancel_reason = $3, cancel_request = $4
            WHERE id = $1 AND cancel_requested_at IS NULL
        )
        UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
        WHERE (id = $1 OR (order_id = $1 AND id <> order_id)) AND kind = 'charge'
            AND status IN ('pending', 'processing', 'waiting')
        "#,
        ask.order_id,
        ask.by.name(),
        ask.reason,
        ask.request
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Moves orders whose charges are locked, in one statement. Where an order ends without being delivered: what was never
/// sent is closed, what may be on its way is only voided from now on, and what was taken is given back, each charge by a
/// refund of its own. Says which moved.
///
/// No condition of its look-ups is that of a partial index: one that was empty when the planner looked would be read
/// whole for each order, also when it has a million entries.
async fn apply(conn: &mut PgConnection, steps: &[Step]) -> sqlx::Result<Vec<Uuid>> {
    let orders: Vec<Uuid> = steps.iter().map(|step| step.order_id).collect();
    let from: Vec<OrderStatus> = steps.iter().map(|step| step.from).collect();
    let to: Vec<OrderStatus> = steps.iter().map(|step| step.to).collect();
    let actors: Vec<String> = steps.iter().map(|step| step.actor.clone()).collect();
    let reasons: Vec<Option<String>> = steps.iter().map(|step| step.reason.clone()).collect();
    let whys: Vec<String> = steps.iter().map(|step| step.refund_reason.to_owned()).collect();
    let requests: Vec<Option<Uuid>> = steps.iter().map(|step| step.request).collect();
    sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::order_status[], $3::order_status[], $4::text[], $5::text[], $6::text[],
                                 $7::uuid[])
                AS input(id, from_status, to_status, actor, reason, why, request)
        ), moved AS (
            UPDATE orders o SET status = i.to_status, version = o.version + 1, updated_at = now()
            FROM input i WHERE o.id = i.id AND o.status = i.from_status
            RETURNING o.id, o.version, i.from_status, i.to_status, i.actor, i.reason, i.why, i.request
        ), noted AS (
            INSERT INTO order_events (order_id, at, version, from_status, to_status, actor, reason, request)
            SELECT id, now(), version, from_status, to_status, actor, reason, request FROM moved
        ), ended AS (
            SELECT id, why FROM moved WHERE to_status IN ('REJECTED', 'CANCELLED')
        ), closed AS (
            UPDATE payments p SET status = 'failed', due_at = NULL, failure_code = e.why
            FROM ended e WHERE (p.id = e.id OR (p.order_id = e.id AND p.id <> p.order_id)) AND p.kind = 'charge'
                AND p.status = 'pending'
        ), called_off AS (
            UPDATE payments p
            SET voiding = true, due_at = CASE WHEN p.status = 'waiting' THEN now() ELSE p.due_at END
            FROM ended e WHERE (p.id = e.id OR (p.order_id = e.id AND p.id <> p.order_id)) AND p.kind = 'charge'
                AND p.status IN ('processing', 'waiting')
        ), answered AS (
            UPDATE payments p SET answer_by = NULL
            FROM moved m
            WHERE m.from_status = 'CONFIRMED' AND (p.id = m.id OR (p.order_id = m.id AND p.id <> p.order_id))
                AND p.kind <> 'refund' AND p.added IS NULL AND p.status = 'succeeded'
        ), refunded AS (
            INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency, reason)
            SELECT gen_random_uuid(), p.order_id, p.id, p.amount_minor, now(), now(), 'refund', 'pending', p.currency, e.why
            FROM ended e JOIN payments p ON p.id = e.id OR (p.order_id = e.id AND p.id <> p.order_id)
            WHERE p.kind = 'charge' AND p.status = 'succeeded'
            ON CONFLICT (refund_of) WHERE refund_of IS NOT NULL DO NOTHING
        )
        SELECT id FROM moved
        "#,
        &orders,
        &from as &[OrderStatus],
        &to as &[OrderStatus],
        &actors,
        &reasons as &[Option<String>],
        &whys,
        &requests as &[Option<Uuid>],
    )
    .fetch_all(conn)
    .await
}

/// What a sweep of unanswered orders found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// Deadlines that had passed.
    pub found: usize,
    /// Orders that were rejected for it; the others had moved on.
    pub rejected: usize,
}

/// Rejects up to `limit` confirmed orders whose deadline has passed, longest overdue first, and gives their money back.
/// What another sweep or the kitchen is just deciding is passed over. An order is late by the database's clock, and by
/// the one column that its acceptance looks at, under the same lock. (`now()` and not the clock itself, which no index
/// serves: the transaction has only just begun.)
pub async fn reject_unanswered(conn: &mut PgConnection, limit: u32) -> sqlx::Result<Unanswered> {
    #[cfg(feature = "chaos")]
    super::sabotage::reject_answered(conn).await?;
    let mut tx = conn.begin().await?;
    let late = sqlx::query!(
        r#"SELECT id, order_id FROM payments WHERE answer_by <= now()
           ORDER BY answer_by LIMIT $1 FOR UPDATE SKIP LOCKED"#,
        i64::from(limit)
    )
    .fetch_all(&mut *tx)
    .await?;
    if late.is_empty() {
        tx.rollback().await?;
        return Ok(Unanswered::default());
    }
    let charges: Vec<Uuid> = late.iter().map(|row| row.id).collect();
    let mut orders: Vec<Uuid> = late.iter().map(|row| row.order_id).collect();
    orders.sort_unstable();
    lock_charges(&mut tx, &orders).await?;
    crash_point("worker.mid_deadline");
    let steps: Vec<Step> = orders
        .into_iter()
        .map(|order_id| Step {
            order_id,
            from: OrderStatus::Confirmed,
            to: OrderStatus::Rejected,
            actor: "sweep".to_owned(),
            reason: Some("accept_deadline".to_owned()),
            refund_reason: "accept_deadline",
            request: None,
        })
        .collect();
    let rejected = apply(&mut tx, &steps).await?.len();
    // Whatever else the order did meanwhile: the question is answered.
    sqlx::query!(
        "UPDATE payments SET answer_by = NULL WHERE id = ANY($1) AND answer_by IS NOT NULL",
        &charges
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Unanswered { found: charges.len(), rejected })
}
