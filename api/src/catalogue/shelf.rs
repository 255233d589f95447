//! The catalogue in memory. Every api has all of it, so that reading it asks nothing of the database. What changed is found by a
//! look at one number, every [`LOOK_EVERY`] while somebody reads; whoever reads what was not looked at for [`MAX_AGE`] waits for
//! a look. A change of this process is there before its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use domain::catalogue::menu::{Menu, Take};
use domain::catalogue::product::Product;
use futures_util::future::BoxFuture;
use runtime::tasks::Stop;
use sqlx::PgConnection;
use store::Database;
use store::catalogue::Versions;
use store::catalogue::{categories, products, versions};
use store::reads::Reads;
use store::session::{Session, StoreError};
use store::stock::{self, Short};
use tokio::sync::{Mutex, Notify, watch};
use uuid::Uuid;

use super::shown::{News, Shown};
use crate::http::error::ApiError;

/// Between looks while somebody reads. A change is to be seen everywhere within 200 ms.
const LOOK_EVERY: Duration = Duration::from_millis(80);
/// How long after the last reader it is looked on.
const READERS_STAY: Duration = Duration::from_secs(5);
/// What was looked at longer ago is looked at again before it is shown.
const MAX_AGE: Duration = Duration::from_millis(150);
/// How long a reader waits for that: while the database is away, what was there last is shown.
const PATIENCE: Duration = Duration::from_millis(300);

/// The catalogue as this process knows it.
#[derive(Debug)]
pub(crate) struct Shelf {
    reads: Arc<Reads>,
    /// What people change, one after the other: each change waits for the one before anyway.
    session: Mutex<Session>,
    shown: RwLock<Arc<Shown>>,
    /// One looks at a time, so that nobody puts an older one in the place of a newer one.
    turn: Mutex<()>,
    began: Instant,
    /// When the last look that succeeded began, and the last reader came, in microseconds since `began`.
    looked_at: AtomicU64,
    read_at: AtomicU64,
    wake: Notify,
    /// When the last look began, whatever came of it.
    looks: watch::Sender<u64>,
}

impl Shelf {
    pub(crate) fn new(database: &Database, reads: Arc<Reads>, hides_sold_out: bool) -> Self {
        Self {
            reads,
            session: Mutex::new(database.session()),
            shown: RwLock::new(Arc::new(Shown::empty(hides_sold_out))),
            turn: Mutex::default(),
            began: Instant::now(),
            looked_at: AtomicU64::new(0),
            read_at: AtomicU64::new(0),
            wake: Notify::new(),
            looks: watch::Sender::new(0),
        }
    }

