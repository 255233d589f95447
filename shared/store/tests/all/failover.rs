//! A primary that goes away and comes back elsewhere, and one that becomes read-only: what a session and the readers make of it.

use std::time::Duration;

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::Database;
use store::session::{Session, StoreError};
use testbed::{Commits, Pair, TestDatabase, until};

/// A row more, by the session.
async fn add(session: &mut Session) -> Result<(), StoreError> {
    session
        .run(&(), |conn, ()| {
            Box::pin(async move { conn.execute("INSERT INTO rows DEFAULT VALUES").await.map(drop) })
        })
        .await
}

async fn count(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM rows").fetch_one(conn).await?)
}

/// The same servers, named the other way round.
fn turned(url: &str) -> Result<String> {
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (hosts, name) = rest.split_once('/').unwrap();
    let (one, other) = hosts.split_once(',').unwrap();
    Ok(format!("{before}@{other},{one}/{name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_found_wherever_it_stands_there_and_back() -> Result<()> {
    let pair = Pair::start(Commits::WaitForStandby).await?;
    let url = TestDatabase::on(&pair.url("postgres").await?).await?.url().to_owned();
    let (database, other) = (Database::new(&url, "test")?, Database::new(&turned(&url)?, "test")?);
    database.connect().await?.execute("CREATE TABLE rows (id int GENERATED ALWAYS AS IDENTITY)").await?;
    let readers = database.read_pool(2);
    let mut sessions = [database.session(), other.session()];
    let mut rows = 0;
    for _ in 0..2 {
        for session in &mut sessions {
            add(session).await?;
            rows += 1;
        }
        assert_eq!(count(&mut *readers.acquire().await?).await?, rows);
        pair.fail_over(Duration::ZERO).await?;
        // Both learn of it by the connection that they have, and none fails more often than it takes to look round.
        for session in &mut sessions {
            until("the session is at the new primary", async || Ok(add(session).await.ok())).await?;
            rows += 1;
        }
        assert_eq!(
            count(&mut *readers.acquire().await?).await?,
            rows,
            "nothing is lost, and readers came along"
        );
        pair.rejoin().await?;
    }
    Ok(())
}

/// A replica may be any of them, and a single server that is no primary is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_alone_is_not_written_to() -> Result<()> {
    let pair = Pair::start(Commits::WaitForNobody).await?;
    let url = TestDatabase::on(&pair.url("postgres").await?).await?.url().to_owned();
    let [one, other] = pair.ports().await?;
    let standby =
        url.replacen(&format!("127.0.0.1:{one},127.0.0.1:{other}"), &format!("127.0.0.1:{other}"), 1);
    until("the standby has the database", async || {
        Ok(Database::replica(&standby, "test")?.connect().await.ok())
    })
    .await?;
    let error = Database::new(&standby, "test")?.session().run(&(), |_, ()| Box::pin(async { Ok(()) })).await;
    assert!(
        matches!(&error, Err(StoreError::Unavailable(cause)) if cause.contains("read-only")),
        "{error:?}"
    );
    let error = Database::new(&standby, "test")?.prepare(Duration::from_millis(10)).await.unwrap_err();
    assert!(format!("{error:#}").contains("is read-only"), "{error:#}");
    Ok(())
}

/// As when an operator sets `default_transaction_read_only` on a primary that is to be left.
#[tokio::test]
async fn a_session_that_became_read_only_is_replaced() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute("CREATE TABLE rows (id int GENERATED ALWAYS AS IDENTITY)").await?;
    let mut session = database.database().session();
    session
        .run(&(), |conn, ()| {
            Box::pin(async move {
                conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.map(drop)
            })
        })
        .await?;
    add(&mut session).await?;
    assert_eq!(count(&mut conn).await?, 1, "by a second try on a new connection");

    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await?;
    let read_only =
        |on| AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}"));
    conn.execute(sqlx::raw_sql(read_only("on"))).await?;
    let refused = database.database().session().run(&(), |_, ()| Box::pin(async { Ok(()) })).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "it may pass: {refused:?}");
    conn.execute(sqlx::raw_sql(read_only("off"))).await?;
    conn.close().await?;
    Ok(())
}

/// What the server promises a commit is the operator's business, unless it promises nothing.
#[tokio::test]
async fn synchronous_commit_is_kept_as_the_server_has_it_and_off_is_refused() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await?;
    for level in ["local", "remote_write", "on", "remote_apply"] {
        let set = format!("ALTER DATABASE {name} SET synchronous_commit = {level}");
        conn.execute(sqlx::raw_sql(AssertSqlSafe(set))).await?;
        database.database().prepare(Duration::from_secs(5)).await?;
        let kept: String = database
            .database()
            .session()
            .run(&(), |conn, ()| {
                Box::pin(async move { sqlx::query_scalar("SHOW synchronous_commit").fetch_one(conn).await })
            })
            .await?;
        assert_eq!(kept, level);
    }
    let set = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    conn.execute(sqlx::raw_sql(AssertSqlSafe(set))).await?;
    let begun = std::time::Instant::now();
    let error = database.database().prepare(Duration::from_secs(20)).await.unwrap_err();
    assert!(format!("{error:#}").contains("synchronous_commit=off"), "{error:#}");
    assert!(begun.elapsed() < Duration::from_secs(10), "told at once");
    Ok(())
}
