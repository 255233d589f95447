//! send: hands over what is due, some at once. At least once, under one Message-ID: a mail is sent again only where nobody knows
//! whether the server has it, because the fault fell between its last byte and the answer.
//!
//! A server that is away is no mail's fault: after some faults in a row one is tried at a time, and seldom, so that a long outage
//! parks few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::{Counter, Gauge};
use runtime::secrets::Secrets;
use store::deliveries::{self, Next, Tried};
use store::session::{Session, StoreError};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Outbox;
use super::due::{Due, claim, write};
use super::post::Answer;
use crate::rounds::{self, Rounds, Sends, next_after};

/// Between two looks at how things stand.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Faults of the server in a row after which it is asked for one mail at a time,
const FAULTS: u32 = 5;
/// and no sooner than so long after the last one.
const REST: Duration = Duration::from_secs(5);

/// Sends mail that is due.
pub type Sending = Rounds<Customers>;

/// What came of one; without an answer there was nobody to write to.
type Done = rounds::Done<Answer>;

/// Those to whom it is sent.
#[derive(Debug)]
pub struct Customers {
    session: Session,
    secrets: Arc<Secrets>,
    outbox: Outbox,
    lease: Duration,
    /// What came of mails, and is not written down yet.
    unwritten: Vec<Tried>,
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

impl Metrics {
    fn new() -> Self {
        let tried = |outcome| metrics::counter!("mail_attempts_total", "outcome" => outcome);
        Self {
            sent: tried("sent"),
            refused: tried("refused"),
            failed: tried("failed"),
            parked: metrics::counter!("mail_parked_total"),
            due: metrics::gauge!("mail_oldest_due_seconds"),
            aside: metrics::gauge!("mail_parked"),
        }
    }
}

impl Sending {
    /// On a connection of its own.
    pub fn new(session: Session, secrets: Arc<Secrets>, outbox: Outbox, news: Arc<Notify>) -> Self {
        let now = Instant::now();
        let customers = Customers {
            session,
            secrets,
            // A living sender never loses one: it ends, is written down, and then there is time left.
            lease: outbox.timeout * 2 + Duration::from_secs(15),
            outbox,
            unwritten: Vec::new(),
            look_at: now,
            faults: 0,
            rests_until: now,
            metrics: Metrics::new(),
        };
        Self::of(customers, news)
    }
}

impl Sends for Customers {
    type Answer = Answer;
    const CANNOT: &'static str = "cannot send mail";

    async fn look_if_due(&mut self) -> Result<()> {
        if Instant::now() < self.look_at {
            return Ok(());
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        let standing = self.session.run(&(), |conn, ()| Box::pin(store::mail::standing(conn))).await;
        let standing = standing.context("cannot see what is to be mailed")?;
        self.metrics.due.set(standing.oldest_due_seconds);
        self.metrics.aside.set(standing.parked as f64);
        Ok(())
    }

    async fn begin(&mut self, under_way: &mut JoinSet<Done>) -> Result<usize> {
        let is_away = self.faults >= FAULTS;
        if is_away && Instant::now() < self.rests_until {
            return Ok(0);
        }
        let most = if is_away { 1 } else { self.outbox.connections };
        let room = i64::try_from(most.saturating_sub(under_way.len())).unwrap_or(0);
        if room == 0 {
            return Ok(0);
        }
        let asked = (room, self.lease);
        let due = self.session.run(&asked, |conn, (room, lease)| Box::pin(claim(conn, *room, *lease))).await;
        let due = due.context("cannot claim what is to be mailed")?;
        let begun = due.len();
        for Due { claimed, found } in due {
            let (outbox, secrets) = (self.outbox.clone(), Arc::clone(&self.secrets));
            under_way.spawn(async move {
                let (at, began) = (OffsetDateTime::now_utc(), Instant::now());
                let answer = match found {
                    Some(found) => Some(write(&outbox, &secrets, &claimed, &found).await),
                    None => None,
                };
                Done { claimed, at, took: began.elapsed(), answer }
            });
        }
        Ok(begun)
    }

    fn see(&mut self, done: &Done) {
        let next = self.judge(done);
        self.unwritten.push(as_written(done, next));
    }

    async fn write(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let written = self.session.run(&self.unwritten, |conn, tried| {
            Box::pin(async move {
                let mut tx = sqlx::Connection::begin(conn).await?;
                deliveries::end(&mut tx, tried).await?;
                tx.commit().await
            })
        });
        let written = written.await;
        // What is not written down before its lease is over is sent again, under the same Message-ID; so is what the database refuses.
        if !written.as_ref().is_err_and(StoreError::may_pass) {
            self.unwritten.clear();
        }
        written.context("cannot write down what was mailed")
    }
}

impl Customers {
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
                next_after(&self.outbox.retries, done.claimed.attempt).map_or(Next::Parked, Next::Again)
            }
        };
        if next == Next::Parked {
            self.metrics.parked.increment(1);
        }
        next
    }
}

fn as_written(done: &Done, next: Next) -> Tried {
    match done.answer {
        Some(Answer::Taken) => done.tried(Some(250), None, next),
        Some(Answer::NotNow(code) | Answer::Refused(code)) => done.tried(Some(code), None, next),
        Some(Answer::Unsendable(why) | Answer::Fault(why)) => done.tried(None, Some(why), next),
        None => done.tried(None, Some("nobody"), next),
    }
}
