//! What is known of the locations, looked at every other second and held in memory: an order that names none, as nearly all do,
//! asks nobody. What this api changes itself it sees at once, and what an order names that is not known is looked for before it is
//! refused.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use domain::location::Locations;
use runtime::tasks::Stop;
use store::locations;
use store::reads::Reads;

use crate::http::error::ApiError;
use crate::http::work::to_the_end;

/// Between looks: so long an order may still be taken as its location was set before.
const EVERY: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Those that take orders.
    pub(crate) open: Locations,
    /// There has never been another than the first: nobody's orders are anywhere else.
    pub(crate) only_main: bool,
}

/// Who looks.
#[derive(Debug)]
pub(crate) struct Places {
    reads: Arc<Reads>,
    /// `None`: there was no look yet.
    seen: RwLock<Option<Arc<Seen>>>,
}

impl Places {
    pub(crate) fn new(reads: Arc<Reads>) -> Self {
        Self { reads, seen: RwLock::default() }
    }

    /// Looks until `stop`. While the database is away, what was seen last holds: no order can be stored then, either.
    pub(crate) async fn run(self: Arc<Self>, stop: Stop) -> Result<()> {
        let mut tick = tokio::time::interval(EVERY);
        while stop.or_stopped(tick.tick()).await.is_some() {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "cannot look at the locations");
            }
        }
        Ok(())
    }

    async fn look(&self) -> sqlx::Result<Arc<Seen>> {
        let all = locations::all(&mut *self.reads.deciding().await?).await?;
        let only_main = all.len() <= 1;
        let open = all.into_iter().filter(|one| !one.closed).map(|one| one.location).collect();
        let seen = Arc::new(Seen { open, only_main });
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&seen));
        Ok(seen)
    }

    /// As they were at the last look; the first who asks looks.
    pub(crate) async fn now(self: &Arc<Self>) -> Result<Arc<Seen>, ApiError> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner).clone();
        match seen {
            Some(seen) => Ok(seen),
            None => self.anew().await,
        }
    }

    /// As they are.
    pub(crate) async fn anew(self: &Arc<Self>) -> Result<Arc<Seen>, ApiError> {
        let places = Arc::clone(self);
        to_the_end(async move { places.look().await }).await
    }
}
