//! Who may read where: what is only shown takes no connection from what decides, nor from the question whether the primary is
//! well; and a replica is read while it is fit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::Database;
use store::reads::Reads;
use store::replica::Standing;
use testbed::{Commits, Pair, TestDatabase, until};
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);

/// Reads that wait for a lock of the test's.
async fn stuck(conn: &mut PgConnection) -> Result<i64> {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    Ok(sqlx::query_scalar(waiting).fetch_one(conn).await?)
}

#[tokio::test]
async fn slow_lists_leave_connections_for_what_decides_and_the_primary_answers_for_itself() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute("SELECT pg_advisory_lock(1)").await?;
    let reads = Arc::new(Reads::new(&database.database(), None, 4, SECOND));
    let mut lists = JoinSet::new();
    for _ in 0..8 {
        let reads = Arc::clone(&reads);
        lists.spawn(async move {
            let list = reads.show(|conn| Box::pin(conn.execute("SELECT pg_advisory_lock_shared(1)")));
            list.await.map(drop)
        });
    }
    until("lists have all that they may have", async || Ok((stuck(&mut conn).await? == 2).then_some(())))
        .await?;
    let mut deciding = (reads.deciding().await?, reads.deciding().await?);
    deciding.0.execute("SELECT 1").await?;
    deciding.1.execute("SELECT 1").await?;
    assert_eq!(reads.connections(), (4, 0), "every connection is in use");
    assert!(reads.primary_is_up().await, "and the primary is well");
    conn.execute("SELECT pg_advisory_unlock(1)").await?;
    // Those that waited longer than a client would were told so.
    while let Some(list) = lists.join_next().await {
        assert!(list?.is_ok_and(|()| true) || stuck(&mut conn).await? == 0);
    }
    Ok(())
}

/// How many rows there are, as they are shown.
async fn shown(reads: &Reads) -> sqlx::Result<i64> {
    reads.show(|conn| Box::pin(sqlx::query_scalar("SELECT count(*) FROM rows").fetch_one(conn))).await
}

/// One of them.
async fn found(reads: &Reads, id: i32) -> sqlx::Result<Option<i32>> {
    let find = "SELECT id FROM rows WHERE id = $1";
    reads.find(|conn| Box::pin(sqlx::query_scalar(find).bind(id).fetch_optional(conn))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_read_while_it_answers_and_is_close_behind_and_what_it_lacks_is_found() -> Result<()> {
    let pair = Pair::start(Commits::WaitForNobody).await?;
    let database = TestDatabase::on(&pair.url("postgres").await?).await?;
    let mut conn = database.connect().await?;
    conn.execute("CREATE TABLE rows (id int PRIMARY KEY)").await?;
    pair.until_equal().await?;
    let (_, name) = database.url().rsplit_once('/').unwrap();
    let standby = Database::replica(&pair.standby_url(name).await?, "test")?;
    let patient = Reads::new(&database.database(), Some(&standby), 4, 3_600 * SECOND);
    let strict = Reads::new(&database.database(), Some(&standby), 4, Duration::ZERO);
    assert_eq!(patient.replica().map(|(standing, _)| standing), Some(Standing::Down), "nobody has looked");
    for reads in [&patient, &strict] {
        reads.look().await;
        assert_eq!(reads.replica(), Some((Standing::Up, Duration::ZERO)));
    }

    pair.hold_back().await?;
    conn.execute("INSERT INTO rows VALUES (1)").await?;
    assert_eq!(shown(&patient).await?, 0, "as old as the replica is");
    assert_eq!(found(&patient, 1).await?, Some(1), "what it lacks is looked for at the primary");
    assert_eq!(found(&patient, 2).await?, None);
    for reads in [&patient, &strict] {
        reads.look().await;
    }
    let (standing, behind) = patient.replica().unwrap();
    assert!(standing == Standing::Up && behind > Duration::ZERO, "{standing:?} {behind:?}");
    assert_eq!(strict.replica().map(|(standing, _)| standing), Some(Standing::Lags));
    assert_eq!(shown(&strict).await?, 1, "it is further behind than it may be");

    pair.catch_up().await?;
    strict.look().await;
    // The log goes on by itself now and then.
    until("it is close behind again", async || {
        strict.look().await;
        Ok((strict.replica() == Some((Standing::Up, Duration::ZERO))).then_some(()))
    })
    .await?;

    pair.lose_standby().await?;
    conn.execute("INSERT INTO rows VALUES (2)").await?;
    assert_eq!(shown(&patient).await?, 2, "whoever comes before it is seen to be gone gets an answer, too");
    strict.look().await;
    assert_eq!(strict.replica().map(|(standing, _)| standing), Some(Standing::Down));
    assert_eq!(shown(&strict).await?, 2);

    pair.restore_standby().await?;
    until("it is there again", async || {
        patient.look().await;
        Ok((patient.replica() == Some((Standing::Up, Duration::ZERO))).then_some(()))
    })
    .await?;

    assert!(patient.primary_is_up().await);
    for (read_only, up) in [("on", false), ("off", true)] {
        conn.execute("SET default_transaction_read_only = off").await?;
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}");
        conn.execute(sqlx::raw_sql(AssertSqlSafe(set))).await?;
        conn.execute("SELECT pg_reload_conf()").await?;
        until("the primary has heard it", async || Ok((patient.primary_is_up().await == up).then_some(())))
            .await?;
    }
    pair.lose_primary().await?;
    assert!(!patient.primary_is_up().await);
    patient.look().await;
    assert_eq!(patient.replica(), Some((Standing::Up, Duration::ZERO)), "nobody writes, so nobody is behind");
    assert_eq!(shown(&patient).await?, 2);
    Ok(())
}
