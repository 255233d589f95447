//! Those who are told of what happens, and keep what they hear to compare it in the end: endpoints of webhooks, each with manners of
//! its own, a queue behind the exchange, people who watch single orders, and a mail server.

mod endpoint;
mod exchange;
mod mailbox;
mod request;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testbed::smtp::Came;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use self::endpoint::{Endpoint, Manner};
use self::exchange::Queue;
pub(crate) use self::mailbox::DOMAIN;
pub use self::mailbox::Mailbox;
pub use self::streams::{Streams, Watched};
use crate::document::CHANNEL;
use crate::fleet::{Fleet, http};
use crate::ground::Ground;
use crate::known::enroll;

/// Until the followers have begun: what happened before, they tell nobody.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of so many orders a second one endpoint more can be told while everything else goes on, at the least.
const ORDERS_A_SECOND: u64 = 1_000;

/// An event's order and version.
pub type Of = (Uuid, i32);

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// Endpoints of webhooks, their manners by turns.
    pub endpoints: usize,
    /// Orders that somebody watches, at once.
    pub streams: usize,
}

impl Audience {
    /// One endpoint of each manner, and some who watch.
    pub const EVERYDAY: Self = Self { endpoints: Manner::ALL.len(), streams: 48 };

    /// How much longer than these it may take until all of it has been told of so many orders.
    pub fn longer(&self, orders: u64) -> Duration {
        let more = self.endpoints.saturating_sub(Self::EVERYDAY.endpoints) as u64;
        Duration::from_secs(orders * more / ORDERS_A_SECOND)
    }
}

/// All of them.
#[derive(Debug)]
pub struct Ears {
    /// Those who are told by webhooks.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Those who watch.
    pub streams: Arc<Streams>,
    queue: Queue,
    mailbox: Option<Mailbox>,
    /// Endpoints that answer; they end with this.
    _serving: JoinSet<()>,
}

/// What they heard.
#[derive(Debug)]
pub struct Heard {
    /// As they are called, with all that they had been told.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What came to the exchange, in its order.
    pub told: Vec<Of>,
    /// Who watched, and what they saw.
    pub watched: Vec<Watched>,
    /// The most who did at once, and for how many there was room.
    pub watching: (usize, usize),
    /// Mails that came, if any were sent.
    pub mails: Option<Vec<Came>>,
}

impl Ears {
    /// Opens them, and waits until the followers have begun. Where there is a mailbox, some customers of so many orders are known.
    pub async fn open(
        fleet: &Fleet,
        ground: &Ground,
        audience: Audience,
        mailbox: Option<Mailbox>,
        orders: u64,
    ) -> Result<Self> {
        let queue = Queue::open(ground, &fleet.exchange).await?;
        let (mut serving, mut endpoints) = (JoinSet::new(), Vec::new());
        for (number, manner) in Manner::ALL.into_iter().cycle().take(audience.endpoints).enumerate() {
            let (endpoint, serve) = Endpoint::start(manner, number).await?;
            serving.spawn(serve);
            let (types, by_channel) = manner.wants();
            let channels: &[&str] = if by_channel { &[CHANNEL] } else { &[] };
            let webhook = json!({ "url": endpoint.url(), "types": types, "channels": channels });
            let url = format!("http://{}/api/v1/webhooks", fleet.api_addrs[0]);
            let answer = http()?.post(url).bearer_auth(&fleet.tokens.manager).json(&webhook).send().await?;
            let (status, made) = (answer.status(), answer.json::<Value>().await?);
            ensure!(status == 201, "no webhook was made: {made}");
            endpoint.verify_with(made["secret"].as_str().context("a webhook without a secret")?)?;
            endpoints.push(endpoint);
        }
        if mailbox.is_some() {
            enroll(&mut ground.connect().await?, orders).await?;
        }
        until_begun(ground, mailbox.is_some()).await?;
        let streams = Arc::new(Streams::new(audience.streams));
        Ok(Self { endpoints, streams, queue, mailbox, _serving: serving })
    }

    /// From now on everybody takes what they are told, and says so.
    pub fn mend(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.mend());
        self.mailbox.iter().for_each(Mailbox::mend);
    }

    /// Those who watch read what is left; the apis are still there.
    pub async fn catch_up(&self, fleet: &Fleet, conn: &mut PgConnection) -> Result<()> {
        self.streams.catch_up(fleet, conn).await
    }

    /// What they heard, when all programs have ended.
    pub async fn finish(self) -> Result<Heard> {
        let told = self.queue.drain().await?;
        Ok(Heard {
            told,
            watched: self.streams.watched(),
            watching: self.streams.watching(),
            mails: self.mailbox.as_ref().map(Mailbox::came),
            endpoints: self.endpoints,
        })
    }
}

/// A follower that is new begins with what happens from then on.
async fn until_begun(ground: &Ground, with_mail: bool) -> Result<()> {
    let (mut conn, started) = (ground.connect().await?, Instant::now());
    let followers = if with_mail { &["webhooks", "messages", "mail"][..] } else { &["webhooks", "messages"] };
    loop {
        let begun = sqlx::query_scalar("SELECT count(*) FROM feed_cursors WHERE follower = ANY($1)");
        let begun: i64 = begun.bind(followers).fetch_one(&mut conn).await?;
        if usize::try_from(begun)? == followers.len() {
            return Ok(conn.close().await?);
        }
        ensure!(started.elapsed() < BEGUN_WITHIN, "nobody follows after {BEGUN_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
