//! deliver: sends what is due to the endpoints, round after round (`rounds`), again under the same `webhook-id` where nobody knows
//! whether it came. Of an endpoint and an order one at a time (`store::deliveries`).

mod address;
mod lanes;
mod send;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::told::with_handover;
use metrics::{Counter, Gauge};
use runtime::secrets::Secrets;
use store::deliveries::{self, Claimed, Key, Next, Tried};
use store::session::{Session, StoreError};
use store::webhooks::{self, CameTo};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::lanes::Lanes;
use self::send::{Answer, Sender};
use crate::config::FollowerSettings;
use crate::rounds::{self, Rounds, Sends, next_after};

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
/// What has waited for so long to be sent is given back: far less than a lease, and by then its secret may have been taken back.
const STALE: Duration = Duration::from_secs(1);

/// Sends what is due to the endpoints.
pub type Delivery = Rounds<Endpoints>;

/// What came of a request; without an answer it was not sent any more.
type Done = rounds::Done<Answer>;

/// What came of requests, and is not written down yet.
#[derive(Debug, Default)]
struct Unwritten {
    tried: Vec<Tried>,
    came_to: CameTo,
    back: Vec<(Key, i32)>,
}

/// Those to whom it is sent.
#[derive(Debug)]
pub struct Endpoints {
    session: Session,
    secrets: Arc<Secrets>,
    sender: Sender,
    lease: Duration,
    /// How long after each failed try the next one comes; after the last one it is parked.
    retries: Vec<Duration>,
    lanes: Lanes,
    unwritten: Unwritten,
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

impl Metrics {
    fn new() -> Self {
        let tried = |outcome| metrics::counter!("deliver_attempts_total", "outcome" => outcome);
        Self {
            taken: tried("taken"),
            refused: tried("refused"),
            unreachable: tried("unreachable"),
            parked: metrics::counter!("deliver_parked_total"),
            due: metrics::gauge!("deliver_oldest_due_seconds"),
            aside: metrics::gauge!("deliver_parked"),
            disabled: metrics::gauge!("deliver_disabled"),
        }
    }
}

impl Delivery {
    /// On a connection of its own.
    pub fn new(
        session: Session,
        secrets: impl Into<Arc<Secrets>>,
        settings: &FollowerSettings,
        news: Arc<Notify>,
    ) -> Result<Self> {
        let now = Instant::now();
        let endpoints = Endpoints {
            session,
            secrets: secrets.into(),
            sender: Sender::new(&settings.webhook_networks, settings.webhook_timeout)?,
            // A living sender never loses one: it ends, is written down, and then there is time left.
            lease: settings.webhook_timeout * 2 + Duration::from_secs(15),
            retries: settings.webhook_retries.clone(),
            lanes: Lanes::new(settings.webhook_concurrency.into()),
            unwritten: Unwritten::default(),
            look_at: now,
            tidy_at: now,
            metrics: Metrics::new(),
        };
        Ok(Self::of(endpoints, news))
    }

    /// Sees at once what has been set since.
    pub async fn look(&mut self) -> Result<()> {
        self.sends.look().await
    }
}

impl Sends for Endpoints {
    type Answer = Answer;
    const CANNOT: &'static str = "cannot deliver";

    async fn look_if_due(&mut self) -> Result<()> {
        if Instant::now() >= self.look_at {
            self.look().await?;
            self.look_at = Instant::now() + LOOK_EVERY;
        }
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY_EVERY;
            self.tidy().await?;
        }
        Ok(())
    }

    async fn begin(&mut self, under_way: &mut JoinSet<Done>) -> Result<usize> {
        let rooms = self.lanes.rooms(MOST.saturating_sub(under_way.len()));
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
            self.send(one, under_way);
        }
        Ok(begun)
    }

    fn see(&mut self, done: &Done) {
        let (webhook, epoch) = (done.claimed.key.webhook, done.claimed.epoch);
        let Some(answer) = &done.answer else {
            self.lanes.unsent(webhook);
            self.unwritten.back.push((done.claimed.key, epoch));
            return;
        };
        let next = self.judge(done, answer);
        let came_to = &mut self.unwritten.came_to;
        let of_its_kind = match answer {
            _ if next == Next::Taken => &mut came_to.taken,
            Answer::Status(410) => &mut came_to.gone,
            _ => &mut came_to.failed,
        };
        of_its_kind.push(webhook);
        self.unwritten.tried.push(match answer {
            Answer::Status(status) => done.tried(Some(*status), None, next),
            Answer::None(why) => done.tried(None, Some(why), next),
        });
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
        let written = written.await;
        // What is not written down before its lease is over is sent again; so is what the database refuses.
        if !written.as_ref().is_err_and(StoreError::may_pass) {
            self.unwritten = Unwritten::default();
        }
        for webhook in written.context("cannot write down what was delivered")? {
            self.lanes.end(webhook);
            tracing::warn!(%webhook, "an endpoint is gone, or has failed for days: nothing is sent to it until somebody enables it");
        }
        Ok(())
    }

    fn close(&mut self) {
        self.lanes.close();
    }
}

impl Endpoints {
    /// Sees what has been set since.
    async fn look(&mut self) -> Result<()> {
        let found = self.session.run(&(), |conn, ()| Box::pin(webhooks::list(conn, false))).await;
        self.lanes.set(found.context("cannot see the webhooks")?, &self.secrets);
        Ok(())
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

    fn send(&mut self, claimed: Claimed, under_way: &mut JoinSet<Done>) {
        let Some(lane) = self.lanes.get_mut(claimed.key.webhook) else { return };
        lane.under_way += 1;
        let (sender, url, secrets) = (self.sender.clone(), Arc::clone(&lane.url), Arc::clone(&lane.secrets));
        let form = lane.form;
        let (sending, since) = (Arc::clone(&lane.sending), Instant::now());
        under_way.spawn(async move {
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

    /// What becomes of one that was sent.
    fn judge(&mut self, done: &Done, answer: &Answer) -> Next {
        let taken =
            matches!(answer, Answer::Status(200..=299)) || runtime::chaos::sabotaged("delivered_before_sent");
        self.lanes.sent(done.claimed.key.webhook, taken, done.took);
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
