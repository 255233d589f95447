//! Migrations beside programs that run: who waits for whom, and what is said where it cannot be.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use runtime::config::SchemaConfig;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, Executor, PgConnection, SqlSafeStr};
use store::Database;
use store::migrate::{Applied, TURN, ours};
use testbed::{TestDatabase, until};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(10);
/// What a client would notice: it is told 503 a little later.
const SOON: Duration = Duration::from_millis(2_500);

/// Ours and one more, as the next version might have it.
fn newer(sql: &'static str) -> Migrator {
    let no_tx = sql.starts_with("-- no-transaction");
    let more =
        Migration::new(9_001, "sample of a change".into(), MigrationType::Simple, sql.into_sql_str(), no_tx);
    Migrator::with_migrations(ours().iter().cloned().chain([more]).collect())
}

const COLUMN: &str = "ALTER TABLE orders ADD COLUMN sample text";
const INDEX: &str = "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS sample_index ON orders (id)";

/// A database that is there and empty.
async fn empty() -> Result<TestDatabase> {
    let database = TestDatabase::new().await?;
    database.connect().await?.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
    Ok(database)
}

async fn is_there(conn: &mut PgConnection, name: &str) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(name).fetch_one(conn).await?)
}

async fn has_sample(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'sample')",
    )
    .fetch_one(conn)
    .await?)
}

fn migrating(database: Database, migrator: Migrator, patience: Duration) -> JoinHandle<Result<Applied>> {
    #[expect(clippy::disallowed_methods, reason = "awaited by the test")]
    tokio::spawn(async move { database.migrate_with(migrator, patience).await })
}

/// A try of the migration that waits for a lock on this kind of thing, for at least so long: when it began.
async fn waiting(conn: &mut PgConnection, lock: &str, at_least: Duration, not: Option<i64>) -> Result<i64> {
    until("the migration waits for a lock", async || {
        let since: Option<i64> = sqlx::query_scalar(
            "SELECT (extract(epoch FROM a.query_start) * 1e6)::bigint
             FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE a.application_name = 'comanda-migrate' AND a.datname = current_database() AND NOT l.granted
               AND l.locktype = $1 AND clock_timestamp() - a.query_start >= $2 * interval '1 ms'",
        )
        .bind(lock)
        .bind(i64::try_from(at_least.as_millis())?)
        .fetch_optional(&mut *conn)
        .await?;
        Ok(since.filter(|since| Some(*since) != not))
    })
    .await
}

#[tokio::test]
async fn who_comes_second_waits_for_who_migrates_however_long_and_over_a_restart() -> Result<()> {
    let database = empty().await?;
    let (mut first, mut eye) = (database.connect().await?, database.connect().await?);
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TURN).execute(&mut first).await?;
    let patience = Duration::from_millis(300);
    let second = migrating(database.database(), ours(), patience);
    // Seen to ask for its turn a second and more after it came.
    let asks = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%try_advisory_lock%'
                AND pid <> pg_backend_pid() AND query_start - backend_start > interval '1 s'";
    let mut before = None;
    for _ in 0..2 {
        let pid: i32 = until("the second asks and asks", async || {
            let pid = sqlx::query_scalar(asks).fetch_optional(&mut eye).await?;
            Ok(pid.filter(|pid| Some(*pid) != before))
        })
        .await?;
        assert!(!second.is_finished() && !is_there(&mut eye, "_sqlx_migrations").await?);
        // The server breaks off what waits: it comes again.
        sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut eye).await?;
        before = Some(pid);
    }
    first.close().await?;
    assert_eq!(second.await??.0.len(), ours().iter().count());
    assert!(is_there(&mut eye, "orders").await?);
    Ok(())
}

#[tokio::test]
async fn of_many_that_start_at_once_one_applies_the_schema() -> Result<()> {
    let database = empty().await?;
    let starts: Vec<_> = (0..5).map(|_| migrating(database.database(), ours(), PATIENCE)).collect();
    let mut applied = Vec::new();
    for start in starts {
        applied.push(start.await??.0.len());
    }
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 0, ours().iter().count()]);
    Ok(())
}

