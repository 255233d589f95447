//! A connection that is being opened goes on being opened when whoever began it can wait no longer, and is the next one's. On a busy
//! machine it may take longer than anybody waits: begun anew each time, none would ever be there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long one may take: twice what a writer waits. A server that has been replaced meanwhile knows nothing of it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

type Task<C> = JoinHandle<sqlx::Result<C>>;

/// Those that nobody waits for just now.
#[derive(Debug)]
pub(crate) struct Connecting<C> {
    left: Mutex<Vec<Task<C>>>,
}

/// One of them, while somebody waits for it.
struct Awaited<'a, C> {
    task: Option<Task<C>>,
    of: &'a Connecting<C>,
}

impl<C: Send + 'static> Connecting<C> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { left: Mutex::default() }
    }

    /// A connection: one that was begun before, or else a new one, which `open` opens.
    #[expect(
        clippy::disallowed_methods,
        reason = "it outlives whoever waits for it, for some seconds at most"
    )]
    pub(crate) async fn connect<F>(&self, open: F) -> sqlx::Result<C>
    where
        F: Future<Output = sqlx::Result<C>> + Send + 'static,
    {
        let begun = self.left().pop();
        let task = begun.unwrap_or_else(|| {
            tokio::spawn(async move {
                let opened = timeout(CONNECT_PATIENCE, open).await;
                opened.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            })
        });
        let mut awaited = Awaited { task: Some(task), of: self };
        let Some(task) = &mut awaited.task else { return Err(sqlx::Error::PoolClosed) };
        let opened = task.await;
        awaited.task = None;
        opened.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Closes those that came to be open, and that nobody fetched.
    pub(crate) fn close_unfetched(&self) {
        self.left().retain(|task| !task.is_finished());
    }
}

impl<C> Connecting<C> {
    fn left(&self) -> MutexGuard<'_, Vec<Task<C>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Drop for Awaited<'_, C> {
    fn drop(&mut self) {
        self.of.left().extend(self.task.take());
    }
}
