//! Connections that sessions share: opened when one is needed, the one used last lent first, and closed when nobody needed it
//! for a while. So a program that idles has one, and one that is busy no more than it may.
//!
//! A server may have none to spare. Then what there is goes round, and whoever comes waits for his turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::Database;
use crate::connect::{is_full, words};
use crate::connecting::Connecting;

/// One that nobody needed for so long is closed. To open it again takes some milliseconds, and each statement is prepared anew.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// A server that had none to spare is not asked again before.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long a statement waits for what somebody else holds. As short as can be: a whole batch waits with it. But longer than a
/// migration waits for its lock (0.6 s), behind which everybody queues.
pub(crate) const LOCK_PATIENCE: Patience = "1s";
/// The same of one that was taken out of its batch because of that: mostly it waits in vain, and others wait behind it.
pub(crate) const LOCK_PATIENCE_ALONE: Patience = "50ms";
/// What a new connection is told.
pub(crate) const FIRST_PATIENCE: (&str, &str) = ("lock_timeout", LOCK_PATIENCE);

/// As PostgreSQL writes it.
pub(crate) type Patience = &'static str;

/// How long a plan is kept where it is made anew: as many as a busy follower has cost a hundredth of a processor so.
pub(crate) const PLANS_KEPT: Duration = Duration::from_millis(250);

/// A connection, and what it was told.
#[derive(Debug)]
struct Open {
    conn: PgConnection,
    patience: Patience,
    /// No plan of it is older.
    planned_since: Instant,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Connections {
    database: Database,
    /// A place for each that there may be now.
    places: Semaphore,
    state: Mutex<State>,
    /// Fewer than there are places for: one is begun only while all others are lent.
    connecting: Connecting<PgConnection>,
    /// How many there are, lent or not.
    open: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are not lent; the one used last comes last.
    idle: Vec<(Open, Instant)>,
    /// Places that the server has no connection for, and when it said so.
    refused: Option<(usize, Instant)>,
    /// That it has none was told, and it has had none since.
    told: bool,
}

/// One of them. Dropped, it is closed: only what is known to be well is given back.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    conn: Option<Open>,
    of: &'a Connections,
    _place: SemaphorePermit<'a>,
}

impl Connections {
    /// Up to `most` to `database`; opens none.
    pub(crate) fn new(database: Database, most: usize) -> Self {
        Self {
            database,
            places: Semaphore::new(most.max(1)),
            state: Mutex::default(),
            connecting: Connecting::new(),
            open: AtomicUsize::new(0),
        }
    }

    /// Lends one, when it is the caller's turn.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent<'_>> {
        self.ask_again();
        loop {
            let Ok(place) = self.places.acquire().await else { return Err(sqlx::Error::PoolClosed) };
            let idle = self.state().idle.pop();
            if let Some((conn, _)) = idle {
                return Ok(Lent { conn: Some(conn), of: self, _place: place });
            }
            let database = self.database.clone();
            match self.connecting.connect(async move { database.connect().await }).await {
                Ok(conn) => {
                    self.open.fetch_add(1, Ordering::Relaxed);
                    self.state().told = false;
                    let conn = Open { conn, patience: LOCK_PATIENCE, planned_since: Instant::now() };
                    return Ok(Lent { conn: Some(conn), of: self, _place: place });
                }
                // Those that there are have places of their own, so one is left.
                Err(error) if is_full(&error) && self.open.load(Ordering::Relaxed) > 0 => {
                    self.do_without(place, &error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes those that are not lent: one of them has turned out dead, and they are as old.
    pub(crate) fn close_idle(&self) {
        self.connecting.close_unfetched();
        let idle = std::mem::take(&mut self.state().idle);
        self.open.fetch_sub(idle.len(), Ordering::Relaxed);
    }

    /// A place fewer, until the server is asked again.
    fn do_without(&self, place: SemaphorePermit<'_>, error: &sqlx::Error) {
        place.forget();
        let mut state = self.state();
        let (count, _) = state.refused.unwrap_or((0, Instant::now()));
        state.refused = Some((count + 1, Instant::now()));
        if !std::mem::replace(&mut state.told, true) {
            let open = self.open.load(Ordering::Relaxed);
            tracing::warn!(
                error = words(error),
                open,
                "PostgreSQL has no connection to spare; working with those that are open"
            );
        }
    }

    fn ask_again(&self) {
        let mut state = self.state();
        if let Some((count, at)) = state.refused
            && at.elapsed() > ASK_AGAIN
        {
            state.refused = None;
            self.places.add_permits(count);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// The connection.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.open().conn
    }

    fn open(&mut self) -> &mut Open {
        self.conn.as_mut().expect("it is there until it is given back")
    }

    /// From now on it waits so long for locks.
    pub(crate) async fn be_patient(&mut self, patience: Patience) -> sqlx::Result<()> {
        let Open { conn, patience: told, .. } = self.open();
        if *told != patience {
            let tell = "SELECT set_config('lock_timeout', $1, false)";
            sqlx::query(tell).bind(patience).execute(conn).await?;
            *told = patience;
        }
        Ok(())
    }

    /// Forgets its plans, if they are old.
    pub(crate) async fn plan_anew(&mut self) -> sqlx::Result<()> {
        let open = self.open();
        if open.planned_since.elapsed() >= PLANS_KEPT {
            sqlx::query("DISCARD PLANS").execute(&mut open.conn).await?;
            open.planned_since = Instant::now();
        }
        Ok(())
    }

    /// Gives it back, well.
    pub(crate) fn give_back(mut self) {
        let Some(conn) = self.conn.take() else { return };
        let now = Instant::now();
        let mut state = self.of.state();
        state.idle.push((conn, now));
        let old =
            if now.duration_since(state.idle[0].1) > MAX_IDLE { Some(state.idle.remove(0)) } else { None };
        drop(state);
        self.of.connecting.close_unfetched();
        if old.is_some() {
            self.of.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if self.conn.is_some() {
            self.of.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
