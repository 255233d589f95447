//! Connecting: to a primary, with the settings that the statements rely on, and no session shared with anybody. All three
//! are looked at on each new connection: a server may have become a standby, a setting may have been dropped on the way.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use runtime::chaos::sabotaged;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::hosts::place;

/// How much later than the one before it the next server is asked, where several are named. A server in the same house
/// has answered by then.
const HEAD_START: Duration = Duration::from_millis(200);
/// How long one of several servers may take to be looked at. A writer waits 2.5 s for everything.
const HOST_PATIENCE: Duration = Duration::from_secs(2);

/// How long one statement may run. A batch takes milliseconds; past five seconds the server is in trouble, and
/// the rows are better left to the next try.
const STATEMENT_TIMEOUT: &str = "5s";

/// A name for one session. No other session may ever see it.
const MARK: &str = "comanda.session";

/// What a session is told, by name.
pub(crate) type Plans = &'static [(&'static str, &'static str)];

/// Why a server that answers is of no use to us. Never anything that a client did.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A standby, or made read-only: what a failover looks like. It passes.
    #[error("no primary: {0}")]
    NoPrimary(String),
    /// It would answer before its disk has the commit.
    #[error(
        "PostgreSQL runs with synchronous_commit=off: a crash would lose accepted orders. Set synchronous_commit=on"
    )]
    Forgetful,
    /// Statements of one session reach several, or several reach one.
    #[error(
        "PostgreSQL is behind a pooler that lends its sessions out for single transactions: settings and locks of a session \
         do not hold there. Let the pooler lend whole sessions (PgBouncer: pool_mode=session, and its server_reset_query), \
         or name PostgreSQL itself"
    )]
    Shared,
    /// A setting did not take.
    #[error(
        "PostgreSQL did not take the setting {0}, or a pooler before it dropped it; name PostgreSQL itself"
    )]
    Ignored(String),
    /// On another machine, and without TLS.
    #[error(
        "PostgreSQL at {0} speaks no TLS, and the password would travel in the clear: let it (ssl=on), or say sslmode=disable \
         in the URL where the network is your own"
    )]
    Plain(String),
    /// It may be somebody else.
    #[error(
        "PostgreSQL at {0} does not prove who it is ({1}): name the authority that signed its certificate (sslrootcert=FILE in \
         the URL), and the host as the certificate does"
    )]
    Unproven(String, String),
    /// Said by a pooler.
    #[error(
        "a pooler refuses what the database's URL says in `options`; name PostgreSQL itself, or leave them out ({0})"
    )]
    Options(String),
}

impl Unfit {
    /// Whether waiting may help.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::NoPrimary(_))
    }

    /// Whether it is the fault of this server, and another one may do.
    const fn is_its_own(&self) -> bool {
        matches!(self, Self::NoPrimary(_) | Self::Plain(_) | Self::Unproven(..))
    }

    /// What `error` says of a server, if it does.
    pub(crate) fn of(error: &sqlx::Error) -> Option<&Self> {
        let sqlx::Error::Configuration(cause) = error else { return None };
        cause.downcast_ref()
    }
}

impl From<Unfit> for sqlx::Error {
    fn from(unfit: Unfit) -> Self {
        Self::Configuration(Box::new(unfit))
    }
}

/// Which server will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One that can be written to.
    Primary,
    /// Any, for reads that may lag.
    Any,
}

/// The servers that a URL names. Those who share it find together where the primary is.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    hosts: Arc<[PgConnectOptions]>,
    wanted: Wanted,
    /// The one that did last.
    found: Arc<AtomicUsize>,
}

/// A connection, and which of the servers it leads to.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) conn: PgConnection,
    pub(crate) server: usize,
}

impl Servers {
    pub(crate) fn new(hosts: Vec<PgConnectOptions>, wanted: Wanted) -> Self {
        Self { hosts: hosts.into(), wanted, found: Arc::default() }
    }

