//! The schema. Whoever starts first applies it; the others wait until it is done. What is here already costs a start one
//! look and no lock.
//!
//! Old programs work beside a migration (migrations/README.md), so it never keeps them waiting for long: it gives up a lock
//! that it does not get soon, and tries again for as long as it takes. A database may be newer than the program.

mod concurrent;
mod standing;

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use domain::retry::RetryDelays;
use runtime::config::{MigrateConfig, SchemaConfig};
use runtime::telemetry;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};

use self::concurrent::{drop_leftover, is_concurrent};
use self::standing::{Standing, UNRELEASED};
use super::{Database, LOOK_AGAIN, passes, refuse_forgetful};

/// The advisory lock of whoever applies the schema: "Comanda!" in ASCII. Advisory locks are a database's own.
pub const TURN: i64 = i64::from_be_bytes(*b"Comanda!");

/// A migration takes what time it takes, and a commit that waits for a replica must not be cut off. The rest of what the
/// server says of it (tables that are here already) is nobody's business.
const PATIENT: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
     SET client_min_messages = warning; SET application_name = 'comanda-migrate'";
/// Whoever waits for a strong lock makes everybody behind him wait: no longer than a client does not notice (it is told 503
/// after 2.8 s). Shorter by far than the second that a batch waits, on a busy machine, too; and after a second the server looks
/// for a deadlock, so that in one it is the migration that gives way, and no order.
const SHORT_WAIT: &str = "SET lock_timeout = '600ms'";
/// What is done CONCURRENTLY makes nobody wait; given up half-way, it would leave an index that is none.
const LONG_WAIT: &str = "SET lock_timeout = 0";
/// Between tries: long enough for those who queued behind the last one.
const DELAYS: RetryDelays = RetryDelays { initial: Duration::from_millis(500), max: Duration::from_secs(10) };

/// Between looks at what a migration waits for.
const WATCH: Duration = Duration::from_millis(250);
/// How often is told that a migration is still under way.
const TELL: Duration = Duration::from_secs(10);

/// The schema that this program was built with.
pub fn ours() -> Migrator {
    sqlx::migrate!("../../migrations")
}

/// The migrations that were applied, by name; shown as a line each.
#[derive(Debug, Default)]
pub struct Applied(pub Vec<String>);

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "nothing to do: the schema is up to date");
        }
        let lines: Vec<_> = self.0.iter().map(|name| format!("applied {name}")).collect();
        write!(f, "{}", lines.join("\n"))
    }
}

/// The command `migrate`: applies the schema and says in plain words what it did.
pub async fn run(config: &MigrateConfig, patience: Duration) -> Result<()> {
    telemetry::init_logs(&config.logs)?;
    run_on(&config.password.put_into(&config.database_url)?, patience).await
}

/// The same where the logs are set up.
pub async fn run_on(database_url: &str, patience: Duration) -> Result<()> {
    let applied = Database::new(database_url, "migrate")?.migrate_with(ours(), patience).await?;
    println!("{applied}");
    Ok(())
}

/// What is done about the schema.
#[derive(Debug, Clone, Copy)]
enum Way {
    Apply,
    Look,
}

impl Database {
    /// Waits for the server (for `patience`), refuses one that could forget a commit, and applies the schema.
    pub async fn prepare(&self, patience: Duration) -> Result<()> {
        self.migrate_with(ours(), patience).await.map(drop)
    }

    /// The same at a program's start, whose settings may say that somebody else applies the schema.
    pub async fn prepare_as(&self, config: &SchemaConfig, patience: Duration) -> Result<()> {
        if config.no_migrate { self.look_for(ours(), patience).await } else { self.prepare(patience).await }
    }

    /// Applies what `migrator` holds and the database does not, as [`Database::prepare`] does.
    pub async fn migrate_with(&self, migrator: Migrator, patience: Duration) -> Result<Applied> {
        let mut applied = Applied::default();
        self.see_to(migrator, Way::Apply, patience, &mut applied).await?;
        Ok(applied)
    }

    /// Waits for the server likewise, and changes nothing: a database without a schema is refused, one that lacks a
    /// migration is warned of.
    pub async fn look_for(&self, migrator: Migrator, patience: Duration) -> Result<()> {
        self.see_to(migrator, Way::Look, patience, &mut Applied::default()).await
    }

