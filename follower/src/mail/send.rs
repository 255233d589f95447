//! send: hands over what is due, some at once. At least once, under one Message-ID: a mail is sent again only where nobody knows
//! whether the server has it, because the fault fell between its last byte and the answer.
//!
//! A server that is away is no mail's fault: after some faults in a row one is tried at a time, and seldom, so that a long outage
//! parks few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::catalogue::product::Product;
use domain::mail::Mail;
use domain::order::Order;
use metrics::{Counter, Gauge};
use runtime::secrets::Secrets;
use runtime::tasks::Stop;
use runtime::unsubscribe::{List, token};
use sqlx::PgConnection;
use store::deliveries::{self, Claimed, Next, Tried};
use store::mail::{Addressee, LANE, SALES};
use store::sale_notices;
use store::session::Session;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use super::letter::{Envelope, about, about_sale, name_of, name_of_sale};
use super::post::Answer;
use super::{Outbox, Task};
use crate::deliver::next_after;

/// Between two looks at how things stand.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Faults of the server in a row after which it is asked for one mail at a time,
const FAULTS: u32 = 5;
/// and no sooner than so long after the last one.
const REST: Duration = Duration::from_secs(5);

/// A mail that this process is to send.
#[derive(Debug)]
struct Due {
    claimed: Claimed,
    /// `None`: there is nobody to write to, or nothing that may be written.
    found: Option<Found>,
}

struct Found {
    task: Task,
    to: Addressee,
    what: What,
}

/// What is to be written of.
enum What {
    /// An order of theirs, which is made at a location called so.
    Order(Box<Order>, String, Mail),
    /// A product whose price dropped.
    Sale(Box<Product>),
}

/// Whom it is for stands in no log.
impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("task", &self.task).finish_non_exhaustive()
    }
}

/// How long after each failed try the next one comes, as of webhooks where nothing is set: a server that is down for a day loses no mail.
const RETRIES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
];

/// What came of one.
#[derive(Debug)]
struct Done {
    claimed: Claimed,
    at: OffsetDateTime,
    took: Duration,
    /// `None`: there was nobody to write to.
    answer: Option<Answer>,
}

/// Sends what is due.
#[derive(Debug)]
pub struct Sending {
    session: Session,
    secrets: Arc<Secrets>,
    outbox: Outbox,
    lease: Duration,
    under_way: JoinSet<Done>,
    /// What has ended, to be written down.
    ended: Vec<Result<Done, JoinError>>,
    /// There may be something new.
    news: Arc<Notify>,
    look_at: Instant,
    /// Of the server, in a row.
    faults: u32,
    rests_until: Instant,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    sent: Counter,
    refused: Counter,
    failed: Counter,
    parked: Counter,
    due: Gauge,
    aside: Gauge,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Mails that were ended.
    pub ended: usize,
    /// Mails that were begun.
    pub begun: usize,
}

impl Sending {
    /// On a connection of its own.
    pub fn new(session: Session, secrets: Arc<Secrets>, outbox: Outbox, news: Arc<Notify>) -> Self {
        let tried = |outcome| metrics::counter!("mail_attempts_total", "outcome" => outcome);
        let now = Instant::now();
        Self {
            session,
            secrets,
            // A living sender never loses one: it ends, is written down, and then there is time left.
            lease: outbox.timeout * 2 + Duration::from_secs(15),
            outbox,
            under_way: JoinSet::new(),
            ended: Vec::new(),
            news,
            look_at: now,
            faults: 0,
            rests_until: now,
            metrics: Metrics {
                sent: tried("sent"),
                refused: tried("refused"),
                failed: tried("failed"),
                parked: metrics::counter!("mail_parked_total"),
                due: metrics::gauge!("mail_oldest_due_seconds"),
                aside: metrics::gauge!("mail_parked"),
            },
        }
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
                        tracing::warn!(error = format!("{error:#}"), "cannot send mail; trying on");
                    }
                }
            }
            if !step.is_ok_and(|step| step.ended + step.begun > 0) {
                tokio::select! {
                    Some(ended) = self.under_way.join_next() => self.ended.push(ended),
                    () = self.news.notified() => {}
                    () = tokio::time::sleep(interval) => {}
                    () = stop.stopped() => {}
                }
            }
        }
        self.finish().await
    }

    /// Writes down what has ended, and begins what is due, as far as there is room.
    pub async fn run_once(&mut self) -> Result<Step> {
        let ended = self.end().await?;
        if Instant::now() >= self.look_at {
            self.look_at = Instant::now() + LOOK_EVERY;
            let standing = self.session.run(&(), |conn, ()| Box::pin(store::mail::standing(conn))).await;
            let standing = standing.context("cannot see what is to be mailed")?;
            self.metrics.due.set(standing.oldest_due_seconds);
            self.metrics.aside.set(standing.parked as f64);
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

    /// Begins what is due.
    async fn begin(&mut self) -> Result<usize> {
        let is_away = self.faults >= FAULTS;
        if is_away && Instant::now() < self.rests_until {
            return Ok(0);
        }
        let most = if is_away { 1 } else { self.outbox.connections };
        let room = i64::try_from(most.saturating_sub(self.under_way.len())).unwrap_or(0);
        if room == 0 {
            return Ok(0);
        }
        let asked = (room, self.lease);
        let due = self.session.run(&asked, |conn, (room, lease)| Box::pin(claim(conn, *room, *lease))).await;
        let due = due.context("cannot claim what is to be mailed")?;
        let begun = due.len();
        for one in due {
            self.send(one);
        }
        Ok(begun)
    }

    fn send(&mut self, due: Due) {
        let (outbox, secrets) = (self.outbox.clone(), Arc::clone(&self.secrets));
        self.under_way.spawn(async move {
            let Due { claimed, found } = due;
            let (at, began) = (OffsetDateTime::now_utc(), Instant::now());
            let answer = match found {
                Some(found) => Some(write(&outbox, &secrets, &claimed, &found).await),
                None => None,
            };
            Done { claimed, at, took: began.elapsed(), answer }
        });
    }

    /// Writes down what has ended, and says how many that is.
    async fn end(&mut self) -> Result<usize> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.ended.push(ended);
        }
        let done: Result<Vec<Done>, _> = self.ended.drain(..).collect();
        let done = done.context("a mail panicked")?;
        if done.is_empty() {
            return Ok(0);
        }
        let tried: Vec<Tried> = done.iter().map(|one| as_written(one, self.judge(one))).collect();
        let written = self.session.run(&tried, |conn, tried| {
            Box::pin(async move {
                let mut tx = sqlx::Connection::begin(conn).await?;
                deliveries::end(&mut tx, tried).await?;
                tx.commit().await
            })
        });
        // What could not be written down is sent again when its lease is over, under the same Message-ID.
        written.await.context("cannot write down what was mailed")?;
        Ok(done.len())
    }

    /// What becomes of one that was tried.
    fn judge(&mut self, done: &Done) -> Next {
        let is_fault = matches!(done.answer, Some(Answer::Fault(_)));
        if is_fault {
            self.faults = self.faults.saturating_add(1);
            self.rests_until = Instant::now() + REST;
        } else if done.answer.is_some() {
            self.faults = 0;
        }
        let next = match done.answer {
            None => Next::Taken,
            Some(Answer::Taken) => {
                self.metrics.sent.increment(1);
                Next::Taken
            }
            Some(Answer::Refused(_) | Answer::Unsendable(_)) => {
                self.metrics.refused.increment(1);
                Next::Parked
            }
            Some(Answer::NotNow(_) | Answer::Fault(_)) => {
                self.metrics.failed.increment(1);
                next_after(&RETRIES, done.claimed.attempt).map_or(Next::Parked, Next::Again)
            }
        };
        if next == Next::Parked {
            self.metrics.parked.increment(1);
        }
        next
    }
}

