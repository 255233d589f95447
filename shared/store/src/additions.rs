//! additions: more lines for an order that is still open, with a charge of their own; and a new charge for an order whose
//! payment failed.
//!
//! An addition is charged only once its order's own charge has succeeded: until then it is held, so that an order that
//! comes to nothing never has money of an addition. A sweep lets held ones go, and takes the lines of failed ones off.
//! As everywhere, the charges of an order are locked before the order; whoever adds one holds the others.

use std::time::Duration;

use domain::event::What;
use domain::money::{Money, currency_of};
use domain::order::additions::NewAddition;
use domain::order::lines::{Item, add_items, take_off};
use domain::order::moves::{Actor, Expected, Refusal};
use domain::order::status::OrderStatus;
use runtime::chaos::sabotaged;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::events::{Change, note};
use super::keyed::{Keyed, Request};
use super::moves::{Decided, Moved, answer, end, lock_charges, lock_order, note_processing};
use super::names::name_payment;
use crate::stock::holds::{self, Part};

/// A request to add to an order.
#[derive(Debug, Clone)]
pub struct Add {
    /// The order.
    pub order_id: Uuid,
    /// Who asks.
    pub by: Actor,
    /// What is to be added, with the id of its charge fixed.
    pub addition: NewAddition,
    /// What they have seen.
    pub expected: Expected,
}

/// A request to pay anew for an order whose payment failed.
#[derive(Debug, Clone)]
pub struct PayAnew {
    /// The order.
    pub order_id: Uuid,
    /// Who asks.
    pub by: Actor,
    /// UUIDv7 of the new charge: the gateway's idempotency key.
    pub payment_id: Uuid,
    /// The client's name for it.
    pub reference: String,
    /// What they have seen.
    pub expected: Expected,
}

/// What an order is made of.
struct Lines {
    items: Json<Vec<Item>>,
    total_minor: i64,
    currency: String,
}

/// The lines of an order that is there, and that the caller holds.
async fn lines(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Lines> {
    sqlx::query_as!(
        Lines,
        r#"SELECT coalesce(o.items, first.items) AS "items!: Json<Vec<Item>>", total_minor, currency
           FROM orders o JOIN order_events first ON first.subject = o.id AND first.version = 1 WHERE o.id = $1"#,
        id
    )
    .fetch_one(conn)
    .await
}

/// What an order's payments say about a new one.
struct Known {
    /// The new one is there: an earlier run of this very request took effect.
    this: bool,
    /// An addition that is not final, or whose lines are still to be taken off.
    unsettled: bool,
}

async fn known(conn: &mut PgConnection, order_id: Uuid, payment: Uuid) -> sqlx::Result<Known> {
    sqlx::query_as!(
        Known,
        r#"SELECT coalesce(bool_or(id = $2), false) AS "this!",
                  coalesce(bool_or(added IS NOT NULL AND status <> 'succeeded' AND dropped_at IS NULL), false) AS "unsettled!"
           FROM payments WHERE id = $1 OR (order_id = $1 AND id <> order_id)"#,
        order_id,
        payment
    )
    .fetch_one(conn)
    .await
}

/// Adds lines to an order that is not beyond `CONFIRMED`, in one atomic move: the same article at the same price adds to
/// its quantity. Running it twice is harmless.
pub async fn add(conn: &mut PgConnection, asked: impl Into<Keyed<'_, Add>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.addition.payment_id, key };
    let mut tx = conn.begin().await?;
    let decided = rule_and_add(&mut tx, ask, request).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

/// What a request that changed something, or has changed it before, comes to.
const DONE: Decided = Decided::Done { wish: false };

async fn rule_and_add(conn: &mut PgConnection, ask: &Add, request: Request<'_>) -> sqlx::Result<Decided> {
    let addition = &ask.addition;
    let charges = lock_charges(conn, &[ask.order_id]).await?;
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    let status = order.status;
    let refused = |refusal| Ok(Decided::Refused { refusal, status });
    if known(conn, ask.order_id, addition.payment_id).await?.this {
        return Ok(DONE);
    }
    if !ask.expected.has(order.version) {
        return Ok(order.changed());
    }
    if !name_payment(conn, ask.order_id, addition.payment_id, &addition.reference).await? {
        return refused(Refusal::DuplicateReference);
    }
    let open =
        matches!(status, OrderStatus::Pending | OrderStatus::PaymentProcessing | OrderStatus::Confirmed);
    if !open || order.wished {
        return refused(Refusal::NotOpen);
    }
    if charges.iter().any(|charge| charge.answer_by.is_some_and(|by| by <= order.seen_at)) {
        return refused(Refusal::DeadlinePassed);
    }
    let before = lines(conn, ask.order_id).await?;
    let items = add_items(before.items.0, &addition.items);
    let total = currency_of(&before.currency)
        .and_then(|currency| Money::from_minor(before.total_minor, currency).checked_add(addition.amount));
    let (Some(items), Some(total)) = (items, total) else { return refused(Refusal::TooMuch) };
    note_processing(conn, &[ask.order_id]).await?;
    set_lines(conn, ask.order_id, &items, total.minor()).await?;
    // Held, where the order's own charge is not known yet: not to be claimed before a sweep lets it go. What is added to an order
    // that is paid in hand is paid with it.
    sqlx::query!(
        r#"INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency, reference, added)
           SELECT $1, $2, $3, now(), CASE WHEN NOT in_hand AND NOT $4 THEN now() END,
               CASE WHEN in_hand THEN 'on_delivery' ELSE 'charge' END::payment_kind,
               CASE WHEN in_hand THEN 'due' WHEN $4 THEN 'held' ELSE 'pending' END::payment_status, $5, $6, $7
           FROM (SELECT EXISTS (SELECT FROM order_details WHERE order_id = $2 AND on_delivery) AS in_hand) how"#,
        addition.payment_id,
        ask.order_id,
        addition.amount.minor(),
        status != OrderStatus::Confirmed,
        addition.amount.currency().code(),
        addition.reference,
        Json(&addition.items) as _
    )
    .execute(&mut *conn)
    .await?;
    let money = (addition.payment_id, addition.amount.minor());
    let added = Change::of_payment(ask.order_id, What::Added, &ask.by.name(), None, money);
    note(conn, &[Change { items: Some(addition.items.clone()), ..added }]).await?;
    if !addition.takes.is_empty()
        && let Some(before) = request.take_key(conn).await?
    {
        return Ok(Decided::Before(before));
    }
    let part = Part { owner: ask.order_id, payment: addition.payment_id, takes: &addition.takes };
    if !holds::add(conn, part).await? {
        return refused(Refusal::OutOfStock);
    }
    Ok(DONE)
}

/// Whether its personal data is forgotten.
async fn is_forgotten(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM order_details WHERE order_id = $1 AND forgotten) AS "is!""#,
        order_id
    )
    .fetch_one(conn)
    .await
}

