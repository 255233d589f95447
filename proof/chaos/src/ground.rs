//! The ground on which programs stand: a PostgreSQL and a RabbitMQ of our own, and for each run a database and a queue.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use broker::amqp::Amqp;
use runtime::config::BrokerConfig;
use servers::{Postgres, PostgresSettings, RabbitMq, RabbitMqSettings};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::Database;
use testbed::{Commits, Pair};
use uuid::Uuid;

/// For a server just started.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// Both servers. Their calls block, so each runs on a thread for that.
#[derive(Debug, Clone)]
pub struct Servers {
    /// PostgreSQL.
    pub postgres: Arc<Mutex<Postgres>>,
    /// RabbitMQ.
    pub rabbitmq: Arc<Mutex<RabbitMq>>,
    /// PostgreSQL and its synchronous standby, where there is one.
    pub pair: Option<Arc<Pair>>,
}

/// A database and a queue of one's own.
#[derive(Debug, Clone)]
pub struct Ground {
    /// How we reach the database; the programs go through proxies.
    pub database_url: String,
    /// How we reach the queue.
    pub broker: BrokerConfig,
    /// The servers' own addresses; of PostgreSQL one or two.
    pub postgres_addrs: Vec<SocketAddr>,
    /// As above.
    pub rabbitmq_addr: SocketAddr,
}

/// Does something blocking with a server.
pub async fn with<S: Send + 'static, T: Send + 'static>(
    server: &Arc<Mutex<S>>,
    work: impl FnOnce(&mut S) -> T + Send + 'static,
) -> Result<T> {
    let server = Arc::clone(server);
    let work = move || work(&mut server.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(tokio::task::spawn_blocking(work).await?)
}

impl Servers {
    /// Starts both; PostgreSQL with a standby, if that is wanted.
    pub async fn start(with_standby: bool) -> Result<Self> {
        let postgres = tokio::task::spawn_blocking(|| Postgres::start(&PostgresSettings::temporary()));
        let rabbitmq = tokio::task::spawn_blocking(|| RabbitMq::start(&RabbitMqSettings::temporary()));
        let (postgres, rabbitmq) = tokio::join!(postgres, rabbitmq);
        let (postgres, rabbitmq) = (Arc::new(Mutex::new(postgres??)), Arc::new(Mutex::new(rabbitmq??)));
        let pair = match with_standby {
            true => Some(Arc::new(Pair::beside(Arc::clone(&postgres), Commits::WaitForStandby).await?)),
            false => None,
        };
        Ok(Self { postgres, rabbitmq, pair })
    }

    /// A new database with the schema in it, and the name of a new queue.
    pub async fn ground(&self) -> Result<Ground> {
        let name = format!("chaos_{}", Uuid::new_v4().simple());
        let (server_url, database_url) =
            (self.postgres_url("postgres").await?, self.postgres_url(&name).await?);
        let postgres_addrs = match &self.pair {
            Some(pair) => pair.ports().await?.map(local).to_vec(),
            None => vec![local(with(&self.postgres, |postgres| postgres.port()).await?)],
        };
        let (amqp_url, rabbitmq_port) =
            with(&self.rabbitmq, |rabbitmq| (rabbitmq.url(), rabbitmq.port())).await?;
        let mut server = Database::new(&server_url, "chaos")?.connect().await?;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let database = Database::new(&database_url, "chaos")?;
        database.prepare(DATABASE_PATIENCE).await?;
        // Orders for later are wanted in seconds here.
        database.connect().await?.execute("UPDATE locations SET lead_minutes = 0").await?;
        Ok(Ground {
            database_url,
            broker: BrokerConfig { amqp_url, amqp_queue: name },
            postgres_addrs,
            rabbitmq_addr: local(rabbitmq_port),
        })
    }

    /// A database's URL, with all servers that there are.
    async fn postgres_url(&self, database: &str) -> Result<String> {
        let name = database.to_owned();
        match &self.pair {
            Some(pair) => pair.url(database).await,
            None => with(&self.postgres, move |postgres| postgres.url(&name)).await,
        }
    }

    /// Copies the servers' logs, and the database of a run that went wrong, to where its other logs are.
    pub async fn keep_evidence(&self, ground: &Ground, into: &Path) -> Result<()> {
        let (into, url) = (into.to_owned(), ground.database_url.clone());
        let rabbitmq_log = with(&self.rabbitmq, |rabbitmq| rabbitmq.dir().join("log")).await?;
        with(&self.postgres, move |postgres| {
            std::fs::copy(postgres.dir().join("log"), into.join("postgres.log"))?;
            std::fs::copy(rabbitmq_log, into.join("rabbitmq.log"))?;
            // Not every installation has it; then the logs have to do.
            let dump = into.join("database.sql");
            let _ = std::process::Command::new(postgres.bin_dir().join("pg_dump"))
                .arg("--file")
                .arg(dump)
                .arg(url)
                .output();
            Ok(())
        })
        .await?
    }
}

impl Ground {
    /// A connection of our own, for looking.
    pub async fn connect(&self) -> Result<PgConnection> {
        Database::new(&self.database_url, "looker")?.connect().await.context("cannot look into the database")
    }

    /// The queue, as we look at it.
    pub fn amqp(&self) -> Result<Amqp> {
        Amqp::new(&self.broker, "chaos")
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
