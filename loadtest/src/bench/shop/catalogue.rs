//! The catalogue: how fast its pages are read while prices change, and how soon a change is seen at every api.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LOOK_AGAIN, TwoApis, ask, drive, request, two_apis};
use crate::bench::stack::Stack;
use crate::latency::Percentiles;
use crate::load::Connection;

/// Products in it.
const PRODUCTS: usize = 10_000;
/// Categories that they are in.
const CATEGORIES: usize = 20;
/// Who reads.
const CONNECTIONS: usize = 16;
/// Between two changes of a price.
const CHANGE_EVERY: Duration = Duration::from_millis(10);

/// Reading beside changes.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogueRun {
    /// Pages of twenty, without filters.
    pub pages_per_s: f64,
    /// How long they took.
    pub pages: Percentiles,
    /// Pages of twenty of a category between two prices.
    pub filtered_per_s: f64,
    /// How long those took.
    pub filtered: Percentiles,
    /// Prices changed a second meanwhile.
    pub changes_per_s: f64,
    /// Of some changes, the longest until both apis showed one, in milliseconds.
    pub seen_within_ms: f64,
}

/// Reads so many pages of either kind at one api while prices change.
pub(in crate::bench) async fn read(stack: &Stack, count: u64) -> Result<CatalogueRun> {
    let TwoApis { one, mut other, manager, .. } = two_apis(stack).await?;
    let (ids, categories) = fill(&one.ground.database_url).await?;
    let addrs = [one.api_addr, other.api_addr];
    let stop = Arc::new(AtomicBool::new(false));
    let changes = change_prices(addrs[0], manager.clone(), ids.clone(), Arc::clone(&stop));
    #[expect(clippy::disallowed_methods, reason = "its end is awaited below")]
    let changes = tokio::spawn(changes);

    let all = ids.clone();
    let page = move |number: u64, addr: SocketAddr| {
        let after = all[(number as usize * 37) % (PRODUCTS - 20)];
        (get(&format!("/catalog?page_size=20&cursor={after}"), addr), 200)
    };
    let pages = drive(&addrs[..1], CONNECTIONS, count, page).await.context("pages")?;
    let filter = move |number: u64, addr: SocketAddr| {
        let category = categories[number as usize % CATEGORIES];
        let path = format!("/catalog?page_size=20&category={category}&min_price=2&max_price=8&location=main");
        (get(&path, addr), 200)
    };
    let filtered = drive(&addrs[..1], CONNECTIONS, count, filter).await.context("filtered pages")?;
    let seen_within = seen_within(&addrs, &manager, &ids).await?;
    stop.store(true, Ordering::Relaxed);
    let changes_per_s = changes.await??;
    other.end().await?;
    one.stop(stack).await?;
    Ok(CatalogueRun {
        pages_per_s: pages.per_s,
        pages: pages.latencies,
        filtered_per_s: filtered.per_s,
        filtered: filtered.latencies,
        changes_per_s,
        seen_within_ms: seen_within.as_secs_f64() * 1e3,
    })
}

fn get(path: &str, addr: SocketAddr) -> Vec<u8> {
    format!("GET /api/v1{path} HTTP/1.1\r\nhost: {addr}\r\n\r\n").into_bytes()
}

/// Puts products into categories, as one change.
async fn fill(database_url: &str) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
    let ids: Vec<Uuid> = (0..PRODUCTS).map(|_| Uuid::now_v7()).collect();
    let categories: Vec<Uuid> = (0..CATEGORIES).map(|_| Uuid::now_v7()).collect();
    let of: Vec<Uuid> = (0..PRODUCTS).map(|n| categories[n % CATEGORIES]).collect();
    let mut conn = connect(database_url).await?;
    let mut tx = sqlx::Connection::begin(&mut conn).await?;
    let version: i64 = sqlx::query_scalar(
        "UPDATE catalogue_versions SET version = version + 1 WHERE what = 'articles' RETURNING version",
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO categories (id, version, name) SELECT id, $2, id::text FROM unnest($1::uuid[]) AS c(id)",
    )
    .bind(&categories)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO products (id, version, category_id, price_minor, currency, name, updated_by, description, locations,
                               variations, option_groups)
         SELECT id, $3, category, 100 + n % 900, 'USD', 'Product ' || n, 'bench', 'One of many that are read', '{main}', '[]', '[]'
         FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS p(id, category, n)",
    )
    .bind(&ids)
    .bind(&of)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((ids, categories))
}

/// Changes a price every [`CHANGE_EVERY`] until it is told to stop, and says how many a second those were.
async fn change_prices(
    addr: SocketAddr,
    manager: String,
    ids: Vec<Uuid>,
    stop: Arc<AtomicBool>,
) -> Result<f64> {
    let (mut connection, started, mut count) = (Connection::open(addr).await?, Instant::now(), 0_u64);
    let mut pace = tokio::time::interval(CHANGE_EVERY);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let id = ids[(count as usize * 101) % ids.len()];
        // Exact: of a float there may be more digits than the currency has.
        let minor = 100 + count % 800;
        let body = format!("{{\"price\":{}.{:02}}}", minor / 100, minor % 100);
        let bytes = request("PATCH", &format!("/products/{id}"), addr, &manager, &body);
        let status = connection.ask(&bytes).await?.status;
        ensure!(status == 200, "changing a price: {status}");
        count += 1;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// The longest of some changes until both apis show it.
async fn seen_within(addrs: &[SocketAddr; 2], manager: &str, ids: &[Uuid]) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for n in 0..50_usize {
        let id = ids[n * 3 + 1];
        let name = format!("Changed {n}");
        let path = format!("/products/{id}");
        ask(addrs[n % 2], manager, "PATCH", &path, &json!({"name": name})).await?;
        let changed = Instant::now();
        for addr in addrs {
            let mut connection = Connection::open(*addr).await?;
            loop {
                let answer = connection.ask(&get(&format!("/catalog/{id}"), *addr)).await?;
                let shown: Value = serde_json::from_slice(answer.body)?;
                if shown["name"] == name.as_str() {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        slowest = slowest.max(changed.elapsed());
    }
    Ok(slowest)
}
