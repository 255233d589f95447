//! Connections to PostgreSQL: no program has more than it says at its start, and one that gets none waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use runtime::tasks::Stop;
use serde_json::json;
use servers::{PgBouncer, PoolMode, Postgres, PostgresSettings};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::Database;
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};
use tokio::task::JoinSet;
use worker::Worker;
use worker::config::WorkerSettings;

use crate::program::{Program, client};
use crate::settled;

/// A server as it comes: with a hundred connections, three of which are the superuser's own.
async fn server() -> Result<Postgres> {
    let config = vec![("max_connections", "100".to_owned())];
    let settings = PostgresSettings { config, ..PostgresSettings::temporary() };
    tokio::task::spawn_blocking(move || Postgres::start(&settings)).await?
}

/// The most connections that each program had, by the first word of its name there, seen again and again while `work` lasts.
async fn most<T>(url: &str, work: impl Future<Output = Result<T>>) -> Result<(HashMap<String, i64>, T)> {
    let mut eye = Database::new(url, "eye")?.connect().await?;
    let mut most = HashMap::new();
    let watch = async {
        loop {
            let seen: Vec<(String, i64)> = sqlx::query_as(
                "SELECT split_part(application_name, '-', 2), count(*) FROM pg_stat_activity
                 WHERE application_name LIKE 'comanda-%' GROUP BY 1",
            )
            .fetch_all(&mut eye)
            .await?;
            for (program, count) in seen {
                let so_far = most.entry(program).or_insert(0);
                *so_far = count.max(*so_far);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::select! {
        done = work => done?,
        failed = watch => return failed,
    };
    Ok((most, done))
}

/// Everything that is done with an api, side by side.
async fn all_at_once(client: &Client, metrics: &str) -> Result<()> {
    let get = async |url: String| -> Result<()> {
        for _ in 0..20 {
            client.http.get(&url).send().await?.bytes().await?;
        }
        Ok(())
    };
    let reads = (0..24).map(|n| match n % 3 {
        0 => format!("{}/api/v1/orders?page_size=100", client.api),
        1 => format!("{}/ready", client.api),
        _ => format!("http://{metrics}/internal/refunds"),
    });
    let moves = async {
        try_join_all((0..12).map(async |_| {
            let id = client.order(&Client::an_order()).await?;
            client.until_status(id, "CONFIRMED").await?;
            let refused = format!("{}/api/v1/orders/{id}/reject", client.api);
            // A busy machine may say 503: again, as whoever is told so does, and under the same key: it may have been done.
            until("the order is rejected", async || {
                let asked = client.http.post(&refused).header("Idempotency-Key", id.to_string());
                let asked = asked.json(&json!({"reason": "no buns"}));
                let answer = asked.send().await?;
                Ok((answer.status() != 503).then(|| answer.error_for_status()))
            })
            .await??;
            anyhow::Ok(())
        }))
        .await
    };
    tokio::try_join!(client.orders(300, 32), moves, try_join_all(reads.map(get)))?;
    Ok(())
}

async fn stated(program: &mut Program) -> Result<i64> {
    Ok(program.says("database_connections=").await?.parse()?)
}

async fn addr(program: &mut Program) -> Result<String> {
    Ok(program.says("metrics at http://").await?.replace("/metrics", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_program_has_more_connections_than_it_says() -> Result<()> {
    let server = server().await?;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let queue = TestQueue::new()?;
    let mut gateway = Program::start("gateway-mock", &[("GATEWAY_MOCK_ADDR", "127.0.0.1:0")])?;
    let gateway_url = format!("http://{}", gateway.says("addr=").await?);
    let settings = [
        ("DATABASE_URL", database.url()),
        ("AMQP_URL", &queue.config().amqp_url),
        ("AMQP_QUEUE", &queue.config().amqp_queue),
        ("GATEWAY_URL", &gateway_url),
        ("API_ADDR", "127.0.0.1:0"),
        ("PAYMENT_RETRY_INITIAL_SECONDS", "0.1"),
    ];
    let keys = tempfile::tempdir()?;
    let keys = keys.path().join("keys").display().to_string();
    Program::asked("api", &["keys", "make", &keys], &[])?.ended().await?;
    let run = async {
        let mut worker = Program::start("worker", &settings)?;
        let mut api = Program::start("api", &[&settings[..], &[("IDENTITY_KEY_FILE", &*keys)]].concat())?;
        let url = api.says("accepting orders at ").await?;
        let client = client(&url, &gateway_url)?;
        client.no_faults().await?;
        all_at_once(&client, &addr(&mut api).await?).await?;
        settled(database.url(), &client, Some(&queue.broker())).await?;
        let stated = (stated(&mut api).await?, stated(&mut worker).await?);
        api.stop().await?;
        worker.stop().await?;
        anyhow::Ok(stated)
    };
    let (most, (api, worker)) = most(database.url(), run).await?;
    assert_eq!((api, worker), (21, 5), "as docs/operations.md says");
    assert!((10..=api).contains(&most["api"]), "it is driven, and has no more than it said: {most:?}");
    assert!((2..=worker).contains(&most["worker"]), "{most:?}");
    gateway.stop().await?;
    queue.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_has_no_more_connections_than_it_says() -> Result<()> {
    let server = server().await?;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let data = tempfile::tempdir()?;
    let data = data.path().display().to_string();
    let settings = [
        ("DATABASE_URL", database.url()),
        ("COMANDA_DATA_DIR", &data),
        ("API_ADDR", "127.0.0.1:0"),
        ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
        ("PAYMENT_MOCK_SUCCESS_RATE", "1"),
        ("PAYMENT_MOCK_LATENCY_MAX", "50"),
    ];
    let run = async {
        let mut program = Program::start("standalone", &settings)?;
        let url = program.says("orders    ").await?;
        let ledger = program.says("gateway   ").await?;
        let client = client(&url, &ledger)?;
        all_at_once(&client, &addr(&mut program).await?).await?;
        settled(database.url(), &client, None).await?;
        let stated = stated(&mut program).await?;
        program.stop().await?;
        anyhow::Ok(stated)
    };
    let (most, stated) = most(database.url(), run).await?;
    assert_eq!(stated, 32, "as docs/operations.md says");
    assert!((10..=stated).contains(&most["standalone"]), "{most:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_workers_work_on_a_server_as_it_comes() -> Result<()> {
    const WORKERS: usize = 50;
    let server = server().await?;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let queue = TestQueue::new()?;
    let options = Options { with_worker: false, ..Options::new(Via::RabbitMq(queue.clone())) };
    let settings = WorkerSettings {
        worker_database_connections: 1,
        sweep_interval: Duration::from_secs(1),
        ..options.worker.clone()
    };
    let pipeline = Pipeline::over(Database::new(database.url(), "api")?, options).await?;
    let settings = WorkerSettings { gateway_url: pipeline.client.gateway.clone(), ..settings };

    let (stop, started) = (Stop::new(), AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    let prepared = (0..WORKERS).map(async |_| {
        let database = Database::new(database.url(), "worker")?;
        database.prepare(Duration::from_secs(60)).await?;
        started.fetch_add(1, Ordering::Relaxed);
        anyhow::Ok(Worker { database, broker: queue.broker(), settings: settings.clone() })
    });
    for worker in try_join_all(prepared).await? {
        workers.spawn(worker::run(worker, stop.clone()));
    }
    assert_eq!(started.into_inner(), WORKERS, "all at once: each has two connections for a moment");
    let mut eye = database.connect().await?;
    until("all are at work", async || {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'comanda-worker'";
        let count: i64 = sqlx::query_scalar(asked).fetch_one(&mut eye).await?;
        Ok((count == i64::try_from(WORKERS)?).then_some(()))
    })
    .await?;

    let run = async {
        pipeline.client.orders(400, 8).await?;
        settled(database.url(), &pipeline.client, Some(&queue.broker())).await
    };
    let (most, orders) = most(database.url(), run).await?;
    assert_eq!(orders, 400);
    assert_eq!(most["worker"], i64::try_from(WORKERS)?, "one each: {most:?}");
    stop.stop();
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    pipeline.stop().await?;
    queue.delete().await
}

/// A role that may have so many connections is refused further ones as by a server that is full.
async fn limit(admin: &mut PgConnection, role: &str, connections: u32) -> Result<()> {
    let alter = format!("ALTER ROLE {role} CONNECTION LIMIT {connections}");
    admin.execute(sqlx::raw_sql(AssertSqlSafe(alter))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_gets_no_connection_says_so_once_and_waits() -> Result<()> {
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    let mut admin = database.connect().await?;
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT comanda TO {role}");
    admin.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
    limit(&mut admin, &role, 0).await?;
    let (_, place) = database.url().split_once('@').context("a user")?;
    let url = format!("postgres://{role}:x@{place}");
    let (amqp, name) = (&queue.config().amqp_url, &queue.config().amqp_queue);
    let settings = [
        ("DATABASE_URL", &*url),
        ("AMQP_URL", amqp),
        ("AMQP_QUEUE", name),
        ("API_ADDR", "127.0.0.1:0"),
        ("GATEWAY_URL", "http://127.0.0.1:1"),
    ];
    let (mut api, mut worker) = (Program::start("api", &settings)?, Program::start("worker", &settings)?);
    const WAITS: &str = "waiting until PostgreSQL at ";
    for program in [&mut api, &mut worker] {
        program.says(WAITS).await?;
    }
    // Two are what a start takes; and then both have fewer than they may.
    limit(&mut admin, &role, 2).await?;
    until("one of them works, the other one waits on", async || {
        let works = [api.said().contains("accepting orders"), worker.said().contains("working")];
        Ok(works.contains(&true).then_some(()))
    })
    .await?;
    limit(&mut admin, &role, 6).await?;
    let url = api.says("accepting orders at ").await?;
    worker.says("working").await?;
    let client = client(&url, "http://127.0.0.1:1")?;
    until("orders are accepted", async || {
        let answer = client.post(&Client::an_order()).await?;
        Ok((answer.status() == 202).then_some(()))
    })
    .await?;
    for program in [&api, &worker] {
        assert_eq!(program.said().matches(WAITS).count(), 1, "{}", program.said());
    }
    worker.stop().await?;
    api.stop().await?;
    queue.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_for_transactions_no_program_starts() -> Result<()> {
    let server = server().await?;
    let pooler = PgBouncer::start(&server, PoolMode::Transaction, "")?;
    let (url, data) = (pooler.url("comanda"), tempfile::tempdir()?);
    let data = data.path().display().to_string();
    for name in ["api", "worker", "standalone"] {
        let begun = tokio::time::Instant::now();
        let settings = [
            ("DATABASE_URL", &*url),
            ("AMQP_URL", "amqp://127.0.0.1:1"),
            ("API_ADDR", "127.0.0.1:0"),
            ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
            ("COMANDA_DATA_DIR", &data),
        ];
        let mut program = Program::start(name, &settings)?;
        assert!(!program.ended().await?.success());
        assert!(begun.elapsed() < Duration::from_secs(15), "{name}: {:?}", begun.elapsed());
        let said = until("it has said why", async || {
            let said = program.said();
            Ok(said.contains("pool_mode=session").then_some(said))
        })
        .await?;
        let lines = said.lines().filter(|line| !line.contains(" INFO ")).count();
        assert_eq!(lines, 1, "{name}: {said}");
    }
    Ok(())
}
