//! Ticks are noted whether anybody follows or not, so that whoever begins to may begin some days back. Old ones are forgotten,
//! but for those that a follower of the house has still to read, however long that takes it.

use std::time::Duration;

use sqlx::PgConnection;

/// Forgets up to `limit` ticks that are older than `keep`, oldest first, and says how many. The last one stays, and so does all
/// that a follower in `feed_cursors`, or an endpoint in `late_webhooks` that is not disabled, has before it, with the tick that it
/// stands on and the one before.
pub async fn forget(conn: &mut PgConnection, keep: Duration, limit: u32) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM feed_ticks WHERE tick IN (
            SELECT tick FROM feed_ticks
            WHERE at < now() - $1::bigint * interval '1 ms'
                AND tick < (SELECT max(tick) FROM feed_ticks)
                AND tick < least((SELECT min(tick) FROM feed_cursors), (SELECT min(l.tick) FROM late_webhooks l JOIN webhooks w ON w.id = l.webhook
                             WHERE w.disabled_at IS NULL AND w.removed_at IS NULL), 9223372036854775807) - 1
            ORDER BY tick LIMIT $2)
        "#,
        super::super::millis(keep),
        i64::from(limit)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How long ago the first moment was noted that a follower of the house has still to read, in seconds: of the one that is furthest
/// behind; 0 where none is.
pub async fn unread_seconds(conn: &mut PgConnection) -> sqlx::Result<f64> {
    sqlx::query_scalar!(
        r#"
        SELECT coalesce((
            SELECT greatest(0, extract(epoch FROM now() - at)) FROM feed_ticks
            WHERE tick > (SELECT min(tick) FROM feed_cursors) ORDER BY tick LIMIT 1), 0)::float8 AS "seconds!"
        "#
    )
    .fetch_one(conn)
    .await
}