#[tokio::test]
async fn where_nothing_is_to_be_applied_nobody_is_waited_for() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut migrator = database.connect().await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TURN).execute(&mut migrator).await?;
    migrator.execute("BEGIN; LOCK TABLE orders, _sqlx_migrations IN EXCLUSIVE MODE").await?;
    tokio::time::timeout(PATIENCE, database.database().prepare(PATIENCE)).await??;
    Ok(())
}

/// A report holds the weakest of all locks, for as long as it likes.
#[tokio::test]
async fn a_migration_that_waits_for_a_report_holds_nobody_up_and_succeeds_after_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut report, mut eye) = (database.connect().await?, database.connect().await?);
    report.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE orders IN ACCESS SHARE MODE").await?;
    let migration = migrating(database.database(), newer(COLUMN), PATIENCE);
    let mut program = database.connect().await?;
    let mut before = None;
    for _ in 0..3 {
        before = Some(waiting(&mut eye, "relation", Duration::ZERO, before).await?);
        let began = Instant::now();
        program.execute("SELECT count(*) FROM orders").await?;
        assert!(began.elapsed() < SOON, "an old program waited for {:?}", began.elapsed());
    }
    assert!(!migration.is_finished() && !has_sample(&mut eye).await?);
    report.execute("COMMIT").await?;
    assert_eq!(migration.await??.0, ["9001 sample of a change"]);
    assert!(has_sample(&mut eye).await?);
    Ok(())
}

#[tokio::test]
async fn in_a_deadlock_the_migration_gives_way() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut program, mut eye) = (database.connect().await?, database.connect().await?);
    program.execute("BEGIN; LOCK TABLE payments IN ACCESS SHARE MODE").await?;
    let both = "ALTER TABLE orders ADD COLUMN sample text; ALTER TABLE payments ADD COLUMN sample text";
    let migration = migrating(database.database(), newer(both), PATIENCE);
    waiting(&mut eye, "relation", Duration::ZERO, None).await?;
    // It has `orders` and wants `payments`; here it is the other way round.
    program.execute("SELECT count(*) FROM orders; COMMIT").await?;
    migration.await??;
    assert!(has_sample(&mut eye).await?);
    Ok(())
}

#[tokio::test]
async fn an_index_is_made_concurrently_for_as_long_as_it_takes_and_what_a_broken_try_left_is_dropped()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut order, mut eye) = (database.connect().await?, database.connect().await?);
    let begin =
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE orders IN ROW EXCLUSIVE MODE";
    order.execute(begin).await?;
    eye.execute("SET lock_timeout = '50ms'").await?;
    eye.execute("CREATE INDEX CONCURRENTLY sample_index ON orders (id)").await.unwrap_err();
    assert!(is_there(&mut eye, "sample_index").await?, "it leaves one that is none");
    order.execute("COMMIT").await?;
    order.execute(begin).await?;

    let migration = migrating(database.database(), newer(INDEX), PATIENCE);
    // Longer than a migration waits for a strong lock, and in the one try.
    waiting(&mut eye, "virtualxid", Duration::from_millis(1_500), None).await?;
    order.execute("COMMIT").await?;
    migration.await??;
    let is_valid: bool =
        sqlx::query_scalar("SELECT indisvalid FROM pg_index WHERE indexrelid = 'sample_index'::regclass")
            .fetch_one(&mut eye)
            .await?;
    assert!(is_valid);
    Ok(())
}

#[tokio::test]
async fn a_program_starts_beside_a_database_that_is_newer() -> Result<()> {
    let database = TestDatabase::new().await?;
    database.database().migrate_with(newer(COLUMN), PATIENCE).await?;
    database.database().prepare(PATIENCE).await?;
    database.database().look_for(ours(), PATIENCE).await?;
    // Also where it has something to apply itself.
    let other =
        Migration::new(9_000, "other".into(), MigrationType::Simple, "SELECT 1".into_sql_str(), false);
    let ours_and_other = Migrator::with_migrations(ours().iter().cloned().chain([other]).collect());
    assert_eq!(database.database().migrate_with(ours_and_other, PATIENCE).await?.0, ["9000 other"]);
    Ok(())
}