    async fn see_to(
        &self,
        mut migrator: Migrator,
        way: Way,
        patience: Duration,
        applied: &mut Applied,
    ) -> Result<()> {
        // A newer database knows migrations that this program does not. And the lock is our own: see `take_turn`.
        migrator.set_ignore_missing(true).set_locking(false);
        let mut deadline = Instant::now() + patience;
        loop {
            let mut conn = self.wait(deadline).await?;
            let began = Instant::now();
            let outcome = match way {
                Way::Apply => self.apply(&mut conn, &migrator, applied).await,
                Way::Look => look(&mut conn, &migrator).await,
            };
            // However long it has worked or waited for another: the server was there, and patience begins anew.
            if began.elapsed() > patience {
                deadline = Instant::now() + patience;
            }
            match outcome {
                Ok(()) => {
                    conn.close().await.ok();
                    return Ok(());
                }
                // It went away just after it came.
                Err(error) if Instant::now() < deadline && passes(&error) => {
                    tracing::warn!(error = format!("{error:#}"), "PostgreSQL went away; waiting for it");
                    sleep(LOOK_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn apply(&self, conn: &mut PgConnection, migrator: &Migrator, applied: &mut Applied) -> Result<()> {
        refuse_forgetful(conn).await?;
        if Standing::of(conn, migrator).await?.missing.is_empty() {
            return Ok(());
        }
        conn.execute(PATIENT).await?;
        take_turn(conn).await?;
        // Whoever had the turn before may have done it all. The turn ends with the connection.
        for migration in Standing::of(conn, migrator).await?.missing {
            self.apply_one(conn, migrator, migration).await?;
            tracing::info!("applied the migration {}", name(migration));
            applied.0.push(name(migration));
        }
        Ok(())
    }

    /// Applies one migration, and tries until it gets its locks.
    async fn apply_one(
        &self,
        conn: &mut PgConnection,
        migrator: &Migrator,
        migration: &Migration,
    ) -> Result<()> {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *conn).await?;
        for tries in 1.. {
            conn.execute(if is_concurrent(migration) { LONG_WAIT } else { SHORT_WAIT }).await?;
            drop_leftover(conn, migration).await?;
            let mut waited_for = None;
            let outcome = tokio::select! {
                outcome = migrator.run_direct(Some(migration.version), conn, false) => outcome,
                // Where it cannot look, it says less.
                Ok(never) = self.watch(pid, migration, &mut waited_for) => match never {},
            };
            match outcome {
                Ok(()) => break,
                Err(error) if gave_way(&error) => {
                    let pause = DELAYS.after(tries);
                    tracing::warn!(
                        migration = name(migration),
                        tries,
                        waits_for = waited_for.as_deref().unwrap_or("unknown"),
                        again_in_seconds = pause.as_secs_f64(),
                        "the migration gave up a lock that it did not get at once; it is tried again"
                    );
                    sleep(pause).await;
                }
                Err(error) => return Err(fault(error, migration)),
            }
        }
        Ok(())
    }

    /// Keeps in mind what the connection `pid` waits for and who has it, and tells every so often that it is at work.
    async fn watch(
        &self,
        pid: i32,
        migration: &Migration,
        waited_for: &mut Option<String>,
    ) -> sqlx::Result<Infallible> {
        let began = Instant::now();
        let mut told = began;
        sleep(WATCH).await;
        let mut conn = self.connect().await?;
        loop {
            // Nobody's statements: they may name people.
            let waits_for: Option<String> = sqlx::query_scalar(
                "SELECT concat((SELECT min(relation::regclass::text) FROM pg_locks WHERE pid = $1 AND NOT granted),
                               ' behind ', string_agg(format('%s (pid %s, %s for %s s)',
                                   coalesce(nullif(application_name, ''), backend_type), pid, state,
                                   extract(epoch FROM now() - xact_start)::bigint), ', '))
                 FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1)) HAVING count(*) > 0",
            )
            .bind(pid)
            .fetch_optional(&mut conn)
            .await?;
            if told.elapsed() >= TELL {
                told = Instant::now();
                let (migration, waits_for) = (name(migration), waits_for.as_deref().unwrap_or("nobody"));
                tracing::info!(migration, waits_for, seconds = began.elapsed().as_secs(), "still migrating");
            }
            *waited_for = waits_for.or(waited_for.take());
            sleep(WATCH).await;
        }
    }
}

async fn look(conn: &mut PgConnection, migrator: &Migrator) -> Result<()> {
    refuse_forgetful(conn).await?;
    let standing = Standing::of(conn, migrator).await?;
    if standing.is_empty {
        bail!("the database has no schema, and NO_MIGRATE is set: run `api migrate` first");
    }
    if !standing.missing.is_empty() {
        let missing: Vec<_> = standing.missing.into_iter().map(name).collect();
        tracing::warn!(
            missing = missing.join(", "),
            "the database is older than this program: run `api migrate`"
        );
    }
    Ok(())
}

/// Waits until nobody else applies the schema. By asking again and again: a session that sat waiting in a statement would
/// hold up a CREATE INDEX CONCURRENTLY of whoever has the turn, and both would wait for ever.
async fn take_turn(conn: &mut PgConnection) -> sqlx::Result<()> {
    let mut told = false;
    while !sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(TURN).fetch_one(&mut *conn).await? {
        if !told {
            tracing::info!(
                "somebody else applies the schema: waiting until that is done, however long it takes"
            );
            told = true;
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// As its file is called.
fn name(migration: &Migration) -> String {
    format!("{:04} {}", migration.version, migration.description)
}

/// Whether it met a lock that it did not get in time, or a deadlock.
fn gave_way(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    code.is_some_and(|code| matches!(&*code, "55P03" | "40P01"))
}

fn fault(error: MigrateError, migration: &Migration) -> anyhow::Error {
    let fault = match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => anyhow::Error::new(error),
        MigrateError::VersionMismatch(_) => return anyhow::anyhow!(UNRELEASED),
        other => anyhow::Error::new(other),
    };
    fault.context(format!("cannot apply the migration {}", name(migration)))
}
