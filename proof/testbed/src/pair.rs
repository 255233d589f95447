//! Two servers of PostgreSQL, one of which follows the other and takes over when it dies: there and back, as often as one likes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use servers::{Postgres, PostgresSettings};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// For a standby that copies and catches up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// The disks of both: nothing is lost with the primary.
    WaitForStandby,
    /// The primary's disk alone: what the standby does not have is lost with it.
    WaitForNobody,
}

/// Both. Calls of `servers` block, so each runs on a thread for that.
#[derive(Debug)]
pub struct Pair {
    servers: [Arc<Mutex<Postgres>>; 2],
    primary: AtomicUsize,
    commits: Commits,
}

impl Pair {
    /// Starts both.
    pub async fn start(commits: Commits) -> Result<Self> {
        let first = blocking(|| Postgres::start(&PostgresSettings::temporary())).await?;
        Self::beside(Arc::new(Mutex::new(first)), commits).await
    }

    /// Starts a standby beside one that runs.
    pub async fn beside(first: Arc<Mutex<Postgres>>, commits: Commits) -> Result<Self> {
        let second = with(&first, |first| first.standby()).await??;
        let pair =
            Self { servers: [first, Arc::new(Mutex::new(second))], primary: AtomicUsize::new(0), commits };
        pair.until_followed().await?;
        Ok(pair)
    }

    /// A database's URL, which names both, the first first.
    pub async fn url(&self, database: &str) -> Result<String> {
        let name = database.to_owned();
        let first = with(&self.servers[0], move |first| first.url(&name)).await?;
        let [one, other] = self.ports().await?;
        Ok(first.replacen(&format!("127.0.0.1:{one}"), &format!("127.0.0.1:{one},127.0.0.1:{other}"), 1))
    }

    /// Where they listen, on 127.0.0.1.
    pub async fn ports(&self) -> Result<[u16; 2]> {
        Ok([with(&self.servers[0], |one| one.port()).await?, with(&self.servers[1], |one| one.port()).await?])
    }

    /// The one that can be written to.
    pub fn primary(&self) -> &Arc<Mutex<Postgres>> {
        &self.servers[self.primary.load(Ordering::SeqCst)]
    }

    /// The one that follows it.
    pub fn standby(&self) -> &Arc<Mutex<Postgres>> {
        &self.servers[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// Waits until the standby has all that the primary has now.
    pub async fn until_equal(&self) -> Result<()> {
        let mut conn = admin(self.primary()).await?;
        let now: String =
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut conn).await?;
        let behind = format!("SELECT count(*) FROM pg_stat_replication WHERE replay_lsn < '{now}'");
        until_counted(&mut conn, "the standby has it all", behind, 0).await
    }

    /// A database's URL at the standby alone.
    pub async fn standby_url(&self, database: &str) -> Result<String> {
        let name = database.to_owned();
        with(self.standby(), move |standby| standby.url(&name)).await
    }

    /// From now on the standby shows nothing of what it hears, until [`Pair::catch_up`].
    pub async fn hold_back(&self) -> Result<()> {
        let mut conn = admin(self.standby()).await?;
        run(&mut conn, "SELECT pg_wal_replay_pause()").await?;
        let paused = "SELECT count(*) WHERE pg_get_wal_replay_pause_state() = 'paused'".to_owned();
        until_counted(&mut conn, "the standby is held back", paused, 1).await
    }

    /// The standby shows again what it has.
    pub async fn catch_up(&self) -> Result<()> {
        run(&mut admin(self.standby()).await?, "SELECT pg_wal_replay_resume()").await?;
        self.until_equal().await
    }

    /// The standby dies.
    pub async fn lose_standby(&self) -> Result<()> {
        with(self.standby(), Postgres::kill).await?
    }

    /// The standby is there again.
    pub async fn restore_standby(&self) -> Result<()> {
        with(self.standby(), Postgres::restart).await?
    }

    /// The primary dies, and nobody takes over.
    pub async fn lose_primary(&self) -> Result<()> {
        with(self.primary(), Postgres::kill).await?
    }

    /// From now on the standby hears nothing of the primary.
    pub async fn cut_off(&self) -> Result<()> {
        let mut conn = admin(self.standby()).await?;
        run(&mut conn, "ALTER SYSTEM SET primary_conninfo = ''").await?;
        run(&mut conn, "SELECT pg_reload_conf()").await?;
        let hears = "SELECT count(*) FROM pg_stat_wal_receiver".to_owned();
        until_counted(&mut conn, "the standby hears nothing", hears, 0).await
    }

    /// The primary dies, as in a power cut; the standby becomes the primary `after` that.
    pub async fn fail_over(&self, after: Duration) -> Result<()> {
        with(self.primary(), Postgres::kill).await??;
        tokio::time::sleep(after).await;
        with(self.standby(), |standby| standby.promote()).await??;
        self.primary.fetch_xor(1, Ordering::SeqCst);
        // It has no standby yet, and every commit waits for one.
        self.wait_for_standby(false).await
    }

    /// The one that died comes back as the standby, without what it alone had.
    pub async fn rejoin(&self) -> Result<()> {
        let (standby, primary) = (Arc::clone(self.standby()), Arc::clone(self.primary()));
        let both = move || {
            let primary = primary.lock().unwrap_or_else(PoisonError::into_inner);
            standby.lock().unwrap_or_else(PoisonError::into_inner).follow(&primary)
        };
        blocking(both).await?;
        self.until_followed().await
    }

    /// Waits until the standby has all there is, and lets commits wait for it from then on.
    async fn until_followed(&self) -> Result<()> {
        let mut conn = admin(self.primary()).await?;
        let follows = |how| format!("SELECT count(*) FROM pg_stat_replication WHERE {how}");
        until_counted(&mut conn, "the standby follows", follows("state = 'streaming'"), 1).await?;
        if self.commits == Commits::WaitForStandby {
            self.wait_for_standby(true).await?;
            until_counted(&mut conn, "commits wait for the standby", follows("sync_state = 'sync'"), 1)
                .await?;
        }
        Ok(())
    }

    async fn wait_for_standby(&self, waits: bool) -> Result<()> {
        let mut conn = admin(self.primary()).await?;
        let names = if waits { "*" } else { "" };
        run(&mut conn, &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await?;
        run(&mut conn, "SELECT pg_reload_conf()").await
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(call).await?
}

async fn with<T: Send + 'static>(
    server: &Arc<Mutex<Postgres>>,
    work: impl FnOnce(&mut Postgres) -> T + Send + 'static,
) -> Result<T> {
    let server = Arc::clone(server);
    blocking(move || Ok(work(&mut server.lock().unwrap_or_else(PoisonError::into_inner)))).await
}

async fn admin(server: &Arc<Mutex<Postgres>>) -> Result<PgConnection> {
    let url = with(server, |server| server.url("postgres")).await?;
    Ok(PgConnection::connect(&url).await?)
}

/// Asks until it is so many, for half a minute at most. (`until` takes a closure whose future nobody can prove to be `Send`.)
async fn until_counted(conn: &mut PgConnection, what: &str, ask: String, count: i64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(ask.clone())).fetch_one(&mut *conn).await?;
        if seen == count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn run(conn: &mut PgConnection, statement: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await?;
    Ok(())
}
