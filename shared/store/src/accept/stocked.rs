//! accept, for orders of what is counted: the orders are written first, then what they hold, and the last statement takes it. Only
//! where something is short it is all done anew: then those are refused at sight for whom there is not enough, and the others are
//! served in the order in which they came, under the locks of what they want. One that takes what there is (`allow_partial`) is cut to
//! that.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use domain::catalogue::menu::Take;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::Written;
use super::{Accept, Accepted, described, earlier};
use crate::stock::holds::{self, Part};
use crate::stock::{self, Short, TRIES, carts, needs, nobody_can_say, shorts};

/// Writes all orders of `batch` for which there is enough, and answers each, in the batch's order. Running it twice with the same
/// ids is harmless: nothing is taken twice.
///
/// Those of carts, and those that take what there is, are transactions of their own, one after the other: whoever has to answer
/// within some time hands such a one in alone.
pub async fn accept_stocked(
    conn: &mut PgConnection,
    batch: &[Accept],
    due_in: Duration,
) -> sqlx::Result<Vec<Accepted>> {
    let (alone, others): (Vec<&Accept>, Vec<&Accept>) = batch.iter().partition(|one| one.order.goes_alone());
    let mut answers = HashMap::with_capacity(batch.len());
    if !others.is_empty() {
        let done = match all_at_once(conn, &others, due_in).await? {
            Some(done) => done,
            None => in_turn(conn, &others, due_in).await?,
        };
        let done = done.answer(conn, &others).await?;
        answers.extend(others.iter().map(|one| one.order.id).zip(done));
    }
    for one in alone {
        answers.insert(one.order.id, cut_or_whole(conn, one, due_in).await?);
    }
    batch.iter().map(|one| answers.remove(&one.order.id).ok_or(sqlx::Error::RowNotFound)).collect()
}

/// An order by itself: as it is; or, where it may be cut, cut to what there is. Each time by the guarded take, and by a look that may
/// find that somebody was faster, or has given back meanwhile: so no row is held, and a refusal holds none at all.
async fn cut_or_whole(conn: &mut PgConnection, one: &Accept, due_in: Duration) -> sqlx::Result<Accepted> {
    let mut tried = try_alone(conn, one, due_in).await?;
    for _ in 0..TRIES {
        let there = match tried {
            Tried::Done(accepted) => return Ok(accepted),
            Tried::Short { there } => there,
        };
        let short = shorts(&one.order.takes, &there);
        tried = if short.is_empty() {
            try_alone(conn, one, due_in).await?
        } else if let Some(order) = one.order.cut_to(&there) {
            let cut = Accept { order, key: one.key.clone() };
            match try_alone(conn, &cut, due_in).await? {
                Tried::Done(Accepted::New { created_at }) => {
                    Tried::Done(Accepted::Partly(Box::new(cut.order.as_accepted(created_at))))
                }
                other => other,
            }
        } else {
            return Ok(Accepted::OutOfStock(short));
        };
    }
    let short = match tried {
        Tried::Done(accepted) => return Ok(accepted),
        // What is gone so fast is gone.
        Tried::Short { there } => shorts(&one.order.takes, &there),
    };
    if short.is_empty() { Err(nobody_can_say()) } else { Ok(Accepted::OutOfStock(short)) }
}

/// What one try came to.
enum Tried {
    Done(Accepted),
    /// There is too little: so much of each item, with what its own cart holds. Nothing was done.
    Short {
        there: BTreeMap<Uuid, i64>,
    },
}

async fn try_alone(conn: &mut PgConnection, one: &Accept, due_in: Duration) -> sqlx::Result<Tried> {
    if one.order.cart.is_some() {
        return check_out(conn, one, due_in).await;
    }
    let items: Vec<Uuid> = one.order.takes.iter().map(|take| take.item).collect();
    let there = stock::available(conn, &items).await?;
    if shorts(&one.order.takes, &there).is_empty() {
        let Some(done) = all_at_once(conn, &[one], due_in).await? else {
            let there = stock::available(conn, &items).await?;
            return Ok(Tried::Short { there });
        };
        let accepted = done.answer(conn, &[one]).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
        return Ok(Tried::Done(accepted));
    }
    let found = earlier::find(conn, &[one]).await?.remove(&one.order.id);
    Ok(found.map_or(Tried::Short { there }, |found| Tried::Done(found.answer(one))))
}

