//! Keys are forgotten as they came, day after day: a compressed clock, and a transaction beside it that lets no dead row be cleared
//! away, such as a backup's.

use anyhow::Result;
use sqlx::{Connection, PgConnection};
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

/// What was looked at so far: pages of the table and its indexes, and entries of the index by which old keys are found, dead ones
/// among them.
async fn looked_at(conn: &mut PgConnection) -> Result<[i64; 2]> {
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await?;
    let (pages, entries) = sqlx::query_as(
        "SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read, idx_tup_read
         FROM pg_statio_user_tables t JOIN pg_stat_user_indexes i USING (relid)
         WHERE t.relname = 'names' AND indexrelname = 'names_by_end'",
    )
    .fetch_one(conn)
    .await?;
    Ok([pages, entries])
}

#[tokio::test]
async fn keys_are_forgotten_as_fast_as_they_come_at_the_same_cost_on_every_day() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    // By hand, once a day: when the server does is its own affair.
    sqlx::raw_sql("ALTER TABLE names SET (autovacuum_enabled = off)").execute(&mut conn).await?;
    keys_come(&mut conn, 0).await?;
    sqlx::raw_sql("ANALYZE names").execute(&mut conn).await?;
    let (mut costs, mut sizes) = (Vec::new(), Vec::new());
    for day in 1..=DAYS {
        keys_come(&mut conn, day).await?;
        let mut beside = database.connect().await?;
        let mut backup = beside.begin().await?;
        sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM names")
            .execute(&mut *backup)
            .await?;
        let now = Some(START + Duration::days(i64::from(day) + 1));
        let (mut gone, mut from) = (0, None);
        loop {
            let before = looked_at(&mut conn).await?;
            let Forgotten { count, up_to } = names::forget(&mut conn, now, from, AT_ONCE).await?;
            if count == 0 {
                break;
            }
            let after = looked_at(&mut conn).await?;
            costs.push([after[0] - before[0], after[1] - before[1]]);
            (gone, from) = (gone + count, up_to);
        }
        assert_eq!(gone, KEYS_A_DAY as u64, "day {day}");
        backup.rollback().await?;
        sqlx::raw_sql("VACUUM names").execute(&mut conn).await?;
        sizes.push(
            sqlx::query_scalar::<_, i64>("SELECT pg_total_relation_size('names')")
                .fetch_one(&mut conn)
                .await?,
        );
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM names").fetch_one(&mut conn).await?;
        assert_eq!(left, i64::from(KEYS_A_DAY), "a day's worth is kept");
    }
    for (place, of) in ["pages", "entries"].iter().enumerate() {
        let (least, most) =
            (costs.iter().map(|cost| cost[place]).min(), costs.iter().map(|cost| cost[place]).max());
        println!("{least:?} to {most:?} {of} for {AT_ONCE} keys");
        assert!(most < least.map(|least| least * 3 / 2), "{of}: {costs:?}");
    }
    println!("{sizes:?} bytes after each day");
    // The indexes' pages fill less well than on the first day, and no worse from day to day.
    assert!(sizes.iter().all(|size| *size <= sizes[0] * 5 / 4), "{sizes:?}");
    Ok(())
}
