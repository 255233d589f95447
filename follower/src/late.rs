//! late: endpoints that do not take what they are to be told as fast as it happens follow by themselves, each from where it was left,
//! as far as there is room. One that has come as far as the others is told with them again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Gauge;
use runtime::tasks::Stop;
use sqlx::{Connection, PgConnection};
use store::feed::cursors::{self, Place};
use store::feed::{self, Lines, Read, Start, aside};
use store::session::Session;
use store::webhooks::{self, late};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::follow::{Follows, OFTENER};
use crate::health::Health;
use crate::webhooks::{ROOM, Webhooks, tell};

/// Between two looks where none has room: those that are late are slow, or dead.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long after one went on it may soon have room again.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// What came of an endpoint's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It went on.
    On,
    /// It is told with the others again.
    Joined,
    /// Nothing: another process has it in hand, or it has come as far as it may.
    Nothing,
    /// Of what is next something is aside: it comes when that is tried again.
    HeldUp,
}

/// Those that are late.
#[derive(Debug)]
pub struct Late {
    session: Session,
    endpoints: Gauge,
    /// Told when there is more to be sent.
    news: Arc<Notify>,
}

impl Late {
    /// On a connection of its own.
    pub fn new(session: Session, news: Arc<Notify>) -> Self {
        Self { session, endpoints: metrics::gauge!("deliver_late"), news }
    }

    /// Lets them go on until `stop`.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let (mut health, mut busy_until) = (Health::new(), Instant::now());
        while !stop.is_stopped() {
            let went_on = self.run_once().await;
            health.met(&went_on, "endpoints that are late cannot go on");
            if went_on.is_ok_and(|went_on| went_on > 0) {
                busy_until = Instant::now() + BUSY_FOR;
                continue;
            }
            let wait = if Instant::now() < busy_until { interval / OFTENER } else { LOOK_EVERY };
            stop.or_stopped(tokio::time::sleep(wait)).await;
        }
        Ok(())
    }

    /// A page for each that has room; says how many went on.
    pub async fn run_once(&mut self) -> Result<usize> {
        let found = self.session.run(&(), |conn, ()| {
            Box::pin(async move {
                let with_room = late::with_room(conn, ROOM / 2).await?;
                Ok((with_room, late::all(conn).await?.len()))
            })
        });
        let (with_room, all) = found.await.context("cannot see who is late")?;
        self.endpoints.set(all as f64);
        let mut went_on = 0;
        for webhook in with_room {
            let step = self.session.run(&webhook, |conn, webhook| Box::pin(step(conn, *webhook)));
            match step.await.with_context(|| format!("webhook {webhook}"))? {
                Step::On | Step::Joined => went_on += 1,
                Step::Nothing => {}
                Step::HeldUp => {
                    tracing::debug!(%webhook, "what it is to be told next is aside for all");
                }
            }
        }
        if went_on > 0 {
            self.news.notify_one();
        }
        Ok(went_on)
    }
}

/// A page for this one, and its cursor behind it.
async fn step(conn: &mut PgConnection, webhook: Uuid) -> sqlx::Result<Step> {
    let mut tx = conn.begin().await?;
    let Some(cursor) = late::lock(&mut tx, webhook).await? else { return Ok(Step::Nothing) };
    let Some(others) = cursors::at(&mut tx, Webhooks::NAME).await? else { return Ok(Step::Nothing) };
    // No further than the tick that the others read: both are to meet at the same place.
    let read = feed::read_until(&mut tx, &cursor, others.tick, Webhooks::PAGE, Lines::All);
    let (events, next) = match read.await? {
        Read::UpToDate => (Vec::new(), cursor),
        Read::Page { events, next } => (events, next),
        // The database was restored: as the others do.
        Read::Gone { earliest } => (Vec::new(), earliest),
    };
    let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
    orders.dedup();
    if !aside::among(&mut tx, Webhooks::NAME, &orders).await?.is_empty() {
        return Ok(Step::HeldUp);
    }
    let Some(endpoint) = webhooks::find(&mut tx, webhook).await? else { return Ok(Step::Nothing) };
    if endpoint.disabled_at.is_some() {
        return Ok(Step::Nothing);
    }
    tell(&mut tx, &[endpoint], &events).await?;
    // A look after the lock: until then the others may have gone on.
    let joins =
        next == others && cursors::lock(&mut tx, Webhooks::NAME, Start::Latest).await? == Place::At(others);
    if joins {
        late::join(&mut tx, webhook).await?;
    } else if next == cursor {
        return Ok(Step::Nothing);
    } else {
        late::set(&mut tx, webhook, &next).await?;
    }
    tx.commit().await?;
    Ok(if joins { Step::Joined } else { Step::On })
}
