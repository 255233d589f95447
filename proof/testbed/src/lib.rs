//! What a test stands on: a database and a queue of its own on the servers that `make test` starts, and a whole
//! pipeline in this process over them. Nothing is faked; nothing is shared between two tests but the servers.
//!
//! A test that fails here with `DATABASE_URL` was not run by `make test`.

mod authority;
mod cards;
mod client;
pub mod numbers;
mod pair;
pub mod people;
mod pipeline;
pub mod smtp;
mod template;

use std::time::Duration;

use anyhow::{Context, Result};
pub use authority::Authority;
use broker::Broker;
use broker::amqp::{Amqp, Limits};
pub use cards::{CARDS, cards};
pub use client::Client;
pub use pair::{Commits, Pair};
pub use pipeline::{Options, Pipeline, Via};
use runtime::config::BrokerConfig;
use sqlx::{Connection, PgConnection};
use store::Database;
use uuid::Uuid;

/// A database with the schema in it, under a name that no other test has. It goes with the test's servers.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    url: String,
    database: Database,
}

impl TestDatabase {
    /// Makes it on the server that `DATABASE_URL` names.
    pub async fn new() -> Result<Self> {
        let server_url = env("DATABASE_URL")?;
        let (name, mut server) = Self::named(&server_url).await?;
        let database = template::copy(&mut server, &server_url, &name).await?;
        server.close().await?;
        Ok(Self { url: beside(&server_url, &name)?, database })
    }

    /// Makes it on another server.
    pub async fn on(server_url: &str) -> Result<Self> {
        let (name, mut server) = Self::named(server_url).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut server).await?;
        server.close().await?;
        let url = beside(server_url, &name)?;
        let database = Database::new(&url, "test")?;
        database.prepare(Duration::from_secs(10)).await?;
        Ok(Self { url, database })
    }

    /// A name for it, and a connection to its server.
    async fn named(server_url: &str) -> Result<(String, PgConnection)> {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let server = Database::new(server_url, "test")?;
        Ok((name, server.connect().await.context("the tests' PostgreSQL is not there")?))
    }

    /// How to reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the programs reach it.
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// A connection for looking, and for doing harm.
    pub async fn connect(&self) -> Result<PgConnection> {
        Ok(self.database.connect().await?)
    }

    /// A channel of which something is set, so that it is believed to have taken the money.
    pub async fn channel(&self, name: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO channels (name, dialect, decimals, locations, secrets, updated_by)
             VALUES ($1, 'plain', true, '{}', '{}', 'a test')",
        )
        .bind(name)
        .execute(&mut self.connect().await?)
        .await?;
        Ok(())
    }
}

/// A queue that no other test has; removed by [`TestQueue::delete`], or with the test's servers.
#[derive(Debug, Clone)]
pub struct TestQueue {
    config: BrokerConfig,
    amqp: Amqp,
}

impl TestQueue {
    /// Names it on the server that `AMQP_URL` names.
    pub fn new() -> Result<Self> {
        Self::on(&env("AMQP_URL")?)
    }

    /// Names it on another server.
    pub fn on(amqp_url: &str) -> Result<Self> {
        let amqp_queue = format!("test.{}", Uuid::new_v4().simple());
        let config = BrokerConfig { amqp_url: amqp_url.to_owned(), amqp_queue };
        let amqp = Amqp::new(&config, "test")?;
        Ok(Self { config, amqp })
    }

    /// The same queue, reached in another way.
    pub fn by(&self, amqp_url: &str) -> Result<Self> {
        let config = BrokerConfig { amqp_url: amqp_url.to_owned(), ..self.config.clone() };
        let amqp = Amqp::new(&config, "test")?;
        Ok(Self { config, amqp })
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { config: self.config.clone(), amqp: self.amqp.clone().with_limits(limits) }
    }

    /// As the programs' settings name it.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// As the programs use it.
    pub fn broker(&self) -> Broker {
        Broker::Amqp(self.amqp())
    }

    /// As RabbitMQ knows it.
    pub fn amqp(&self) -> Amqp {
        self.amqp.clone()
    }

    /// Removes it.
    pub async fn delete(&self) -> Result<()> {
        self.amqp.delete().await
    }
}

/// Awaits what `look` sees, looking again and again, for half a minute at most.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where another database of the same server is reached.
fn beside(server_url: &str, name: &str) -> Result<String> {
    let (before, _) = server_url.rsplit_once('/').context("a URL names a database")?;
    Ok(format!("{before}/{name}"))
}

fn env(name: &str) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place where tests learn of their servers")]
    std::env::var(name).with_context(|| format!("{name} is not set: run the tests with `make test`"))
}

/// Makes every payment that is not final due now, and lets every lease run out.
pub async fn make_due(conn: &mut PgConnection) -> Result<()> {
    let own = "UPDATE open_charges SET due_at = now(), lease_until = CASE WHEN lease_until IS NOT NULL THEN now() END";
    sqlx::query(own).execute(&mut *conn).await?;
    sqlx::query("UPDATE payments SET due_at = now() WHERE due_at IS NOT NULL").execute(conn).await?;
    Ok(())
}