/// Claims what is due, and reads what is to be written.
async fn claim(conn: &mut PgConnection, room: i64, lease: Duration) -> sqlx::Result<Vec<Due>> {
    let mut claimed = deliveries::claim(conn, &[(LANE, room)], lease).await?;
    // Those of sales where there is room.
    let left = room - i64::try_from(claimed.len()).unwrap_or(room);
    if left > 0 {
        claimed.extend(deliveries::claim(conn, &[(SALES, left)], lease).await?);
    }
    let mut due = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let found = find(conn, &claimed).await?;
        due.push(Due { claimed, found });
    }
    Ok(due)
}

async fn find(conn: &mut PgConnection, claimed: &Claimed) -> sqlx::Result<Option<Found>> {
    let task: Task =
        serde_json::from_str(&claimed.body).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let Some(to) = store::mail::addressee(conn, task.to()).await? else { return Ok(None) };
    let what = match task {
        Task::Order { mail, .. } => store::mail::order(conn, claimed.key.subject)
            .await?
            .map(|(order, location)| What::Order(Box::new(order), location, mail)),
        Task::Sale { .. } => {
            let product = sale_notices::product(conn, claimed.key.subject).await?;
            product.map(|product| What::Sale(Box::new(product)))
        }
    };
    Ok(what.map(|what| Found { task, to, what }))
}

/// Writes a mail and hands it over.
async fn write(outbox: &Outbox, secrets: &Secrets, claimed: &Claimed, found: &Found) -> Answer {
    let Found { task, to, what } = found;
    let (list, name) = match what {
        What::Order(_, _, mail) => (List::Orders, name_of(claimed.key.subject, claimed.key.version, *mail)),
        What::Sale(_) => (List::Sales, name_of_sale(claimed.key.subject, claimed.key.version)),
    };
    let Ok(token) = token(secrets, task.to(), list) else { return Answer::Fault("no_key") };
    let Ok(unsubscribe) = outbox.links.join(&format!("/api/v1/unsubscribe/{token}")) else {
        return Answer::Fault("no_link");
    };
    let envelope = Envelope { name: &name, from: &outbox.from, to, unsubscribe: &unsubscribe };
    let message = match what {
        What::Order(order, location, mail) => about(*mail, order, location, &envelope),
        What::Sale(product) => about_sale(product, &envelope),
    };
    match message {
        Ok(message) => outbox.post.send(&name, &message).await,
        Err(why) => Answer::Unsendable(why),
    }
}

fn as_written(done: &Done, next: Next) -> Tried {
    let (status, fault) = match done.answer {
        Some(Answer::Taken) => (Some(250), None),
        Some(Answer::NotNow(code) | Answer::Refused(code)) => (i16::try_from(code).ok(), None),
        Some(Answer::Unsendable(why) | Answer::Fault(why)) => (None, Some(why.to_owned())),
        None => (None, Some("nobody".to_owned())),
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