    /// The same, as `role` in `pg_stat_activity`.
    pub(crate) fn named(&self, role: &str) -> Self {
        let name = format!("comanda-{role}");
        let hosts = self.hosts.iter().map(|host| host.clone().application_name(&name)).collect();
        Self { hosts, ..self.clone() }
    }

    /// Which server did last.
    pub(crate) fn found(&self) -> usize {
        self.found.load(Ordering::Relaxed)
    }

    /// As operators know them.
    pub(crate) fn places(&self) -> String {
        self.hosts.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    /// A connection to the one that is wanted. Of several servers the one that did last is asked first, and the next a moment
    /// later, so that one that does not answer delays us by that moment alone; the first that will do is taken. Two primaries
    /// cannot be told apart.
    pub(crate) async fn connect(&self, plans: Plans) -> sqlx::Result<Connected> {
        let (first, count) = (self.found(), self.hosts.len());
        if count == 1 {
            return Ok(Connected { conn: self.fit(0, plans).await?, server: 0 });
        }
        let mut tries: FuturesUnordered<_> = (0..count)
            .map(|turn| async move {
                let server = (first + turn) % count;
                sleep(HEAD_START * u32::try_from(turn).unwrap_or(u32::MAX)).await;
                let conn = timeout(HOST_PATIENCE, self.fit(server, plans)).await;
                (server, conn.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut)))
            })
            .collect();
        let mut complaints = Vec::with_capacity(count);
        let mut full = None;
        while let Some((server, tried)) = tries.next().await {
            match tried {
                Ok(conn) => {
                    self.note(server);
                    return Ok(Connected { conn, server });
                }
                Err(error) if Unfit::of(&error).is_some_and(|unfit| !unfit.is_its_own()) => {
                    return Err(error);
                }
                Err(error) if is_full(&error) => full = Some(error),
                Err(error) => complaints.push(complaint(&self.hosts[server], &error)),
            }
        }
        if let Some(full) = full {
            return Err(full);
        }
        Err(Unfit::NoPrimary(complaints.join("; ")).into())
    }

    fn note(&self, server: usize) {
        if self.found.swap(server, Ordering::Relaxed) != server {
            tracing::warn!(server = place(&self.hosts[server]), "PostgreSQL is elsewhere now");
        }
    }

    /// A connection to this one, if it will do.
    async fn fit(&self, server: usize, plans: Plans) -> sqlx::Result<PgConnection> {
        let host = &self.hosts[server];
        let conn = PgConnection::connect_with(host).await;
        let mut conn = conn.map_err(|error| in_our_words(error, host))?;
        let seen = fit_out(&mut conn, plans).await?;
        if self.wanted == Wanted::Primary && !seen.writable {
            let _ = conn.close().await;
            return Err(Unfit::NoPrimary(format!("{} is read-only", place(&self.hosts[server]))).into());
        }
        Ok(conn)
    }
}

fn complaint(host: &PgConnectOptions, error: &sqlx::Error) -> String {
    match Unfit::of(error) {
        Some(Unfit::NoPrimary(words)) => words.clone(),
        Some(unfit) => unfit.to_string(),
        _ if matches!(error, sqlx::Error::PoolTimedOut) => format!("{} does not answer", place(host)),
        _ => format!("{}: {error}", place(host)),
    }
}

/// What an operator has to mend, in words that say how.
fn in_our_words(error: sqlx::Error, host: &PgConnectOptions) -> sqlx::Error {
    let unfit = match &error {
        sqlx::Error::Tls(cause) if cause.to_string().contains("does not support TLS") => {
            Unfit::Plain(place(host))
        }
        sqlx::Error::Tls(cause) => Unfit::Unproven(place(host), cause.to_string()),
        // What the TLS of a connection takes offence at.
        sqlx::Error::Io(cause) if cause.kind() == ErrorKind::InvalidData => {
            Unfit::Unproven(place(host), cause.to_string())
        }
        sqlx::Error::Database(refusal) if refusal.message().contains("unsupported startup parameter") => {
            Unfit::Options(refusal.message().to_owned())
        }
        _ => return error,
    };
    unfit.into()
}

