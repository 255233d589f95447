//! A replica for reads: whether it answers, and how far it is behind.
//!
//! Neither clock is asked: an idle primary sends nothing that a time could be read from. What the primary has written is
//! noted with our own clock, and a replica is as far behind as the oldest such note that it has not come to.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::Database;
use crate::readers::Readers;

/// How long either may take to say how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Notes that are kept: an hour, a second each. One that is further behind is so by the oldest.
const MOST_NOTES: usize = 3_600;

/// Whether a replica is fit to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Up,
    /// It answers, and is further behind than it may be.
    Lags,
    /// It does not answer, or was not asked yet.
    Down,
}

/// Connections to a replica, and what is known of it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) readers: Readers,
    /// For asking how far it is, whatever the others are busy with.
    probe: Readers,
    may_lag: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    standing: Standing,
    behind: Duration,
    trail: Trail,
}

impl Replica {
    pub(crate) fn new(database: &Database, size: u32, may_lag: Duration) -> Self {
        let seen = Seen { standing: Standing::Down, behind: Duration::ZERO, trail: Trail::default() };
        let (readers, probe) = (database.read_pool(size), database.read_pool(1));
        Self { readers, probe, may_lag, seen: Mutex::new(seen) }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.seen().standing
    }

    pub(crate) fn behind(&self) -> Duration {
        self.seen().behind
    }

    /// Looks how far it is.
    pub(crate) async fn look(&self, primary: &Readers) {
        // One that is away writes nothing; what it wrote before counts.
        let written = timeout(PATIENCE, written(primary)).await.ok().and_then(Result::ok);
        let asked = Instant::now();
        let replayed = timeout(PATIENCE, replayed(&self.probe)).await;
        let mut seen = self.seen();
        if let Some(written) = written {
            seen.trail.note(written, asked);
        }
        let standing = match replayed {
            Ok(Ok(replayed)) => {
                seen.behind = replayed.map_or(Duration::ZERO, |to| seen.trail.behind(to, Instant::now()));
                if seen.behind > self.may_lag { Standing::Lags } else { Standing::Up }
            }
            _ => {
                seen.behind = seen.trail.behind(i64::MIN, Instant::now());
                Standing::Down
            }
        };
        if std::mem::replace(&mut seen.standing, standing) != standing {
            let behind = seen.behind;
            drop(seen);
            match standing {
                Standing::Up => tracing::info!(?behind, "the replica is read"),
                _ => tracing::warn!(?standing, ?behind, "the replica is not read; the primary is instead"),
            }
        }
    }

    pub(crate) fn close(&self) {
        self.readers.close();
        self.probe.close();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a primary has written its log.
async fn written(primary: &Readers) -> sqlx::Result<i64> {
    let mut conn = primary.acquire().await?;
    sqlx::query_scalar!(r#"SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS "written!""#)
        .fetch_one(&mut *conn)
        .await
}

/// How far of that a standby is; `None`: it is none, and believed.
async fn replayed(replica: &Readers) -> sqlx::Result<Option<i64>> {
    let mut conn = replica.acquire().await?;
    sqlx::query_scalar!(
        "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0'::pg_lsn END)::bigint"
    )
    .fetch_one(&mut *conn)
    .await
}

/// What the primary had written, and when, as long as the replica does not have it; oldest first.
#[derive(Debug, Default)]
struct Trail(VecDeque<(i64, Instant)>);

impl Trail {
    fn note(&mut self, written: i64, at: Instant) {
        let last = self.0.back().map(|(last, _)| *last);
        // A new primary may begin where the old one was before.
        if last.is_some_and(|last| written < last) {
            self.0.clear();
        }
        if last != Some(written) && self.0.len() < MOST_NOTES {
            self.0.push_back((written, at));
        }
    }

    fn behind(&mut self, replayed: i64, now: Instant) -> Duration {
        while self.0.front().is_some_and(|(written, _)| *written <= replayed) {
            self.0.pop_front();
        }
        self.0.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_far_behind_as_the_oldest_that_it_does_not_have() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut trail = Trail::default();
        trail.note(10, at(0));
        assert_eq!(trail.behind(10, at(0)), Duration::ZERO);
        // Nothing is written: nobody gets behind.
        trail.note(10, at(100));
        assert_eq!(trail.behind(10, at(200)), Duration::ZERO);
        for second in 1..=5 {
            trail.note(10 + i64::try_from(second).unwrap(), at(200 + second));
        }
        assert_eq!(trail.behind(10, at(206)), Duration::from_secs(5));
        assert_eq!(trail.behind(13, at(206)), Duration::from_secs(2));
        // The same again is not newer than it was.
        trail.note(15, at(300));
        assert_eq!(trail.behind(14, at(300)), Duration::from_secs(95));
        // Another primary, which has less: what the old one alone had does not count.
        trail.note(12, at(301));
        assert_eq!(trail.behind(12, at(302)), Duration::ZERO);
    }
}
