//! Connections for reads, shared: each is lent for one read and comes back.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, QueueMode, RecycleError, RecycleResult, Timeouts};
use sqlx::{Connection, PgConnection};

use crate::connect::Connected;
use crate::connecting::Connecting;
use crate::{Database, READERS_PLANS};

/// How long a read may wait for a connection. Well below the 3 s in which a client is told 503.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that is there says so in a millisecond.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
/// An older one is replaced: whatever is between us and the server may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(300);

/// The connections.
#[derive(Debug, Clone)]
pub struct Readers {
    pool: managed::Pool<Maker>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Reader(Object<Maker>);

#[derive(Debug)]
struct Maker {
    database: Database,
    connecting: Connecting<Connected>,
}

impl Readers {
    /// Up to `size` connections to `database`; connects when first used.
    pub(crate) fn new(database: Database, size: u32) -> Self {
        let timeouts = Timeouts {
            wait: Some(ACQUIRE_TIMEOUT),
            create: Some(ACQUIRE_TIMEOUT),
            recycle: Some(PING_TIMEOUT),
        };
        let pool = managed::Pool::builder(Maker { database, connecting: Connecting::new() })
            .max_size(usize::try_from(size).unwrap_or(1).max(1))
            .timeouts(timeouts)
            // The one that was used last: those that are not needed grow old.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build();
        Self { pool: pool.expect("it has a runtime for its time-outs") }
    }

    /// Lends a connection that answers, within some seconds.
    pub async fn acquire(&self) -> sqlx::Result<Reader> {
        let lent = tokio::time::timeout(ACQUIRE_TIMEOUT, self.pool.get()).await;
        match lent.map_err(|_| sqlx::Error::PoolTimedOut)? {
            Ok(conn) => Ok(Reader(conn)),
            Err(managed::PoolError::Backend(error)) => Err(error),
            Err(managed::PoolError::Closed) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Connections that there are.
    pub fn size(&self) -> usize {
        self.pool.status().size
    }

    /// Those of them that are not lent.
    pub fn num_idle(&self) -> usize {
        self.pool.status().available
    }

    /// Lends no more.
    pub fn close(&self) {
        self.pool.close();
    }
}

impl Reader {
    /// Ends it instead of giving it back.
    pub(crate) fn discard(self) {
        drop(Object::take(self.0));
    }
}

impl managed::Manager for Maker {
    type Type = Connected;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Connected> {
        let open = || {
            let servers = self.database.servers.clone();
            async move { servers.connect(READERS_PLANS).await }
        };
        let conn = self.connecting.connect(open()).await?;
        // What came late may lead where the primary was.
        if conn.server == self.database.servers.found() { Ok(conn) } else { open().await }
    }

    /// One to a server that is no longer the one we write to is dropped, though it may answer.
    async fn recycle(&self, conn: &mut Connected, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if conn.server != self.database.servers.found() || metrics.last_used() > MAX_IDLE {
            return Err(RecycleError::message("to another server, or old"));
        }
        Ok(conn.conn.ping().await?)
    }
}

impl Deref for Reader {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0.conn
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0.conn
    }
}
