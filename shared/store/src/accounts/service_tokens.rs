//! service tokens: what machines show. There are few, so every api knows all of them and asks for no one's at a request.

use domain::person::Role;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Most that may be good at once: every api holds them all.
pub const MAX_LIVE: i64 = 10_000;

/// A token, without its secret.
#[derive(Debug, Clone)]
pub struct ServiceToken {
    /// Stands in the token, and names it here.
    pub id: String,
    /// The service's: two tokens of one name are one principal, so that one can follow the other.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Through which channels it may order.
    pub channels: Vec<String>,
    /// At which locations it may act.
    pub locations: Vec<String>,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// It ends by itself.
    pub until: Option<OffsetDateTime>,
    /// It was ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// Makes one; `false`: there are [`MAX_LIVE`] already. Run twice with one id, it is one.
pub async fn insert(conn: &mut PgConnection, new: &ServiceToken) -> sqlx::Result<bool> {
    let made = sqlx::query!(
        "INSERT INTO service_tokens (id, name, role, channels, locations, secret_hash, created_by, until)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8
         WHERE (SELECT count(*) FROM service_tokens WHERE ended_at IS NULL AND (until IS NULL OR until > now())) < $9
         ON CONFLICT (id) DO UPDATE SET id = excluded.id",
        new.id,
        new.name,
        new.role as Role,
        &new.channels,
        &new.locations,
        new.secret_hash,
        new.created_by,
        new.until,
        MAX_LIVE
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// Ends one; `false`: there is none of this id.
pub async fn end(conn: &mut PgConnection, id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE service_tokens SET ended_at = coalesce(ended_at, clock_timestamp()) WHERE id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Those that are good.
pub async fn live(conn: &mut PgConnection) -> sqlx::Result<Vec<ServiceToken>> {
    sqlx::query_as!(
        ServiceToken,
        r#"SELECT id, name, role AS "role: Role", channels, locations, secret_hash, created_by, created_at, until, ended_at
           FROM service_tokens WHERE ended_at IS NULL AND (until IS NULL OR until > now())"#
    )
    .fetch_all(conn)
    .await
}

/// Up to `limit`, newest first, ended ones among them.
pub async fn list(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<ServiceToken>> {
    sqlx::query_as!(
        ServiceToken,
        r#"SELECT id, name, role AS "role: Role", channels, locations, secret_hash, created_by, created_at, until, ended_at
           FROM service_tokens ORDER BY created_at DESC, id LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}