#[tokio::test]
async fn a_database_of_an_unreleased_version_is_told_in_one_line_how_to_begin_anew() -> Result<()> {
    for harm in [
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1",
        "UPDATE _sqlx_migrations SET version = version + 1000",
    ] {
        let database = TestDatabase::new().await?;
        database.connect().await?.execute(harm).await?;
        for no_migrate in [false, true] {
            let error =
                database.database().prepare_as(&SchemaConfig { no_migrate }, PATIENCE).await.unwrap_err();
            let line = format!("{error:#}");
            assert!(line.starts_with("this database holds the schema of an unreleased version"), "{line}");
            assert!(line.contains("Begin anew: an empty database") && !line.contains('\n'), "{line}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn told_not_to_migrate_a_program_refuses_an_empty_database_and_starts_beside_an_older_one() -> Result<()>
{
    let database = empty().await?;
    let config = SchemaConfig { no_migrate: true };
    let error = database.database().prepare_as(&config, PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("run `api migrate` first"), "{error:#}");
    let mut eye = database.connect().await?;
    assert!(!is_there(&mut eye, "_sqlx_migrations").await?, "it only looks");
    database.database().prepare(PATIENCE).await?;
    database.database().prepare_as(&config, PATIENCE).await?;
    database.database().look_for(newer(COLUMN), PATIENCE).await?;
    assert!(!has_sample(&mut eye).await?, "it only looks");
    Ok(())
}

#[tokio::test]
async fn a_migration_that_fails_is_named_and_leaves_nothing() -> Result<()> {
    let database = TestDatabase::new().await?;
    let broken = "ALTER TABLE orders ADD COLUMN sample text; ALTER TABLE nowhere ADD COLUMN sample text";
    let began = Instant::now();
    let error = database.database().migrate_with(newer(broken), PATIENCE).await.unwrap_err();
    assert!(began.elapsed() < PATIENCE / 2, "it is told at once");
    let line = format!("{error:#}");
    assert!(line.starts_with("cannot apply the migration 9001 sample of a change"), "{line}");
    assert!(line.contains("\"nowhere\" does not exist"), "{line}");
    let mut eye = database.connect().await?;
    assert!(!has_sample(&mut eye).await?);
    eye.execute("UPDATE _sqlx_migrations SET success = false WHERE version = 1").await?;
    let error = database.database().prepare(PATIENCE).await.unwrap_err();
    let first = ours().iter().next().context("a migration")?.description.clone();
    assert!(error.to_string().contains(&*first), "{error:#}");
    Ok(())
}

/// Tables with their columns and rows, and what else there is, of a database that was just made.
async fn all_there_is(conn: &mut PgConnection) -> Result<Vec<String>> {
    let asked = "SELECT concat_ws(' ', table_name, column_name, data_type, column_default, is_nullable,
               (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I', table_name), false, true, '')))[1])
           FROM information_schema.columns WHERE table_schema = 'public'
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
         ORDER BY 1";
    Ok(sqlx::query_scalar(asked).fetch_all(conn).await?)
}

/// What every test stands on is a copy of a template.
#[tokio::test]
async fn a_copied_database_is_what_the_migrations_make_today() -> Result<()> {
    let first = TestDatabase::new().await?;
    let mut conn = TestDatabase::on(first.url()).await?.connect().await?;
    let made = all_there_is(&mut conn).await?;
    let now: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut conn).await?;
    let mut copied = TestDatabase::new().await?.connect().await?;
    assert_eq!(all_there_is(&mut copied).await?, made);
    let (trusted, noted): (OffsetDateTime, OffsetDateTime) =
        sqlx::query_as("SELECT until, at FROM clock_trust, feed_ticks").fetch_one(&mut copied).await?;
    assert!(noted >= now && trusted >= now + time::Duration::HOUR, "{now}: {noted}, {trusted}");
    Ok(())
}
