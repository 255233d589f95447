//! load: orders are sent to an api, as fast as it takes them or at a fixed rate, and every 202 is kept.

mod accepted_log;
mod arrivals;
mod http;
mod template;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use runtime::tasks::Stop;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::accepted_log::AcceptedLog;
pub use self::accepted_log::read_accepted_log;
use self::arrivals::Arrivals;
pub use self::arrivals::Pace;
pub use self::http::{Answer, Connection};
use self::template::Template;
pub use self::template::{Tokens, body};
use crate::latency::Latencies;
use crate::progress::{Progress, REDRAW};

/// Before a request that failed is repeated: long enough not to beat a service that is down.
const REPEAT_AFTER: Duration = Duration::from_millis(50);

/// What is to be sent, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The api.
    pub addr: SocketAddr,
    /// Requests under way at once, each on a connection of its own.
    pub connections: usize,
    /// What is shown with orders, in turns; none: nothing.
    pub tokens: Arc<Tokens>,
    /// How orders arrive.
    pub pace: Pace,
    /// Ends after so many orders.
    pub count: Option<u64>,
    /// Ends after so long.
    pub time: Option<Duration>,
    /// Each order comes with an `Idempotency-Key` of its own.
    pub with_keys: bool,
    /// What to do about an answer that is no 202, or none.
    pub on_fault: OnFault,
    /// A file to which the id of each accepted order is appended and fsynced.
    pub accepted_log: Option<PathBuf>,
}

/// What to do about an answer that is no 202, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    /// End with an error: a measurement in which something failed is none.
    Stop,
    /// Count it and carry on. An order with a key is sent again until it is answered with 202, as a careful
    /// client would; one without is given up.
    CarryOn,
}

/// An order that was answered with 202.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: Uuid,
    /// When it was meant to be sent, in microseconds since 1970 by this machine's clock.
    pub intended_at: i64,
}

/// What came of it.
#[derive(Debug)]
pub struct Load {
    /// Every 202, in no order.
    pub accepted: Vec<Accepted>,
    /// From the intended time to the 202.
    pub latencies: Latencies,
    /// Answers that were no 202, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Requests that met no answer; whether they took effect is unknown.
    pub unanswered: u64,
    /// When the first was meant to be sent, in microseconds since 1970.
    pub started_at: i64,
    /// From there to the last answer.
    pub elapsed: Duration,
}

/// Sends orders by `plan`, until it is carried out or `stop` is given; what is under way then is still answered.
pub async fn load(plan: &Plan, stop: &Stop) -> Result<Load> {
    let log = plan.accepted_log.as_deref().map(AcceptedLog::open).transpose()?;
    let start = Instant::now();
    let started_at = unix_micros();
    let arrivals = Arrivals::new(plan.pace, start, plan.count, plan.time, stop.clone())?;
    let shared = Arc::new(Shared {
        arrivals,
        start,
        started_at,
        number: AtomicU64::new(0),
        tally: Mutex::new(Tally {
            accepted: Vec::new(),
            latencies: Latencies::new()?,
            refused: BTreeMap::new(),
            unanswered: 0,
        }),
        stop: stop.clone(),
        on_fault: plan.on_fault,
        with_keys: plan.with_keys,
    });
    let mut senders = JoinSet::new();
    for _ in 0..plan.connections.max(1) {
        let sender = Client {
            addr: plan.addr,
            connection: None,
            template: Template::new(plan.addr, plan.with_keys, &plan.tokens),
            log: log.as_ref().map(AcceptedLog::sender),
            shared: Arc::clone(&shared),
        };
        senders.spawn(sender.run());
    }
    // Dropped with an error, the set ends the others.
    let progress = Progress::new("accept", plan.count);
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            ended = senders.join_next() => match ended {
                Some(ended) => ended.context("a connection's task panicked")??,
                None => break,
            },
            _ = redraw.tick() => progress.draw(shared.tally().accepted.len() as u64),
        }
    }
    let elapsed = start.elapsed();
    if let Some(log) = log {
        tokio::task::spawn_blocking(|| log.close()).await??;
    }
    let shared = Arc::into_inner(shared).context("a connection outlived its task")?;
    let Tally { accepted, latencies, refused, unanswered } =
        shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Load { accepted, latencies, refused, unanswered, started_at, elapsed })
}

/// Now, in microseconds since 1970.
fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[derive(Debug)]
struct Shared {
    arrivals: Arrivals,
    start: Instant,
    started_at: i64,
    number: AtomicU64,
    tally: Mutex<Tally>,
    stop: Stop,
    on_fault: OnFault,
    with_keys: bool,
}

#[derive(Debug)]
struct Tally {
    accepted: Vec<Accepted>,
    latencies: Latencies,
    refused: BTreeMap<u16, u64>,
    unanswered: u64,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Nothing that holds the lock can panic half-way.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection and what it needs.
#[derive(Debug)]
struct Client {
    addr: SocketAddr,
    connection: Option<Connection>,
    template: Template,
    log: Option<Sender<Uuid>>,
    shared: Arc<Shared>,
}

impl Client {
    async fn run(mut self) -> Result<()> {
        while let Some(intended) = self.shared.arrivals.next().await {
            self.template.renew(self.shared.number.fetch_add(1, Ordering::Relaxed));
            self.send(intended).await?;
        }
        Ok(())
    }

    /// Sends one order, again and again where that is right.
    async fn send(&mut self, intended: Instant) -> Result<()> {
        loop {
            let fault = match self.try_once().await {
                Ok(Ok(id)) => {
                    self.keep(id, intended);
                    return Ok(());
                }
                Ok(Err(status)) => {
                    *self.shared.tally().refused.entry(status).or_default() += 1;
                    anyhow::anyhow!("the api answered {status}, expected 202")
                }
                Err(error) => {
                    self.connection = None;
                    self.shared.tally().unanswered += 1;
                    error
                }
            };
            if self.shared.on_fault == OnFault::Stop {
                return Err(fault);
            }
            tokio::time::sleep(REPEAT_AFTER).await;
            if !self.shared.with_keys || self.shared.stop.is_stopped() {
                return Ok(());
            }
        }
    }

    /// The accepted order's id, or another status than 202.
    async fn try_once(&mut self) -> Result<Result<Uuid, u16>> {
        let connection = match self.connection.take().filter(|connection| !connection.is_closing()) {
            Some(connection) => self.connection.insert(connection),
            None => self.connection.insert(Connection::open(self.addr).await?),
        };
        let answer = connection.ask(self.template.bytes()).await?;
        if answer.status != 202 {
            return Ok(Err(answer.status));
        }
        let Some((_, id)) = answer.location.and_then(|location| location.rsplit_once('/')) else {
            bail!("a 202 without the order's address");
        };
        Ok(Ok(id.parse().context("a 202 with an address that names no order")?))
    }

    fn keep(&self, id: Uuid, intended: Instant) {
        let offset = i64::try_from((intended - self.shared.start).as_micros()).unwrap_or(i64::MAX);
        let accepted = Accepted { id, intended_at: self.shared.started_at + offset };
        let mut tally = self.shared.tally();
        tally.latencies.record(intended.elapsed());
        tally.accepted.push(accepted);
        drop(tally);
        if let Some(log) = &self.log {
            // A log that cannot be written ends the run with its own error.
            let _ = log.send(id);
        }
    }
}
