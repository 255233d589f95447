//! A writer's connection, which heals: work that meets a dead connection is run once more on a new one. It is the writer's
//! own, or one of some that several take turns with ([`Sessions`]).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Database, Unfit};
use crate::connect::words;
use crate::connections::{Connections, LOCK_PATIENCE, LOCK_PATIENCE_ALONE, Patience};

/// Why the database did not do the work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is going down or does not answer. Whether the work took effect is unknown.
    #[error("the database is out: {0}")]
    Unavailable(String),
    /// Somebody else holds a row that it needs, for longer than a transaction of ours lasts. Nothing was done.
    #[error("somebody else holds what a statement needs")]
    Held,
    /// It answered, and refused: a fault of ours.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same may be done a moment later.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Held)
    }

    /// Whether one of a batch may be the reason why nothing was done to any.
    pub const fn may_be_one(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Held)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_held(&error) {
            Self::Held
        } else if is_passing(&error) {
            Self::Unavailable(words(&error))
        } else {
            Self::Refused(error)
        }
    }
}

/// All that a writer waits for the database in one go, both tries together. Below the 3 s in which a client is
/// told 503.
pub const PATIENCE: Duration = Duration::from_millis(2_500);

/// A connection and the means to replace it. It connects at its first work.
#[derive(Debug)]
pub struct Session {
    connections: Arc<Connections>,
    plans_anew: bool,
}

/// Some connections that several sessions take turns with.
#[derive(Debug)]
pub struct Sessions {
    connections: Arc<Connections>,
}

impl Sessions {
    /// No more than `most` connections, whatever number of sessions.
    pub(crate) fn new(database: Database, most: usize) -> Self {
        Self { connections: Arc::new(Connections::new(database, most)) }
    }

    /// A session that takes turns with the others.
    pub fn session(&self) -> Session {
        Session { connections: Arc::clone(&self.connections), plans_anew: false }
    }
}

impl Session {
    /// Makes its plans anew a few times a second. For whoever joins by keys of several columns what lies in a table that was empty
    /// a moment ago: no way to write such a statement keeps the planner from walking through all of it, and the plan would be kept.
    pub fn planning_anew(mut self) -> Self {
        self.plans_anew = true;
        self
    }

    /// Runs `work` on `input`, for [`PATIENCE`] at most. Where the connection turns out dead, or the server asks for
    /// another try (deadlock, going down), `work` runs a second time on a new one: it must bear having taken effect
    /// already, which ids fixed beforehand and guarded moves see to. What somebody else holds is waited for a second.
    pub async fn run<I, T, W>(&mut self, input: &I, work: W) -> Result<T, StoreError>
    where
        I: ?Sized + Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c I) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        self.run_for(LOCK_PATIENCE, input, work).await
    }

    /// The same for one of many, behind which the others wait: what somebody else holds is waited for a moment only.
    pub async fn run_alone<I, T, W>(&mut self, input: &I, work: W) -> Result<T, StoreError>
    where
        I: ?Sized + Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c I) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        self.run_for(LOCK_PATIENCE_ALONE, input, work).await
    }

    /// The same for a batch, or for one that was taken out of it.
    pub async fn run_batch<I, T, W>(&mut self, batch: &[I], work: W) -> Result<T, StoreError>
    where
        I: Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c [I]) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let patience = if batch.len() == 1 { LOCK_PATIENCE_ALONE } else { LOCK_PATIENCE };
        self.run_for(patience, batch, work).await
    }

    /// Does `work` to each of `ids` by itself and says what each came to. An outage ends it.
    pub async fn run_each<T, W>(
        &mut self,
        ids: &[Uuid],
        work: W,
        mut heard: impl FnMut(Uuid, Result<T, StoreError>),
    ) -> Result<(), StoreError>
    where
        W: for<'c> Fn(&'c mut PgConnection, &'c Uuid) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        for id in ids {
            match self.run_alone(id, &work).await {
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                outcome => heard(*id, outcome),
            }
        }
        Ok(())
    }

    async fn run_for<I, T, W>(&mut self, patience: Patience, input: &I, work: W) -> Result<T, StoreError>
    where
        I: ?Sized + Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c I) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let both_tries = async {
            match self.once(patience, input, &work).await {
                // Whoever holds it does so on a new connection, too.
                Err(error) if is_held(&error) => Err(error),
                Err(error) if is_passing(&error) => {
                    if !is_of_the_work(&error) {
                        self.connections.close_idle();
                    }
                    self.once(patience, input, &work).await
                }
                done => done,
            }
        };
        match tokio::time::timeout(PATIENCE, both_tries).await {
            Ok(done) => done.map_err(StoreError::from),
            Err(_) => {
                self.connections.close_idle();
                Err(StoreError::Unavailable(format!("no answer within {PATIENCE:?}")))
            }
        }
    }

    /// One try. The connection is lent and given back only after success: whatever a failed or dropped try left open on it
    /// ends with it. But for one that waited in vain: the server has ended its transaction.
    async fn once<I, T, W>(&mut self, patience: Patience, input: &I, work: &W) -> sqlx::Result<T>
    where
        I: ?Sized + Sync,
        W: for<'c> Fn(&'c mut PgConnection, &'c I) -> BoxFuture<'c, sqlx::Result<T>>,
    {
        let mut lent = self.connections.lend().await?;
        lent.be_patient(patience).await?;
        if self.plans_anew {
            lent.plan_anew().await?;
        }
        let done = work(lent.conn(), input).await;
        if done.as_ref().map_or_else(is_held, |_| true) {
            lent.give_back();
        }
        done
    }
}

/// Whether what went wrong says nothing of the server or of other connections: a serialization failure, a deadlock, a lock or a
/// statement that took too long.
fn is_of_the_work(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03" | "57014"))
}

/// Whether what it needs is held by somebody else.
fn is_held(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if refusal.code().is_some_and(|code| code == "55P03"))
}

/// Whether trying again on a new connection can help.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // Once we run: whatever is wrong with a server, somebody is at it, and another may be found.
        sqlx::Error::Configuration(_) => Unfit::of(error).is_some(),
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
            // PostgreSQL's appendix A: connection exceptions; going down, starting up; too many connections;
            // serialization failure, deadlock; statement or idle time-out; read-only, which is what a failover looks like.
            code.starts_with("08")
                || matches!(
                    &*code,
                    "57P01"
                        | "57P02"
                        | "57P03"
                        | "53300"
                        | "40001"
                        | "40P01"
                        | "57014"
                        | "25P03"
                        | "55P03"
                        | "25006"
                )
        }),
        _ => false,
    }
}
