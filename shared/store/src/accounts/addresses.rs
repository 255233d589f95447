//! addresses: where people have things brought to. Whose they are is said by the subject of their tokens, so that people of other
//! issuers have some, too. An order takes a copy: what becomes of an address later changes no order.

use domain::order::details::Address;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Most of one person: home, work, the parents', and some more.
pub const MAX_ADDRESSES: i64 = 20;

/// An address that somebody keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    /// As its owner names it in an order.
    pub id: Uuid,
    /// What they call it.
    pub label: Option<String>,
    /// The address.
    pub address: Address,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

struct Row {
    id: Uuid,
    label: Option<String>,
    address: Json<Address>,
    updated_at: OffsetDateTime,
}

impl From<Row> for Kept {
    fn from(Row { id, label, address, updated_at }: Row) -> Self {
        Self { id, label, address: address.0, updated_at }
    }
}

/// All of somebody's, the oldest first.
pub async fn list(conn: &mut PgConnection, owner: &str) -> sqlx::Result<Vec<Kept>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, label, address AS "address: Json<Address>", updated_at FROM addresses WHERE owner = $1 ORDER BY owner, id"#,
        owner
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Kept::from).collect())
}

/// One of somebody's.
pub async fn find(conn: &mut PgConnection, owner: &str, id: Uuid) -> sqlx::Result<Option<Kept>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, label, address AS "address: Json<Address>", updated_at FROM addresses WHERE id = $1 AND owner = $2"#,
        id,
        owner
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Kept::from))
}

/// Keeps one more, whose id was made beforehand. `None`: they have as many as they may.
pub async fn insert(
    conn: &mut PgConnection,
    owner: &str,
    id: Uuid,
    label: Option<&str>,
    address: &Address,
) -> sqlx::Result<Option<Kept>> {
    let row = sqlx::query_as!(
        Row,
        r#"INSERT INTO addresses (id, owner, label, address)
           SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM addresses WHERE owner = $2) < $5
           ON CONFLICT (id) DO UPDATE SET updated_at = now()
           RETURNING id, label, address AS "address: Json<Address>", updated_at"#,
        id,
        owner,
        label,
        Json(address) as _,
        MAX_ADDRESSES
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Kept::from))
}

/// Changes one of somebody's, as a whole. `None`: they have none of this id.
pub async fn replace(
    conn: &mut PgConnection,
    owner: &str,
    id: Uuid,
    label: Option<&str>,
    address: &Address,
) -> sqlx::Result<Option<Kept>> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE addresses SET label = $3, address = $4, updated_at = now() WHERE id = $1 AND owner = $2
           RETURNING id, label, address AS "address: Json<Address>", updated_at"#,
        id,
        owner,
        label,
        Json(address) as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Kept::from))
}

/// Forgets one of somebody's. Says whether there was one.
pub async fn remove(conn: &mut PgConnection, owner: &str, id: Uuid) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("DELETE FROM addresses WHERE id = $1 AND owner = $2", id, owner).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
