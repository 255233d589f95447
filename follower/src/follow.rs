//! follow: the one loop of whoever follows what has happened. It reads a page behind its cursor, and what that leads to is
//! committed together with the cursor behind it: each event takes effect once, whenever a process dies, and however many run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::event::Event;
use futures_util::future::BoxFuture;
use metrics::{Counter, Gauge};
use runtime::chaos::{crash_point, sabotaged};
use runtime::tasks::Stop;
use sqlx::{Connection, PgConnection};
use store::feed::aside;
use store::feed::cursors::{self, Place};
use store::feed::{self, Cursor, Lines, Read, Start};
use store::rollups::jobs;
use store::session::{Session, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

/// After something has happened it looks for more this much oftener, for so long: who is told waits less, and an idle house costs
/// no more.
const OFTENER: u32 = 3;
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Orders that are tried again in one go.
const AT_ONCE: i64 = 10_000;

/// What is done with events. It writes rows and nothing else: whoever is to be told is told from those.
pub trait Follows: std::fmt::Debug + Send + Sync + 'static {
    /// Whose cursor it is: as in `feed_cursors` and in the metrics.
    const NAME: &'static str;
    /// Rows in a page, and so in a transaction: some milliseconds.
    const PAGE: u32 = 256;
    /// With what it begins when it follows for the first time. Of whoever begins with the earliest nothing may be missing: where
    /// events are gone it stands still, until somebody has made anew what it had made of them.
    const START: Start = Start::Latest;

    /// Which lines it needs of orders.
    const LINES: Lines = Lines::All;

    /// Before the page behind `cursor`, in its transaction: who is to be told of it.
    fn begin<'c>(_conn: &'c mut PgConnection, _cursor: &'c Cursor) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Writes what these events lead to, in the transaction of `conn`.
    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>>;
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many events took effect.
    Followed(usize),
    /// There is nothing new.
    UpToDate,
    /// Another process is at it.
    Taken,
    /// What came behind the cursor is not there any more: the database was restored, and it goes on with the earliest, or stands
    /// still.
    Gone,
}

impl Step {
    /// Whether the next step is due at once, `behind` seconds after what it would follow. What has only just happened waits for more
    /// of its kind: a page costs a transaction, and a tick, however few it holds.
    pub(crate) fn goes_on(self, behind: f64, interval: Duration) -> bool {
        match self {
            Self::Followed(_) => behind > interval.as_secs_f64(),
            Self::Gone => true,
            Self::UpToDate | Self::Taken => false,
        }
    }
}

/// Somebody who follows.
#[derive(Debug)]
pub struct Following<F> {
    pub(crate) session: Session,
    well: bool,
    /// How long what it has not followed yet has been there, in seconds.
    pub(crate) behind: f64,
    followed: Counter,
    gone: Counter,
    lag: Gauge,
    aside: Gauge,
    /// Told when something took effect.
    news: Arc<Notify>,
    _follows: F,
}

impl<F: Follows> Following<F> {
    /// On a connection of its own.
    pub fn new(follows: F, session: Session, news: Arc<Notify>) -> Self {
        Self {
            session,
            well: true,
            behind: 0.0,
            followed: metrics::counter!("follow_events_total", "follower" => F::NAME),
            gone: metrics::counter!("follow_gone_total", "follower" => F::NAME),
            lag: metrics::gauge!("follow_lag_seconds", "follower" => F::NAME),
            aside: metrics::gauge!("follow_aside_events", "follower" => F::NAME),
            news,
            _follows: follows,
        }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let mut busy_until = Instant::now();
        while !stop.is_stopped() {
            let mut more = false;
            match self.run_once().await {
                Ok(step) => {
                    self.well = true;
                    if matches!(step, Step::Followed(_) | Step::Gone) {
                        busy_until = Instant::now() + BUSY_FOR;
                        more = step.goes_on(self.behind, interval);
                    }
                }
                Err(error) => {
                    if std::mem::take(&mut self.well) {
                        let follower = F::NAME;
                        tracing::warn!(follower, error = format!("{error:#}"), "cannot follow; trying on");
                    }
                    self.note(&error).await;
                }
            }
            if !more {
                let is_busy = Instant::now() < busy_until;
                let wait = if is_busy { interval / OFTENER } else { interval };
                stop.or_stopped(tokio::time::sleep(wait)).await;
            }
        }
        Ok(())
    }

    /// Writes down what could not be done, for whoever asks where it stands. While the database is away that cannot be, either.
    pub(crate) async fn note(&mut self, error: &anyhow::Error) {
        let fault = format!("{error:#}");
        let noted = self.session.run(&fault, |conn, fault| Box::pin(jobs::note_fault(conn, F::NAME, fault)));
        if let Err(error) = noted.await {
            tracing::debug!(%error, "cannot write down what could not be done");
        }
    }

