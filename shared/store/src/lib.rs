//! PostgreSQL, the only truth. One file a verb: every statement that moves something stands in the file named
//! after the move, and takes a connection, so that the caller shows the transaction.
//!
//! The hot paths (accept, claim, settle) each write a whole batch at once, on a connection of their own
//! (`session`); only reads share some (`readers`), at the primary or at a replica (`reads`). `connect` finds the primary for both.

pub mod accept;
pub mod accounts;
pub mod additions;
mod at_sight;
pub mod call_off;
pub mod catalogue;
pub mod channel_told;
pub mod channels;
pub mod claim;
pub mod clock;
pub mod collect;
mod connect;
mod connecting;
mod connections;
pub mod deadline;
pub mod deliveries;
mod details;
pub mod events;
pub mod facts;
pub mod feed;
pub mod forget;
pub mod hosts;
pub mod keyed;
pub mod later;
pub mod list;
pub mod locations;
pub mod mail;
pub mod migrate;
pub mod moves;
pub mod names;
pub mod prices;
pub mod read;
pub mod readers;
pub mod reads;
mod refunds;
pub mod refused;
pub mod replica;
pub mod rollups;
pub mod sale_notices;
pub mod session;
pub mod settle;
pub mod stock;
pub mod sweep;
pub mod told;
pub mod webhooks;

use std::time::Duration;

use anyhow::{Result, bail};
use sqlx::PgConnection;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use runtime::chaos::sabotaged;

pub use self::connect::Unfit;
use self::connect::{Plans, Servers, Wanted, is_full, refuse_shared, words};
use self::readers::{ACQUIRE_TIMEOUT, Readers};

/// Between looks for a server that is away at the start.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Between looks whether a server that is well has a connection to spare: each costs it a process.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// How the writers' statements are planned, which only ever look up rows by their keys. Left to itself the planner sees
/// a new, empty table, joins by scanning it, and keeps that plan for as long as the table grows without an ANALYZE;
/// and it plans each statement anew five times before it keeps a plan at all.
const WRITERS_PLANS: Plans = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    connections::FIRST_PATIENCE,
];

/// Of reads: a plan made while a table was empty is kept when it is full. Each finds a few rows by keys, in the order of the keys,
/// whatever the tables hold: one that gathers all that there are and sorts them, because the planner takes them for few, reads
/// millions. Compiling a read would take longer than running it.
const READERS_PLANS: Plans = &[
    ("enable_bitmapscan", "off"),
    ("enable_sort", "off"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Of whoever looks on: it may take minutes.
const LOOKERS_PLANS: Plans = &[("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];

/// How to reach a database; opens no connection.
#[derive(Debug, Clone)]
pub struct Database {
    servers: Servers,
    plans: Plans,
}

impl Database {
    /// Reads a `postgres://` URL, which may name several servers: the primary among them is looked for. `role` shows in
    /// `pg_stat_activity`.
    pub fn new(url: &str, role: &str) -> Result<Self> {
        Ok(Self { servers: Servers::new(hosts::hosts(url)?, Wanted::Primary).named(role), plans: &[] })
    }

    /// The same for reads that may lag: any server that answers will do.
    pub fn replica(url: &str, role: &str) -> Result<Self> {
        Ok(Self { servers: Servers::new(hosts::hosts(url)?, Wanted::Any).named(role), plans: &[] })
    }

    /// The same for whoever looks on, at length: the primary where several servers are named, or the one that is, whatever it is.
    pub fn for_looking(url: &str, role: &str) -> Result<Self> {
        let hosts = hosts::hosts(url)?;
        let wanted = if hosts.len() == 1 { Wanted::Any } else { Wanted::Primary };
        Ok(Self { servers: Servers::new(hosts, wanted).named(role), plans: LOOKERS_PLANS })
    }

    /// The same database under another role.
    #[must_use]
    pub fn named(&self, role: &str) -> Self {
        Self { servers: self.servers.named(role), plans: self.plans }
    }

    /// A connection for a writer that keeps it.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        Ok(self.servers.connect(self.plans).await?.conn)
    }

    /// A session for a writer, with a connection of its own: see [`session::Session`].
    pub fn session(&self) -> session::Session {
        self.sessions(1).session()
    }

    /// Sessions for writers that have no more than so many connections together.
    pub fn sessions(&self, most: usize) -> session::Sessions {
        session::Sessions::new(Self { plans: WRITERS_PLANS, ..self.clone() }, most)
    }

    /// Connections for reads; connects when first used.
    pub fn read_pool(&self, size: u32) -> Readers {
        Readers::new(self.clone(), size)
    }

    /// Waits until the server is there, and looks whether it keeps what a session is told. For a connection that it has to spare
    /// it waits however long that takes: others of us may have to go first.
    async fn wait(&self, deadline: Instant) -> Result<PgConnection> {
        let mut told = false;
        let mut told_full = false;
        loop {
            let error = match self.connect_alone().await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) if is_full(&error) => {
                    if !std::mem::replace(&mut told_full, true) {
                        let places = self.servers.places();
                        tracing::warn!(
                            error = words(&error),
                            "waiting until PostgreSQL at {places} has a connection to spare (max_connections)"
                        );
                    }
                    tokio::time::sleep(LOOK_FOR_ROOM).await;
                    continue;
                }
                Ok(Err(error)) => match Unfit::of(&error) {
                    Some(unfit) if !unfit.passes() => bail!("DATABASE_URL: {unfit}"),
                    _ => words(&error),
                },
                Err(_) => "no answer".to_owned(),
            };
            let places = self.servers.places();
            if Instant::now() >= deadline {
                bail!("cannot reach PostgreSQL at {places} (DATABASE_URL): {error}");
            }
            if !told {
                tracing::warn!(error, "waiting for PostgreSQL at {places}");
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A connection that is nobody else's. A server that does not answer is given up soon; one that does may be busy.
    async fn connect_alone(&self) -> Result<sqlx::Result<PgConnection>, Elapsed> {
        let mut conn = match timeout(ACQUIRE_TIMEOUT, self.connect()).await? {
            Ok(conn) => conn,
            Err(error) => return Ok(Err(error)),
        };
        let alone = timeout(ACQUIRE_TIMEOUT * 3, refuse_shared(&mut conn, &self.servers)).await?;
        Ok(alone.map(|()| conn))
    }
}

/// Whether it may be well in a moment.
fn passes(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(session::is_passing)
}

/// A 202 promises that the order survives a power cut; a server that answers before its disk has it breaks that.
/// (`synchronous_commit` is looked at on each connection.)
async fn refuse_forgetful(conn: &mut PgConnection) -> Result<()> {
    for setting in ["fsync", "full_page_writes"] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut *conn).await?;
        if value == "off" && !sabotaged("synchronous_commit_off") {
            bail!("PostgreSQL runs with {setting}=off: a crash would lose accepted orders. Set {setting}=on");
        }
    }
    Ok(())
}

/// A length of time as the statements take it: whole milliseconds, which they multiply with an interval.
fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
