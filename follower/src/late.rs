//! late: endpoints that do not take what they are to be told as fast as it happens follow by themselves, each from where it was left,
//! as far as there is room. One that has come as far as the others is told with them again.

use std::collections::HashMap;
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

use crate::follow::Follows;
use crate::health::Health;
use crate::webhooks::{ROOM, Webhooks, tell};

/// Between two looks where none has room: those that are late are slow, or dead.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of one that could not go on; twice as long each time, up to that.
const REST: Duration = Duration::from_millis(20);

/// Those that are late.
#[derive(Debug)]
pub struct Late {
    session: Session,
    endpoints: Gauge,
    /// Those that could not go on: how long they rest, and until when.
    resting: HashMap<Uuid, (Duration, Instant)>,
    /// Told when there is more to be sent.
    news: Arc<Notify>,
}

impl Late {
    /// On a connection of its own.
    pub fn new(session: Session, news: Arc<Notify>) -> Self {
        Self { session, endpoints: metrics::gauge!("deliver_late"), resting: HashMap::new(), news }
    }

    /// Lets them go on until `stop`.
    pub async fn run(mut self, stop: Stop) -> Result<()> {
        let mut health = Health::new();
        while !stop.is_stopped() {
            let went_on = self.run_once().await;
            health.met(&went_on, "endpoints that are late cannot go on");
            if !went_on.is_ok_and(|went_on| went_on > 0) {
                let next = self.resting.values().map(|(_, until)| *until).min();
                let wait = next.map_or(LOOK_EVERY, |next| next.saturating_duration_since(Instant::now()));
                stop.or_stopped(tokio::time::sleep(wait.clamp(REST, LOOK_EVERY))).await;
            }
        }
        Ok(())
    }

    /// A page for each that has room, but for those that could not go on a moment ago; says how many did.
    pub async fn run_once(&mut self) -> Result<usize> {
        let all = self.session.run(&(), |conn, ()| {
            Box::pin(async move {
                late::clear(conn).await?;
                late::all(conn).await
            })
        });
        let all = all.await.context("cannot see who is late")?;
        self.endpoints.set(all.len() as f64);
        self.resting.retain(|webhook, _| all.contains(webhook));
        let now = Instant::now();
        let rests = |webhook: &Uuid| self.resting.get(webhook).is_some_and(|(_, until)| *until > now);
        let asked: Vec<Uuid> = all.into_iter().filter(|webhook| !rests(webhook)).collect();
        if asked.is_empty() {
            return Ok(0);
        }
        let found = self.session.run(&asked, |conn, asked| Box::pin(late::with_room(conn, asked, ROOM / 2)));
        let with_room = found.await.context("cannot see what waits for whom")?;
        let (mut went_on, mut fault) = (0, None);
        for webhook in asked {
            let step = if with_room.contains(&webhook) { self.goes_on(webhook).await } else { Ok(false) };
            if let Ok(true) = step {
                self.resting.remove(&webhook);
                went_on += 1;
            } else {
                let rest = self.resting.get(&webhook).map_or(REST, |(rest, _)| (*rest * 2).min(LOOK_EVERY));
                self.resting.insert(webhook, (rest, now + rest));
                // The others go on.
                fault = fault.or(step.err());
            }
        }
        if went_on > 0 {
            self.news.notify_one();
        }
        fault.map_or(Ok(went_on), Err)
    }

    /// A page for this one; says whether it went on.
    async fn goes_on(&mut self, webhook: Uuid) -> Result<bool> {
        let step = self.session.run(&webhook, |conn, webhook| Box::pin(step(conn, *webhook))).await;
        step.with_context(|| format!("webhook {webhook}"))
    }
}

/// A page for this one, and its cursor behind it. `false`: another process has it in hand, it is disabled, it has come as far as it may,
/// or of what is next something is aside, and comes when that is tried again.
async fn step(conn: &mut PgConnection, webhook: Uuid) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let Some(cursor) = late::lock(&mut tx, webhook).await? else { return Ok(false) };
    let told = webhooks::list(&mut tx, false).await?.into_iter().find(|told| told.id == webhook);
    let Some(endpoint) = told else { return Ok(false) };
    let Some(others) = cursors::at(&mut tx, Webhooks::NAME).await? else { return Ok(false) };
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
        return Ok(false);
    }
    tell(&mut tx, &[endpoint], &events).await?;
    // A look after the lock: until then the others may have gone on.
    if next == others && cursors::lock(&mut tx, Webhooks::NAME, Start::Latest).await? == Place::At(others) {
        late::join(&mut tx, webhook).await?;
    } else if next == cursor {
        return Ok(false);
    } else {
        late::set(&mut tx, webhook, &next).await?;
    }
    tx.commit().await?;
    Ok(true)
}
