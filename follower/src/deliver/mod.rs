//! deliver: sends what is due to the endpoints. Each endpoint is a lane with a limit of its own, and one that fails has no more
//! than one request under way: so those that are dead cost the others nothing but a look. For one that answers quickly more is
//! claimed than is sent at once: so the next are sent while the last are written down, and each transaction has many.
//!
//! At least once: a sender that dies, or is slower than its lease, lets another one send the same again, under the same
//! `webhook-id`. Of an endpoint and an order one at a time (`store::deliveries`).

mod address;
mod send;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::told::with_handover;
use metrics::{Counter, Gauge};
use rand::Rng;
use rand::seq::SliceRandom;
use runtime::secrets::Secrets;
use runtime::tasks::Stop;
use store::deliveries::{self, Claimed, Key, Next, Tried};
use store::session::Session;
use store::webhooks::{self, CameTo, Webhook};
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use self::send::{Answer, Form, Sender};
use crate::config::FollowerSettings;

/// A delay is up to a fifth longer: what failed together must not come back together.
const JITTER: u32 = 5;
/// Faults in a row after which a lane has one request under way.
const FAULTS: u32 = 5;
/// An endpoint that has taken nothing for so long, whatever was sent, is disabled: nobody minds it.
pub const FAILS_FOR: Duration = Duration::from_secs(5 * 24 * 3_600);
/// Between two looks at who is to be told: a secret that was taken back signs no longer than that.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at what is old, and at how things stand.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How long what was taken can be looked at.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Forgotten at once.
const AT_ONCE: i64 = 5_000;
/// Claimed at once for all endpoints together.
const MOST: usize = 512;
/// Of one endpoint, so many times more than are sent at once, where each was taken so quickly: less than a second of waiting.
const AHEAD: usize = 7;
const QUICK: Duration = Duration::from_millis(100);
/// What has waited for so long to be sent is given back: far less than a lease, and by then its secret may have been taken back.
const STALE: Duration = Duration::from_secs(1);

/// An endpoint, as far as this process sends to it.
#[derive(Debug)]
struct Lane {
    url: Arc<str>,
    secrets: Arc<[String]>,
    form: Form,
    updated_at: OffsetDateTime,
    /// Claimed, and sent or waiting for that.
    under_way: usize,
    /// Those that are sent. Closed, where no more are to be.
    sending: Arc<Semaphore>,
    /// So many may wait.
    ahead: usize,
    /// In a row.
    faults: u32,
}

/// What came of a request.
#[derive(Debug)]
struct Done {
    claimed: Claimed,
    at: OffsetDateTime,
    took: Duration,
    /// `None`: it was not sent any more.
    answer: Option<Answer>,
}

/// What came of requests. While it cannot be written down it is kept: what the endpoints have is not sent to them again because a
/// row is locked for a moment.
#[derive(Debug, Default)]
struct Unwritten {
    tried: Vec<Tried>,
    came_to: CameTo,
    back: Vec<(Key, i32)>,
}

/// Sends what is due.
#[derive(Debug)]
pub struct Delivery {
    session: Session,
    secrets: Arc<Secrets>,
    sender: Sender,
    /// Of one lane.
    at_once: usize,
    lease: Duration,
    /// How long after each failed try the next one comes; after the last one it is parked.
    retries: Vec<Duration>,
    lanes: HashMap<Uuid, Lane>,
    under_way: JoinSet<Done>,
    /// What has ended.
    ended: Vec<Result<Done, JoinError>>,
    /// What came of it, and is not written down yet.
    unwritten: Unwritten,
    /// There may be something new.
    news: Arc<Notify>,
    look_at: Instant,
    tidy_at: Instant,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    taken: Counter,
    refused: Counter,
    unreachable: Counter,
    parked: Counter,
    due: Gauge,
    aside: Gauge,
    disabled: Gauge,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Requests that were ended.
    pub ended: usize,
    /// Requests that were begun.
    pub begun: usize,
}

