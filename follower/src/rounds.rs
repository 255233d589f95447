//! rounds: the loop of whoever sends what is due, to endpoints or by mail. A round writes down what has ended, and begins what is due,
//! as far as there is room: what ends while it is written down is for the next one.
//!
//! At least once: a sender that dies, or is slower than its lease, lets another one send the same again (`store::deliveries`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use runtime::tasks::Stop;
use store::deliveries::{Claimed, Next, Tried};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use crate::health::Health;

/// A delay is up to a fifth longer: what failed together must not come back together.
const JITTER: u32 = 5;

/// What is sent, and how.
pub trait Sends: Send + 'static {
    /// What a try comes to.
    type Answer: std::fmt::Debug + Send + 'static;
    /// As a log has it where a round fails.
    const CANNOT: &'static str;

    /// Looks at what has been set, and at how things stand, when it is time for that.
    fn look_if_due(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Begins what is due, where there is room beside what is under way; says how many that is.
    fn begin(
        &mut self,
        under_way: &mut JoinSet<Done<Self::Answer>>,
    ) -> impl Future<Output = Result<usize>> + Send;

    /// Sees what came of one that has ended.
    fn see(&mut self, done: &Done<Self::Answer>);

    /// Writes down what was seen and is not written down yet, if anything. What cannot be now is kept for the next time: nobody is
    /// sent again what he has because a row is locked for a moment. What the database refuses is not: it would be refused for ever.
    fn write(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// From now on nothing is begun that is not sent already.
    fn close(&mut self) {}
}

/// One that was tried, and what came of it.
#[derive(Debug)]
pub struct Done<A> {
    pub(crate) claimed: Claimed,
    pub(crate) at: OffsetDateTime,
    pub(crate) took: Duration,
    /// `None`: it was not sent.
    pub(crate) answer: Option<A>,
}

impl<A> Done<A> {
    /// As it is written down: a status, or why there was none.
    pub(crate) fn tried(&self, status: Option<u16>, fault: Option<&str>, next: Next) -> Tried {
        Tried {
            key: self.claimed.key,
            epoch: self.claimed.epoch,
            at: self.at,
            took_ms: i32::try_from(self.took.as_millis()).unwrap_or(i32::MAX),
            status: status.and_then(|status| i16::try_from(status).ok()),
            fault: fault.map(str::to_owned),
            next,
        }
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Tries that have ended.
    pub ended: usize,
    /// Tries that were begun.
    pub begun: usize,
}

/// Sends what is due, round after round.
#[derive(Debug)]
pub struct Rounds<S: Sends> {
    pub(crate) sends: S,
    under_way: JoinSet<Done<S::Answer>>,
    /// What has ended, to be written down.
    ended: Vec<Result<Done<S::Answer>, JoinError>>,
    /// There may be something new.
    news: Arc<Notify>,
}

impl<S: Sends> Rounds<S> {
    /// With nothing under way.
    pub(crate) fn of(sends: S, news: Arc<Notify>) -> Self {
        Self { sends, under_way: JoinSet::new(), ended: Vec::new(), news }
    }

    /// Sends until `stop`; then ends what is under way.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let mut health = Health::new();
        while !stop.is_stopped() {
            let step = self.run_once().await;
            health.met(&step, S::CANNOT);
            if !step.is_ok_and(|step| step.ended + step.begun > 0) {
                self.wait(interval, &stop).await;
            }
        }
        self.sends.close();
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
        self.sends.look_if_due().await?;
        Ok(Step { ended, begun: self.sends.begin(&mut self.under_way).await? })
    }

    /// Waits for what is under way, and writes it down.
    pub async fn finish(&mut self) -> Result<()> {
        while let Some(ended) = self.under_way.join_next().await {
            self.ended.push(ended);
        }
        self.end().await.map(drop)
    }

    /// Writes down what has ended, and says how many that is.
    async fn end(&mut self) -> Result<usize> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.ended.push(ended);
        }
        let done: Result<Vec<_>, _> = self.ended.drain(..).collect();
        let done = done.context("what was sending panicked")?;
        done.iter().for_each(|one| self.sends.see(one));
        self.sends.write().await?;
        Ok(done.len())
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