    /// Looks for changes until `stop`, for as long as somebody reads.
    pub(crate) async fn run(self: Arc<Self>, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            let read_at = self.read_at.load(Ordering::Relaxed);
            let is_read = read_at > 0 && self.now() < read_at + micros(READERS_STAY);
            let next = async {
                let pause = if is_read { LOOK_EVERY } else { Duration::MAX };
                // Who waits for a look wakes this up.
                let _ = tokio::time::timeout(pause, self.wake.notified()).await;
            };
            if stop.or_stopped(next).await.is_none() {
                break;
            }
            match self.look().await {
                Ok(()) => well = true,
                Err(error) if std::mem::take(&mut well) => {
                    let error = error.to_string();
                    tracing::warn!(error, "cannot look for changes of the catalogue; it is shown as it was");
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// One look.
    pub(crate) async fn look(&self) -> sqlx::Result<()> {
        let _turn = self.turn.lock().await;
        let at = self.now();
        let done = self.catch_up().await;
        if done.is_ok() {
            self.looked_at.store(at, Ordering::Release);
        }
        self.looks.send_replace(at);
        done
    }

    async fn catch_up(&self) -> sqlx::Result<()> {
        let before = self.shown();
        let mut conn = self.reads.deciding().await?;
        let now = versions(&mut conn).await?;
        if now != before.versions {
            let Versions { articles, stock } = before.versions;
            let news = News {
                versions: now,
                categories: categories::since(&mut conn, articles).await?,
                products: products::since(&mut conn, articles).await?,
                turned: stock::turned_since(&mut conn, stock).await?,
            };
            drop(conn);
            let after = Arc::new(before.with(news));
            *self.shown.write().unwrap_or_else(PoisonError::into_inner) = after;
        }
        Ok(())
    }

    /// As it is now, or was less than 200 ms ago.
    pub(crate) async fn fresh(&self) -> Result<Arc<Shown>, ApiError> {
        let now = self.now();
        self.read_at.store(now, Ordering::Relaxed);
        if !self.is_fresh(now) {
            self.look_after(now).await;
        }
        self.looked()
    }

    /// As it is now: nobody is refused because of what was so a moment ago. All who wait for that share one look.
    pub(crate) async fn newest(&self) -> Result<Arc<Shown>, ApiError> {
        let now = self.now();
        self.read_at.store(now, Ordering::Relaxed);
        self.look_after(now).await;
        if self.looked_at.load(Ordering::Acquire) < now {
            return Err(ApiError::unavailable("the catalogue cannot be read right now"));
        }
        self.looked()
    }

    /// Waits for a look that began at this time or later.
    async fn look_after(&self, now: u64) {
        let mut looks = self.looks.subscribe();
        self.wake.notify_one();
        let _ = tokio::time::timeout(PATIENCE, looks.wait_for(|at| *at >= now)).await;
    }

    fn looked(&self) -> Result<Arc<Shown>, ApiError> {
        if self.looked_at.load(Ordering::Acquire) == 0 {
            return Err(ApiError::unavailable("the catalogue cannot be read right now"));
        }
        Ok(self.shown())
    }

    /// Reads `request` with it. Where that looks nothing up, as with nearly all, this costs nothing; else what was looked up is as
    /// it is now.
    pub(crate) async fn read_with<T, E>(
        &self,
        read: impl Fn(&dyn Menu) -> Result<T, E>,
    ) -> Result<Result<T, E>, ApiError> {
        let menu = Opened { shelf: self, shown: OnceLock::new() };
        let done = read(&menu);
        let Some(seen) = menu.shown.into_inner() else { return Ok(done) };
        let now = if done.is_ok() { self.fresh().await? } else { self.newest().await? };
        Ok(if Arc::ptr_eq(&now, &seen) { done } else { read(&*now) })
    }

    /// What of this is sold out. No row of it is looked at for that.
    pub(crate) async fn sold_out(&self, takes: &[Take]) -> Result<Vec<Short>, ApiError> {
        let gone = |shown: &Shown| -> Vec<Short> {
            let gone = takes.iter().filter(|take| !shown.is_there(take.item));
            gone.map(|take| Short { item: take.item, wanted: take.quantity, available: 0 }).collect()
        };
        if takes.is_empty() || gone(&self.shown()).is_empty() {
            return Ok(Vec::new());
        }
        Ok(gone(&*self.newest().await?))
    }

    fn is_fresh(&self, now: u64) -> bool {
        let looked_at = self.looked_at.load(Ordering::Acquire);
        looked_at > 0 && now <= looked_at + micros(MAX_AGE)
    }

    /// As it was when it was looked at last, whenever that was.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something. It is shown here from then on, and at every other api within 200 ms. To be run to its end.
    pub(crate) async fn change<I, T, W>(&self, input: &I, work: W) -> Result<T, StoreError>
    where
        I: Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c I) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let done = self.session.lock().await.run(input, work).await?;
        // Should this look fail, the next reader's follows.
        if self.look().await.is_err() {
            self.looked_at.fetch_min(1, Ordering::AcqRel);
        }
        Ok(done)
    }

    /// Never 0, which means never.
    fn now(&self) -> u64 {
        micros(self.began.elapsed()) + 1
    }
}

/// The catalogue as it is when something is first looked up in it.
struct Opened<'s> {
    shelf: &'s Shelf,
    shown: OnceLock<Arc<Shown>>,
}

impl Menu for Opened<'_> {
    fn product(&self, id: Uuid) -> Option<&Product> {
        self.shown.get_or_init(|| self.shelf.shown()).product(id)
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
