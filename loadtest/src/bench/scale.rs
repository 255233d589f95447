//! What becomes of the figures when the tables are full: of finished orders, and of payments that are due.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reconcile::connect;
use reconcile::{Invariant, accepted_missing, reconcile};
use runtime::tasks::Stop;
use serde::Serialize;
use sqlx::Connection as _;
use uuid::Uuid;

use super::fill::{Fill, fill};
use super::runs::PATIENCE;
use super::stack::{Services, Shape, Stack, WARM_UP};
use super::traffic::Traffic;
use super::usage::{Cost, Memory};
use crate::gateway::fetch_ledger;
use crate::latency::{Latencies, Percentiles, per_second};
use crate::load::{Connection, Pace, load};
use crate::settled::{due, until_settled};

/// Orders read by their id, and pages of customers': hundreds beyond the 99th percentile would be luck.
const READS: usize = 2_000;
/// Pages that everybody's orders are on.
const PAGES: usize = 50;
/// Orders that the kitchen took, fewer than a page shows: nothing tells when all of them are found.
const IN_KITCHEN: usize = 10;
/// Between looks at a backlog.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// End to end, and reading, beside so many finished orders.
#[derive(Debug, Clone, Serialize)]
pub struct ScaleRun {
    /// Orders that were there.
    pub finished: u64,
    /// Orders a second from the first POST to the last CONFIRMED.
    pub per_s: f64,
    /// One order with all that belongs to it.
    pub get: Percentiles,
    /// A customer's first page.
    pub customer: Percentiles,
    /// The first page of all orders.
    pub newest: Percentiles,
    /// The first page of what the kitchen has, ten orders.
    pub board: Percentiles,
    /// Processor time.
    pub cost: Cost,
    /// Statements, batches, bytes.
    pub traffic: Traffic,
    /// MB of each table with its indexes.
    pub megabytes: BTreeMap<String, f64>,
    /// The same after each was written anew (`VACUUM FULL`), where all orders are ones that lived through it all: what is
    /// more than this is room that moves need, and bloat.
    pub rewritten_megabytes: Option<BTreeMap<String, f64>>,
    /// 202s without an order, or whose order was not charged exactly once.
    pub lost: u64,
}

/// How payments that have been due for long are worked off.
#[derive(Debug, Clone, Serialize)]
pub struct BacklogRun {
    /// How many.
    pub payments: u64,
    /// Settled a second.
    pub per_s: f64,
    /// The worker's memory, in MB: its share when a tenth was done, a half, and at the end.
    pub worker_mb: [f64; 3],
    /// The most that it had resident.
    pub worker_peak_rss_mb: f64,
    /// Keys or orders charged more than once.
    pub double: u64,
    /// Whether every invariant holds.
    pub clean: bool,
}

/// Measures `orders` end to end beside `finished` ones.
pub(super) async fn beside(stack: &Stack, finished: u64, orders: u64, at_once: usize) -> Result<ScaleRun> {
    let ground = stack.ground().await?;
    fill(&ground.database_url, Fill::Finished, i64::try_from(finished)?).await?;
    let mut services = stack.start_on(ground, Shape::Separate, &[])?;
    services.warm_up(Shape::Separate).await?;
    services.connections = at_once;
    let counts = services.counts().await?;
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Closed, Some(orders), None)?, &Stop::new()).await?;
    let waited = until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, orders);
    let traffic = services.counts().await?.since(&counts, orders);
    let accepted: Vec<Uuid> = done.accepted.iter().map(|one| one.id).collect();
    let missing = accepted_missing(&services.ground.database_url, accepted.iter().copied()).await?;
    let charged = fetch_ledger(&services.gateway_url).await?.charges;
    let keys: HashSet<&str> = charged.iter().map(|one| one.key.as_str()).collect();
    ensure!(keys.len() == charged.len(), "a key was charged twice");
    let expected = accepted.len() as u64 + WARM_UP;
    let reads = Reads::new(&services).await?;
    reads.take(&accepted[..IN_KITCHEN.min(accepted.len())], &stack.kitchen(&services.ground)?).await?;
    let run = ScaleRun {
        finished,
        per_s: per_second(accepted.len() as u64, done.elapsed + waited),
        get: reads.of(reads.ids.iter().map(|id| format!("/api/v1/orders/{id}"))).await?,
        customer: reads
            .of(reads.customers.iter().map(|one| format!("/api/v1/orders?customer_id={one}")))
            .await?,
        newest: reads.of(std::iter::repeat_n("/api/v1/orders".to_owned(), PAGES)).await?,
        board: reads
            .of(std::iter::repeat_n("/api/v1/orders?status=accepted,preparing,ready".to_owned(), PAGES))
            .await?,
        cost,
        traffic,
        megabytes: megabytes(&services.ground.database_url).await?,
        rewritten_megabytes: if finished == 0 { Some(rewritten(&services).await?) } else { None },
        lost: missing.len() as u64 + expected.abs_diff(charged.len() as u64),
    };
    services.stop(stack).await?;
    Ok(run)
}

