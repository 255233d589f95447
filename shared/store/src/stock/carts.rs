//! carts: what is in one is held for a while, from its last change on. A change takes and gives back the difference alone, so
//! that nobody stands in their own way.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::catalogue::menu::Take;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Short, TRIES, available, needs, nobody_can_say, shorts, take};

/// A cart.
#[derive(Debug, Clone)]
pub struct Cart {
    /// UUIDv7.
    pub id: Uuid,
    /// One more with every change.
    pub version: i64,
    /// Where it is to be ordered.
    pub location: String,
    /// Of its lines.
    pub currency: String,
    /// As they were sent.
    pub lines: Box<RawValue>,
    /// Until when it holds what is in it.
    pub held_until: OffsetDateTime,
}

/// What is to be in a cart.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Whose.
    pub owner: String,
    /// Of a new one.
    pub id: Uuid,
    /// Where it is to be ordered.
    pub location: String,
    /// Of its lines.
    pub currency: &'static str,
    /// As they were sent.
    pub lines: Box<RawValue>,
    /// What is counted of them.
    pub takes: Vec<Take>,
    /// For how long.
    pub keep: Duration,
}

/// What became of it.
#[derive(Debug)]
pub enum Filled {
    /// It is so now, and held.
    Done(Cart),
    /// There is not enough of these; what was in it before is in it still.
    OutOfStock(Vec<Short>),
}

/// Somebody's.
pub async fn read(conn: &mut PgConnection, owner: &str) -> sqlx::Result<Option<Cart>> {
    let row = sqlx::query!(
        r#"SELECT id, version, location, currency, lines AS "lines: Json<Box<RawValue>>", due_at FROM carts WHERE owner = $1"#,
        owner
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Cart {
        id: row.id,
        version: row.version,
        location: row.location,
        currency: row.currency,
        lines: row.lines.0,
        held_until: row.due_at,
    }))
}

/// Puts these lines in the place of those that were in it, and holds them from now on. Running it twice is harmless.
pub async fn fill(conn: &mut PgConnection, ask: &Fill) -> sqlx::Result<Filled> {
    for _ in 0..TRIES {
        match try_to_fill(conn, ask).await? {
            // It was found too little, and somebody has given back since.
            Filled::OutOfStock(shorts) if shorts.is_empty() => {}
            filled => return Ok(filled),
        }
    }
    Err(nobody_can_say())
}

async fn try_to_fill(conn: &mut PgConnection, ask: &Fill) -> sqlx::Result<Filled> {
    let mut tx = conn.begin().await?;
    let row = sqlx::query!(
        "INSERT INTO carts (owner, id, version, due_at, currency, lines, location)
         VALUES ($1, $2, 1, now() + $3::bigint * interval '1 ms', $4, $5, $6)
         ON CONFLICT (owner) DO UPDATE SET version = carts.version + 1, due_at = excluded.due_at,
             currency = excluded.currency, lines = excluded.lines, location = excluded.location
         RETURNING id, version, due_at",
        ask.owner,
        ask.id,
        crate::millis(ask.keep),
        ask.currency,
        Json(&ask.lines) as _,
        ask.location
    )
    .fetch_one(&mut *tx)
    .await?;
    let held = held(&mut tx, row.id).await?;
    let wanted = needs(&ask.takes);
    let mut change = wanted.clone();
    for (item, quantity) in &held {
        *change.entry(*item).or_default() -= quantity;
    }
    change.retain(|_, quantity| *quantity != 0);
    let (items, quantities): (Vec<Uuid>, Vec<i64>) = wanted.into_iter().unzip();
    sqlx::query!("DELETE FROM holds WHERE owner = $1 AND part = $1", row.id).execute(&mut *tx).await?;
    sqlx::query!(
        "INSERT INTO holds (owner, part, item, quantity, due_at, becomes)
         SELECT $1, $1, item, quantity, $2, 'dropped' FROM unnest($3::uuid[], $4::bigint[]) AS i(item, quantity)",
        row.id,
        row.due_at,
        &items,
        &quantities
    )
    .execute(&mut *tx)
    .await?;
    if !take(&mut tx, &change).await? {
        tx.rollback().await?;
        let mut there = available(conn, &items).await?;
        for (item, quantity) in held {
            *there.entry(item).or_default() += quantity;
        }
        return Ok(Filled::OutOfStock(shorts(&ask.takes, &there)));
    }
    tx.commit().await?;
    Ok(Filled::Done(Cart {
        id: row.id,
        version: row.version,
        location: ask.location.clone(),
        currency: ask.currency.to_owned(),
        lines: ask.lines.clone(),
        held_until: row.due_at,
    }))
}

/// What it holds, by item. Whoever is just giving it back is waited for: then it holds nothing.
async fn held(conn: &mut PgConnection, cart: Uuid) -> sqlx::Result<BTreeMap<Uuid, i64>> {
    let rows = sqlx::query!(
        "SELECT item, quantity FROM holds WHERE owner = $1 AND part = $1 AND state = 'held' ORDER BY item FOR UPDATE",
        cart
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.item, row.quantity)).collect())
}

/// Somebody's is no more; what it held is given back by the next sweep. Whether there was one.
pub async fn release(conn: &mut PgConnection, owner: &str) -> sqlx::Result<bool> {
    let gone = sqlx::query_scalar!(
        r#"WITH gone AS (
               DELETE FROM carts WHERE owner = $1 RETURNING id
           ), due AS (
               UPDATE holds h SET due_at = now() FROM gone g WHERE h.owner = g.id AND h.part = g.id AND h.state = 'held'
           )
           SELECT id FROM gone"#,
        owner
    )
    .fetch_optional(conn)
    .await?;
    Ok(gone.is_some())
}

/// A cart's order takes over what it holds of these items, and what else it holds goes back; says how much of each item. `None`: there is no such cart, or no longer at this version,
/// and the caller has to roll back.
pub(crate) async fn check_out(
    conn: &mut PgConnection,
    (cart, version): (Uuid, i64),
    (order, payment): (Uuid, Uuid),
    items: &[Uuid],
) -> sqlx::Result<Option<BTreeMap<Uuid, i64>>> {
    let gone = sqlx::query!("DELETE FROM carts WHERE id = $1 AND version = $2", cart, version);
    if gone.execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let rows = sqlx::query!(
        "UPDATE holds SET owner = $2, part = $3, due_at = NULL, becomes = NULL
         WHERE owner = $1 AND part = $1 AND state = 'held' AND item = ANY($4) RETURNING item, quantity",
        cart,
        order,
        payment,
        items
    )
    .fetch_all(&mut *conn)
    .await?;
    // What is not counted any more, the order does not take; it goes back.
    sqlx::query!(
        "UPDATE holds SET due_at = now(), becomes = 'dropped' WHERE owner = $1 AND part = $1 AND state = 'held'",
        cart
    )
    .execute(conn)
    .await?;
    Ok(Some(rows.into_iter().map(|row| (row.item, row.quantity)).collect()))
}

/// How long a cart is remembered that nobody changes, though it holds nothing.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// Forgets up to `limit` that nobody has changed for long, and says how many.
pub async fn forget(conn: &mut PgConnection, limit: u32) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM carts WHERE owner IN (
             SELECT owner FROM carts WHERE due_at < now() - $1::bigint * interval '1 ms' ORDER BY due_at LIMIT $2
             FOR UPDATE SKIP LOCKED)",
        crate::millis(REMEMBERED),
        i64::from(limit)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
