//! sale notices: who is to be written when the price of which product drops.

use domain::catalogue::product::Product;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::catalogue::products;

/// Most of one person.
pub const MAX_NOTICES: i64 = 100;

/// What became of a wish to have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// They have it, now or before.
    Done,
    /// There is no such product, or no longer.
    NoProduct,
    /// Nobody of this id is known here.
    NoPerson,
    /// They have [`MAX_NOTICES`].
    TooMany,
}

/// Lets somebody have one.
pub async fn set(conn: &mut PgConnection, person: Uuid, product: Uuid) -> sqlx::Result<Set> {
    let seen = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM users WHERE id = $1) AS "person!",
                  EXISTS (SELECT FROM products WHERE id = $2 AND deleted_at IS NULL) AS "product!",
                  EXISTS (SELECT FROM sale_notices WHERE person = $1 AND product = $2) AS "there!",
                  (SELECT count(*) FROM sale_notices WHERE person = $1) AS "all!""#,
        person,
        product
    )
    .fetch_one(&mut *conn)
    .await?;
    match seen {
        seen if !seen.person => return Ok(Set::NoPerson),
        seen if !seen.product => return Ok(Set::NoProduct),
        seen if seen.there => return Ok(Set::Done),
        seen if seen.all >= MAX_NOTICES => return Ok(Set::TooMany),
        _ => {}
    }
    sqlx::query!(
        "INSERT INTO sale_notices (id, person, product) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        Uuid::now_v7(),
        person,
        product
    )
    .execute(conn)
    .await?;
    Ok(Set::Done)
}

/// They have it no longer; says whether they had.
pub async fn remove(conn: &mut PgConnection, person: Uuid, product: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM sale_notices WHERE person = $1 AND product = $2", person, product)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// They have none any more.
pub async fn remove_all(conn: &mut PgConnection, person: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sale_notices WHERE person = $1", person).execute(conn).await.map(drop)
}

/// One, to be looked at.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Of which product.
    pub product: Uuid,
    /// What that is called.
    pub name: String,
    /// Since when.
    pub created_at: OffsetDateTime,
}

/// All of somebody's, the oldest first, but for those of products that are sold no longer.
pub async fn list(conn: &mut PgConnection, person: Uuid) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as!(
        Kept,
        r#"SELECT n.product AS "product!", p.name AS "name!", n.created_at AS "created_at!"
           FROM sale_notices n JOIN products p ON p.id = n.product
           WHERE n.person = $1 AND p.deleted_at IS NULL ORDER BY n.id"#,
        person
    )
    .fetch_all(conn)
    .await
}

/// Who is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Notice {
    /// Ours.
    pub id: Uuid,
    /// To whom.
    pub person: Uuid,
}

/// Those of a product, behind this one, up to `limit`.
pub async fn of(
    conn: &mut PgConnection,
    product: Uuid,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Notice>> {
    sqlx::query_as!(
        Notice,
        r#"SELECT n.id AS "id!", n.person AS "person!"
           FROM sale_notices n JOIN users u ON u.id = n.person AND u.active
           WHERE n.product = $1 AND n.id > $2 ORDER BY n.product, n.id LIMIT $3"#,
        product,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The product that a notice is about; `None`: nobody wants to know any more, or it is sold no longer.
pub async fn product(conn: &mut PgConnection, notice: Uuid) -> sqlx::Result<Option<Product>> {
    let found = sqlx::query_scalar!("SELECT product FROM sale_notices WHERE id = $1", notice);
    match found.fetch_optional(&mut *conn).await? {
        Some(product) => products::living(conn, product).await,
        None => Ok(None),
    }
}
