//! How far each follower of the house has come.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Cursor, Start, start};

/// Where a follower stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Behind this; nobody else follows under this name until the transaction ends.
    At(Cursor),
    /// Another process follows under this name right now.
    Taken,
}

/// Where `follower` stands, with its name locked for the rest of the transaction. Whoever follows for the first time begins with what
/// happens from now on.
pub async fn lock(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Place> {
    let mine = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended('follower:' || $1, 0)) AS "mine!""#,
        follower
    )
    .fetch_one(&mut *conn)
    .await?;
    if !mine {
        return Ok(Place::Taken);
    }
    // A statement after the lock, so that it sees what whoever held it has committed.
    let row = sqlx::query!(
        "SELECT tick, noted_at, subject, version FROM feed_cursors WHERE follower = $1",
        follower
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(Place::At(match row {
        Some(row) => Cursor { tick: row.tick, noted_at: row.noted_at, within: row.subject.zip(row.version) },
        None => {
            let cursor = start(conn, Start::Latest).await?;
            set(conn, follower, &cursor).await?;
            cursor
        }
    }))
}

/// Waits until nobody follows under this name, and keeps it so for the rest of the transaction.
pub async fn wait(conn: &mut PgConnection, follower: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"SELECT 1 AS "one!" FROM pg_advisory_xact_lock(hashtextextended('follower:' || $1, 0))"#,
        follower
    )
    .fetch_one(conn)
    .await
    .map(drop)
}

/// From now on it stands here.
pub async fn set(conn: &mut PgConnection, follower: &str, cursor: &Cursor) -> sqlx::Result<()> {
    let (tick, noted_at): (i64, OffsetDateTime) = (cursor.tick, cursor.noted_at);
    let subject: Option<Uuid> = cursor.within.map(|(subject, _)| subject);
    let version: Option<i32> = cursor.within.map(|(_, version)| version);
    sqlx::query!(
        "INSERT INTO feed_cursors (follower, tick, noted_at, subject, version) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (follower) DO UPDATE
         SET tick = $2, noted_at = $3, subject = $4, version = $5, moved_at = now()",
        follower,
        tick,
        noted_at,
        subject,
        version
    )
    .execute(conn)
    .await
    .map(drop)
}