/// What `error` says, without the words that sqlx puts around it.
pub(crate) fn words(error: &sqlx::Error) -> String {
    match (Unfit::of(error), error.as_database_error()) {
        (Some(unfit), _) => unfit.to_string(),
        (None, Some(refusal)) => refusal.message().to_owned(),
        (None, None) => error.to_string(),
    }
}

/// Whether a server that is well has no connection to spare for us, as a whole or for this role or database.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    code.is_some_and(|code| code == "53300")
}

/// What a new session turned out to be.
struct Seen {
    writable: bool,
}

/// Tells a new session its settings, and looks whether they are so: in a request of its own, which a pooler may have sent
/// to another session.
async fn fit_out(conn: &mut PgConnection, plans: Plans) -> sqlx::Result<Seen> {
    let mark = Uuid::new_v4().simple().to_string();
    let mut settings: Vec<(&str, &str)> = vec![
        // First: where it is lost, so is the rest, and the reason is this one's.
        (MARK, &mark),
        ("statement_timeout", STATEMENT_TIMEOUT),
        // A lost client must not hold its locks for ever.
        ("idle_in_transaction_session_timeout", "10s"),
    ];
    settings.retain(|(name, _)| plans.iter().all(|(other, _)| name != other));
    settings.extend(plans);
    if sabotaged("synchronous_commit_off") {
        settings.push(("synchronous_commit", "off"));
    }
    let told: Vec<String> =
        settings.iter().map(|(name, value)| format!("set_config('{name}', '{value}', false)")).collect();
    // Unprepared, all of it: whoever lends sessions out knows no prepared statements.
    let before = one_row(
        conn,
        format!("SELECT coalesce(current_setting('{MARK}', true), ''); SELECT {}", told.join(", ")),
    )
    .await?;
    if !before.try_get::<String, _>(0)?.is_empty() {
        return Err(Unfit::Shared.into());
    }
    // sqlx asks for the zone itself, in the first packet.
    settings.push(("TimeZone", "UTC"));
    let asked: Vec<String> =
        settings.iter().map(|(name, _)| format!("current_setting('{name}', true)")).collect();
    let after = one_row(
        conn,
        format!(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
                    current_setting('synchronous_commit'), {}",
            asked.join(", ")
        ),
    )
    .await?;
    for (place, (name, value)) in settings.iter().enumerate() {
        let is: Option<String> = after.try_get(place + 2)?;
        if is.as_deref() != Some(value) {
            return Err(if *name == MARK {
                Unfit::Shared
            } else {
                Unfit::Ignored(format!("{name}={value}"))
            }
            .into());
        }
    }
    // The operator's word: `remote_apply` promises more than `on`, and is never lowered.
    if after.try_get::<String, _>(1)? == "off" && !sabotaged("synchronous_commit_off") {
        return Err(Unfit::Forgetful.into());
    }
    Ok(Seen { writable: !after.try_get::<bool, _>(0)? })
}

/// The first row of what these statements answer.
async fn one_row(conn: &mut PgConnection, statements: String) -> sqlx::Result<PgRow> {
    let rows = conn.fetch_all(sqlx::raw_sql(AssertSqlSafe(statements))).await?;
    rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// Whether `conn` and a second session are two, and a third is a new one: a pooler that lends sessions out gives two the same, or
/// `conn` another, or leaves in one what its last client said.
pub(crate) async fn refuse_shared(conn: &mut PgConnection, servers: &Servers) -> sqlx::Result<()> {
    let own = format!("SELECT coalesce(current_setting('{MARK}', true), '')");
    let before: String = one_row(conn, own.clone()).await?.try_get(0)?;
    servers.connect(&[]).await?.conn.close().await.ok();
    let after: String = one_row(conn, own).await?.try_get(0)?;
    if before.is_empty() || before != after {
        return Err(Unfit::Shared.into());
    }
    servers.connect(&[]).await?.conn.close().await
}