impl Delivery {
    /// On a connection of its own.
    pub fn new(
        session: Session,
        secrets: impl Into<Arc<Secrets>>,
        settings: &FollowerSettings,
        news: Arc<Notify>,
    ) -> Result<Self> {
        let tried = |outcome| metrics::counter!("deliver_attempts_total", "outcome" => outcome);
        let now = Instant::now();
        Ok(Self {
            session,
            secrets: secrets.into(),
            sender: Sender::new(&settings.webhook_networks, settings.webhook_timeout)?,
            at_once: usize::from(settings.webhook_concurrency),
            // A living sender never loses one: it ends, is written down, and then there is time left.
            lease: settings.webhook_timeout * 2 + Duration::from_secs(15),
            retries: settings.webhook_retries.clone(),
            lanes: HashMap::new(),
            under_way: JoinSet::new(),
            ended: Vec::new(),
            unwritten: Unwritten::default(),
            news,
            look_at: now,
            tidy_at: now,
            metrics: Metrics {
                taken: tried("taken"),
                refused: tried("refused"),
                unreachable: tried("unreachable"),
                parked: metrics::counter!("deliver_parked_total"),
                due: metrics::gauge!("deliver_oldest_due_seconds"),
                aside: metrics::gauge!("deliver_parked"),
                disabled: metrics::gauge!("deliver_disabled"),
            },
        })
    }