    /// Follows a page, if it is this process's turn.
    pub async fn run_once(&mut self) -> Result<Step> {
        let step = self.session.run(&(), |conn, ()| Box::pin(step::<F>(conn))).await;
        let (step, lag, aside) =
            step.with_context(|| format!("{} cannot follow what has happened", F::NAME))?;
        match step {
            Step::Followed(events) => {
                self.followed.increment(events as u64);
                self.news.notify_one();
            }
            Step::Gone => {
                self.gone.increment(1);
                tracing::error!(
                    follower = F::NAME,
                    "what comes next is not there any more: the database was restored"
                );
            }
            Step::UpToDate | Step::Taken => {}
        }
        if step != Step::Taken {
            self.behind = lag;
            self.lag.set(lag);
            self.aside.set(aside as f64);
        }
        Ok(step)
    }
}

/// A step, and how far behind it leaves us, in seconds. Run twice because its first answer was lost, it takes the next page.
async fn step<F: Follows>(conn: &mut PgConnection) -> sqlx::Result<(Step, f64, i64)> {
    // Sooner than a worker would.
    feed::tick(conn).await?;
    let mut tx = conn.begin().await?;
    let Place::At(cursor) = cursors::lock(&mut tx, F::NAME, F::START).await? else {
        tx.rollback().await?;
        return Ok((Step::Taken, 0.0, 0));
    };
    let (step, cursor) = match feed::read_whole(&mut tx, &cursor, F::PAGE, F::LINES).await? {
        Read::UpToDate => (Step::UpToDate, cursor),
        Read::Page { events, next } => {
            if sabotaged("cursor_before_effects") {
                cursors::set(&mut tx, F::NAME, &next).await?;
                tx.commit().await?;
                tx = conn.begin().await?;
            }
            F::begin(&mut tx, &cursor).await?;
            take::<F>(&mut tx, &events).await?;
            (Step::Followed(events.len()), next)
        }
        // What was made of the events that are gone cannot be told from the rest.
        Read::Gone { .. } if F::START == Start::Earliest => (Step::Gone, cursor),
        Read::Gone { earliest } => (Step::Gone, earliest),
    };
    let moves = step != Step::UpToDate;
    if moves && !sabotaged("cursor_before_effects") {
        crash_point("follower.before_cursor");
        cursors::set(&mut tx, F::NAME, &cursor).await?;
    }
    let lag = feed::lag_seconds(&mut tx, &cursor).await?;
    let aside = aside::count(&mut tx, F::NAME).await?;
    if moves {
        crash_point("follower.before_commit");
    }
    tx.commit().await?;
    if moves {
        crash_point("follower.after_commit");
    }
    Ok((step, lag, aside))
}

/// Works off a page; what cannot be is put aside, and so is what belongs to an order of which something is.
async fn take<F: Follows>(conn: &mut PgConnection, events: &[Event]) -> sqlx::Result<()> {
    let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
    orders.dedup();
    let held_up = aside::among(conn, F::NAME, &orders).await?;
    let (behind, events): (Vec<Event>, Vec<Event>) =
        events.iter().cloned().partition(|event| held_up.contains(&event.subject));
    aside::put(conn, F::NAME, &behind, "something before it is").await?;
    if events.is_empty() || attempt::<F>(conn, &events).await?.is_none() {
        return Ok(());
    }
    for of_one in events.chunk_by(|one, next| one.subject == next.subject) {
        if let Some(why) = attempt::<F>(conn, of_one).await? {
            let order = of_one.first().map(|event| event.subject);
            tracing::error!(
                follower = F::NAME,
                ?order,
                why,
                "an event cannot be worked off, and is put aside"
            );
            aside::put(conn, F::NAME, of_one, &why).await?;
        }
    }
    Ok(())
}

/// Works events off, all or none; why not, where the database refuses them for what they are.
async fn attempt<F: Follows>(conn: &mut PgConnection, events: &[Event]) -> sqlx::Result<Option<String>> {
    let mut part = conn.begin().await?;
    match F::take(&mut part, events).await {
        Ok(()) => part.commit().await.map(|()| None),
        Err(error) => {
            part.rollback().await?;
            match StoreError::from(error) {
                StoreError::Refused(error) => Ok(Some(error.to_string())),
                StoreError::Held | StoreError::Unavailable(_) => Err(sqlx::Error::WorkerCrashed),
            }
        }
    }
}

/// Tries again what is aside, order by order; says how many orders are done, and how many are not.
pub async fn retry<F: Follows>(conn: &mut PgConnection) -> Result<(usize, usize)> {
    let (mut done, mut left) = (0, 0);
    for order in aside::subjects(conn, F::NAME, AT_ONCE).await? {
        let mut tx = conn.begin().await?;
        cursors::wait(&mut tx, F::NAME).await?;
        let events = aside::take(&mut tx, F::NAME, order).await?;
        if attempt::<F>(&mut tx, &events).await?.is_none() {
            tx.commit().await?;
            done += 1;
        } else {
            tx.rollback().await?;
            left += 1;
        }
    }
    Ok((done, left))
}
