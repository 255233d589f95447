//! An upgrade beside running programs: the next version's migrations are applied while old programs take orders, and
//! no client notices. What a migration may do stands in migrations/README.md; these are samples of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use runtime::config::SchemaConfig;
use runtime::tasks::Stop;
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};
use store::migrate::{TURN, ours};
use testbed::{Client, Options, Pipeline, TestDatabase, Via, until};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::program::Program;
use crate::settled;

const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: usize = 6;
/// So many at most, however long the migration takes.
const ORDERS: usize = 6_000;
/// Before, after, and between two steps: what says that clients were at work all the time.
const SOME: usize = 100;

/// Ours and the samples of the next version's.
async fn next_version() -> Result<Migrator> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade");
    let samples = Migrator::new(samples).await?;
    Ok(Migrator::with_migrations(ours().iter().chain(samples.iter()).cloned().collect()))
}

/// Orders, has them taken or refused, and reads, until `stop`. The first answer that is no success ends it.
async fn keep_ordering(client: Client, taken: Arc<AtomicUsize>, stop: Stop) -> Result<()> {
    while !stop.is_stopped() {
        let number = taken.fetch_add(1, Ordering::SeqCst);
        ensure!(number < ORDERS, "the migration takes too long");
        let id = client.order(&Client::an_order()).await?;
        tokio::time::timeout(PATIENCE, confirmed(&client, id)).await??;
        let (what, body) = if number.is_multiple_of(2) {
            ("accept", json!({}))
        } else {
            ("reject", json!({"reason": "no buns"}))
        };
        let url = format!("{}/api/v1/orders/{id}/{what}", client.api);
        succeeds(client.http.post(url).json(&body)).await?;
        for path in ["/api/v1/orders?page_size=5", "/ready"] {
            succeeds(client.http.get(format!("{}{path}", client.api))).await?;
        }
    }
    Ok(())
}