    /// Sends until `stop`; then ends what is under way.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            let step = self.run_once().await;
            match &step {
                Ok(_) => well = true,
                Err(error) => {
                    if std::mem::take(&mut well) {
                        tracing::warn!(error = format!("{error:#}"), "cannot deliver; trying on");
                    }
                }
            }
            if !step.is_ok_and(|step| step.ended + step.begun > 0) {
                self.wait(interval, &stop).await;
            }
        }
        self.lanes.values().for_each(|lane| lane.sending.close());
        self.finish().await
    }

    /// Until something is new, or has ended, or may be due.
    async fn wait(&mut self, interval: Duration, stop: &Stop) {
        tokio::select! {
            Some(ended) = self.under_way.join_next() => self.ended.push(ended),
            () = self.news.notified() => {}
            () = tokio::time::sleep(interval) => {}
            () = stop.stopped() => {}
        }
    }

    /// Writes down what has ended, and begins what is due, as far as there is room.
    pub async fn run_once(&mut self) -> Result<Step> {
        let ended = self.end().await?;
        if Instant::now() >= self.look_at {
            self.look().await?;
            self.look_at = Instant::now() + LOOK_EVERY;
        }
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY_EVERY;
            self.tidy().await?;
        }
        Ok(Step { ended, begun: self.begin().await? })
    }

    /// Waits for what is under way, and writes it down.
    pub async fn finish(&mut self) -> Result<()> {
        while let Some(ended) = self.under_way.join_next().await {
            self.ended.push(ended);
        }
        self.end().await.map(drop)
    }

    /// Sees at once what has been set since.
    pub async fn look(&mut self) -> Result<()> {
        let found = self.session.run(&(), |conn, ()| Box::pin(webhooks::list(conn, false))).await;
        let found = found.context("cannot see the webhooks")?;
        self.lanes.retain(|id, lane| {
            let is_there = found.iter().any(|webhook| webhook.id == *id);
            if !is_there {
                lane.sending.close();
            }
            is_there
        });
        for webhook in found {
            let known = self.lanes.get(&webhook.id).map(|lane| lane.updated_at);
            if known == Some(webhook.updated_at) {
                continue;
            }
            if let Some(secrets) = self.open(&webhook) {
                let lane = self.lanes.entry(webhook.id).or_insert(Lane {
                    url: "".into(),
                    secrets: Arc::from([]),
                    form: Form::Standard,
                    updated_at: webhook.updated_at,
                    under_way: 0,
                    sending: Arc::new(Semaphore::new(self.at_once)),
                    ahead: 0,
                    faults: 0,
                });
                lane.form =
                    webhook.back().map_or(Form::Standard, |dialect| Form::Platform(dialect.signature()));
                lane.url = webhook.url.into();
                lane.secrets = secrets;
                lane.updated_at = webhook.updated_at;
            }
        }
        Ok(())
    }

    fn open(&self, webhook: &Webhook) -> Option<Arc<[String]>> {
        let purpose = runtime::secrets::webhook(&webhook.id.to_string(), webhook.platform.as_deref());
        let opened: Result<Vec<String>, _> =
            webhook.secrets.iter().map(|sealed| self.secrets.unseal(&purpose, sealed)).collect();
        match opened {
            Ok(secrets) => Some(secrets.into()),
            Err(error) => {
                tracing::error!(webhook = %webhook.id, %error, "a webhook's secret cannot be opened: nothing is sent to it");
                None
            }
        }
    }

    async fn tidy(&mut self) -> Result<()> {
        let done = self.session.run(&KEEP, |conn, keep| Box::pin(deliveries::forget(conn, *keep, AT_ONCE)));
        done.await.context("cannot forget what was delivered long ago")?;
        let standing = self.session.run(&(), |conn, ()| Box::pin(deliveries::standing(conn))).await;
        let standing = standing.context("cannot see what is to be delivered")?;
        self.metrics.due.set(standing.oldest_due_seconds);
        self.metrics.aside.set(standing.parked as f64);
        self.metrics.disabled.set(standing.disabled as f64);
        Ok(())
    }

    /// Begins what is due.
    async fn begin(&mut self) -> Result<usize> {
        let mut left = MOST.saturating_sub(self.under_way.len());
        let mut rooms: Vec<(Uuid, i64)> = Vec::new();
        // Another sequence each time: where there is not room for all, each has its turn.
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.shuffle(&mut rand::rng());
        for (id, lane) in lanes {
            let most = if lane.faults < FAULTS { self.at_once + lane.ahead } else { 1 };
            let room = most.saturating_sub(lane.under_way).min(left);
            if room > 0 && !lane.secrets.is_empty() {
                left -= room;
                rooms.push((*id, i64::try_from(room).unwrap_or(1)));
            }
        }
        if rooms.is_empty() {
            return Ok(0);
        }
        let asked = (rooms, self.lease);
        let claimed =
            self.session.run(&asked, |conn, (rooms, lease)| Box::pin(deliveries::claim(conn, rooms, *lease)));
        let claimed = claimed.await.context("cannot claim what is due")?;
        let begun = claimed.len();
        if begun > 0 {
            runtime::chaos::crash_point("follower.before_send");
        }
        for one in claimed {
            self.send(one);
        }
        Ok(begun)
    }

    fn send(&mut self, claimed: Claimed) {
        let Some(lane) = self.lanes.get_mut(&claimed.key.webhook) else { return };
        lane.under_way += 1;
        let (sender, url, secrets) = (self.sender.clone(), Arc::clone(&lane.url), Arc::clone(&lane.secrets));
        let form = lane.form;
        let (sending, since) = (Arc::clone(&lane.sending), Instant::now());
        self.under_way.spawn(async move {
            let turn = sending.acquire().await;
            let (at, began) = (OffsetDateTime::now_utc(), Instant::now());
            if turn.is_err() || since.elapsed() > STALE {
                return Done { claimed, at, took: Duration::ZERO, answer: None };
            }
            let id = domain::told::id_of(claimed.key.subject, claimed.key.version);
            let body = with_handover(claimed.body.clone(), claimed.handover.as_deref());
            let answer = sender.send(&url, &id, at.unix_timestamp(), (form, &secrets), body).await;
            Done { claimed, at, took: began.elapsed(), answer: Some(answer) }
        });
    }

    /// Writes down what has ended, and says how many that is.
    async fn end(&mut self) -> Result<usize> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.ended.push(ended);
        }
        let done: Result<Vec<Done>, _> = self.ended.drain(..).collect();
        let done = done.context("a delivery panicked")?;
        for one in &done {
            self.see(one);
        }
        self.write().await?;
        Ok(done.len())
    }

    /// Sees what became of one.
    fn see(&mut self, done: &Done) {
        let Some(answer) = &done.answer else {
            self.leave(done, false);
            self.unwritten.back.push((done.claimed.key, done.claimed.epoch));
            return;
        };
        let next = self.judge(done, answer);
        let came_to = &mut self.unwritten.came_to;
        let of_its_kind = match answer {
            _ if next == Next::Taken => &mut came_to.taken,
            Answer::Status(410) => &mut came_to.gone,
            _ => &mut came_to.failed,
        };
        of_its_kind.push(done.claimed.key.webhook);
        self.unwritten.tried.push(as_written(done, answer, next));
    }

    async fn write(&mut self) -> Result<()> {
        let Unwritten { tried, came_to, back } = &mut self.unwritten;
        if tried.is_empty() && back.is_empty() {
            return Ok(());
        }
        for endpoints in [&mut came_to.taken, &mut came_to.failed, &mut came_to.gone] {
            endpoints.sort_unstable();
            endpoints.dedup();
        }
        runtime::chaos::crash_point("follower.after_send");
        let written = self.session.run(&self.unwritten, |conn, Unwritten { tried, came_to, back }| {
            Box::pin(async move {
                let mut tx = sqlx::Connection::begin(conn).await?;
                deliveries::end(&mut tx, tried).await?;
                if !back.is_empty() {
                    deliveries::give_back(&mut tx, back).await?;
                }
                let disabled = webhooks::came_to(&mut tx, came_to, FAILS_FOR).await?;
                tx.commit().await?;
                Ok(disabled)
            })
        });
        // What is not written down before its lease is over is sent again.
        let disabled = written.await.context("cannot write down what was delivered")?;
        self.unwritten = Unwritten::default();
        for webhook in disabled {
            if let Some(lane) = self.lanes.remove(&webhook) {
                lane.sending.close();
            }
            tracing::warn!(%webhook, "an endpoint is gone, or has failed for days: nothing is sent to it until somebody enables it");
        }
        Ok(())
    }

    /// One is not under way any more; if it went well, one more may wait.
    fn leave(&mut self, done: &Done, well: bool) {
        if let Some(lane) = self.lanes.get_mut(&done.claimed.key.webhook) {
            lane.under_way = lane.under_way.saturating_sub(1);
            lane.ahead = if well { (lane.ahead + 1).min(self.at_once * AHEAD) } else { 0 };
        }
    }

    /// What becomes of one that was sent.
    fn judge(&mut self, done: &Done, answer: &Answer) -> Next {
        let taken =
            matches!(answer, Answer::Status(200..=299)) || runtime::chaos::sabotaged("delivered_before_sent");
        self.leave(done, taken && done.took < QUICK);
        if let Some(lane) = self.lanes.get_mut(&done.claimed.key.webhook) {
            lane.faults = if taken { 0 } else { lane.faults.saturating_add(1) };
        }
        match answer {
            _ if taken => self.metrics.taken.increment(1),
            Answer::Status(_) => self.metrics.refused.increment(1),
            Answer::None(_) => self.metrics.unreachable.increment(1),
        }
        match next_after(&self.retries, done.claimed.attempt) {
            _ if taken => Next::Taken,
            Some(delay) => Next::Again(delay),
            None => {
                self.metrics.parked.increment(1);
                Next::Parked
            }
        }
    }
}

/// How long after the failed try of this number the next one comes; `None`: there is none.
pub(crate) fn next_after(delays: &[Duration], attempt: i32) -> Option<Duration> {
    let tries = usize::try_from(attempt).unwrap_or(usize::MAX);
    let delay = delays.get(tries.saturating_sub(1))?;
    let most = delay.as_millis() / u128::from(JITTER);
    let more = rand::rng().random_range(0..=u64::try_from(most).unwrap_or(0));
    Some(*delay + Duration::from_millis(more))
}

fn as_written(done: &Done, answer: &Answer, next: Next) -> Tried {
    let (status, fault) = match answer {
        Answer::Status(status) => (i16::try_from(*status).ok(), None),
        Answer::None(why) => (None, Some((*why).to_owned())),
    };
    Tried {
        key: done.claimed.key,
        epoch: done.claimed.epoch,
        at: done.at,
        took_ms: i32::try_from(done.took.as_millis()).unwrap_or(i32::MAX),
        status,
        fault,
        next,
    }
}
