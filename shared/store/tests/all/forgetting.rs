//! Keys and sessions are forgotten as they came, day after day: a compressed clock, and a transaction beside it that lets no dead row be cleared
//! away, such as a backup's.

use anyhow::Result;
use sqlx::{Connection, PgConnection};
use store::accounts::sessions;
use store::names::{self, Forgotten};
use testbed::TestDatabase;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const DAYS: i32 = 8;
const KEYS_A_DAY: i32 = 8_000;
const AT_ONCE: u32 = 400;
const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

/// A day's keys, which end on the next one, spread over it.
async fn keys_come(conn: &mut PgConnection, day: i32) -> Result<()> {
    sqlx::query(
        "INSERT INTO names (named, until, kind, scope, name, hash)
         SELECT gen_random_uuid(), $1 + n * interval '1 day' / $2::int, 'idempotency_key', 'p' || n % 50, gen_random_uuid()::text,
             sha256(n::text::bytea)
         FROM generate_series(0, $2::int - 1) n",
    )
    .bind(START + Duration::days(i64::from(day) + 1))
    .bind(KEYS_A_DAY)
    .execute(conn)
    .await?;
    Ok(())
}

/// A day's logins, which end by themselves on the next one.
async fn sessions_come(conn: &mut PgConnection, day: i32) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (id, user_id, until)
         SELECT gen_random_uuid(), (SELECT min(id::text)::uuid FROM users), $1 + n * interval '1 day' / $2::int
         FROM generate_series(0, $2::int - 1) n",
    )
    .bind(START + Duration::days(i64::from(day) + 1))
    .bind(KEYS_A_DAY)
    .execute(conn)
    .await?;
    Ok(())
}

/// A table, and the index by which what is old in it is found.
const NAMES: [&str; 2] = ["names", "names_by_end"];
const SESSIONS: [&str; 2] = ["sessions", "sessions_by_end"];

/// What was looked at so far: pages of the table and its indexes, and entries of the index by which what is old is found, dead
/// ones among them.
async fn looked_at(conn: &mut PgConnection, [table, index]: [&str; 2]) -> Result<[i64; 2]> {
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await?;
    let (pages, entries) = sqlx::query_as(
        "SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read, idx_tup_read
         FROM pg_statio_user_tables t JOIN pg_stat_user_indexes i USING (relid)
         WHERE t.relname = $1 AND indexrelname = $2",
    )
    .bind(table)
    .bind(index)
    .fetch_one(conn)
    .await?;
    Ok([pages, entries])
}

/// Lets days pass in which as much comes as is forgotten, and looks what forgetting costs, and how much room there is taken.
async fn day_after_day(
    [table, index]: [&'static str; 2],
    prepare: &'static str,
    come: impl AsyncFn(&mut PgConnection, i32) -> Result<()>,
    forget: impl AsyncFn(&mut PgConnection, OffsetDateTime, Option<OffsetDateTime>) -> sqlx::Result<Forgotten>,
) -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    sqlx::raw_sql(prepare).execute(&mut conn).await?;
    let say = async |conn: &mut PgConnection, text: String| -> Result<()> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(conn).await?;
        Ok(())
    };
    // By hand, once a day: when the server does is its own affair.
    say(&mut conn, format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await?;
    come(&mut conn, 0).await?;
    say(&mut conn, format!("ANALYZE {table}")).await?;
    let (mut costs, mut sizes) = (Vec::new(), Vec::new());
    for day in 1..=DAYS {
        come(&mut conn, day).await?;
        let mut beside = database.connect().await?;
        let mut backup = beside.begin().await?;
        let look = format!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM {table}");
        say(&mut backup, look).await?;
        let now = START + Duration::days(i64::from(day) + 1);
        let (mut gone, mut from) = (0, None);
        loop {
            let before = looked_at(&mut conn, [table, index]).await?;
            let Forgotten { count, up_to } = forget(&mut conn, now, from).await?;
            if count == 0 {
                break;
            }
            let after = looked_at(&mut conn, [table, index]).await?;
            costs.push([after[0] - before[0], after[1] - before[1]]);
            (gone, from) = (gone + count, up_to);
        }
        assert_eq!(gone, KEYS_A_DAY as u64, "day {day}");
        backup.rollback().await?;
        say(&mut conn, format!("VACUUM {table}")).await?;
        let size = sqlx::query_scalar::<_, i64>("SELECT pg_total_relation_size($1::regclass)").bind(table);
        sizes.push(size.fetch_one(&mut conn).await?);
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(count).fetch_one(&mut conn).await?;
        assert_eq!(left, i64::from(KEYS_A_DAY), "a day's worth is kept");
    }
    for (place, of) in ["pages", "entries"].iter().enumerate() {
        let (least, most) =
            (costs.iter().map(|cost| cost[place]).min(), costs.iter().map(|cost| cost[place]).max());
        println!("{least:?} to {most:?} {of} for {AT_ONCE} of {table}");
        assert!(most < least.map(|least| least * 3 / 2), "{of}: {costs:?}");
    }
    println!("{sizes:?} bytes after each day");
    // The indexes' pages fill less well than on the first day, and no worse from day to day.
    assert!(sizes.iter().all(|size| *size <= sizes[0] * 5 / 4), "{sizes:?}");
    Ok(())
}

#[tokio::test]
async fn keys_are_forgotten_as_fast_as_they_come_at_the_same_cost_on_every_day() -> Result<()> {
    day_after_day(NAMES, "", keys_come, async |conn, now, from| {
        names::forget(conn, Some(now), from, AT_ONCE).await
    })
    .await
}

#[tokio::test]
async fn logins_are_forgotten_as_fast_as_they_come_at_the_same_cost_on_every_day() -> Result<()> {
    let somebody =
        "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'maria@example.com', 'x')";
    let kept = Duration::try_from(sessions::KEPT)?;
    day_after_day(SESSIONS, somebody, sessions_come, async |conn, now, from| {
        sessions::forget(conn, Some(now + kept), from, AT_ONCE).await
    })
    .await
}

/// An access token outlives its session's last moment, and must still be refused where its owner is put out then.
#[tokio::test]
async fn a_session_is_kept_for_as_long_as_any_token_of_it_may_be_good() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    sqlx::raw_sql(
        "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'maria@example.com', 'x');
         INSERT INTO sessions (id, user_id, until, ended_at)
         SELECT gen_random_uuid(), id, now() + age, ended FROM users, (VALUES
             (interval '1 day', NULL::timestamptz), ('-1 day', NULL), ('-47 h', now()), ('-49 h', NULL), ('-49 h', now()), ('-99 d', NULL)) v(age, ended)",
    )
    .execute(&mut conn)
    .await?;
    assert_eq!(sessions::forget(&mut conn, None, None, 2).await?.count, 2, "no more than were asked for");
    assert_eq!(sessions::forget(&mut conn, None, None, 100).await?.count, 1);
    assert_eq!(sessions::forget(&mut conn, None, None, 100).await?, Forgotten::default());
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&mut conn).await?;
    assert_eq!(left, 3);
    Ok(())
}
