//! Products.

use domain::catalogue::product::{OptionGroup, Product, Variation};
use domain::event::What;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Changed, end, events, next_version, taken};
use crate::read::money;
use crate::stock::counted;

/// A row.
struct Row {
    id: Uuid,
    version: i64,
    category_id: Option<Uuid>,
    price_minor: i64,
    currency: String,
    name: String,
    description: Option<String>,
    picture_url: Option<String>,
    plu: Option<String>,
    tracked: bool,
    locations: Vec<String>,
    variations: Json<Vec<Variation>>,
    option_groups: Json<Vec<OptionGroup>>,
    deleted: bool,
}

impl TryFrom<Row> for Seen {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let product = Product {
            id: row.id,
            name: row.name,
            description: row.description,
            price: money(row.price_minor, &row.currency)?,
            category_id: row.category_id,
            picture_url: row.picture_url,
            plu: row.plu,
            tracked: row.tracked,
            locations: row.locations,
            variations: row.variations.0,
            option_groups: row.option_groups.0,
        };
        Ok(Self { product, version: row.version, deleted: row.deleted })
    }
}

/// One that was changed, and whether it is there still.
#[derive(Debug)]
pub struct Seen {
    /// As it is, or was.
    pub product: Product,
    /// The catalogue's version when it was changed last.
    pub version: i64,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Rows, by a condition.
macro_rules! rows {
    ($where:literal $(, $input:expr)*) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id, version, category_id, price_minor, currency, name, description, picture_url, plu, tracked,
                   locations, variations AS "variations: Json<Vec<Variation>>",
                   option_groups AS "option_groups: Json<Vec<OptionGroup>>", deleted_at IS NOT NULL AS "deleted!"
               FROM products WHERE "# + $where
            $(, $input)*
        )
    };
}

/// Makes one. Running it twice is harmless.
pub async fn insert(conn: &mut PgConnection, new: &Product, by: &str) -> sqlx::Result<Changed<()>> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    if let Some(missing) = missing(&mut tx, new).await? {
        return end(tx, missing).await;
    }
    let made = sqlx::query!(
        "INSERT INTO products (id, version, category_id, price_minor, currency, name, updated_by, description, picture_url,
                               locations, variations, option_groups, tracked, plu)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (id) DO NOTHING",
        new.id,
        version,
        new.category_id,
        new.price.minor(),
        new.currency().code(),
        new.name,
        by,
        new.description,
        new.picture_url,
        &new.locations,
        Json(&new.variations) as _,
        Json(&new.option_groups) as _,
        new.tracked,
        new.plu,
    )
    .execute(&mut *tx)
    .await;
    if let Ok(made) = &made {
        counted::begin(&mut tx, new.id, &new.counted()).await?;
        // Run twice, it was made before.
        if made.rows_affected() == 1 {
            events::note(&mut tx, new.id, What::ProductMade, by).await?;
        }
    }
    end(tx, taken(made.map(drop))?).await
}

/// Makes another one of it, as `rule` says who sees it as it is.
pub async fn change<E>(
    conn: &mut PgConnection,
    id: Uuid,
    by: &str,
    rule: impl FnOnce(&Product) -> Result<Product, E>,
) -> sqlx::Result<Changed<Product, E>> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    let Some(before) = living(&mut tx, id).await? else { return end(tx, Changed::NotFound).await };
    let after = match rule(&before) {
        Ok(after) => after,
        Err(refused) => return end(tx, Changed::Refused(refused)).await,
    };
    if let Some(missing) = missing(&mut tx, &after).await? {
        return end(tx, missing).await;
    }
    let done = sqlx::query!(
        "UPDATE products SET version = $2, category_id = $3, price_minor = $4, currency = $5, name = $6, updated_by = $7,
             description = $8, picture_url = $9, locations = $10, variations = $11, option_groups = $12, tracked = $13, plu = $14,
             updated_at = now()
         WHERE id = $1",
        id,
        version,
        after.category_id,
        after.price.minor(),
        after.currency().code(),
        after.name,
        by,
        after.description,
        after.picture_url,
        &after.locations,
        Json(&after.variations) as _,
        Json(&after.option_groups) as _,
        after.tracked,
        after.plu,
    )
    .execute(&mut *tx)
    .await;
    if done.is_ok() {
        counted::begin(&mut tx, id, &after.counted()).await?;
        if let Some(what) = before.changed_to(&after) {
            events::note(&mut tx, id, what, by).await?;
        }
    }
    end(tx, taken(done.map(|_| after))?).await
}

/// Deletes one, if `rule` has nothing against it. Its name is free from then on; orders that have it go on.
pub async fn delete<E>(
    conn: &mut PgConnection,
    id: Uuid,
    by: &str,
    rule: impl FnOnce(&Product) -> Result<(), E>,
) -> sqlx::Result<Changed<(), E>> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    let Some(before) = living(&mut tx, id).await? else { return end(tx, Changed::NotFound).await };
    if let Err(refused) = rule(&before) {
        return end(tx, Changed::Refused(refused)).await;
    }
    sqlx::query!(
        "UPDATE products SET version = $2, updated_by = $3, deleted_at = now(), updated_at = now() WHERE id = $1",
        id,
        version,
        by
    )
    .execute(&mut *tx)
    .await?;
    events::note(&mut tx, id, What::ProductDeleted, by).await?;
    end(tx, Changed::Done(())).await
}

/// One that is not deleted.
pub async fn living(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Product>> {
    let row = rows!("id = $1 AND deleted_at IS NULL", id).fetch_optional(conn).await?;
    Ok(row.map(Seen::try_from).transpose()?.map(|seen| seen.product))
}

/// Whether there is any, or ever was.
pub async fn any(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!("SELECT id FROM products LIMIT 1").fetch_optional(conn).await?;
    Ok(found.is_some())
}

/// All that changed since `version`.
pub async fn since(conn: &mut PgConnection, version: i64) -> sqlx::Result<Vec<Seen>> {
    rows!("version > $1 ORDER BY version", version)
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(Seen::try_from)
        .collect()
}

/// What it names and there is not.
async fn missing<T, E>(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Option<Changed<T, E>>> {
    let there = sqlx::query!(
        r#"SELECT $1::uuid IS NULL OR EXISTS (SELECT FROM categories WHERE id = $1 AND deleted_at IS NULL) AS "category!",
                  (SELECT count(*) FROM locations WHERE id = ANY($2)) AS "locations!""#,
        product.category_id,
        &product.locations
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(match there {
        there if !there.category => Some(Changed::NoCategory),
        there if there.locations.unsigned_abs() < product.locations.len() as u64 => Some(Changed::NoLocation),
        _ if plu_taken(conn, product).await? => Some(Changed::PluTaken),
        _ => None,
    })
}

/// Whether the till calls another one so that is sold at one of its locations. Nobody else changes the catalogue meanwhile.
async fn plu_taken(conn: &mut PgConnection, product: &Product) -> sqlx::Result<bool> {
    let plus: Vec<String> = product.plus().map(str::to_owned).collect();
    if plus.is_empty() {
        return Ok(false);
    }
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM products p WHERE deleted_at IS NULL AND id <> $1 AND locations && $2 AND (
                   plu = ANY($3) OR EXISTS (SELECT FROM json_array_elements(p.variations) v WHERE v->>'plu' = ANY($3)))
           ) AS "is!""#,
        product.id,
        &product.locations,
        &plus
    )
    .fetch_one(conn)
    .await
}
