//! feed: notes the moments by which what has happened is followed, from the first day on, and forgets old ones. Between two rounds
//! of chores a fifth of a second passes; whoever is in a hurry (the api, while somebody waits; the follower) notes more. What a follower
//! has not read is not forgotten: how long that has been there is told, for one that is switched off tells nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Gauge;
use store::feed::{Ticked, forget, tick, unread_seconds};
use store::session::Session;

/// Between two looks for old moments.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Forgotten at once: far more than are noted between two looks, and some milliseconds.
const AT_ONCE: u32 = 10_000;

/// Notes them.
#[derive(Debug)]
pub struct Feed {
    keep: Duration,
    forget_at: Instant,
    well: bool,
    went_back: Gauge,
    unread: Gauge,
}

impl Feed {
    pub(super) fn new(keep: Duration) -> Self {
        let went_back = metrics::gauge!("sweep_feed_went_back");
        went_back.set(0.0);
        let unread = metrics::gauge!("sweep_unread_seconds");
        unread.set(0.0);
        Self { keep, forget_at: Instant::now() + FORGET_EVERY, well: true, went_back, unread }
    }

    /// Notes one, if something has happened, and forgets old ones now and then.
    pub(super) async fn run_once(&mut self, session: &mut Session) -> Result<()> {
        let ticked = session.run(&(), |conn, ()| Box::pin(tick(conn))).await;
        let went_back = ticked.context("cannot note what has happened")? == Ticked::WentBack;
        self.went_back.set(if went_back { 1.0 } else { 0.0 });
        if std::mem::replace(&mut self.well, !went_back) && went_back {
            tracing::error!(
                "the database gives ids that it has given before: it was made anew from a dump. Nothing that happens from now on \
                 can be followed until an operator has said that a new count begins (docs/runbooks.md, FeedWentBack)"
            );
        }
        if Instant::now() >= self.forget_at {
            self.forget_at = Instant::now() + FORGET_EVERY;
            self.forget(session).await?;
        }
        Ok(())
    }

    /// Forgets old ones, and says how many.
    pub(super) async fn forget(&mut self, session: &mut Session) -> Result<u64> {
        let unread = session.run(&(), |conn, ()| Box::pin(unread_seconds(conn))).await;
        self.unread.set(unread.context("cannot see what is still to be followed")?);
        let done = session.run(&self.keep, |conn, keep| Box::pin(forget(conn, *keep, AT_ONCE))).await;
        done.context("cannot forget old moments of what has happened")
    }
}