/// What an order is made of from now on.
async fn set_lines(
    conn: &mut PgConnection,
    order_id: Uuid,
    items: &[Item],
    total_minor: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE orders SET items = $2, total_minor = $3 WHERE id = $1",
        order_id,
        Json(items) as _,
        total_minor
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Gives an order whose payment failed a new charge, of what it comes to now. Running it twice is harmless.
pub async fn pay_anew(conn: &mut PgConnection, asked: impl Into<Keyed<'_, PayAnew>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.payment_id, key };
    let mut tx = conn.begin().await?;
    let decided = rule_and_pay(&mut tx, ask, request).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

async fn rule_and_pay(conn: &mut PgConnection, ask: &PayAnew, request: Request<'_>) -> sqlx::Result<Decided> {
    lock_charges(conn, &[ask.order_id]).await?;
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    let status = order.status;
    let refused = |refusal| Ok(Decided::Refused { refusal, status });
    let known = known(conn, ask.order_id, ask.payment_id).await?;
    if known.this {
        return Ok(DONE);
    }
    if !ask.expected.has(order.version) {
        return Ok(order.changed());
    }
    if !name_payment(conn, ask.order_id, ask.payment_id, &ask.reference).await? {
        return refused(Refusal::DuplicateReference);
    }
    if status == OrderStatus::PaymentProcessing {
        return refused(Refusal::SameStatus);
    }
    if status != OrderStatus::PaymentFailed {
        return refused(Refusal::IllegalMove);
    }
    // Nobody knows any more to whom it would go.
    if is_forgotten(conn, ask.order_id).await? {
        return refused(Refusal::NotOpen);
    }
    // What it comes to is not known before its additions are settled.
    if known.unsettled {
        return refused(Refusal::ChargesOpen);
    }
    sqlx::query!(
        r#"
        WITH moved AS (
            UPDATE orders SET status = 'PAYMENT_PROCESSING', version = version + 1, updated_at = now()
            WHERE id = $1 AND status = 'PAYMENT_FAILED'
            RETURNING id, version, total_minor, currency
        ), noted AS (
            INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason, payment_id, request)
            SELECT id, now(), version, 'moved', 'PAYMENT_FAILED', 'PAYMENT_PROCESSING', $2, 'paid_anew', $3, $3 FROM moved
        )
        INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency, reference)
        SELECT $3, id, total_minor, now(), now(), 'charge', 'pending', currency, $4 FROM moved
        "#,
        ask.order_id,
        ask.by.name(),
        ask.payment_id,
        ask.reference
    )
    .execute(&mut *conn)
    .await?;
    if let Some(before) = request.take_key(conn).await? {
        return Ok(Decided::Before(before));
    }
    if !holds::take_again(conn, ask.order_id).await? {
        return refused(Refusal::OutOfStock);
    }
    Ok(DONE)
}

