//! What people put in and take out, each a row: their sum is what was put in.

use domain::event;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::catalogue::events;

/// What is done to the stock of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "stock_what", rename_all = "snake_case")]
pub enum What {
    /// So many are to be had now.
    Set,
    /// So many came.
    Add,
    /// So many lie there, those that are held among them.
    Count,
    /// So many left without an order.
    Ship,
}

impl What {
    /// What others are told of it.
    const fn told(self) -> event::What {
        match self {
            Self::Set | Self::Count => event::What::StockSet,
            Self::Add => event::What::StockAdded,
            Self::Ship => event::What::StockShipped,
        }
    }
}

/// A request to change what there is of an item.
#[derive(Debug, Clone)]
pub struct Change {
    /// This request: carried out twice, it knows itself again.
    pub id: Uuid,
    /// Of what.
    pub item: Uuid,
    /// What.
    pub what: What,
    /// How many.
    pub quantity: i64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// What there is of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// It.
    pub item: Uuid,
    /// To be had.
    pub available: i64,
    /// By orders that may end without it.
    pub held: i64,
    /// Handed over.
    pub sold: i64,
}

/// What became of it.
#[derive(Debug)]
pub enum Counted {
    /// It is so now.
    Done(Stock),
    /// More would be gone than is there.
    TooFew(Stock),
    /// It is not counted.
    NotTracked,
}

/// Changes what there is. Running it twice is harmless.
pub async fn change(conn: &mut PgConnection, ask: &Change) -> sqlx::Result<Counted> {
    let mut tx = conn.begin().await?;
    // The product before its stock, so that nobody waits for the product who holds what orders take.
    let product = sqlx::query_scalar!("SELECT product_id FROM stock WHERE id = $1", ask.item);
    let product = product.fetch_optional(&mut *tx).await?;
    if let Some(product) = product {
        events::lock(&mut tx, product).await?;
    }
    let before = sqlx::query_as!(
        Stock,
        "SELECT id AS item, available, held, sold FROM stock WHERE id = $1 FOR UPDATE",
        ask.item
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = before else {
        tx.rollback().await?;
        return Ok(Counted::NotTracked);
    };
    let known = sqlx::query_scalar!("SELECT id FROM stock_changes WHERE id = $1", ask.id);
    if known.fetch_optional(&mut *tx).await?.is_some() {
        tx.rollback().await?;
        return Ok(Counted::Done(before));
    }
    let change = match ask.what {
        What::Set => ask.quantity - before.available,
        What::Add => ask.quantity,
        What::Count => ask.quantity - before.held - before.available,
        What::Ship => -ask.quantity,
    };
    let after = Stock { available: before.available + change, ..before };
    if after.available < 0 {
        tx.rollback().await?;
        return Ok(Counted::TooFew(before));
    }
    sqlx::query!(
        "INSERT INTO stock_changes (id, item, change, what, by, reason) VALUES ($1, $2, $3, $4, $5, $6)",
        ask.id,
        ask.item,
        change,
        ask.what as What,
        ask.by,
        ask.reason
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("UPDATE stock SET available = $2 WHERE id = $1", ask.item, after.available)
        .execute(&mut *tx)
        .await?;
    if let Some(product) = product {
        events::note(&mut tx, product, ask.what.told(), &ask.by).await?;
    }
    tx.commit().await?;
    Ok(Counted::Done(after))
}

/// From now on there is a row for each of these items of a product: none of it is there yet.
pub(crate) async fn begin(conn: &mut PgConnection, product_id: Uuid, items: &[Uuid]) -> sqlx::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO stock (id, product_id) SELECT id, $1 FROM unnest($2::uuid[]) AS i(id) ON CONFLICT DO NOTHING",
        product_id,
        items
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What there is of these.
pub async fn of(conn: &mut PgConnection, items: &[Uuid]) -> sqlx::Result<Vec<Stock>> {
    sqlx::query_as!(
        Stock,
        "SELECT id AS item, available, held, sold FROM stock WHERE id = ANY($1) ORDER BY id",
        items
    )
    .fetch_all(conn)
    .await
}
