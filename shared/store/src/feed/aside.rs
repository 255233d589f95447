//! Events that a follower could not work off: kept by name, with what came after them of the same order, so that each order's
//! changes still take effect in their order when they are tried again.

use domain::event::Event;
use sqlx::PgConnection;
use uuid::Uuid;

use super::news;

/// Of these orders those of which something is aside.
pub async fn among(conn: &mut PgConnection, follower: &str, subjects: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT DISTINCT subject FROM feed_aside WHERE follower = $1 AND subject = ANY($2)",
        follower,
        subjects
    )
    .fetch_all(conn)
    .await
}

/// Puts these aside.
pub async fn put(conn: &mut PgConnection, follower: &str, events: &[Event], why: &str) -> sqlx::Result<()> {
    let subjects: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
    let versions: Vec<i32> = events.iter().map(|event| event.version).collect();
    sqlx::query!(
        "INSERT INTO feed_aside (follower, subject, version, why)
         SELECT $1, subject, version, $4 FROM unnest($2::uuid[], $3::int[]) of_it(subject, version) ON CONFLICT DO NOTHING",
        follower,
        &subjects,
        &versions,
        why
    )
    .execute(conn)
    .await
    .map(drop)
}

/// How many are.
pub async fn count(conn: &mut PgConnection, follower: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM feed_aside WHERE follower = $1"#, follower)
        .fetch_one(conn)
        .await
}

/// Of which orders something is, at most so many.
pub async fn subjects(conn: &mut PgConnection, follower: &str, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT DISTINCT subject FROM feed_aside WHERE follower = $1 ORDER BY subject LIMIT $2",
        follower,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Takes what is aside of an order, by its versions: it is no longer.
pub async fn take(conn: &mut PgConnection, follower: &str, subject: Uuid) -> sqlx::Result<Vec<Event>> {
    let versions = sqlx::query_scalar!(
        "DELETE FROM feed_aside WHERE follower = $1 AND subject = $2 RETURNING version",
        follower,
        subject
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut events = news::written(conn, &[subject]).await?;
    events.retain(|event| versions.contains(&event.version));
    Ok(events)
}