/// An order of a cart: it takes over what the cart holds, and takes the rest.
async fn check_out(conn: &mut PgConnection, one: &Accept, due_in: Duration) -> sqlx::Result<Tried> {
    let Some(cart) = one.order.cart else { return Err(sqlx::Error::RowNotFound) };
    let (id, payment) = (one.order.id, one.order.payment_id());
    let mut tx = conn.begin().await?;
    let written = described::write(&mut tx, &[one], due_in).await?;
    if !written.has(id) {
        tx.rollback().await?;
        let found = earlier::find(conn, &[one]).await?.remove(&id);
        return found.map(|found| Tried::Done(found.answer(one))).ok_or(sqlx::Error::RowNotFound);
    }
    let items: Vec<Uuid> = one.order.takes.iter().map(|take| take.item).collect();
    let held = carts::check_out(&mut tx, (cart.id, cart.version), (id, payment), &items).await?;
    let Some(held) = held else {
        tx.rollback().await?;
        return Ok(Tried::Done(Accepted::CartChanged));
    };
    let still = |take: &Take| {
        let held = held.get(&take.item).copied().unwrap_or(0);
        let quantity = u32::try_from((i64::from(take.quantity) - held).max(0)).unwrap_or(0);
        Take { quantity, ..*take }
    };
    let rest: Vec<Take> = one.order.takes.iter().map(still).filter(|take| take.quantity > 0).collect();
    holds::write_more(&mut tx, &Part { owner: id, payment, takes: &rest }).await?;
    if stock::take(&mut tx, &needs(&rest)).await? {
        tx.commit().await?;
        return Ok(Tried::Done(Accepted::New { created_at: written.at }));
    }
    tx.rollback().await?;
    let mut there = stock::available(conn, &items).await?;
    for (item, quantity) in held {
        *there.entry(item).or_default() += quantity;
    }
    Ok(Tried::Short { there })
}

/// What was done to a batch.
struct Done {
    written: Written,
    refused: HashMap<Uuid, Vec<Short>>,
}

/// `None`: there is not enough for all of them, and nothing was done.
async fn all_at_once(
    conn: &mut PgConnection,
    batch: &[&Accept],
    due_in: Duration,
) -> sqlx::Result<Option<Done>> {
    let mut tx = conn.begin().await?;
    let written = described::write(&mut tx, batch, due_in).await?;
    let fresh: Vec<&Accept> = batch.iter().filter(|one| written.has(one.order.id)).copied().collect();
    if !hold(&mut tx, &fresh).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(Done { written, refused: HashMap::new() }))
}

/// Holds and takes what these orders want.
async fn hold(conn: &mut PgConnection, orders: &[&Accept]) -> sqlx::Result<bool> {
    let parts: Vec<Part<'_>> = orders
        .iter()
        .map(|one| Part { owner: one.order.id, payment: one.order.payment_id(), takes: &one.order.takes })
        .collect();
    holds::write(conn, &parts).await?;
    stock::take(conn, &needs(orders.iter().flat_map(|one| &one.order.takes))).await
}

