//! Those who are told of what happens, and keep what they hear to compare it in the end: endpoints of webhooks, each with manners of
//! its own, a queue behind the exchange, and people who watch single orders.

mod endpoint;
mod exchange;
mod request;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use self::endpoint::{Endpoint, Manner};
use self::exchange::Queue;
pub use self::streams::{Streams, Watched};
use crate::document::CHANNEL;
use crate::fleet::{Fleet, http};
use crate::ground::Ground;

/// Until the followers have begun: what happened before, they tell nobody.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An event's order and version.
pub type Of = (Uuid, i32);

/// All of them.
#[derive(Debug)]
pub struct Ears {
    /// Those who are told by webhooks.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Those who watch.
    pub streams: Arc<Streams>,
    queue: Queue,
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
}

impl Ears {
    /// Opens them, and waits until the followers have begun.
    pub async fn open(fleet: &Fleet, ground: &Ground) -> Result<Self> {
        let queue = Queue::open(ground, &fleet.exchange).await?;
        let (mut serving, mut endpoints) = (JoinSet::new(), Vec::new());
        for manner in Manner::ALL {
            let (endpoint, serve) = Endpoint::start(manner).await?;
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
        until_begun(ground).await?;
        Ok(Self { endpoints, streams: Arc::default(), queue, _serving: serving })
    }

    /// From now on everybody takes what they are told, and says so.
    pub fn mend(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.mend());
    }

    /// Those who watch read what is left; the apis are still there.
    pub async fn catch_up(&self, fleet: &Fleet, conn: &mut PgConnection) -> Result<()> {
        self.streams.catch_up(fleet, conn).await
    }

    /// What they heard, when all programs have ended.
    pub async fn finish(self) -> Result<Heard> {
        let told = self.queue.drain().await?;
        Ok(Heard { endpoints: self.endpoints, told, watched: self.streams.watched() })
    }
}

/// A follower that is new begins with what happens from then on.
async fn until_begun(ground: &Ground) -> Result<()> {
    let (mut conn, started) = (ground.connect().await?, Instant::now());
    loop {
        let begun = "SELECT count(*) FROM feed_cursors WHERE follower IN ('webhooks', 'messages')";
        let begun: i64 = sqlx::query_scalar(begun).fetch_one(&mut conn).await?;
        if begun == 2 {
            return Ok(conn.close().await?);
        }
        ensure!(started.elapsed() < BEGUN_WITHIN, "nobody follows after {BEGUN_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
