//! Sessions that take turns with fewer connections, and a server that has none to spare.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::Database;
use store::session::{Session, StoreError};
use testbed::{TestDatabase, until};
use uuid::Uuid;

/// Somebody who may have so many connections at once, and is refused further ones as by a server that is full.
struct Limited {
    role: String,
    database: Database,
    admin: PgConnection,
}

impl Limited {
    async fn new(database: &TestDatabase, connections: u32) -> Result<Self> {
        let role = format!("role_{}", Uuid::new_v4().simple());
        let mut admin = database.connect().await?;
        let make = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT {connections}; GRANT comanda TO {role}"
        );
        admin.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
        let (_, place) = database.url().split_once('@').context("a user")?;
        let (server, name) = place.split_once('/').context("a name")?;
        // Of several servers none has one to spare, either.
        let database = Database::new(&format!("postgres://{role}:x@{server},{server}/{name}"), "test")?;
        Ok(Self { role, database, admin })
    }

    async fn may_have(&mut self, connections: u32) -> Result<()> {
        let alter = format!("ALTER ROLE {} CONNECTION LIMIT {connections}", self.role);
        self.admin.execute(sqlx::raw_sql(AssertSqlSafe(alter))).await?;
        Ok(())
    }

    async fn has(&mut self) -> Result<i64> {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        Ok(sqlx::query_scalar(asked).bind(&self.role).fetch_one(&mut self.admin).await?)
    }
}

async fn pid(session: &mut Session, wait: f64) -> Result<i32, StoreError> {
    session
        .run(&wait, |conn, wait| {
            Box::pin(async move {
                let asked = "SELECT pg_backend_pid() FROM pg_sleep($1)";
                sqlx::query_scalar(asked).bind(*wait).fetch_one(conn).await
            })
        })
        .await
}

/// The connections that all work on at once.
async fn all_at_once(sessions: &mut [Session]) -> Result<HashSet<i32>> {
    let pids = try_join_all(sessions.iter_mut().map(|session| pid(session, 0.3))).await?;
    Ok(pids.into_iter().collect())
}

#[tokio::test]
async fn sessions_take_turns_and_one_after_the_other_needs_one_connection() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut limited = Limited::new(&database, 10).await?;
    let sessions = limited.database.sessions(3);
    let mut all: Vec<_> = (0..6).map(|_| sessions.session()).collect();
    let first = pid(&mut all[0], 0.0).await?;
    for session in &mut all {
        assert_eq!(pid(session, 0.0).await?, first, "the one that is there is lent again");
    }
    let pids = all_at_once(&mut all).await?;
    assert_eq!(pids.len(), 3, "six at once have the three that they may have");

    // Half a minute later two of them have been idle for too long.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    for _ in 0..3 {
        pid(&mut all[0], 0.0).await?;
    }
    until("two are closed", async || Ok((limited.has().await? == 1).then_some(()))).await
}

#[tokio::test]
async fn a_server_with_none_to_spare_is_worked_with_by_turns_and_asked_again_later() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut limited = Limited::new(&database, 2).await?;
    let sessions = limited.database.sessions(5);
    let mut all: Vec<_> = (0..5).map(|_| sessions.session()).collect();
    assert_eq!(all_at_once(&mut all).await?.len(), 2, "five works on two connections");

    limited.may_have(5).await?;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(all_at_once(&mut all).await?.len(), 5, "there is room again");
    Ok(())
}

#[tokio::test]
async fn with_no_connection_at_all_work_fails_and_passes_once_there_is_room() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut limited = Limited::new(&database, 0).await?;
    let sessions = limited.database.sessions(2);
    let (mut one, mut other) = (sessions.session(), sessions.session());
    for _ in 0..3 {
        let (one, other) = tokio::join!(pid(&mut one, 0.0), pid(&mut other, 0.0));
        for refused in [one, other] {
            assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "it passes: {refused:?}");
        }
    }
    limited.may_have(1).await?;
    pid(&mut one, 0.0).await?;
    Ok(())
}

/// All connections that are not lent may be as dead as the one that turned out to be.
#[tokio::test]
async fn a_second_try_is_made_on_a_new_connection() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut limited = Limited::new(&database, 10).await?;
    let sessions = limited.database.sessions(3);
    let mut all: Vec<_> = (0..3).map(|_| sessions.session()).collect();
    let before = all_at_once(&mut all).await?;
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1")
        .bind(&limited.role)
        .execute(&mut limited.admin)
        .await?;
    let now = pid(&mut all[0], 0.0).await?;
    assert!(!before.contains(&now));
    Ok(())
}
