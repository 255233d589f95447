//! PostgreSQL, the only truth. One file a verb: every statement that moves something stands in the file named
//! after the move, and takes a connection, so that the caller shows the transaction.
//!
//! The hot paths (accept, claim, settle) each write a whole batch at once, on a connection of their own
//! (`session`); only reads use a pool.

pub mod accept;
pub mod additions;
pub mod claim;
pub mod deadline;
pub mod events;
pub mod facts;
pub mod feed;
pub mod list;
pub mod migrate;
pub mod moves;
pub mod names;
pub mod prices;
pub mod read;
pub mod refunds;
pub mod session;
pub mod settle;
pub mod sweep;

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::Instant;

use runtime::chaos::sabotaged;

/// How long one statement may run. A batch takes milliseconds; past five seconds the server is in trouble, and
/// the rows are better left to the next try.
const STATEMENT_TIMEOUT: &str = "5s";
/// How long a read may wait for a connection. Well below the 3 s in which a client is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Between looks for a server that is away at the start.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How the writers' statements are planned, which only ever look up rows by their keys. Left to itself the planner sees
/// a new, empty table, joins by scanning it, and keeps that plan for as long as the table grows without an ANALYZE;
/// and it plans each statement anew five times before it keeps a plan at all.
const WRITERS_PLANS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Of reads: a plan made while a table was empty is kept when it is full.
const READERS_PLANS: [(&str, &str); 1] = [("enable_seqscan", "off")];

/// How to reach a database; opens no connection.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// Reads a `postgres://` URL. `role` shows in `pg_stat_activity`.
    pub fn new(url: &str, role: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| {
                anyhow::anyhow!("DATABASE_URL is no URL such as postgres://user:password@host:5432/comanda")
            })?
            .application_name(&format!("comanda-{role}"))
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                // A lost client must not hold its locks for ever.
                ("idle_in_transaction_session_timeout", "10s"),
                // Whatever the server's default is: an answer to a client stands on this.
                ("synchronous_commit", if sabotaged("synchronous_commit_off") { "off" } else { "on" }),
            ])
            .log_statements(tracing::log::LevelFilter::Trace);
        Ok(Self { options })
    }

    /// A connection for a writer that keeps it.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.options).await
    }

    /// A session for a writer: see [`session::Session`].
    pub fn session(&self) -> session::Session {
        session::Session::new(Self { options: self.options.clone().options(WRITERS_PLANS) })
    }

    /// Connections for reads; connects when first used.
    pub fn read_pool(&self, size: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(self.options.clone().options(READERS_PLANS))
    }

    async fn wait(&self, deadline: Instant) -> Result<PgConnection> {
        let mut told = false;
        loop {
            let error = match tokio::time::timeout(ACQUIRE_TIMEOUT, self.connect()).await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            let place = format!("{}:{}", self.options.get_host(), self.options.get_port());
            if Instant::now() >= deadline {
                bail!("cannot reach PostgreSQL at {place} (DATABASE_URL): {error}");
            }
            if !told {
                tracing::warn!(error, "waiting for PostgreSQL at {place}");
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether it may be well in a moment.
fn passes(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(session::is_passing)
}

/// A 202 promises that the order survives a power cut; a server that answers before its disk has it breaks that.
async fn refuse_forgetful(conn: &mut PgConnection) -> Result<()> {
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut *conn).await?;
        // Of synchronous_commit, `local` and the `remote_` levels flush here first; only `off` answers before that.
        if value == "off" && !sabotaged("synchronous_commit_off") {
            bail!(
                "PostgreSQL runs with {setting}={value}: a crash would lose accepted orders. Set {setting}=on"
            );
        }
    }
    Ok(())
}

/// A length of time as the statements take it: whole milliseconds, which they multiply with an interval.
fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