async fn confirmed(client: &Client, id: Uuid) -> Result<()> {
    while client.read(id).await?["status"] != "CONFIRMED" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn succeeds(request: reqwest::RequestBuilder) -> Result<()> {
    let answer = request.send().await?;
    ensure!(
        answer.status().is_success(),
        "{}: {} {}",
        answer.url().clone(),
        answer.status(),
        answer.text().await?
    );
    Ok(())
}

/// Waits until so many more orders were taken. A client that fails meanwhile is told.
async fn some_more(taken: &AtomicUsize, clients: &mut JoinSet<Result<()>>) -> Result<()> {
    let before = taken.load(Ordering::SeqCst);
    until("orders are taken", async || {
        if let Some(ended) = clients.try_join_next() {
            ended??;
        }
        Ok((taken.load(Ordering::SeqCst) >= before + SOME).then_some(()))
    })
    .await
}

/// When the migration that waits for a lock began to.
async fn waits_since(eye: &mut PgConnection, not: Option<i64>) -> Result<i64> {
    until("the migration waits for the report", async || {
        let since: Option<i64> = sqlx::query_scalar(
            "SELECT (extract(epoch FROM a.query_start) * 1e6)::bigint
             FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE a.application_name = 'comanda-migrate' AND a.datname = current_database()
               AND NOT l.granted AND l.locktype = 'relation'",
        )
        .fetch_optional(&mut *eye)
        .await?;
        Ok(since.filter(|since| Some(*since) != not))
    })
    .await
}

#[tokio::test]
async fn a_migration_under_load_fails_no_request_and_old_programs_start_beside_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let (stop, taken) = (Stop::new(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(keep_ordering(client.clone(), taken.clone(), stop.clone()));
    }
    some_more(&taken, &mut clients).await?;

    // Somebody's report stands in the way of the first try, and of the second.
    let (mut report, mut eye) = (database.connect().await?, database.connect().await?);
    report
        .execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT count(*) FROM orders")
        .await?;
    let migrator = next_version().await?;
    let samples = migrator.iter().count() - ours().iter().count();
    let next = database.database();
    let mut migration = JoinSet::new();
    migration.spawn(async move { next.migrate_with(migrator, PATIENCE).await });
    let first = waits_since(&mut eye, None).await?;
    waits_since(&mut eye, Some(first)).await?;
    report.close().await?;
    let Some(applied) = migration.join_next().await else { unreachable!("one was spawned") };
    assert_eq!(applied??.0.len(), samples);
    some_more(&taken, &mut clients).await?;

    // An old program that is started anew, while the other goes on.
    database.database().prepare(PATIENCE).await?;
    let options = Options { gateway: Some(client.gateway.clone()), ..Options::new(Via::InProcess) };
    let restarted = Pipeline::start(&database, options).await?;
    let id = restarted.client.order(&Client::an_order()).await?;
    restarted.client.until_status(id, "CONFIRMED").await?;
    some_more(&taken, &mut clients).await?;
    stop.stop();
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let sampled: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders WHERE sample_rank = 0 AND sample_table IS NULL")
            .fetch_one(&mut eye)
            .await?;
    let orders = settled(database.url(), client, None).await?;
    assert_eq!(orders, u64::try_from(sampled)?);
    println!("{orders} orders");
    restarted.stop().await?;
    pipeline.stop().await
}

/// A database that is there and empty.
async fn empty() -> Result<TestDatabase> {
    let database = TestDatabase::new().await?;
    database.connect().await?.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
    Ok(database)
}

/// Runs a program's `migrate` and returns what it says.
async fn migrate(name: &'static str, settings: &[(&str, &str)]) -> Result<String> {
    let mut program = Program::asked(name, &["migrate"], settings)?;
    let status = program.ended().await?;
    ensure!(status.success(), "{name} migrate ended with {status}: {}", program.said());
    // Its last words may still be on their way through the pipe.
    until("it has said what it did", async || {
        let said = program.said();
        Ok(said
            .lines()
            .any(|line| line.starts_with("applied") || line.starts_with("nothing"))
            .then_some(said))
    })
    .await
}

#[tokio::test]
async fn the_command_migrate_says_what_it_did() -> Result<()> {
    for name in ["api", "worker", "standalone"] {
        let database = empty().await?;
        let settings = [("DATABASE_URL", database.url()), ("LOG_LEVEL", "warn")];
        let said = migrate(name, &settings).await?;
        let expected: Vec<_> =
            ours().iter().map(|one| format!("applied {:04} {}", one.version, one.description)).collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        assert_eq!(migrate(name, &settings).await?, "nothing to do: the schema is up to date");
        database.database().prepare_as(&SchemaConfig { no_migrate: true }, PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_migration_waits_for_is_said() -> Result<()> {
    let database = empty().await?;
    let (mut migrator, mut report) = (database.connect().await?, database.connect().await?);
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TURN).execute(&mut migrator).await?;
    // As the first migration makes it; here somebody looks at it already, and keeps looking.
    let known = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, success bool NOT NULL,
        installed_on timestamptz NOT NULL DEFAULT now(), checksum bytea NOT NULL, execution_time bigint NOT NULL)";
    report.execute(known).await?;
    report
        .execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE _sqlx_migrations IN SHARE MODE")
        .await?;
    let mut program = Program::asked("worker", &["migrate"], &[("DATABASE_URL", database.url())])?;
    program.says("somebody else applies the schema").await?;
    migrator.close().await?;
    program.says("tries=2").await?;
    let said = program.said();
    assert!(said.contains("waits_for=\"_sqlx_migrations behind comanda-test (pid "), "{said}");
    assert_eq!(said.matches("somebody else applies the schema").count(), 1, "{said}");
    report.close().await?;
    program.says("applied 0001").await?;
    assert!(program.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_private_database_is_migrated_as_a_run_would_do() -> Result<()> {
    let data = tempfile::tempdir()?;
    // PostgreSQL may run as another user than the test: it has to get there.
    let data_dir = data.path().join("data");
    let settings = [("COMANDA_DATA_DIR", data_dir.to_str().unwrap())];
    assert!(migrate("standalone", &settings).await?.contains("applied 0001"));
    assert!(migrate("standalone", &settings).await?.contains("nothing to do"));
    Ok(())
}

#[tokio::test]
async fn told_not_to_migrate_no_program_starts_on_an_empty_database() -> Result<()> {
    let database = empty().await?;
    let data = tempfile::tempdir()?;
    let settings = [
        ("DATABASE_URL", database.url()),
        ("AMQP_URL", "amqp://127.0.0.1:1"),
        ("API_ADDR", "127.0.0.1:0"),
        ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
        ("COMANDA_DATA_DIR", data.path().to_str().unwrap()),
    ];
    for name in ["api", "worker", "standalone"] {
        let by_variable = Program::start(name, &[&settings[..], &[("NO_MIGRATE", "1")]].concat())?;
        let by_flag = Program::asked(name, &["--no-migrate"], &settings)?;
        for mut program in [by_variable, by_flag] {
            assert!(!program.ended().await?.success());
            until("it has said why", async || {
                Ok(program.said().contains("run `api migrate` first").then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}