/// What is read, and from whom.
struct Reads {
    api: std::net::SocketAddr,
    token: String,
    ids: Vec<Uuid>,
    customers: Vec<String>,
}

impl Reads {
    /// Orders from all over the table.
    async fn new(services: &Services) -> Result<Self> {
        let mut conn = connect(&services.ground.database_url).await?;
        // Pages at random, and of their orders some: enough pages for the orders to come from everywhere.
        let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
        let percent = (20 * READS) as f64 / orders as f64 * 100.0;
        let some: Vec<(Uuid, String)> = sqlx::query_as(
            "SELECT id, customer_id FROM orders TABLESAMPLE SYSTEM ($1) ORDER BY random() LIMIT $2",
        )
        .bind(percent.min(100.0))
        .bind(i64::try_from(READS)?)
        .fetch_all(&mut conn)
        .await?;
        conn.close().await?;
        let (ids, customers) = some.into_iter().unzip();
        Ok(Self { api: services.api_addr, token: services.token()?, ids, customers })
    }

    /// The kitchen takes these.
    async fn take(&self, ids: &[Uuid], token: &str) -> Result<()> {
        let mut connection = Connection::open(self.api).await?;
        for id in ids {
            let request = format!(
                "POST /api/v1/orders/{id}/accept HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n",
                self.api
            );
            let status = connection.ask(request.as_bytes()).await?.status;
            ensure!(status == 200, "accepting {id} was answered {status}");
        }
        Ok(())
    }

    /// One after the other over one connection.
    async fn of(&self, paths: impl Iterator<Item = String>) -> Result<Percentiles> {
        let mut connection = Connection::open(self.api).await?;
        let mut latencies = Latencies::new()?;
        for path in paths {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
                self.api, self.token
            );
            let asked = Instant::now();
            let status = connection.ask(request.as_bytes()).await?.status;
            ensure!(status == 200, "GET {path} was answered {status}");
            latencies.record(asked.elapsed());
        }
        Ok(latencies.summary())
    }
}

async fn megabytes(database_url: &str) -> Result<BTreeMap<String, f64>> {
    let mut conn = connect(database_url).await?;
    let sizes: Vec<(String, i64)> = sqlx::query_as(
        "SELECT relname::text, pg_total_relation_size(relid) FROM pg_stat_user_tables
         WHERE relname IN ('orders', 'open_charges', 'payments', 'payment_attempts', 'order_events')",
    )
    .fetch_all(&mut conn)
    .await?;
    conn.close().await?;
    Ok(sizes.into_iter().map(|(name, bytes)| (name, bytes as f64 / 1_000_000.0)).collect())
}

async fn rewritten(services: &Services) -> Result<BTreeMap<String, f64>> {
    let mut conn = connect(&services.ground.database_url).await?;
    sqlx::query("VACUUM FULL").execute(&mut conn).await?;
    conn.close().await?;
    megabytes(&services.ground.database_url).await
}

/// Measures how `payments` that are due, and of which no message tells, are worked off.
pub(super) async fn backlog(stack: &Stack, payments: u64) -> Result<BacklogRun> {
    let ground = stack.ground().await?;
    fill(&ground.database_url, Fill::Due, i64::try_from(payments)?).await?;
    let mut conn = connect(&ground.database_url).await?;
    sqlx::query("SET enable_seqscan = off").execute(&mut conn).await?;
    let started = Instant::now();
    let services = stack.start_on(ground, Shape::Separate, &[])?;
    let worker = || Memory::of(services.pid_of("worker"));
    let mut worker_mb = [0.0; 3];
    loop {
        let left = due(&mut conn).await?;
        // The last look at each part of the way counts.
        let at = if left * 10 >= payments * 9 { 0 } else { usize::from(left * 2 < payments) };
        worker_mb[at] = worker().pss_mb;
        if left == 0 {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{left} payments are still due after {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let elapsed = started.elapsed();
    let memory = worker();
    worker_mb[2] = memory.pss_mb;
    let ledger = fetch_ledger(&services.gateway_url).await?;
    let report = reconcile(&services.ground.database_url, &ledger).await?;
    if !report.is_clean() {
        eprintln!("\n{report}");
    }
    services.stop(stack).await?;
    Ok(BacklogRun {
        payments,
        per_s: per_second(payments, elapsed),
        worker_mb,
        worker_peak_rss_mb: memory.peak_rss_mb,
        double: report.of(Invariant::ChargedOnce).violated,
        clean: report.is_clean(),
    })
}