async fn in_turn(conn: &mut PgConnection, batch: &[&Accept], due_in: Duration) -> sqlx::Result<Done> {
    let items = |orders: &[&Accept]| -> Vec<Uuid> {
        needs(orders.iter().flat_map(|one| &one.order.takes)).into_keys().collect()
    };
    // At sight: whoever wants more than there is holds nobody up.
    let there = stock::available(conn, &items(batch)).await?;
    let mut refused = HashMap::new();
    let (hopeful, hopeless): (Vec<&Accept>, Vec<&Accept>) =
        batch.iter().copied().partition(|one| shorts(&one.order.takes, &there).is_empty());
    for one in hopeless {
        refused.insert(one.order.id, shorts(&one.order.takes, &there));
    }
    if hopeful.is_empty() {
        return Ok(Done {
            written: Written { at: OffsetDateTime::UNIX_EPOCH, only: Some(Vec::new()) },
            refused,
        });
    }
    let mut tx = conn.begin().await?;
    let written = described::write(&mut tx, &hopeful, due_in).await?;
    let fresh: Vec<&Accept> = hopeful.into_iter().filter(|one| written.has(one.order.id)).collect();
    let mut left = stock::lock(&mut tx, &items(&fresh)).await?;
    let (served, late): (Vec<&Accept>, Vec<&Accept>) =
        fresh.into_iter().partition(|one| serve(&one.order.takes, &mut left));
    for one in &late {
        // As it is once all others have been served.
        refused.insert(one.order.id, shorts(&one.order.takes, &left));
    }
    take_back(&mut tx, &late).await?;
    if !hold(&mut tx, &served).await? {
        // It is locked, and was there.
        return Err(sqlx::Error::RowNotFound);
    }
    tx.commit().await?;
    let only = Some(served.iter().map(|one| one.order.id).collect());
    Ok(Done { written: Written { only, ..written }, refused })
}

/// Takes it off what is left, all or nothing.
fn serve(takes: &[Take], left: &mut BTreeMap<Uuid, i64>) -> bool {
    if !shorts(takes, left).is_empty() {
        return false;
    }
    for take in takes {
        if let Some(left) = left.get_mut(&take.item) {
            *left -= i64::from(take.quantity);
        }
    }
    true
}

/// Takes back what this transaction has written of orders for which there was not enough after all. (Which those are is known only
/// once all are written: one whose key is taken wants nothing.)
async fn take_back(conn: &mut PgConnection, orders: &[&Accept]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = orders.iter().map(|one| one.order.id).collect();
    described::forget_orphans(conn, orders).await?;
    let keys = || orders.iter().filter_map(|one| one.key.as_ref());
    let principals: Vec<String> = keys().map(|key| key.principal.clone()).collect();
    let keys: Vec<String> = keys().map(|key| key.key.clone()).collect();
    sqlx::query!(
        "WITH orders AS (
             DELETE FROM orders WHERE id = ANY($1)
         ), charges AS (
             DELETE FROM open_charges WHERE id = ANY($1)
         ), payments AS (
             DELETE FROM payments WHERE id = ANY($1)
         ), events AS (
             DELETE FROM order_events WHERE subject = ANY($1)
         ), called AS (
             DELETE FROM names n USING unnest($1::uuid[]) AS o(id)
             WHERE n.kind = 'payment_reference' AND n.scope = o.id::text
         )
         DELETE FROM names n USING unnest($2::text[], $3::text[]) AS k(principal, key)
         WHERE n.kind = 'idempotency_key' AND n.scope = k.principal AND n.name = k.key AND n.named = ANY($1)",
        &ids,
        &principals,
        &keys
    )
    .execute(conn)
    .await
    .map(drop)
}

impl Done {
    /// What came before under a name of an order goes before its being refused: the same again gets the same answer.
    async fn answer(self, conn: &mut PgConnection, batch: &[&Accept]) -> sqlx::Result<Vec<Accepted>> {
        let Self { written, refused } = self;
        let missing: Vec<&Accept> = batch.iter().filter(|one| !written.has(one.order.id)).copied().collect();
        let mut earlier = earlier::find(conn, &missing).await?;
        let same_key = |one: &Accept| {
            let key = one.key.as_ref()?;
            let is_same = |other: &&&Accept| {
                other.key.as_ref().is_some_and(|k| k.key == key.key && k.principal == key.principal)
            };
            batch.iter().filter(is_same).find_map(|other| refused.get(&other.order.id))
        };
        batch
            .iter()
            .map(|one| match (earlier.remove(&one.order.id), refused.get(&one.order.id)) {
                (Some(found), _) => Ok(found.answer(one)),
                (None, _) if written.has(one.order.id) => Ok(Accepted::New { created_at: written.at }),
                (None, Some(shorts)) => Ok(Accepted::OutOfStock(shorts.clone())),
                // The same request once more in this very batch, and the first was refused.
                (None, None) => match same_key(one) {
                    Some(shorts) => Ok(Accepted::OutOfStock(shorts.clone())),
                    None => Err(sqlx::Error::RowNotFound),
                },
            })
            .collect()
    }
}
