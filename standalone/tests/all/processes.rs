//! Separate processes on PostgreSQL and RabbitMQ, as in production, and the one-command program.

use std::time::Duration;

use anyhow::Result;
use domain::order::status::OrderStatus;
use nix::sys::signal::Signal;
use testbed::{Client, TestDatabase, TestQueue, until};

use crate::program::{Program, client};
use crate::{count, settled};

/// One of each program, over a database and a queue of the test's own.
pub(crate) struct Processes {
    pub(crate) database: TestDatabase,
    queue: TestQueue,
    pub(crate) gateway: Program,
    pub(crate) worker: Program,
    pub(crate) api: Program,
    pub(crate) client: Client,
}

/// Settings beside those that the programs need to find each other.
pub(crate) type Extra<'a> = &'a [(&'a str, &'a str)];

impl Processes {
    async fn start() -> Result<Self> {
        Self::with(&[], &[], &[]).await
    }

    pub(crate) async fn with(gateway: Extra<'_>, worker: Extra<'_>, api: Extra<'_>) -> Result<Self> {
        let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
        let settings = [&[("GATEWAY_MOCK_ADDR", "127.0.0.1:0")], gateway].concat();
        let mut gateway = Program::start("gateway-mock", &settings)?;
        let gateway_url = format!("http://{}", gateway.says("addr=").await?);
        let worker = Self::worker_with(&database, &queue, &gateway_url, worker).await?;
        let own = [
            ("API_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", database.url()),
            ("AMQP_URL", &queue.config().amqp_url),
            ("AMQP_QUEUE", &queue.config().amqp_queue),
        ];
        let mut api = Program::start("api", &[&own, api].concat())?;
        let url = api.says("accepting orders at ").await?;
        let client = client(&url, &gateway_url)?;
        Ok(Self { database, queue, gateway, worker, api, client })
    }

    async fn worker(database: &TestDatabase, queue: &TestQueue, gateway_url: &str) -> Result<Program> {
        Self::worker_with(database, queue, gateway_url, &[]).await
    }

    async fn worker_with(
        database: &TestDatabase,
        queue: &TestQueue,
        gateway_url: &str,
        extra: Extra<'_>,
    ) -> Result<Program> {
        let own = [
            ("DATABASE_URL", database.url()),
            ("AMQP_URL", &queue.config().amqp_url),
            ("AMQP_QUEUE", &queue.config().amqp_queue),
            ("GATEWAY_URL", gateway_url),
            ("LEASE_SECONDS", "3"),
            ("GATEWAY_TIMEOUT_SECONDS", "1"),
        ];
        let mut worker = Program::start("worker", &[&own, extra].concat())?;
        // Whoever is told to stop before it works has nothing to finish.
        worker.says("working").await?;
        Ok(worker)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.api.stop().await?;
        self.worker.stop().await?;
        self.gateway.stop().await?;
        self.queue.delete().await
    }
}

#[tokio::test]
async fn a_thousand_orders_through_separate_processes() -> Result<()> {
    let processes = Processes::start().await?;
    // With the gateway's own defaults: 50 to 200 ms, one of twenty declined.
    processes.client.orders(1_000, 32).await?;
    let broker = processes.queue.broker();
    assert_eq!(settled(processes.database.url(), &processes.client, Some(&broker)).await?, 1_000);
    let confirmed = count(&processes.database, "CONFIRMED").await?;
    assert!((880..1_000).contains(&confirmed), "{confirmed} of 1,000 confirmed");
    assert_eq!(confirmed + count(&processes.database, "PAYMENT_FAILED").await?, 1_000);
    processes.stop().await
}

#[tokio::test]
async fn sixty_orders_far_apart_on_an_idle_worker() -> Result<()> {
    let processes = Processes::start().await?;
    until("the api is connected to the broker", async || {
        Ok((processes.client.get("/ready").await?["broker"] == "up").then_some(()))
    })
    .await?;
    let mut tick = tokio::time::interval(Duration::from_millis(600));
    for _ in 0..60 {
        tick.tick().await;
        let id = processes.client.order(&Client::an_order()).await?;
        // Each has ended before the next but one is sent: none waits for another to push it on.
        until("it has ended", async || {
            let status = processes.client.read(id).await?["status"].clone();
            Ok((status == "CONFIRMED" || status == "PAYMENT_FAILED").then_some(()))
        })
        .await?;
    }
    let unpublished: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM orders o JOIN shown_events e ON e.subject = o.id AND e.version = 2
         WHERE e.at - o.created_at > interval '2.9 s'",
    )
    .fetch_one(&mut processes.database.connect().await?)
    .await?;
    assert_eq!(unpublished, 0, "all came by message, none was left to the sweep");
    assert_eq!(settled(processes.database.url(), &processes.client, None).await?, 60);
    processes.stop().await
}

#[tokio::test]
async fn a_killed_and_a_stopped_worker_lose_and_repeat_nothing() -> Result<()> {
    let mut processes = Processes::start().await?;
    let client = processes.client.clone();
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        client.orders(150, 32).await?;
        // In the middle of it.
        processes.worker.signal(signal)?;
        let status = processes.worker.ended().await?;
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{}", processes.worker.said());
        if signal == Signal::SIGTERM {
            let held: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM shown_payments WHERE status = 'processing' AND epoch > 1",
            )
            .fetch_one(&mut processes.database.connect().await?)
            .await?;
            assert_eq!(held, 0, "a stop finishes what it has in hand");
        }
        processes.worker = Processes::worker(&processes.database, &processes.queue, &client.gateway).await?;
    }
    let broker = processes.queue.broker();
    assert_eq!(settled(processes.database.url(), &client, Some(&broker)).await?, 450);
    processes.stop().await
}

#[tokio::test]
async fn a_thousand_orders_through_the_one_command_program_and_again_after_a_kill() -> Result<()> {
    let data = tempfile::tempdir()?;
    // PostgreSQL may run as another user than the test: it has to get there.
    let data_dir = data.path().join("data");
    let settings = [
        ("API_ADDR", "127.0.0.1:0"),
        ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
        ("COMANDA_DATA_DIR", data_dir.to_str().unwrap()),
        ("LEASE_SECONDS", "3"),
        ("GATEWAY_TIMEOUT_SECONDS", "1"),
    ];
    // The coffee shop that its first start opens has an order at each status.
    let mut total = OrderStatus::ALL.len() as u64;
    for round in 0..3 {
        let mut program = Program::start("standalone", &settings)?;
        let api = program.says("orders    ").await?;
        let gateway = program.says("gateway   ").await?;
        let client = client(&api, &gateway)?;
        let port: u16 = program.says("a private PostgreSQL is up port=").await?.parse()?;
        let dir = program.says("data=").await?;
        let password = std::fs::read_to_string(std::path::Path::new(&dir).join("password"))?;
        let database_url = format!("postgres://comanda:{}@127.0.0.1:{port}/comanda", password.trim());
        client.orders(500, 32).await?;
        total += 500;
        if round == 0 {
            // In the middle of it; the next start finds the same data and the same ledger.
            program.signal(Signal::SIGKILL)?;
            program.ended().await?;
            continue;
        }
        assert_eq!(settled(&database_url, &client, None).await?, total);
        program.stop().await?;
    }
    Ok(())
}
