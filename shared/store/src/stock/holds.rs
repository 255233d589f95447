//! What orders have taken. Where an order ends, the database marks its holds (migrations/0009); here they are made, counted to
//! what they become, and taken again.

use std::collections::BTreeMap;

use domain::catalogue::menu::Take;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{needs, take};

/// What a hold counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "hold_state", rename_all = "snake_case")]
pub(crate) enum State {
    Held,
    Sold,
    Back,
    Dropped,
}

/// Holds of one order that came in with one payment.
pub(crate) struct Part<'t> {
    pub(crate) owner: Uuid,
    pub(crate) payment: Uuid,
    pub(crate) takes: &'t [Take],
}

/// Writes down who takes what. It is still to be taken.
pub(crate) async fn write(conn: &mut PgConnection, parts: &[Part<'_>]) -> sqlx::Result<()> {
    let rows = || parts.iter().flat_map(|part| part.takes.iter().map(move |take| (part, take)));
    let owners: Vec<Uuid> = rows().map(|(part, _)| part.owner).collect();
    let payments: Vec<Uuid> = rows().map(|(part, _)| part.payment).collect();
    let items: Vec<Uuid> = rows().map(|(_, take)| take.item).collect();
    let quantities: Vec<i64> = rows().map(|(_, take)| i64::from(take.quantity)).collect();
    if owners.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO holds (owner, part, item, quantity)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS i(owner, part, item, quantity)",
        &owners,
        &payments,
        &items,
        &quantities
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The same for an order that may hold some of it already, from its cart.
pub(crate) async fn write_more(conn: &mut PgConnection, part: &Part<'_>) -> sqlx::Result<()> {
    let items: Vec<Uuid> = part.takes.iter().map(|take| take.item).collect();
    let quantities: Vec<i64> = part.takes.iter().map(|take| i64::from(take.quantity)).collect();
    sqlx::query!(
        "INSERT INTO holds (owner, part, item, quantity)
         SELECT $1, $2, item, quantity FROM unnest($3::uuid[], $4::bigint[]) AS i(item, quantity)
         ON CONFLICT (owner, part, item) DO UPDATE SET quantity = holds.quantity + excluded.quantity",
        part.owner,
        part.payment,
        &items,
        &quantities
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What is added to an order is taken, too; the order's row is the caller's. `false`: there is not enough, and the caller has to
/// roll back. The last statement before the commit, or nearly so.
pub(crate) async fn add(conn: &mut PgConnection, part: Part<'_>) -> sqlx::Result<bool> {
    if part.takes.is_empty() {
        return Ok(true);
    }
    sqlx::query!("UPDATE orders SET stocked = true WHERE id = $1 AND stocked IS NOT TRUE", part.owner)
        .execute(&mut *conn)
        .await?;
    let needs = needs(part.takes);
    write(conn, &[part]).await?;
    take(conn, &needs).await
}

/// What was added with these payments came to nothing: it goes back for good.
pub(crate) async fn drop_parts(conn: &mut PgConnection, owner: Uuid, payments: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE holds SET state = CASE WHEN state = 'back' THEN 'dropped' ELSE state END,
             due_at = CASE WHEN state = 'held' THEN now() END, becomes = CASE WHEN state = 'held' THEN 'dropped'::hold_state END
         WHERE owner = $1 AND part = ANY($2) AND state IN ('held', 'back')",
        owner,
        payments
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What an order gave back because its payment failed is taken again, as it is to be paid anew. The order's row is the caller's.
/// `false`: there is not enough any more, and the caller has to roll back.
///
/// What is still due is only unmarked. Whoever is just counting it is waited for: then it has come back, and is taken.
pub(crate) async fn take_again(conn: &mut PgConnection, owner: Uuid) -> sqlx::Result<bool> {
    let held = sqlx::query!(
        r#"SELECT item, quantity, state AS "state: State" FROM holds
           WHERE owner = $1 AND (state = 'back' OR state = 'held' AND becomes = 'back') ORDER BY item, part FOR UPDATE"#,
        owner
    )
    .fetch_all(&mut *conn)
    .await?;
    if held.is_empty() {
        return Ok(true);
    }
    let mut needs: BTreeMap<Uuid, i64> = BTreeMap::new();
    for one in held.iter().filter(|one| one.state == State::Back) {
        *needs.entry(one.item).or_default() += one.quantity;
    }
    sqlx::query!(
        "UPDATE holds SET state = 'held', due_at = NULL, becomes = NULL
         WHERE owner = $1 AND (state = 'back' OR state = 'held' AND becomes = 'back')",
        owner
    )
    .execute(&mut *conn)
    .await?;
    take(conn, &needs).await
}

/// Which of the holds that are due.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// So many at most.
    pub limit: u32,
    /// Of this item alone.
    pub item: Option<Uuid>,
    /// Of this order or cart alone.
    pub owner: Option<Uuid>,
    /// But of none of these items.
    pub but_items: Vec<Uuid>,
    /// But of none of these orders and carts.
    pub but_owners: Vec<Uuid>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Holds.
    pub holds: u64,
    /// Those among them of carts whose time was over.
    pub expired: u64,
}

/// Item and owner of each of these.
pub async fn due(conn: &mut PgConnection, which: &Due) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        "SELECT item, owner FROM holds WHERE due_at <= now() AND ($2::uuid IS NULL OR item = $2) AND ($3::uuid IS NULL OR owner = $3)
             AND item <> ALL($4) AND owner <> ALL($5)
         ORDER BY due_at LIMIT $1",
        i64::from(which.limit),
        which.item,
        which.owner,
        &which.but_items,
        &which.but_owners
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.item, row.owner)).collect())
}

