//! A client on its way to a 202, at either api. With an idempotency key it asks again until it is told 202, as it should;
//! without one it asks again only where nothing can have been done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Result;
use domain::money::{Currency, Money};
use domain::retry::RetryDelays;
use runtime::tasks::Stop;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::clock;
use crate::fleet::Tokens;
use crate::order::Order;
use crate::shop::{CART_TOKEN, CHECK_OUT};
use crate::tally::{Tally, What};
use crate::told::Told;

/// More than the 2.8 s after which an api says 503 itself.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// When an impatient client hangs up: about when its order is being committed.
const IMPATIENCE: Duration = Duration::from_millis(3);
/// Before asking again: each time twice as long, up to what an api's Retry-After says. Two thousand clients that never
/// slow down would keep a database that is just coming back, and this very process, from ever recovering.
const AGAIN_AFTER: RetryDelays =
    RetryDelays { initial: Duration::from_millis(60), max: Duration::from_secs(1) };
/// How often an api is asked whether it is ready, and how long it may take to say.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where a channel's documents go, from where orders are.
pub(crate) const BY_CHANNEL: &str = "../channels/chaos/orders";

/// What a request meets that meets no answer: nobody who listens, or its own client's impatience, or else.
const UNREACHABLE: &str = "nobody listened";
const HUNG_UP: &str = "hung up early on purpose";
const UNANSWERED: &str = "no answer";
const SOLD_OUT: &str = "409: out of stock";
const TOO_LATE: &str = "422: its own time was over";

/// Who asks.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) http: reqwest::Client,
    /// Where the apis' orders are.
    pub(super) urls: Vec<String>,
    pub(super) tokens: Tokens,
    /// Which of them have said that they are stopping.
    leaving: Vec<AtomicBool>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: Stop,
}

/// How a request ended.
enum Said {
    Accepted(Uuid, Money),
    /// There is not enough of what it names.
    SoldOut,
    /// Nothing was sent.
    Unreachable,
    /// A 409 for this reason, which none of its orders gives cause for.
    Refused(String),
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
    /// Of these apis.
    pub(crate) fn new(apis: &[SocketAddr], tokens: &Tokens, tally: &Arc<Tally>, stop: &Stop) -> Result<Self> {
        Ok(Self {
            http: crate::fleet::http()?,
            leaving: apis.iter().map(|_| AtomicBool::new(false)).collect(),
            urls: apis.iter().map(|addr| format!("http://{addr}/api/v1/orders")).collect(),
            tokens: tokens.clone(),
            tally: Arc::clone(tally),
            stop: stop.clone(),
        })
    }

