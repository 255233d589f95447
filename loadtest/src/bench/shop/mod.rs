//! What is sold: how fast one hot product is bought by two apis, beside orders without stock in the same run; how fast it is refused
//! once it is sold out; and orders of many products in any order.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

pub mod catalogue;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::gateway::Ledger;
use reconcile::{Report, connect};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stack::{Services, Shape, Stack};
use crate::latency::{Latencies, Percentiles};
use crate::load::Connection;

/// Products of an order of many.
const MANY: usize = 20;
/// Orders of many.
const ORDERS_OF_MANY: u64 = 2_000;
/// Requests that are refused.
const REFUSED: u64 = 20_000;

/// Buying and being refused.
#[derive(Debug, Clone, Serialize)]
pub struct StockRun {
    /// Orders without stock, accepted by both apis.
    pub plain_per_s: f64,
    /// Orders of the hot product, accepted by both.
    pub bought_per_s: f64,
    /// The share of the first.
    pub share: f64,
    /// How long the hot ones took.
    pub bought: Percentiles,
    /// Once it was sold out.
    pub refused_per_s: f64,
    /// Orders of twenty products in any order.
    pub many_per_s: f64,
    /// How long those took.
    pub many: Percentiles,
    /// Transactions that the server ended because they waited for each other.
    pub deadlocks: i64,
    /// Whether the stock adds up.
    pub clean: bool,
}

/// A request and the status that it is to be answered with.
pub(super) type Request = (Vec<u8>, u16);

/// What so many requests came to.
pub(super) struct Driven {
    pub(super) per_s: f64,
    pub(super) latencies: Percentiles,
}

/// Sends `count` requests over so many connections, in turn to each of `addrs`; each must be answered with its status.
pub(super) async fn drive(
    addrs: &[SocketAddr],
    connections: usize,
    count: u64,
    request: impl Fn(u64, SocketAddr) -> Request + Send + Sync + 'static,
) -> Result<Driven> {
    let (number, request) = (Arc::new(AtomicU64::new(0)), Arc::new(request));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for n in 0..connections {
        let (addr, number, request) = (addrs[n % addrs.len()], Arc::clone(&number), Arc::clone(&request));
        clients.spawn(async move {
            let (mut connection, mut latencies) = (Connection::open(addr).await?, Latencies::new()?);
            loop {
                let number = number.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(latencies);
                }
                let (bytes, expected) = request(number, addr);
                let asked = Instant::now();
                let answer = connection.ask(&bytes).await?;
                let (status, body) = (answer.status, String::from_utf8_lossy(answer.body).into_owned());
                ensure!(status == expected, "expected {expected}, got {status}: {body}");
                latencies.record(asked.elapsed());
                if connection.is_closing() {
                    connection = Connection::open(addr).await?;
                }
            }
        });
    }
    let mut all = Latencies::new()?;
    while let Some(done) = clients.join_next().await {
        all.add(&done??)?;
    }
    Ok(Driven { per_s: count as f64 / started.elapsed().as_secs_f64(), latencies: all.summary() })
}

/// A request with a JSON body.
pub(super) fn request(method: &str, path: &str, addr: SocketAddr, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Asks once, and wants a success.
pub(super) async fn ask(
    addr: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Value> {
    let mut connection = Connection::open(addr).await?;
    let answer = connection.ask(&request(method, path, addr, token, &body.to_string())).await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    ensure!((200..300).contains(&answer.status), "{method} {path}: {}: {text}", answer.status);
    Ok(serde_json::from_str(&text)?)
}

/// Two apis over one database.
pub(super) struct TwoApis {
    pub(super) one: Services,
    pub(super) other: Services,
    /// A manager's token.
    pub(super) manager: String,
    /// A service's.
    pub(super) service: String,
}

/// Starts them.
pub(super) async fn two_apis(stack: &Stack) -> Result<TwoApis> {
    let ground = stack.ground().await?;
    // Before they start: a token that is made later is known only once an api has looked again.
    let manager = stack.operator(&ground, "manager")?;
    let mut one = stack.start_on(ground, Shape::ApiOnly, &[])?;
    one.warm_up(Shape::ApiOnly).await?;
    // The other's start makes another one, which the first would not know at once.
    let service = one.token()?;
    let mut other = stack.start_on(one.ground.clone(), Shape::ApiOnly, &[])?;
    other.warm_up(Shape::ApiOnly).await?;
    Ok(TwoApis { one, other, manager, service })
}

/// A product of which there are so many.
async fn product(addr: SocketAddr, manager: &str, name: &str, quantity: u64) -> Result<String> {
    let new = json!({"name": name, "price": 2.5, "tracked": true});
    let made = ask(addr, manager, "POST", "/products", &new).await?;
    let id = made["id"].as_str().context("a product without an id")?.to_owned();
    let put_in = json!({"action": "set", "quantity": quantity});
    ask(addr, manager, "POST", &format!("/products/{id}/stock"), &put_in).await?;
    Ok(id)
}

/// `buys` of one product at two apis, by turns with as many orders without stock.
pub(super) async fn stock(stack: &Stack, buys: u64) -> Result<StockRun> {
    let TwoApis { one, mut other, manager, service: token } = two_apis(stack).await?;
    let addrs = [one.api_addr, other.api_addr];
    let hot = product(addrs[0], &manager, "Hot", buys).await?;
    let mut many = Vec::with_capacity(MANY);
    for n in 0..MANY {
        many.push(product(addrs[0], &manager, &format!("Dish {n}"), ORDERS_OF_MANY).await?);
    }
    let post = |body: String, status: u16| {
        let token = token.clone();
        move |_: u64, addr| (request("POST", "/orders", addr, &token, &body), status)
    };
    let line = json!({"customer_id": "bench", "items": [{"product_id": hot, "quantity": 1}]}).to_string();
    let connections = one.connections;
    let plain =
        drive(&addrs, connections, buys, post(crate::load::body().to_owned(), 202)).await.context("plain")?;
    let bought = drive(&addrs, connections, buys, post(line.clone(), 202)).await.context("hot")?;
    let refused = drive(&addrs, connections, REFUSED, post(line, 409)).await.context("sold out")?;
    let of_many = move |number: u64, addr: SocketAddr| {
        let n = usize::try_from(number).unwrap_or(0);
        // Each order in a sequence of its own.
        let lines: Vec<Value> =
            (0..MANY).map(|k| json!({"product_id": many[(k * 7 + n * 3) % MANY], "quantity": 1})).collect();
        let body = json!({"customer_id": "bench", "items": lines}).to_string();
        (request("POST", "/orders", addr, &token, &body), 202)
    };
    let many = drive(&addrs, connections, ORDERS_OF_MANY, of_many).await.context("many products")?;
    let mut conn = connect(&one.ground.database_url).await?;
    let deadlocks =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut conn)
            .await?;
    // Nothing is charged here: of the report only what it says of the stock counts.
    let report: Report = reconcile::reconcile(&one.ground.database_url, &Ledger::default()).await?;
    let stock = [reconcile::Invariant::StockAddsUp, reconcile::Invariant::HoldsMatch];
    let clean = stock.iter().all(|one| report.of(*one).violated == 0);
    other.end().await?;
    one.stop(stack).await?;
    ensure!(clean, "the stock does not add up:\n{report}");
    Ok(StockRun {
        plain_per_s: plain.per_s,
        bought_per_s: bought.per_s,
        share: bought.per_s / plain.per_s,
        bought: bought.latencies,
        refused_per_s: refused.per_s,
        many_per_s: many.per_s,
        many: many.latencies,
        deadlocks,
        clean,
    })
}

/// Between looks whether something is seen.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
