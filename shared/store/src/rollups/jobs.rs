//! Where followers stand: what is written down, and nothing that is guessed.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::feed::{self, Cursor};

/// The one that rolls up.
pub const ROLL_UP: &str = "roll_up";
/// Those of the house, whether they have ever begun or not.
pub const FOLLOWERS: [&str; 4] = ["mail", "messages", ROLL_UP, "webhooks"];

/// Where one stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its cursor's tick.
    pub tick: i64,
    /// When its cursor moved last.
    pub moved_at: OffsetDateTime,
    /// For how long what it has not read has been there, in milliseconds; 0: it has read everything.
    pub lag_ms: i64,
    /// The database's clock.
    pub now: OffsetDateTime,
}

/// What one could not do last.
#[derive(Debug, Clone)]
pub struct Fault {
    /// When.
    pub at: OffsetDateTime,
    /// What.
    pub fault: String,
}

/// Where this one stands; `None`: it has never begun.
pub async fn standing(conn: &mut PgConnection, follower: &str) -> sqlx::Result<Option<Standing>> {
    let row = sqlx::query!(
        r#"SELECT tick, noted_at, subject, version, moved_at, clock_timestamp() AS "now!" FROM feed_cursors WHERE follower = $1"#,
        follower
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let cursor = Cursor { tick: row.tick, noted_at: row.noted_at, within: row.subject.zip(row.version) };
    let lag = std::time::Duration::from_secs_f64(feed::lag_seconds(conn, &cursor).await?.max(0.0));
    let lag_ms = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    Ok(Some(Standing { tick: row.tick, moved_at: row.moved_at, lag_ms, now: row.now }))
}

/// What this one could not do last, and how many events it has put aside.
pub async fn faults(conn: &mut PgConnection, follower: &str) -> sqlx::Result<(Option<Fault>, i64)> {
    let fault = sqlx::query_as!(
        Fault,
        r#"SELECT at AS "at!", fault AS "fault!" FROM (
               SELECT at, fault FROM feed_faults WHERE follower = $1
               UNION ALL
               SELECT max(at), 'an event could not be worked off, and was put aside' FROM feed_aside WHERE follower = $1
           ) found WHERE at IS NOT NULL ORDER BY at DESC LIMIT 1"#,
        follower
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok((fault, feed::aside::count(conn, follower).await?))
}

/// Writes down what this one could not do.
pub async fn note_fault(conn: &mut PgConnection, follower: &str, fault: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO feed_faults (follower, fault) VALUES ($1, left($2, 500))
         ON CONFLICT (follower) DO UPDATE SET at = now(), fault = left($2, 500)",
        follower,
        fault
    )
    .execute(conn)
    .await
    .map(drop)
}
