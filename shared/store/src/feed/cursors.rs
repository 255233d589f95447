//! How far each follower of the house has come.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
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

/// Where `follower` stands, with its name locked for the rest of the transaction. Whoever follows for the first time begins at
/// `first`.
pub async fn lock(conn: &mut PgConnection, follower: &str, first: Start) -> sqlx::Result<Place> {
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
    Ok(Place::At(match at(conn, follower).await? {
        Some(cursor) => cursor,
        None => {
            let cursor = start(conn, first).await?;
            set(conn, follower, &cursor).await?;
            cursor
        }
    }))
}

/// Where `follower` stands, whoever follows right now; `None`: it has never followed.
pub async fn at(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Option<Cursor>> {
    let row = sqlx::query!(
        "SELECT tick, noted_at, subject, version FROM feed_cursors WHERE follower = $1",
        follower
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Cursor { tick: row.tick, noted_at: row.noted_at, within: row.subject.zip(row.version) }))
}

/// Where `follower` stands, held by `holder` for so long: for one that asks somebody else between a page and its cursor, when no
/// transaction may be open.
pub async fn hold(
    conn: &mut PgConnection,
    follower: &str,
    holder: Uuid,
    length: Duration,
) -> sqlx::Result<Place> {
    let Place::At(cursor) = lock(conn, follower, Start::Latest).await? else { return Ok(Place::Taken) };
    let held = sqlx::query!(
        "UPDATE feed_cursors SET holder = $2, held_until = now() + $3::bigint * interval '1 ms'
         WHERE follower = $1 AND (holder IS NULL OR holder = $2 OR held_until < now())",
        follower,
        holder,
        crate::millis(length)
    )
    .execute(conn)
    .await?;
    Ok(if held.rows_affected() == 1 { Place::At(cursor) } else { Place::Taken })
}

/// From now on it stands here, unless somebody else holds it; says whether it does.
pub async fn pass(
    conn: &mut PgConnection,
    follower: &str,
    holder: Uuid,
    next: &Cursor,
) -> sqlx::Result<bool> {
    let passed = sqlx::query!(
        "UPDATE feed_cursors SET tick = $3, noted_at = $4, subject = $5, version = $6, moved_at = now()
         WHERE follower = $1 AND holder = $2",
        follower,
        holder,
        next.tick,
        next.noted_at,
        next.within.map(|(subject, _)| subject),
        next.within.map(|(_, version)| version)
    )
    .execute(conn)
    .await?;
    Ok(passed.rows_affected() == 1)
}

/// Nobody holds it any more, if `holder` did: whoever ends lets the next go on at once.
pub async fn release(conn: &mut PgConnection, follower: &str, holder: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE feed_cursors SET holder = NULL, held_until = NULL WHERE follower = $1 AND holder = $2",
        follower,
        holder
    )
    .execute(conn)
    .await
    .map(drop)
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

/// What came of forgetting a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// It holds nothing any more. Should it follow again, it begins anew.
    Done,
    /// It moved a moment ago, or somebody holds it: it is not switched off.
    Follows,
    /// It has never followed.
    Unknown,
}

/// Forgets where `follower` stands and what it has put aside, unless it has moved within `quiet`: for one that is switched off, and
/// holds all that has happened since.
pub async fn forget(conn: &mut PgConnection, follower: &str, quiet: Duration) -> sqlx::Result<Forgotten> {
    let mut tx = conn.begin().await?;
    wait(&mut tx, follower).await?;
    let follows = sqlx::query_scalar!(
        r#"SELECT (moved_at > now() - $2::bigint * interval '1 ms' OR coalesce(held_until > now(), false)) AS "follows!"
           FROM feed_cursors WHERE follower = $1"#,
        follower,
        crate::millis(quiet)
    )
    .fetch_optional(&mut *tx)
    .await?;
    match follows {
        None => return Ok(Forgotten::Unknown),
        Some(true) => return Ok(Forgotten::Follows),
        Some(false) => {}
    }
    sqlx::query!(
        "WITH aside AS (DELETE FROM feed_aside WHERE follower = $1),
             late AS (DELETE FROM late_webhooks WHERE $1 = 'webhooks')
         DELETE FROM feed_cursors WHERE follower = $1",
        follower
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Forgotten::Done)
}
