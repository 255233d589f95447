//! sweep: what would be left undone is looked for and done, a file a chore. [`due`] takes payments up and [`facts`] looks on,
//! each on a connection of its own; the other chores share one, and this loop. Every worker does all of them.

pub mod additions;
pub mod call_off;
pub mod clock;
pub mod deadline;
pub mod due;
pub mod facts;
pub mod feed;
pub mod forget;
pub mod holds;
pub mod later;

use std::time::Duration;

use anyhow::Result;
use runtime::tasks::Stop;
use store::session::Session;

use self::additions::Additions;
use self::call_off::CallOff;
use self::clock::Clock;
use self::deadline::Deadlines;
use self::feed::Feed;
use self::forget::Forget;
use self::holds::Holds;
use self::later::Later;
use crate::config::WorkerSettings;

/// Orders in one transaction: row locks no longer than some milliseconds.
pub const AT_ONCE: u32 = 256;

/// The chores that share a connection.
#[derive(Debug)]
pub struct Chores {
    session: Session,
    interval: Duration,
    payment_deadline: Duration,
    clock: Clock,
    deadlines: Deadlines,
    additions: Additions,
    later: Later,
    call_off: CallOff,
    holds: Holds,
    forget: Forget,
    feed: Feed,
}

impl Chores {
    /// On a connection of their own.
    pub fn new(session: Session, settings: &WorkerSettings) -> Self {
        Self {
            session,
            interval: settings.sweep_interval,
            payment_deadline: settings.payment_deadline,
            clock: Clock::new(settings.payment_deadline),
            deadlines: Deadlines::new(),
            additions: Additions::new(),
            later: Later::new(),
            call_off: CallOff::new(settings.payment_deadline),
            holds: Holds::new(),
            forget: Forget::new(),
            feed: Feed::new(settings.events_kept()),
        }
    }

    /// Does them until `stop`.
    pub async fn run(mut self, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            // Each whatever became of the others: what stops one of them must not stop all.
            let watched = self.clock.run_if_due(&mut self.session).await;
            let late = self.reject_late().await;
            let begun = self.let_go_later().await;
            let tended = self.tend_additions().await;
            let aged = self.end_old().await;
            let found = late.and_then(|late| begun.map(|begun| late.max(begun)));
            let returned = self.settle_holds().await;
            // After what the others wrote.
            let noted = self.note_feed().await;
            let is_full = match watched.and(tended).and(aged).and(returned).and(noted).and(found) {
                Ok(found) => {
                    well = true;
                    found == AT_ONCE as usize
                }
                Err(error) => {
                    if std::mem::take(&mut well) {
                        tracing::warn!(error = format!("{error:#}"), "cannot sweep up; trying on");
                    }
                    false
                }
            };
            if !is_full {
                stop.or_stopped(tokio::time::sleep(self.interval)).await;
            }
        }
        Ok(())
    }

    /// Looks whether the database's clock is believed, and says so.
    pub async fn watch_clock(&mut self) -> Result<bool> {
        self.clock.run_once(&mut self.session).await?;
        Ok(self.clock.is_trusted())
    }

    /// Does what is due because of a clock alone; nothing by one that nobody believes.
    pub async fn end_old(&mut self) -> Result<()> {
        if !self.clock.is_trusted() {
            return Ok(());
        }
        let called_off = self.call_off.run_if_due(&mut self.session).await;
        called_off.and(self.forget.run_if_due(&mut self.session).await)
    }

    /// Rejects what the kitchen did not answer in time, up to [`AT_ONCE`] orders. Says how many deadlines had passed.
    pub async fn reject_late(&mut self) -> Result<usize> {
        self.deadlines.run_once(&mut self.session).await
    }

    /// Lets orders go whose time has come, up to [`AT_ONCE`], and says how many.
    pub async fn let_go_later(&mut self) -> Result<usize> {
        self.later.run_once(&mut self.session, self.payment_deadline).await
    }

    /// Counts what ended orders held to what is available or sold, and says how many holds that were.
    pub async fn settle_holds(&mut self) -> Result<u64> {
        self.holds.run_once(&mut self.session).await
    }

    /// Lets additions go, and takes failed ones off, up to [`AT_ONCE`] of either kind.
    pub async fn tend_additions(&mut self) -> Result<()> {
        self.additions.run_once(&mut self.session, self.payment_deadline).await
    }

    /// Notes what has happened, so that it can be followed.
    pub async fn note_feed(&mut self) -> Result<()> {
        self.feed.run_once(&mut self.session).await
    }

    /// Forgets what was kept long enough, whether its time has come or not.
    pub async fn forget_old(&mut self) -> Result<()> {
        self.forget.round(&mut self.session).await
    }

    /// Forgets idempotency keys that were kept long enough, and says how many.
    pub async fn forget_keys(&mut self) -> Result<u64> {
        self.forget.run_once(&mut self.session).await
    }
}
