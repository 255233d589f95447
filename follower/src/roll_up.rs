//! `roll_up`: what has happened becomes numbers: how many orders, how long they stayed where, how much money, by quarters of an hour.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use domain::event::Event;
use futures_util::future::BoxFuture;
use runtime::chaos::crash_point;
use runtime::tasks::Stop;
use sqlx::{Connection, PgConnection};
use store::Database;
use store::feed::{Lines, Start};
use store::rollups::jobs::ROLL_UP;
use store::rollups::{self, anew};

use crate::follow::{Following, Follows, Step};
use crate::health::Health;
use crate::rebuild::{CLEARED, rebuild};
use crate::sessions::session;
use crate::today::Shown;

/// Between two looks: nobody reads numbers sooner, and many events change as many rows as few.
const EVERY: Duration = Duration::from_millis(250);

/// Adds what happens to the numbers.
#[derive(Debug)]
pub struct RollUp;

impl Follows for RollUp {
    const NAME: &'static str = ROLL_UP;
    /// Many orders meet in few cells, so a large page writes hardly more rows than a small one.
    const PAGE: u32 = 1_024;
    /// Numbers are of all that has happened.
    const START: Start = Start::Earliest;
    const LINES: Lines = Lines::WithAmounts;

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            crash_point("follower.before_roll_up");
            rollups::add(conn, events).await?;
            crash_point("follower.after_roll_up");
            Ok(())
        })
    }
}

/// The same, and makes the numbers anew where some of what they are of is not there any more, or was never counted.
#[derive(Debug)]
pub struct Rolling {
    following: Following<RollUp>,
    database: Database,
    /// Whether all that happened before this process began is counted, or will be.
    is_whole: bool,
    today: Shown,
}

impl Rolling {
    /// On a connection of its own.
    pub fn new(database: &Database) -> Self {
        let following = Following::new(RollUp, session(database), Arc::default());
        Self { following, database: database.clone(), is_whole: false, today: Shown::new() }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let interval = interval.max(EVERY);
        let mut health = Health::new();
        while !stop.is_stopped() {
            let step = self.run_once().await;
            health.met(&step, "cannot roll up");
            match &step {
                Ok(_) => self.today.look(&mut self.following.session).await,
                Err(error) => self.following.note(error).await,
            }
            if !step.is_ok_and(|step| step.goes_on(self.following.behind, interval)) {
                stop.or_stopped(tokio::time::sleep(interval)).await;
            }
        }
        Ok(())
    }

    /// Follows a page, if it is this process's turn.
    pub async fn run_once(&mut self) -> Result<Step> {
        if !self.is_whole {
            let mut conn = self.database.connect().await?;
            // Else its cursor would keep the moments of what has happened from being forgotten, for good.
            if anew::clear(&mut conn).await? {
                tracing::warn!(CLEARED);
            }
            let is_needed = anew::is_needed(&mut conn).await?;
            conn.close().await?;
            if is_needed {
                tracing::info!("counting from the first event on");
                rebuild(&self.database).await?;
            }
            self.is_whole = true;
        }
        let step = self.following.run_once().await?;
        if step == Step::Gone {
            rebuild(&self.database).await?;
        }
        Ok(step)
    }
}
