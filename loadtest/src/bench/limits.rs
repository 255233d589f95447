//! What the parts can do alone, on the same machine in the same minutes: the bar that our own figures stand beside.
//! Each is the cheapest way in which its job can be done with the same libraries, and each says what an order
//! costs, so that their sum is a ceiling for all of them together.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use shared::broker::{Broker, Confirm, amqp::Amqp};
use shared::message::{MAX_PAYMENTS, PaymentsDue};
use shared::payment::ChargeRequest;
use shared::tasks::Stop;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::program::free_addr;
use super::rows;
use super::stack::Stack;
use super::usage::{Usage, Watched};
use crate::gateway::client;
use crate::latency::per_second;
use crate::load::{OnFault, Pace, Plan, load};

/// Orders written by the SQL limits: seconds' worth.
const ROWS: usize = 100_000;
/// Full messages sent by the broker's limit: seconds' worth.
const MESSAGES: usize = 10_000;
/// Messages sent before their confirms are awaited, as many as the api takes at once.
const PIPELINED: usize = 64;
/// Messages unacknowledged at the consumer, as many as the worker allows.
const PREFETCH: u16 = 512;
/// How long the HTTP limits run.
const HTTP_TIME: Duration = Duration::from_secs(5);

/// What one part can do.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// What it does.
    pub name: &'static str,
    /// Orders a second.
    pub per_s: f64,
    /// Processor time an order, of all processes that take part, in microseconds.
    pub us_per_order: f64,
    /// Whether an order's whole way has it once, so that the composed estimate counts it.
    pub composed: bool,
}

/// What is being timed.
struct Timer {
    watched: Vec<Watched>,
    before: Usage,
    started: Instant,
}

impl Timer {
    fn start(watched: Vec<Watched>) -> Result<Self> {
        Ok(Self { before: Usage::now(&watched)?, watched, started: Instant::now() })
    }

    fn stop(self, name: &'static str, orders: usize, composed: bool) -> Result<Limit> {
        let elapsed = self.started.elapsed();
        let cost = Usage::now(&self.watched)?.since(&self.before, orders as u64);
        let per_s = per_second(orders as u64, elapsed);
        Ok(Limit { name, per_s, us_per_order: cost.us_per_order_sum, composed })
    }
}

/// Measures all of them, once.
pub(super) async fn all(stack: &Stack) -> Result<Vec<Limit>> {
    let echo = echo(stack).await.context("the HTTP limits")?;
    let mut limits = vec![insert(stack).await.context("the insert limit")?];
    limits.push(life(stack).await.context("the SQL limit")?);
    limits.push(broker(stack).await.context("the broker's limit")?);
    limits.extend(echo);
    Ok(limits)
}

/// The rows that accepting an order writes, and nothing else, by one client.
async fn insert(stack: &Stack) -> Result<Limit> {
    let ground = stack.ground().await?;
    let mut client = rows::Rows::connect(&ground.database_url).await?;
    let timer = Timer::start(stack.watched())?;
    for _ in 0..ROWS / MAX_PAYMENTS {
        client.insert(MAX_PAYMENTS).await?;
    }
    let rows = ROWS / MAX_PAYMENTS * MAX_PAYMENTS;
    let limit = timer.stop("insert of an order's rows, 256 at once, one SQL client", rows, false)?;
    drop(client);
    stack.clear(&ground).await?;
    Ok(limit)
}

/// All that the store does to an order, by one client.
async fn life(stack: &Stack) -> Result<Limit> {
    let ground = stack.ground().await?;
    let mut client = rows::Rows::connect(&ground.database_url).await?;
    let timer = Timer::start(stack.watched())?;
    let mut lived = 0;
    while lived < ROWS {
        lived += client.live().await?;
    }
    let limit =
        timer.stop("accept, claim, settle: our statements, full batches, one SQL client", lived, true)?;
    drop(client);
    stack.clear(&ground).await?;
    Ok(limit)
}

/// Publish, confirm, consume, acknowledge: full messages over the quorum queue.
async fn broker(stack: &Stack) -> Result<Limit> {
    let ground = stack.ground().await?;
    let broker = Broker::Amqp(Amqp::new(&ground.broker, "limit"));
    let mut publisher = broker.publisher().await?;
    let mut consumer = broker.consumer(PREFETCH).await?;
    let message = PaymentsDue::new((0..MAX_PAYMENTS).map(|_| Uuid::now_v7()).collect());
    let messages = vec![message; PIPELINED];
    let rounds = MESSAGES / PIPELINED;
    let timer = Timer::start(stack.watched())?;
    let publish = async {
        for _ in 0..rounds {
            let confirms = publisher.publish(&messages).await?;
            ensure!(confirms.iter().all(|confirm| *confirm == Confirm::Taken), "the broker refused");
        }
        Ok(())
    };
    let consume = async {
        for _ in 0..rounds * PIPELINED {
            consumer.next().await?.ack().await?;
        }
        Ok(())
    };
    tokio::try_join!(publish, consume)?;
    let orders = rounds * PIPELINED * MAX_PAYMENTS;
    let limit =
        timer.stop("publish, confirm, consume, ack: 256 orders a message, quorum queue", orders, true)?;
    consumer.close().await;
    drop(publisher);
    stack.clear(&ground).await?;
    Ok(limit)
}

/// axum that hands the order's JSON back, asked by the load generator; then by reqwest, as the worker asks the gateway.
async fn echo(stack: &Stack) -> Result<Vec<Limit>> {
    let addr = free_addr()?;
    let mut server = stack.program("loadtest", &["echo".to_owned(), addr.to_string()], &[])?;
    server.until_healthy(addr).await?;
    let watched = vec![("loadtest", std::process::id()), ("echo", server.pid())];

    let plan = Plan {
        addr,
        connections: stack.connections,
        pace: Pace::Closed,
        count: None,
        time: Some(HTTP_TIME),
        with_keys: false,
        on_fault: OnFault::Stop,
        accepted_log: None,
    };
    let timer = Timer::start(watched.clone())?;
    let orders = load(&plan, &Stop::new()).await?.accepted.len();
    let bare = timer.stop("axum hands the order's JSON back, to this load generator", orders, true)?;

    let timer = Timer::start(watched)?;
    let asked = ask_by_reqwest(addr, stack.connections).await?;
    let reqwest = timer.stop("reqwest asks axum with a charge's JSON", asked, true)?;
    server.stop().await?;
    Ok(vec![bare, reqwest])
}

async fn ask_by_reqwest(addr: std::net::SocketAddr, side_by_side: usize) -> Result<usize> {
    let client = client()?;
    let url = format!("http://{addr}/api/v1/orders");
    let until = Instant::now() + HTTP_TIME;
    let money = rows::an_order()?.total;
    let mut askers = JoinSet::new();
    for _ in 0..side_by_side {
        let (client, url) = (client.clone(), url.clone());
        askers.spawn(async move {
            let mut asked = 0;
            while Instant::now() < until {
                let charge = ChargeRequest::new(Uuid::now_v7(), money);
                let answer = client.post(&url).json(&charge).send().await?;
                ensure!(answer.status().is_success(), "the echo answered {}", answer.status());
                answer.bytes().await?;
                asked += 1;
            }
            anyhow::Ok(asked)
        });
    }
    let mut asked = 0;
    while let Some(one) = askers.join_next().await {
        asked += one??;
    }
    Ok(asked)
}