    /// Looks at an api as a load balancer does, for ever: one that says that it is stopping gets nothing new until it
    /// says that it is well. One that dies without a word dies in the middle of requests, as it should here.
    pub(crate) async fn watch(self: Arc<Self>, place: usize, url: String) {
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
    pub(super) fn place(&self, number: u64, tries: u32) -> usize {
        let apis = self.urls.len();
        let first = number.wrapping_add(u64::from(tries)) as usize % apis;
        let mut places = (0..apis).map(|step| (first + step) % apis);
        places.find(|place| !self.leaving[*place].load(Ordering::Relaxed)).unwrap_or(first)
    }

    /// Sends an order until it is told 202, and says under which id; `None`: given up.
    pub(crate) async fn see_through(&self, order: &Order, log: &Sender<Told>) -> Option<Uuid> {
        if let Some(cart) = &order.cart
            && !self.push(order, cart).await
        {
            return None;
        }
        let sent_at = clock::now();
        let (order, until) = &order.sent_at(sent_at);
        for tries in 1.. {
            let impatient = order.impatient && tries == 1;
            let patience = if impatient { IMPATIENCE } else { ANSWER_WITHIN };
            match self.ask(order, tries, patience).await {
                Said::Accepted(id, total) => {
                    if let Some(until) = until.filter(|_| order.expires_in.is_some()) {
                        self.tally.told(id, order.number, What::NotChargedAfter(until));
                    }
                    self.accepted(order, id, total, sent_at, tries, log).await;
                    return Some(id);
                }
                Said::SoldOut => {
                    self.tally.met(SOLD_OUT);
                    self.tally.sale(|sales| sales.refuse(&order.takes));
                    Tally::count(&self.tally.sold_out);
                    return None;
                }
                Said::Unreachable => self.tally.met(UNREACHABLE),
                Said::Refused(code) => {
                    self.tally.complain(format!("order {} was refused at try {tries}: {code}", order.number));
                    return None;
                }
                Said::Unknown(422) if until.is_some_and(|until| until <= clock::now()) => {
                    self.tally.met(TOO_LATE);
                    Tally::count(&self.tally.too_late);
                    return None;
                }
                Said::Unknown(status) => {
                    match status {
                        0 if impatient => self.tally.met(HUNG_UP),
                        0 => self.tally.met(UNANSWERED),
                        status => self.tally.met(&status.to_string()),
                    }
                    if !matches!(status, 0 | 429 | 503) {
                        self.tally.complain(format!("order {} was answered {status}", order.number));
                    }
                    if !order.may_repeat() {
                        break;
                    }
                }
            }
            if self.stop.or_stopped(tokio::time::sleep(AGAIN_AFTER.after(tries))).await.is_none() {
                break;
            }
        }
        Tally::count(&self.tally.given_up);
        None
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
        Tally::count(&self.tally.accepted);
        if total != order.total {
            self.tally.complain(format!("order {} of {} was told {total}", order.number, order.total));
        }
        if !order.takes.is_empty() {
            self.tally.sale(|sales| {
                sales.taken.push((id, order.takes.clone()));
                if order.cart.is_some() {
                    sales.cart("checked out");
                }
            });
        }
        if order.asks_again {
            match self.ask(order, tries, ANSWER_WITHIN).await {
                Said::Accepted(again, _) => {
                    Tally::count(&self.tally.replayed);
                    if again != id {
                        self.tally.complain(format!("order {} was told {id}, then {again}", order.number));
                    }
                }
                Said::SoldOut => {
                    self.tally
                        .complain(format!("order {} was told {id}, then that there is none", order.number));
                }
                Said::Refused(code) => {
                    self.tally.complain(format!("order {} was told {id}, then {code}", order.number));
                }
                Said::Unreachable | Said::Unknown(_) => {}
            }
        }
    }

    async fn ask(&self, order: &Order, tries: u32, patience: Duration) -> Said {
        let orders = &self.urls[self.place(order.number, tries)];
        let mut request = match (&order.document, &order.cart) {
            (Some(_), _) => self.http.post(format!("{orders}/{BY_CHANNEL}")),
            (None, Some(cart)) => {
                self.http.post(format!("{orders}/{CHECK_OUT}")).header(CART_TOKEN, &cart.token)
            }
            (None, None) => self.http.post(orders),
        };
        request = request.timeout(patience).bearer_auth(&self.tokens.customers);
        request = request.header("content-type", "application/json").body(order.body.clone());
        if let Some(key) = &order.key {
            request = request.header("idempotency-key", key);
        }
        match request.send().await {
            Err(error) if error.is_connect() => Said::Unreachable,
            Err(_) => Said::Unknown(0),
            Ok(answer) if answer.status() == 409 => match answer.bytes().await {
                Ok(body) => read_refusal(&body),
                Err(_) => Said::Unknown(0),
            },
            Ok(answer) if answer.status() != 202 => Said::Unknown(answer.status().as_u16()),
            Ok(answer) => match answer.bytes().await {
                Ok(body) => read(&body).map_or(Said::Unknown(0), |(id, total)| Said::Accepted(id, total)),
                Err(_) => Said::Unknown(0),
            },
        }
    }
}

/// Reads a 409. A cart that an earlier try of ours is just ordering is not as it was read: who asks again is told.
fn read_refusal(body: &[u8]) -> Said {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Code>,
    }
    #[derive(Deserialize)]
    struct Code {
        code: String,
    }
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    match refusal.as_ref().and_then(|refusal| refusal.errors.first()).map(|error| error.code.as_str()) {
        Some("out_of_stock") => Said::SoldOut,
        Some("cart_changed") => Said::Unknown(0),
        Some(code) => Said::Refused(code.to_owned()),
        None => Said::Unknown(409),
    }
}

fn read(body: &[u8]) -> Option<(Uuid, Money)> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let total = Money::parse(body.total.get(), Currency::from_code(&body.currency)?).ok()?;
    Some((body.id, total))
}
