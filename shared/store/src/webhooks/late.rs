//! Endpoints of which more orders wait than one may have. Each follows what has happened by itself, as far as there is room, and
//! is told with all others again once it has come as far as they have: so one that answers slowly, or not at all, keeps a bounded
//! number of rows, and the rest of what it is to be told stays where it is, in the feed.
//!
//! Whoever holds the lock of the follower `webhooks` parts and joins: its page is for those who are not here.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::feed::Cursor;

/// Those that follow by themselves.
pub async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("SELECT webhook FROM late_webhooks").fetch_all(conn).await
}

/// Of those that are told with the others, each of which `room` orders wait follows by itself from here on. None does while something
/// that the others follow is aside: it is to be told to whoever was there when it was put aside.
pub async fn part(conn: &mut PgConnection, follower: &str, from: &Cursor, room: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO late_webhooks (webhook, tick, noted_at, subject, version)
         SELECT id, $1, $2, $3, $4 FROM webhooks w
         WHERE disabled_at IS NULL AND removed_at IS NULL
             AND NOT EXISTS (SELECT FROM late_webhooks l WHERE l.webhook = w.id)
             AND (SELECT count(*) FROM (
                     SELECT FROM deliveries d WHERE d.webhook = w.id AND d.due_at IS NOT NULL LIMIT $5) waiting) >= $5
             AND NOT EXISTS (SELECT FROM feed_aside WHERE follower = $6)
         ON CONFLICT DO NOTHING",
        from.tick,
        from.noted_at,
        from.within.map(|(subject, _)| subject),
        from.within.map(|(_, version)| version),
        room,
        follower
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Those that were removed are no longer late. (One that is disabled goes on from here, should it be enabled again.)
pub async fn clear(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM late_webhooks l WHERE NOT EXISTS (
             SELECT FROM webhooks w WHERE w.id = l.webhook AND removed_at IS NULL)"
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Of these those of which fewer than `room` orders wait.
pub async fn with_room(conn: &mut PgConnection, webhooks: &[Uuid], room: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT webhook AS "webhook!" FROM unnest($1::uuid[]) late(webhook)
           WHERE (SELECT count(*) FROM (
                     SELECT FROM deliveries d WHERE d.webhook = late.webhook AND d.due_at IS NOT NULL LIMIT $2) waiting) < $2"#,
        webhooks,
        room
    )
    .fetch_all(conn)
    .await
}

/// Where this one stands, its row locked; `None`: another process has it in hand, or it is not late any more.
pub async fn lock(conn: &mut PgConnection, webhook: Uuid) -> sqlx::Result<Option<Cursor>> {
    let row = sqlx::query!(
        "SELECT tick, noted_at, subject, version FROM late_webhooks WHERE webhook = $1 FOR UPDATE SKIP LOCKED",
        webhook
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Cursor { tick: row.tick, noted_at: row.noted_at, within: row.subject.zip(row.version) }))
}

/// From now on this one stands here.
pub async fn set(conn: &mut PgConnection, webhook: Uuid, cursor: &Cursor) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE late_webhooks SET tick = $2, noted_at = $3, subject = $4, version = $5 WHERE webhook = $1",
        webhook,
        cursor.tick,
        cursor.noted_at,
        cursor.within.map(|(subject, _)| subject),
        cursor.within.map(|(_, version)| version)
    )
    .execute(conn)
    .await
    .map(drop)
}

/// This one is told with the others again. For whoever holds their lock, where both stand at the same place.
pub async fn join(conn: &mut PgConnection, webhook: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM late_webhooks WHERE webhook = $1", webhook).execute(conn).await.map(drop)
}
