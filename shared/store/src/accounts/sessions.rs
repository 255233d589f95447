//! sessions: how long somebody stays logged in. A refresh token names its session and a generation; using it begins the next
//! generation. The answer may get lost on its way, so the generation just before may be used again for [`GRACE`], and gets
//! the same successor. Anything older was copied by somebody: the session ends, for the thief and for its owner.

use std::time::Duration;

use domain::person::Role;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::names::Forgotten;

/// How long the last refresh token still gets the successor that it already got.
pub const GRACE: Duration = Duration::from_secs(10);

/// A session and whose it is.
#[derive(Debug, Clone)]
pub struct Session {
    /// Of the session; access tokens name it.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Of its refresh token that is good now.
    pub generation: i32,
    /// It ends by itself.
    pub until: OffsetDateTime,
    /// What its owner may do.
    pub role: Role,
    /// Where.
    pub locations: Vec<String>,
}

/// What a refresh token came to.
#[derive(Debug)]
pub enum Renewed {
    /// The session goes on, with this generation.
    On(Session),
    /// It was copied: the session is over.
    Stolen,
    /// It is over, or never was.
    Over,
}

/// What the generation of a refresh token means.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The newest: the next one begins.
    Newest,
    /// The one before, and only just: its answer was lost.
    JustBefore,
    /// One that only somebody has who kept a copy.
    Copy,
}

fn seen(presented: i32, newest: i32, renewed_ago: time::Duration) -> Seen {
    if presented == newest {
        Seen::Newest
    } else if presented.checked_add(1) == Some(newest) && renewed_ago <= GRACE {
        Seen::JustBefore
    } else {
        Seen::Copy
    }
}

/// Begins one for a user who may log in, by the password of this hash; `None` where that is no longer so: a login that was
/// looked at before the password was changed would outlive the change. Run twice with the same id, it is one session.
pub async fn begin(
    conn: &mut PgConnection,
    id: Uuid,
    user_id: Uuid,
    password_hash: &str,
    life: Duration,
) -> sqlx::Result<Option<Session>> {
    sqlx::query_as!(
        Session,
        r#"WITH owner AS (SELECT id, role, locations FROM users WHERE id = $2 AND active AND password_hash = $4 FOR SHARE),
           made AS (
               INSERT INTO sessions (id, user_id, until) SELECT $1, id, now() + $3::bigint * interval '1 ms' FROM owner
               ON CONFLICT (id) DO UPDATE SET id = excluded.id
               RETURNING id, user_id, generation, until
           )
           SELECT made.id, user_id, generation, until, owner.role AS "role: Role", owner.locations FROM made, owner"#,
        id,
        user_id,
        crate::millis(life),
        password_hash
    )
    .fetch_optional(conn)
    .await
}

/// Uses the refresh token of this generation.
pub async fn renew(conn: &mut PgConnection, id: Uuid, presented: i32) -> sqlx::Result<Renewed> {
    let mut tx = conn.begin().await?;
    let found = sqlx::query!(
        r#"SELECT s.user_id, s.generation, s.until, now() AS "now!", s.renewed_at, u.role AS "role: Role", u.locations
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.id = $1 AND s.ended_at IS NULL AND s.until > now() AND u.active
           FOR UPDATE OF s"#,
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = found else { return Ok(Renewed::Over) };
    let generation = match seen(presented, row.generation, row.now - row.renewed_at) {
        Seen::JustBefore => row.generation,
        Seen::Newest => {
            sqlx::query!(
                "UPDATE sessions SET generation = generation + 1, renewed_at = now() WHERE id = $1",
                id
            )
            .execute(&mut *tx)
            .await?;
            row.generation + 1
        }
        Seen::Copy => {
            sqlx::query!(
                "UPDATE sessions SET ended_at = clock_timestamp(), why = 'stolen' WHERE id = $1",
                id
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            return Ok(Renewed::Stolen);
        }
    };
    tx.commit().await?;
    let (user_id, until, role, locations) = (row.user_id, row.until, row.role, row.locations);
    Ok(Renewed::On(Session { id, user_id, generation, until, role, locations }))
}

/// Ends one; `false`: it was over. What is over stays so.
pub async fn end(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE sessions SET ended_at = clock_timestamp(), why = 'logged_out' WHERE id = $1 AND ended_at IS NULL",
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends those of a user, but for `kept`.
pub(super) async fn end_all(
    conn: &mut PgConnection,
    user_id: Uuid,
    kept: Option<Uuid>,
    why: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sessions SET ended_at = clock_timestamp(), why = $3
         WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2",
        user_id,
        kept,
        why
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those that were ended within `ago`: whoever looks often enough with more than the life of an access token misses none.
pub async fn ended_within(conn: &mut PgConnection, ago: Duration) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM sessions WHERE ended_at > now() - $1::bigint * interval '1 ms'",
        crate::millis(ago)
    )
    .fetch_all(conn)
    .await
}

/// How long a session is kept after its end: longer than any access token that was made before it is good, which is a day at
/// most. Until then it may still be ended, so that those are refused.
pub const KEPT: Duration = Duration::from_secs(2 * 86_400);

/// Forgets sessions that ended longer than [`KEPT`] ago, oldest first, `limit` at most; `now` and `from` as for
/// [`names::forget`](crate::names::forget).
pub async fn forget(
    conn: &mut PgConnection,
    now: Option<OffsetDateTime>,
    from: Option<OffsetDateTime>,
    limit: u32,
) -> sqlx::Result<Forgotten> {
    let gone = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM sessions WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM sessions
                WHERE until >= coalesce($3::timestamptz, '-infinity')
                    AND until < coalesce($1::timestamptz, now()) - $4::bigint * interval '1 ms'
                ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING until
        )
        SELECT count(*) AS "count!", max(until) AS up_to FROM gone
        "#,
        now,
        i64::from(limit),
        from,
        crate::millis(KEPT)
    )
    .fetch_one(conn)
    .await?;
    Ok(Forgotten { count: gone.count.unsigned_abs(), up_to: gone.up_to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_goes_on_the_one_before_for_a_moment_and_nothing_else_ever() {
        let (soon, late) = (time::Duration::seconds(10), time::Duration::milliseconds(10_001));
        assert_eq!(seen(5, 5, late), Seen::Newest);
        assert_eq!(seen(4, 5, soon), Seen::JustBefore);
        assert_eq!(seen(4, 5, late), Seen::Copy);
        for strange in [3, 0, -1, 6, i32::MIN, i32::MAX] {
            assert_eq!(seen(strange, 5, soon), Seen::Copy, "{strange}");
        }
    }
}