/// Up to `limit` holds that are due are counted, and says how many there were.
pub async fn settle(conn: &mut PgConnection, limit: u32) -> sqlx::Result<u64> {
    Ok(settle_due(conn, &Due { limit, ..Due::default() }).await?.holds)
}

/// Holds that are due are counted as what they become, once, and added up by item, so that each item's row is written once. What
/// somebody else is just counting is passed over.
pub async fn settle_due(conn: &mut PgConnection, which: &Due) -> sqlx::Result<Settled> {
    let mut tx = conn.begin().await?;
    let ended = sqlx::query!(
        r#"WITH due AS (
               SELECT owner, part, item FROM holds
               WHERE due_at <= now() AND ($2::uuid IS NULL OR item = $2) AND ($3::uuid IS NULL OR owner = $3)
                   AND item <> ALL($4) AND owner <> ALL($5)
               ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
           )
           UPDATE holds h SET state = h.becomes, due_at = NULL, becomes = NULL
           FROM due d WHERE h.owner = d.owner AND h.part = d.part AND h.item = d.item
           RETURNING h.item, h.quantity, h.state = 'sold' AS "is_sold!", h.owner, h.state = 'dropped' AS "is_dropped!""#,
        i64::from(which.limit),
        which.item,
        which.owner,
        &which.but_items,
        &which.but_owners
    )
    .fetch_all(&mut *tx)
    .await?;
    if ended.is_empty() {
        tx.rollback().await?;
        return Ok(Settled::default());
    }
    let mut sums: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for one in &ended {
        let (back, sold) = sums.entry(one.item).or_default();
        *(if one.is_sold { sold } else { back }) += one.quantity;
    }
    // Of a cart, nobody looks there again.
    let carts: Vec<Uuid> = ended.iter().filter(|one| one.is_dropped).map(|one| one.owner).collect();
    let mut expired = 0;
    if !carts.is_empty() {
        // One that was let go of is no more.
        let there =
            sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM carts WHERE id = ANY($1)"#, &carts);
        expired = there.fetch_one(&mut *tx).await?.unsigned_abs();
        sqlx::query!(
            "DELETE FROM holds WHERE owner = ANY($1) AND part = owner AND state = 'dropped'",
            &carts
        )
        .execute(&mut *tx)
        .await?;
    }
    let items: Vec<Uuid> = sums.keys().copied().collect();
    let (back, sold): (Vec<i64>, Vec<i64>) = sums.into_values().unzip();
    sqlx::query!(
        "UPDATE stock s SET available = s.available + n.back, held = s.held - n.back - n.sold, sold = s.sold + n.sold
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS n(item, back, sold) WHERE s.id = ANY(ARRAY[n.item])",
        &items,
        &back,
        &sold
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Settled { holds: ended.len() as u64, expired })
}
