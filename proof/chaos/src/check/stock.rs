//! What was sold of the shop, against what was there and what was told: the reconciliation says whether each article's stock adds up,
//! and this whether too little was sold, and whether anything is held for nobody.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Check, Evidence};
use crate::sales::Sales;
use crate::shop::{Article, Shop};

/// Of an article: what is available, held and sold.
type There = (i64, i64, i64);

pub(super) async fn check(conn: &mut PgConnection, evidence: &Evidence<'_>) -> Result<Vec<Check>> {
    let Evidence { shop, sales, .. } = evidence;
    let there = read_there(conn).await?;
    let mut put_in =
        Check::new("of each article available, held and sold together are what the manager put in");
    for Article { id, put_in: meant, .. } in &shop.articles {
        let found = there.get(id).copied();
        let adds_up = found.is_some_and(|(available, held, sold)| available + held + sold == *meant);
        put_in
            .look(adds_up, || format!("article {id}, {meant} put in: (available, held, sold) is {found:?}"));
    }
    Ok(vec![put_in, taken(conn, sales).await?, all_sold(conn, shop, sales).await?, nobodys(conn).await?])
}

async fn read_there(conn: &mut PgConnection) -> Result<HashMap<Uuid, There>> {
    let rows: Vec<(Uuid, i64, i64, i64)> =
        sqlx::query_as("SELECT id, available, held, sold FROM stock").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id, available, held, sold)| (id, (available, held, sold))).collect())
}

async fn taken(conn: &mut PgConnection, sales: &Sales) -> Result<Check> {
    // What an order came in with has the order's own id.
    let rows: Vec<(Uuid, Uuid, i64)> =
        sqlx::query_as("SELECT owner, item, quantity FROM holds WHERE part = owner").fetch_all(conn).await?;
    let mut held: HashMap<Uuid, BTreeMap<Uuid, i64>> = HashMap::new();
    for (order, article, quantity) in rows {
        held.entry(order).or_default().insert(article, quantity);
    }
    let mut check =
        Check::new("an order of the shop that was answered 202 has taken all that it names, once");
    for (order, takes) in &sales.taken {
        let wanted: BTreeMap<Uuid, i64> =
            takes.iter().map(|(article, quantity)| (*article, i64::from(*quantity))).collect();
        let has = held.get(order);
        check.look(has == Some(&wanted), || format!("order {order} wants {wanted:?} and has {has:?}"));
    }
    Ok(check)
}

/// One article to an order, and only what was not paid comes back: so whoever was refused, was so because all had been taken.
async fn all_sold(conn: &mut PgConnection, shop: &Shop, sales: &Sales) -> Result<Check> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "SELECT item, count(*), count(*) FILTER (WHERE state = 'back') FROM holds WHERE part = owner GROUP BY item",
    )
    .fetch_all(conn)
    .await?;
    let held: HashMap<Uuid, (i64, i64)> = rows.into_iter().map(|(id, all, back)| (id, (all, back))).collect();
    let mut told: HashMap<Uuid, i64> = HashMap::new();
    for (article, _) in sales.taken.iter().filter_map(|(_, takes)| takes.first()) {
        *told.entry(*article).or_default() += 1;
    }
    let mut check = Check::new(
        "sold is what there was, or what was wanted where that is less, but for what came back unpaid",
    );
    for Article { id, put_in, .. } in shop.articles.iter().filter(|article| article.is_strict) {
        let (orders, back) = held.get(id).copied().unwrap_or_default();
        let (kept, told) = (orders - back, told.get(id).copied().unwrap_or_default());
        let refused = sales.refused.get(id).copied().unwrap_or_default();
        let wanted = told + i64::try_from(refused)?;
        let enough = (*put_in).min(wanted);
        let right = orders == told && kept <= enough && kept + back >= enough;
        check.look(right, || {
            format!(
                "article {id}: {put_in} put in, {wanted} wanted, {told} told 202, {orders} orders, {back} came back"
            )
        });
    }
    Ok(check)
}

/// All is quiet, so every cart's time is over.
async fn nobodys(conn: &mut PgConnection) -> Result<Check> {
    let rows: Vec<(Uuid, Uuid, bool)> = sqlx::query_as(
        "SELECT h.owner, h.item, h.due_at IS NULL AND o.status NOT IN ('PAYMENT_FAILED', 'DELIVERED', 'REJECTED', 'CANCELLED')
                AND o.status IS NOT NULL
         FROM holds h LEFT JOIN orders o ON o.id = h.owner WHERE h.state = 'held'",
    )
    .fetch_all(conn)
    .await?;
    let mut check = Check::new("stock is held by orders that have not ended, and by nobody else for ever");
    for (owner, article, is_open) in rows {
        check.look(is_open, || format!("{owner} holds article {article}"));
    }
    Ok(check)
}