/// Up to `limit` held additions whose order's own charge is known, but for `except`, locked for the rest of the transaction.
/// Those of orders that are not decided yet stand in nobody's way.
pub async fn held(conn: &mut PgConnection, limit: u32, except: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT p.id FROM payments p JOIN orders o ON o.id = p.order_id
         WHERE p.status = 'held' AND p.held_until IS NULL AND o.status NOT IN ('PENDING', 'PAYMENT_PROCESSING') AND p.id <> ALL($2)
         ORDER BY p.order_id LIMIT $1 FOR UPDATE OF p SKIP LOCKED",
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Lets up to `limit` such additions go: to be charged where the order is paid; else they end, because nothing was ever sent
/// for them. Says how many. The time that a charge has, `age`, begins only now.
pub async fn release_held(
    conn: &mut PgConnection,
    age: Duration,
    limit: u32,
    except: &[Uuid],
) -> sqlx::Result<u64> {
    let mut tx = conn.begin().await?;
    let held = held(&mut tx, limit, except).await?;
    if held.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let released = let_go(&mut tx, age, &held).await?;
    tx.commit().await?;
    Ok(released)
}

/// The same for one.
pub async fn release_held_one(conn: &mut PgConnection, age: Duration, payment_id: Uuid) -> sqlx::Result<u64> {
    let mut tx = conn.begin().await?;
    sqlx::query!("SELECT id FROM payments WHERE id = $1 AND status = 'held' FOR UPDATE", payment_id)
        .fetch_optional(&mut *tx)
        .await?;
    let released = let_go(&mut tx, age, &[payment_id]).await?;
    tx.commit().await?;
    Ok(released)
}

/// Lets those go that the caller holds. A statement of its own: whoever ends an order by hand holds its additions first, so what
/// this one sees stands.
async fn let_go(conn: &mut PgConnection, age: Duration, held: &[Uuid]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        WITH known AS (
            SELECT id, lower(status::text) AS ended,
                status IN ('CONFIRMED', 'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED') AS is_paid
            FROM orders WHERE status NOT IN ('PENDING', 'PAYMENT_PROCESSING')
        )
        UPDATE payments p SET status = CASE WHEN o.is_paid THEN 'pending' ELSE 'failed' END::payment_status,
            due_at = CASE WHEN o.is_paid THEN now() END,
            expires_at = now() + $2::bigint * interval '1 ms',
            failure_code = CASE WHEN NOT o.is_paid THEN o.ended END
        FROM known o
        WHERE p.id = ANY($1) AND p.status = 'held' AND o.id = p.order_id
        "#,
        held,
        crate::millis(age)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Up to `limit` orders of which an addition's charge failed and whose lines are still to be taken off, but for `except`.
pub async fn to_drop(conn: &mut PgConnection, limit: u32, except: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT order_id FROM payments
         WHERE added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL AND order_id <> ALL($2)
         GROUP BY order_id ORDER BY order_id LIMIT $1",
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Takes the lines of additions whose charge failed off their order.
pub async fn drop_failed(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<()> {
    let mut tx = conn.begin().await?;
    lock_charges(&mut tx, &[order_id]).await?;
    if lock_order(&mut tx, order_id).await?.is_some() {
        take_failed_off(&mut tx, order_id).await?;
    }
    tx.commit().await
}

async fn take_failed_off(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<()> {
    let failed = sqlx::query!(
        r#"UPDATE payments SET dropped_at = now()
           WHERE order_id = $1 AND added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL
           RETURNING id, amount_minor, added AS "added!: Json<Vec<Item>>""#,
        order_id
    )
    .fetch_all(&mut *conn)
    .await?;
    if failed.is_empty() || sabotaged("failed_addition_stays") {
        return Ok(());
    }
    let payments: Vec<Uuid> = failed.iter().map(|one| one.id).collect();
    holds::drop_parts(conn, order_id, &payments).await?;
    let before = lines(conn, order_id).await?;
    let (mut items, mut total, mut changes) = (before.items.0, before.total_minor, Vec::new());
    for one in failed {
        items = take_off(items, &one.added.0);
        total -= one.amount_minor;
        let money = (one.id, one.amount_minor);
        let dropped = Change::of_payment(order_id, What::AdditionDropped, "sweep", None, money);
        changes.push(Change { items: Some(one.added.0), ..dropped });
    }
    set_lines(conn, order_id, &items, total).await?;
    note(conn, &changes).await
}
