//! A connection that is being opened goes on being opened when whoever began it can wait no longer, and is the next one's. On a busy
//! machine it may take longer than anybody waits: begun anew each time, none would ever be there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Database;

/// How long one may take: twice what a writer waits. A server that has been replaced meanwhile knows nothing of it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

type Task = JoinHandle<sqlx::Result<PgConnection>>;

/// Those that nobody waits for just now.
#[derive(Debug, Default)]
pub(crate) struct Connecting {
    left: Mutex<Vec<Task>>,
}

/// One of them, while somebody waits for it.
struct Awaited<'a> {
    task: Option<Task>,
    of: &'a Connecting,
}

impl Connecting {
    /// A connection: one that was begun before, or else a new one.
    pub(crate) async fn connect(&self, database: &Database) -> sqlx::Result<PgConnection> {
        let begun = self.left().pop();
        let task = begun.unwrap_or_else(|| {
            let database = database.clone();
            tokio::spawn(async move {
                let opened = timeout(CONNECT_PATIENCE, database.connect()).await;
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

    fn left(&self) -> MutexGuard<'_, Vec<Task>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.of.left().extend(self.task.take());
    }
}
