//! One look at the database serves everybody of this process who waits for something to happen, however many they are: whose orders
//! have changed is asked once, and their events are read once. Nothing is asked while nobody waits.
//!
//! Whoever watches an order gets its events by their versions, so that no transaction of somebody else's holds them up. Whoever
//! follows all orders is woken by the next tick.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use domain::event::Event;
use runtime::tasks::Stop;
use sqlx::PgConnection;
use store::feed::news::{self, Seen};
use store::feed::{self, Start};
use store::reads::Reads;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use crate::http::error::ApiError;

/// Between two looks: half of what anybody notices.
const EVERY: Duration = Duration::from_millis(50);
/// After so long without a look everything that is watched is read anew: what came meanwhile may be more than that.
const TOO_LONG: Duration = Duration::from_secs(5);

/// What has happened to an order so far, by its versions; empty: not read yet.
pub(super) type History = Arc<[Event]>;

/// Where those wait who want to be told.
#[derive(Debug)]
pub(crate) struct Hub {
    watched: Mutex<Watched>,
    /// The newest tick; whoever holds a receiver waits for the next.
    tick: watch::Sender<i64>,
    somebody: Notify,
    places: Arc<Semaphore>,
    /// How many places each customer has who has any.
    of_customers: Mutex<HashMap<String, usize>>,
}

#[derive(Debug, Default)]
struct Watched {
    orders: HashMap<Uuid, Order>,
    /// Those that are to be read whatever has happened.
    fresh: Vec<Uuid>,
}

#[derive(Debug)]
struct Order {
    history: watch::Sender<History>,
    streams: usize,
}

/// An order that somebody watches, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    hub: Arc<Hub>,
    order: Uuid,
    pub(super) history: watch::Receiver<History>,
}

/// Places of one customer: as many screens as somebody has. (The house and its machines wait for many.)
const OF_CUSTOMER: usize = 20;

/// A place among those who wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    /// The customer who has it.
    of: Option<(Arc<Hub>, String)>,
}

impl Hub {
    /// With room for so many who wait.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let (tick, _) = watch::channel(0);
        metrics::gauge!("read_streams").set(0.0);
        Arc::new(Self {
            watched: Mutex::default(),
            tick,
            somebody: Notify::new(),
            places,
            of_customers: Mutex::default(),
        })
    }

    /// A place to wait at. They are fewer than connections, so that those who wait leave room for those who order; and no customer
    /// has more than some.
    pub(super) fn place(self: &Arc<Self>, customer: Option<&str>) -> Result<Place, ApiError> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::unavailable("as many follow what happens as this process has places for: come again")
        })?;
        if let Some(customer) = customer {
            let mut taken = self.of_customers.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = taken.entry(customer.to_owned()).or_default();
            if *taken >= OF_CUSTOMER {
                return Err(ApiError::unavailable("you follow as much as one customer may at once"));
            }
            *taken += 1;
        }
        metrics::gauge!("read_streams").increment(1);
        Ok(Place { _permit: permit, of: customer.map(|customer| (Arc::clone(self), customer.to_owned())) })
    }

    /// The events of an order, as they come.
    pub(super) fn watch(self: &Arc<Self>, order: Uuid) -> Watch {
        let mut watched = self.watched();
        let history = match watched.orders.entry(order) {
            Entry::Occupied(mut there) => {
                there.get_mut().streams += 1;
                there.get().history.subscribe()
            }
            Entry::Vacant(place) => {
                let (sender, history) = watch::channel(Arc::from([]));
                place.insert(Order { history: sender, streams: 1 });
                watched.fresh.push(order);
                history
            }
        };
        drop(watched);
        self.somebody.notify_one();
        Watch { hub: Arc::clone(self), order, history }
    }

    /// Changes with each tick.
    pub(super) fn ticks(&self) -> watch::Receiver<i64> {
        let ticks = self.tick.subscribe();
        self.somebody.notify_one();
        ticks
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.tick.receiver_count() == 0 && self.watched().orders.is_empty()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.hub.watched();
        if let Entry::Occupied(mut order) = watched.orders.entry(self.order) {
            order.get_mut().streams -= 1;
            if order.get().streams == 0 {
                order.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((hub, customer)) = &self.of {
            let mut taken = hub.of_customers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Entry::Occupied(mut places) = taken.entry(customer.clone()) {
                *places.get_mut() -= 1;
                if *places.get() == 0 {
                    places.remove();
                }
            }
        }
        metrics::gauge!("read_streams").decrement(1);
    }
}

/// Looks for them.
#[derive(Debug)]
pub(crate) struct Lookout {
    hub: Arc<Hub>,
    reads: Arc<Reads>,
    /// What had happened at the last look, and when that was.
    seen: Option<(Seen, Instant)>,
}

impl Lookout {
    pub(crate) fn new(hub: Arc<Hub>, reads: Arc<Reads>) -> Self {
        Self { hub, reads, seen: None }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            if self.hub.is_idle() {
                self.seen = None;
                stop.or_stopped(self.hub.somebody.notified()).await;
                continue;
            }
            match self.run_once().await {
                Ok(()) => well = true,
                Err(error) => {
                    if std::mem::take(&mut well) {
                        tracing::warn!(%error, "cannot see what has happened; trying on");
                    }
                }
            }
            stop.or_stopped(tokio::time::sleep(EVERY)).await;
        }
        Ok(())
    }

    /// Looks once.
    async fn run_once(&mut self) -> sqlx::Result<()> {
        let mut conn = self.reads.deciding().await?;
        if self.hub.tick.receiver_count() > 0 {
            // Sooner than a worker would, and where there is none.
            feed::tick(&mut conn).await?;
            let newest = feed::start(&mut conn, Start::Latest).await?.tick;
            self.hub.tick.send_if_modified(|tick| std::mem::replace(tick, newest) != newest);
        }
        if self.hub.watched().orders.is_empty() {
            self.seen = None;
            return Ok(());
        }
        let looked_at = Instant::now();
        let (changed, seen) = match self.seen.take().filter(|(_, at)| at.elapsed() < TOO_LONG) {
            Some((seen, _)) => {
                let (changed, seen) = news::since(&mut conn, &seen).await?;
                (Some(changed), seen)
            }
            None => (None, news::moment(&mut conn).await?),
        };
        let wanted = self.wanted(changed);
        if let Err(error) = self.tell(&mut conn, &wanted).await {
            self.hub.watched().fresh.extend(wanted);
            return Err(error);
        }
        self.seen = Some((seen, looked_at));
        Ok(())
    }

    /// Whose events are to be read: of those that are watched what has changed, and what nobody has read yet.
    fn wanted(&self, changed: Option<Vec<Uuid>>) -> Vec<Uuid> {
        let mut watched = self.hub.watched();
        let mut wanted = std::mem::take(&mut watched.fresh);
        match changed {
            Some(changed) => wanted.extend(changed),
            None => wanted.extend(watched.orders.keys()),
        }
        wanted.retain(|order| watched.orders.contains_key(order));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    async fn tell(&self, conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
        if orders.is_empty() {
            return Ok(());
        }
        let events = news::written(conn, orders).await?;
        let watched = self.hub.watched();
        for history in events.chunk_by(|one, next| one.subject == next.subject) {
            let order = history.first().and_then(|event| watched.orders.get(&event.subject));
            if let Some(order) = order {
                order.history.send_replace(history.into());
            }
        }
        Ok(())
    }
}
