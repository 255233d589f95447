//! What the parts can do alone, on the same machine in the same minutes: the bar that our own figures stand beside.
//! Each says what an order costs, so that their sum is a ceiling for all of them together: the composed limit, of parts that
//! are frozen ([`super::frozen`]), and the own limit, of today's. What no change of the service makes cheaper is in both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker::{Broker, Confirm, amqp::Amqp};
use domain::message::{MAX_PAYMENTS, PaymentsDue};
use runtime::tasks::Stop;
use serde::Serialize;
use uuid::Uuid;

use super::frozen::{self, Frozen};
use super::program::free_addr;
use super::rows::Rows;
use super::stack::Stack;
use super::usage::{Usage, Watched};
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
    /// Whose sum counts it.
    pub part_of: PartOf,
}

/// The sum that counts a part, because an order's whole way has it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOf {
    /// The composed limit: the part is frozen.
    Composed,
    /// The own limit: the part is what the service does today.
    Own,
    /// Both.
    Both,
    /// Neither: other parts do the same and more.
    Neither,
}

impl PartOf {
    pub(super) fn is_composed(self) -> bool {
        matches!(self, Self::Composed | Self::Both)
    }

    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Own | Self::Both)
    }
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

    fn stop(self, name: &'static str, orders: usize, part_of: PartOf) -> Result<Limit> {
        let elapsed = self.started.elapsed();
        let cost = Usage::now(&self.watched)?.since(&self.before, orders as u64);
        let per_s = per_second(orders as u64, elapsed);
        Ok(Limit { name, per_s, us_per_order: cost.us_per_order_sum, part_of })
    }
}

/// Measures all of them, once.
pub(super) async fn all(stack: &Stack) -> Result<Vec<Limit>> {
    let echo = echo(stack).await.context("the HTTP limits")?;
    let mut limits = inserts(stack).await.context("the insert limits")?;
    limits.extend(lives(stack).await.context("the SQL limits")?);
    limits.push(broker(stack).await.context("the broker's limit")?);
    limits.extend(echo);
    Ok(limits)
}

/// The rows that accepting an order writes, and nothing else, by one client.
async fn inserts(stack: &Stack) -> Result<Vec<Limit>> {
    let frozen = sql(
        stack,
        ("insert of an order's rows: frozen, 256 at once, one SQL client", PartOf::Neither),
        Frozen::connect,
        async |client| client.insert(MAX_PAYMENTS).await.map(|()| MAX_PAYMENTS),
    );
    let frozen = frozen.await?;
    let own = sql(
        stack,
        ("insert of an order's rows: ours, 256 at once, one SQL client", PartOf::Neither),
        Rows::connect,
        async |client| client.insert(MAX_PAYMENTS).await.map(|()| MAX_PAYMENTS),
    );
    Ok(vec![frozen, own.await?])
}

/// All that the store does to an order, by one client.
async fn lives(stack: &Stack) -> Result<Vec<Limit>> {
    let frozen = sql(
        stack,
        ("accept, claim, settle: frozen statements, full batches, one SQL client", PartOf::Composed),
        Frozen::connect,
        Frozen::live,
    );
    let frozen = frozen.await?;
    let own = sql(
        stack,
        ("accept, claim, settle: our statements, full batches, one SQL client", PartOf::Own),
        Rows::connect,
        Rows::live,
    );
    Ok(vec![frozen, own.await?])
}

/// One client that does something to orders again and again.
async fn sql<Client>(
    stack: &Stack,
    (name, part_of): (&'static str, PartOf),
    connect: impl AsyncFnOnce(&str) -> Result<Client>,
    again: impl AsyncFn(&mut Client) -> Result<usize>,
) -> Result<Limit> {
    let ground = stack.ground().await?;
    let mut client = connect(&ground.database_url).await?;
    let timer = Timer::start(stack.watched())?;
    let mut orders = 0;
    while orders < ROWS {
        orders += again(&mut client).await?;
    }
    let limit = timer.stop(name, orders, part_of)?;
    drop(client);
    stack.clear(&ground).await?;
    Ok(limit)
}

/// Publish, confirm, consume, acknowledge: full messages over the quorum queue.
async fn broker(stack: &Stack) -> Result<Limit> {
    let ground = stack.ground().await?;
    let broker = Broker::Amqp(Amqp::new(&ground.broker, "limit")?);
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
    let limit = timer.stop(
        "publish, confirm, consume, ack: 256 orders a message, quorum queue",
        orders,
        PartOf::Both,
    )?;
    consumer.close().await;
    drop(publisher);
    stack.clear(&ground).await?;
    Ok(limit)
}

/// axum that hands the order's JSON back, asked by the load generator; then by reqwest, as the worker asks the gateway. A
/// worker that asks otherwise gets a part of its own, and this one becomes the composed limit's alone.
async fn echo(stack: &Stack) -> Result<Vec<Limit>> {
    let addr = free_addr()?;
    let mut server = stack.program("loadtest", &["echo".to_owned(), addr.to_string()], &[])?;
    server.until_ready(addr).await?;
    let watched = vec![("loadtest", std::process::id()), ("echo", server.pid())];

    let plan = Plan {
        addr,
        connections: stack.connections,
        tokens: Arc::default(),
        pace: Pace::Closed,
        count: None,
        time: Some(HTTP_TIME),
        with_keys: false,
        on_fault: OnFault::Stop,
        accepted_log: None,
    };
    let timer = Timer::start(watched.clone())?;
    let orders = load(&plan, &Stop::new()).await?.accepted.len();
    let bare =
        timer.stop("axum hands the order's JSON back, to this load generator", orders, PartOf::Both)?;

    let timer = Timer::start(watched)?;
    let asked = frozen::gateway::ask(addr, stack.connections, HTTP_TIME).await?;
    let reqwest = timer.stop("reqwest asks axum with a charge's JSON", asked, PartOf::Both)?;
    server.stop().await?;
    Ok(vec![bare, reqwest])
}
