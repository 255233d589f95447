//! collect: staff say that the money came in which was due when an order was handed over. The payment succeeds, who took it and
//! when stands in the history, and from then on it is money that has to go back should the order end otherwise: by the house,
//! since no gateway has it.

use domain::event::What;
use domain::order::moves::{Actor, Expected, Refusal};
use domain::order::status::OrderStatus;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::events::{Change, done_before, note};
use super::keyed::{Keyed, Request};
use super::moves::{Decided, Moved, answer, end, lock_charges, lock_order};

/// The word of staff that what was due for an order came in.
#[derive(Debug, Clone)]
pub struct Collect {
    /// This request: carried out twice, it knows itself again.
    pub request: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// Who says so.
    pub by: Actor,
    /// How much came in, in minor units, where they say that: it must be what was due.
    pub amount_minor: Option<i64>,
    /// What they have seen.
    pub expected: Expected,
}

/// Writes down that all that is due for the order came in. Running it twice is harmless.
pub async fn collect(conn: &mut PgConnection, asked: impl Into<Keyed<'_, Collect>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.request, key };
    let mut tx = conn.begin().await?;
    let decided = rule_and_collect(&mut tx, ask).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

/// Holds the payments and then the order, as whoever ends it does: so what is due is either taken or called off, never both.
async fn rule_and_collect(conn: &mut PgConnection, ask: &Collect) -> sqlx::Result<Decided> {
    lock_charges(conn, &[ask.order_id]).await?;
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    if done_before(conn, ask.order_id, ask.request).await? {
        return Ok(Decided::Done { wish: false });
    }
    if !ask.expected.has(order.version) {
        return Ok(order.changed());
    }
    let refused = |refusal| Ok(Decided::Refused { refusal, status: order.status });
    if matches!(order.status, OrderStatus::Rejected | OrderStatus::Cancelled) {
        return refused(Refusal::NothingDue);
    }
    let taken = sqlx::query!(
        "UPDATE payments SET status = 'succeeded'
         WHERE (id = $1 OR (order_id = $1 AND id <> order_id)) AND kind = 'on_delivery' AND status = 'due'
         RETURNING id, amount_minor",
        ask.order_id
    )
    .fetch_all(&mut *conn)
    .await?;
    if taken.is_empty() {
        return refused(Refusal::NothingDue);
    }
    let sum: i64 = taken.iter().map(|one| one.amount_minor).sum();
    if ask.amount_minor.is_some_and(|said| said != sum) {
        // Nothing is written: whoever is refused is rolled back.
        return refused(Refusal::OtherAmountDue { minor: sum });
    }
    sqlx::query!("UPDATE order_details SET collected = true WHERE order_id = $1", ask.order_id)
        .execute(&mut *conn)
        .await?;
    let changes: Vec<Change> = taken
        .into_iter()
        .map(|one| {
            let money = (one.id, one.amount_minor);
            let change = Change::of_payment(ask.order_id, What::Collected, &ask.by.name(), None, money);
            Change { request: Some(ask.request), ..change }
        })
        .collect();
    note(conn, &changes).await?;
    Ok(Decided::Done { wish: false })
}
