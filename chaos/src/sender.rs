//! The clients: orders arrive at a steady rate, whatever the answers, at either api. A client with an idempotency key
//! asks again until it is told 202, as it should; one without asks again only where nothing can have been done.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::money::{Currency, Money};
use shared::retry::RetryDelays;
use shared::tasks::Stop;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::clock;
use crate::order::Order;
use crate::told::Told;

/// Orders under way at once: some seconds' worth, so that an outage does not stop the arrivals.
const UNDER_WAY: usize = 2_048;
/// More than the 2.8 s after which an api says 503 itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// When an impatient client hangs up: about when its order is being committed.
const IMPATIENCE: Duration = Duration::from_millis(3);
/// How often a cancellation is sent that nobody answers.
const CANCEL_TRIES: u32 = 5;
/// Before asking again: each time twice as long, up to what an api's Retry-After says. Two thousand clients that never
/// slow down would keep a database that is just coming back, and this very process, from ever recovering.
const AGAIN_AFTER: RetryDelays =
    RetryDelays { initial: Duration::from_millis(60), max: Duration::from_secs(1) };
/// How often an api is asked whether it is ready, and how long it may take to say.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Arrivals are handed out this often.
const TICK: Duration = Duration::from_millis(10);

/// What a request meets that meets no answer: nobody who listens, or its own client's impatience, or else.
const UNREACHABLE: &str = "nobody listened";
const HUNG_UP: &str = "hung up early on purpose";
const UNANSWERED: &str = "no answer";

/// What is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Makes the orders.
    pub seed: u64,
    /// So many, at most.
    pub orders: u64,
    /// A second.
    pub rate: u32,
    /// To these.
    pub apis: Vec<SocketAddr>,
}

/// What happened, counted while it happens.
#[derive(Debug, Default)]
pub struct Tally {
    /// Orders sent.
    pub offered: AtomicU64,
    /// Answered 202.
    pub accepted: AtomicU64,
    /// Given up: whether they took effect is unknown, and there is no key to ask with.
    pub given_up: AtomicU64,
    /// Asked again after a 202, and told the same.
    pub replayed: AtomicU64,
    /// Orders whose cancellation was answered 200.
    pub cancelled: Mutex<Vec<Uuid>>,
    /// Requests that met no 202, by what they met instead.
    pub others: Mutex<BTreeMap<String, u64>>,
    /// Promises broken to a client's face.
    pub complaints: Mutex<Vec<String>>,
}

impl Tally {
    fn met(&self, what: &str) {
        *self.others.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
    }

    fn complain(&self, complaint: String) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
    }
}

/// Sends orders until all are sent or `enough`; returns when each is answered, or given up because `stop` came.
pub async fn send(
    plan: &Plan,
    tally: &Arc<Tally>,
    told: Sender<Told>,
    enough: &Stop,
    stop: &Stop,
) -> Result<()> {
    let client = Arc::new(Client {
        http: crate::fleet::http()?,
        leaving: plan.apis.iter().map(|_| AtomicBool::new(false)).collect(),
        urls: plan.apis.iter().map(|addr| format!("http://{addr}/api/v1/orders")).collect(),
        tally: Arc::clone(tally),
        stop: stop.clone(),
    });
    // Ends with this function.
    let mut balancing = JoinSet::new();
    for (place, addr) in plan.apis.iter().enumerate() {
        balancing.spawn(Arc::clone(&client).watch(place, format!("http://{addr}/ready")));
    }
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut number = 0;
    'sending: while number < plan.orders {
        if enough.or_stopped(tick.tick()).await.is_none() {
            break;
        }
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = plan.orders.min(millis.saturating_mul(plan.rate.into()) / 1_000);
        while number < due {
            let Some(place) = enough.or_stopped(Arc::clone(&room).acquire_owned()).await else {
                break 'sending;
            };
            let (client, order, told) = (Arc::clone(&client), Order::new(plan.seed, number), told.clone());
            tally.offered.fetch_add(1, Ordering::Relaxed);
            under_way.spawn(async move {
                client.see_through(&order, &told).await;
                drop(place);
            });
            number += 1;
        }
        while under_way.try_join_next().transpose().context("a client panicked")?.is_some() {}
    }
    drop(told);
    while under_way.join_next().await.transpose().context("a client panicked")?.is_some() {}
    Ok(())
}

/// Who sends.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    urls: Vec<String>,
    /// Which of them have said that they are stopping.
    leaving: Vec<AtomicBool>,
    tally: Arc<Tally>,
    stop: Stop,
}

/// How a request ended.
enum Said {
    Accepted(Uuid, Money),
    /// Nothing was sent.
    Unreachable,
    /// Another status than 202, or (0) no answer: who knows.
    Unknown(u16),
}

#[derive(Deserialize)]
struct Body {
    id: Uuid,
    total: Box<RawValue>,
    currency: String,
}

