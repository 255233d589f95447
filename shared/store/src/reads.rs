//! Where reads go. What decides something, or stands in the answer to a write, is read at the primary. What is only shown
//! may come from a replica, while that answers and is close behind; else from the primary, some of whose connections are
//! kept free of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Database;
use crate::readers::{ACQUIRE_TIMEOUT, Reader, Readers};
use crate::replica::{Replica, Standing};
use crate::session::is_passing;

/// Connections to the primary that nothing takes that is only shown.
const FOR_DECISIONS: u32 = 2;
/// How long a replica may take for all of a read: after it the primary is asked, and the client told within 3 s.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);
/// How long the primary may take to say that it is well.
const PING_PATIENCE: Duration = Duration::from_secs(1);

/// Connections for reads, and who may have them.
#[derive(Debug)]
pub struct Reads {
    primary: Readers,
    /// One for each connection to the primary that may be used for what is only shown.
    shown: Semaphore,
    /// Whether orders can be accepted is asked here, whatever all others are busy with.
    probe: Readers,
    replica: Option<Arc<Replica>>,
}

impl Reads {
    /// Up to `size` connections to the primary, one more that asks how it is, and as many to the replica. That one is read while it
    /// is no more than `may_lag` behind.
    pub fn new(primary: &Database, replica: Option<&Database>, size: u32, may_lag: Duration) -> Self {
        let shown = size.saturating_sub(FOR_DECISIONS).max(1);
        Self {
            primary: primary.read_pool(size),
            shown: Semaphore::new(usize::try_from(shown).unwrap_or(1)),
            probe: primary.read_pool(1),
            replica: replica.map(|database| Arc::new(Replica::new(database, size, may_lag))),
        }
    }

    /// A connection to read what decides something.
    pub async fn deciding(&self) -> sqlx::Result<Reader> {
        self.primary.acquire().await
    }

    /// Reads what is only shown: it may be as old as the replica is.
    pub async fn show<T, W>(&self, work: W) -> sqlx::Result<T>
    where
        W: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        match self.by_replica(&work).await {
            Some(done) => done,
            None => self.by_primary(&work).await,
        }
    }

    /// The same for what may have come to be a moment ago: what the replica does not have is looked for at the primary.
    pub async fn find<T, W>(&self, work: W) -> sqlx::Result<Option<T>>
    where
        W: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<Option<T>>>,
    {
        match self.by_replica(&work).await {
            Some(Ok(None)) | None => self.by_primary(&work).await,
            Some(found) => found,
        }
    }

    /// `None`: there is no replica, or it is not fit, or cannot right now.
    async fn by_replica<T, W>(&self, work: &W) -> Option<sqlx::Result<T>>
    where
        W: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let replica = self.replica.as_ref().filter(|replica| replica.standing() == Standing::Up)?;
        let read = async {
            let mut conn = replica.readers.acquire().await?;
            work(&mut conn).await
        };
        match timeout(REPLICA_PATIENCE, read).await {
            // It was cut off, or cancels what is in the way of what it has to write.
            Ok(Err(error)) if is_passing(&error) => None,
            Ok(done) => Some(done),
            Err(_) => None,
        }
    }

    async fn by_primary<T, W>(&self, work: &W) -> sqlx::Result<T>
    where
        W: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let turn = timeout(ACQUIRE_TIMEOUT, self.shown.acquire()).await;
        let _turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut conn = self.primary.acquire().await?;
        work(&mut conn).await
    }

    /// Whether the primary answers and can be written to.
    pub async fn primary_is_up(&self) -> bool {
        matches!(timeout(PING_PATIENCE, self.ask_primary()).await, Ok(Ok(true)))
    }

    async fn ask_primary(&self) -> sqlx::Result<bool> {
        let mut conn = self.probe.acquire().await?;
        let writable = sqlx::query_scalar!(
            r#"SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::bool) AS "writable!""#
        )
        .fetch_one(&mut *conn)
        .await?;
        if !writable {
            // Another server may be the primary by now.
            conn.discard();
        }
        Ok(writable)
    }

    /// Looks how the replica is. To be called again and again: until it was, no read goes there.
    pub async fn look(&self) {
        if let Some(replica) = &self.replica {
            replica.look(&self.probe).await;
        }
    }

    /// How the replica was when it was looked at last, and how far behind; `None`: there is none.
    pub fn replica(&self) -> Option<(Standing, Duration)> {
        self.replica.as_ref().map(|replica| (replica.standing(), replica.behind()))
    }

    /// Connections that there are for reads, and those of them that are not in use.
    pub fn connections(&self) -> (usize, usize) {
        let pools = [Some(&self.primary), self.replica.as_ref().map(|replica| &replica.readers)];
        let pools = pools.into_iter().flatten();
        pools.fold((0, 0), |(size, idle), pool| (size + pool.size(), idle + pool.num_idle()))
    }

    /// Lends no more.
    pub fn close(&self) {
        self.shown.close();
        self.primary.close();
        self.probe.close();
        if let Some(replica) = &self.replica {
            replica.close();
        }
    }
}
