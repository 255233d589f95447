//! Categories.

use domain::catalogue::category::Category;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Changed, end, next_version, taken};

/// Makes one. Running it twice is harmless.
pub async fn insert(conn: &mut PgConnection, new: &Category) -> sqlx::Result<Changed<()>> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    let made = sqlx::query!(
        "INSERT INTO categories (id, version, name, position) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        new.id,
        version,
        new.name,
        new.position
    )
    .execute(&mut *tx)
    .await;
    end(tx, taken(made.map(drop))?).await
}

/// Makes another one of it, as `rule` says who sees it as it is.
pub async fn change<E>(
    conn: &mut PgConnection,
    id: Uuid,
    rule: impl FnOnce(&Category) -> Result<Category, E>,
) -> sqlx::Result<Changed<Category, E>> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    let before = sqlx::query_as!(
        Category,
        "SELECT id, name, position FROM categories WHERE id = $1 AND deleted_at IS NULL",
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    let changed = match before.as_ref().map(rule) {
        None => Changed::NotFound,
        Some(Err(refused)) => Changed::Refused(refused),
        Some(Ok(after)) => {
            let done = sqlx::query!(
                "UPDATE categories SET version = $2, name = $3, position = $4, updated_at = now() WHERE id = $1",
                id,
                version,
                after.name,
                after.position
            )
            .execute(&mut *tx)
            .await;
            taken(done.map(|_| after))?
        }
    };
    end(tx, changed).await
}

/// Deletes one: its products have none from then on, and its name is free.
pub async fn delete(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let version = next_version(&mut tx).await?;
    let done = sqlx::query!(
        "UPDATE categories SET version = $2, deleted_at = now() WHERE id = $1 AND deleted_at IS NULL",
        id,
        version
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// One that was changed, and whether it is there still.
#[derive(Debug)]
pub struct Seen {
    /// As it is, or was.
    pub category: Category,
    /// The catalogue's version when it was changed last.
    pub version: i64,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// All that changed since `version`.
pub async fn since(conn: &mut PgConnection, version: i64) -> sqlx::Result<Vec<Seen>> {
    let rows = sqlx::query!(
        r#"SELECT id, name, position, version, deleted_at IS NOT NULL AS "deleted!" FROM categories
           WHERE version > $1 ORDER BY version"#,
        version
    )
    .fetch_all(conn)
    .await?;
    let seen = rows.into_iter().map(|row| Seen {
        category: Category { id: row.id, name: row.name, position: row.position },
        version: row.version,
        deleted: row.deleted,
    });
    Ok(seen.collect())
}