impl Client {
    /// Looks at an api as a load balancer does, for ever: one that says that it is stopping gets nothing new until it
    /// says that it is well. One that dies without a word dies in the middle of requests, as it should here.
    async fn watch(self: Arc<Self>, place: usize, url: String) {
        loop {
            if let Ok(answer) = self.http.get(&url).timeout(LOOK_EVERY).send().await {
                let well = answer.status().is_success();
                let stopping = !well && answer.text().await.is_ok_and(|text| text.contains("stopping"));
                if well || stopping {
                    self.leaving[place].store(stopping, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where the next try goes: each to another api, and none to one that leaves, unless all do.
    fn place(&self, number: u64, tries: u32) -> usize {
        let apis = self.urls.len();
        let first = number.wrapping_add(u64::from(tries)) as usize % apis;
        let mut places = (0..apis).map(|step| (first + step) % apis);
        places.find(|place| !self.leaving[*place].load(Ordering::Relaxed)).unwrap_or(first)
    }

    async fn see_through(&self, order: &Order, log: &Sender<Told>) {
        let sent_at = clock::now();
        for tries in 1.. {
            let impatient = order.impatient && tries == 1;
            let patience = if impatient { IMPATIENCE } else { ANSWER_WITHIN };
            match self.ask(order, tries, patience).await {
                Said::Accepted(id, total) => {
                    self.accepted(order, id, total, sent_at, tries, log).await;
                    return;
                }
                Said::Unreachable => self.tally.met(UNREACHABLE),
                Said::Unknown(status) => {
                    match status {
                        0 if impatient => self.tally.met(HUNG_UP),
                        0 => self.tally.met(UNANSWERED),
                        status => self.tally.met(&status.to_string()),
                    }
                    if !matches!(status, 0 | 429 | 503) {
                        self.tally.complain(format!("order {} was answered {status}", order.number));
                    }
                    if order.key.is_none() {
                        break;
                    }
                }
            }
            if self.stop.or_stopped(tokio::time::sleep(AGAIN_AFTER.after(tries))).await.is_none() {
                break;
            }
        }
        self.tally.given_up.fetch_add(1, Ordering::Relaxed);
    }

    async fn accepted(
        &self,
        order: &Order,
        id: Uuid,
        total: Money,
        sent_at: clock::Micros,
        tries: u32,
        log: &Sender<Told>,
    ) {
        let told = Told {
            id,
            number: order.number,
            key: order.key.clone(),
            total,
            sent_at,
            told_at: clock::now(),
            tries,
        };
        // A log that cannot be written ends the run with its own error.
        let _ = log.send(told);
        self.tally.accepted.fetch_add(1, Ordering::Relaxed);
        if total != order.total {
            self.tally.complain(format!("order {} of {} was told {total}", order.number, order.total));
        }
        if order.asks_again
            && let Said::Accepted(again, _) = self.ask(order, tries, ANSWER_WITHIN).await
        {
            self.tally.replayed.fetch_add(1, Ordering::Relaxed);
            if again != id {
                self.tally.complain(format!("order {} was told {id}, then {again}", order.number));
            }
        }
        if let Some(after) = order.cancelled_after {
            tokio::time::sleep(after).await;
            self.cancel(order, id).await;
        }
    }

    /// Cancels an order, asking again as long as nobody says what became of it, for a few times.
    async fn cancel(&self, order: &Order, id: Uuid) {
        for tries in 1..=CANCEL_TRIES {
            let place = self.place(order.number, tries);
            let request = self.http.post(format!("{}/{id}/cancel", self.urls[place])).timeout(ANSWER_WITHIN);
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(200) => {
                    self.tally.cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                    return;
                }
                // Its payment failed first, or an earlier try of ours was carried out and its answer lost.
                Ok(409) => return,
                Ok(429 | 503) | Err(_) => {}
                Ok(status) => {
                    self.tally
                        .complain(format!("order {}'s cancellation was answered {status}", order.number));
                    return;
                }
            }
            tokio::time::sleep(AGAIN_AFTER.after(tries)).await;
        }
    }

    async fn ask(&self, order: &Order, tries: u32, patience: Duration) -> Said {
        let mut request = self.http.post(&self.urls[self.place(order.number, tries)]).timeout(patience);
        request = request.header("content-type", "application/json").body(order.body.clone());
        if let Some(key) = &order.key {
            request = request.header("idempotency-key", key);
        }
        match request.send().await {
            Err(error) if error.is_connect() => Said::Unreachable,
            Err(_) => Said::Unknown(0),
            Ok(answer) if answer.status() != 202 => Said::Unknown(answer.status().as_u16()),
            Ok(answer) => match answer.bytes().await {
                Ok(body) => read(&body).map_or(Said::Unknown(0), |(id, total)| Said::Accepted(id, total)),
                Err(_) => Said::Unknown(0),
            },
        }
    }
}

fn read(body: &[u8]) -> Option<(Uuid, Money)> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let total = Money::parse(body.total.get(), Currency::from_code(&body.currency)?).ok()?;
    Some((body.id, total))
}
