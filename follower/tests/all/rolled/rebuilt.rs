//! Made anew beside traffic, the numbers are the same and go on; what one that died leaves is cleared away.

use anyhow::{Result, bail};
use domain::gateway::Ledger;
use follower::follow::{Follows, Step};
use follower::rebuild::rebuild;
use follower::roll_up::{RollUp, Rolling};
use reconcile::{Invariant, reconcile};
use sqlx::{Connection, Executor, PgConnection};
use store::feed::cursors::{self, Place};
use store::feed::{self, Read};
use store::rollups;
use testbed::numbers::{hours, keep, roll_up};
use testbed::{TestDatabase, until};

use super::{accepted, many, rolls, somebody_waits, true_cells};

#[tokio::test]
async fn made_anew_beside_traffic_the_numbers_are_the_same_and_go_on() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 40).await?;
    roll_up(&database).await?;
    // Somebody has spoilt them, and an event is aside that will be counted with the others.
    for (key, mut hour) in hours(&mut conn).await? {
        hour.orders.entry(0).or_default().accepted += 7;
        hour.statuses.clear();
        keep(&mut conn, &key, &hour).await?;
    }
    conn.execute(
        "INSERT INTO feed_aside (follower, subject, version, why)
         SELECT 'roll_up', subject, version, 'test' FROM order_events WHERE version = 5 LIMIT 1",
    )
    .await?;
    assert!(reconcile(database.url(), &Ledger::default()).await?.of(Invariant::NumbersTrue).violated > 1);
    // Meanwhile orders come in, others are followed, and the numbers are read, as before.
    let traffic = {
        let database = database.clone();
        tokio::spawn(async move {
            let mut conn = database.connect().await?;
            let mut rolling = rolls(RollUp, &database);
            for _ in 0..10 {
                many(&mut conn, 2).await?;
                rolling.run_once().await?;
                accepted(&mut conn).await?;
            }
            anyhow::Ok(())
        })
    };
    let rebuilt = rebuild(&database.database()).await?;
    traffic.await??;
    assert!(rebuilt.events >= 200 && !rebuilt.cleared, "{rebuilt:?}");
    roll_up(&database).await?;
    assert_eq!(accepted(&mut conn).await?, 60);
    assert!(true_cells(&database).await? > 5);
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM feed_aside) + (SELECT count(*) FROM feed_cursors WHERE follower <> 'roll_up')
             + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%anew%')",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(left, 0, "nothing of it is left");
    // And pages are as full as they were made: what is written in place stays in place.
    let full: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'rolled_%' AND reloptions::text LIKE '%fillfactor%'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(full, 2);
    Ok(())
}

/// What a rebuild has beside the numbers: a schema, and a cursor.
async fn left_of_a_rebuild(conn: &mut PgConnection) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'roll_up_anew'),
             (SELECT count(*) FROM feed_cursors WHERE follower = 'roll_up_anew')",
    )
    .fetch_one(conn)
    .await?)
}

/// Lets a rebuild come as far as its swap, and die there.
async fn dies_before_its_swap(database: &TestDatabase) -> Result<()> {
    let (mut conn, mut holder) = (database.connect().await?, database.connect().await?);
    let mut tx = holder.begin().await?;
    cursors::wait(&mut tx, RollUp::NAME).await?;
    let rebuilds = {
        let database = database.clone();
        tokio::spawn(async move { rebuild(&database.database()).await })
    };
    let waiting =
        until("the rebuild waits for the follower", async || somebody_waits(&mut conn, "advisory").await)
            .await?;
    rebuilds.abort();
    let _ = rebuilds.await;
    sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(waiting).execute(&mut conn).await?;
    Ok(tx.rollback().await?)
}

#[tokio::test]
async fn what_is_left_of_a_rebuild_that_died_is_cleared_away_by_the_next_one_or_by_the_follower() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 10).await?;
    roll_up(&database).await?;
    dies_before_its_swap(&database).await?;
    assert_eq!(left_of_a_rebuild(&mut conn).await?, (1, 1), "it died on its way");
    many(&mut conn, 2).await?;
    let again = rebuild(&database.database()).await?;
    assert!(again.cleared && again.events == 60, "{again:?}");
    assert_eq!(left_of_a_rebuild(&mut conn).await?, (0, 0));
    assert_eq!(accepted(&mut conn).await?, 12);
    assert!(!rebuild(&database.database()).await?.cleared, "now nothing was left");
    // Where nobody makes them anew: else what happens would be kept for a cursor that never moves.
    dies_before_its_swap(&database).await?;
    roll_up(&database).await?;
    assert_eq!(left_of_a_rebuild(&mut conn).await?, (0, 0));
    assert_eq!(accepted(&mut conn).await?, 12);
    assert!(true_cells(&database).await? > 5);
    Ok(())
}

#[tokio::test]
async fn a_rebuild_that_is_under_way_is_left_alone() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut conn, mut holder) = (database.connect().await?, database.connect().await?);
    many(&mut conn, 10).await?;
    roll_up(&database).await?;
    let mut tx = holder.begin().await?;
    let Place::At(cursor) = cursors::lock(&mut tx, RollUp::NAME, RollUp::START).await? else {
        bail!("nobody else follows here")
    };
    let rebuilds = {
        let database = database.clone();
        tokio::spawn(async move { rebuild(&database.database()).await })
    };
    until("the rebuild waits for the follower", async || somebody_waits(&mut conn, "advisory").await).await?;
    assert!(rebuild(&database.database()).await.is_err(), "one at a time");
    assert_eq!(left_of_a_rebuild(&mut conn).await?, (1, 1));
    // Whoever holds the follower's name counts on meanwhile: the second set has that, too, once it takes its place.
    many(&mut conn, 3).await?;
    feed::tick(&mut conn).await?;
    let Read::Page { events, next } = feed::read(&mut tx, &cursor, 1_000).await? else {
        bail!("three orders came in")
    };
    rollups::add(&mut tx, &events).await?;
    cursors::set(&mut tx, RollUp::NAME, &next).await?;
    tx.commit().await?;
    let rebuilt = rebuilds.await??;
    assert_eq!(
        (accepted(&mut conn).await?, rebuilt.events),
        (13, 65),
        "numbers that were shown do not go back"
    );
    assert!(true_cells(&database).await? > 5);
    Ok(())
}

#[tokio::test]
async fn numbers_are_of_all_that_ever_happened_also_where_nobody_followed_then() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 5).await?;
    // The moments of then are forgotten; those of now are not.
    feed::tick(&mut conn).await?;
    conn.execute("DELETE FROM feed_ticks WHERE tick = 0").await?;
    many(&mut conn, 2).await?;
    let mut rolling = Rolling::new(&database.database());
    while rolling.run_once().await? != Step::UpToDate {}
    assert_eq!(accepted(&mut conn).await?, 7);
    // And where what comes next is gone, they are made anew: nothing counts twice.
    conn.execute("UPDATE feed_cursors SET noted_at = noted_at - interval '1 s' WHERE follower = 'roll_up'")
        .await?;
    many(&mut conn, 1).await?;
    assert_eq!(rolling.run_once().await?, Step::Gone);
    while rolling.run_once().await? != Step::UpToDate {}
    assert_eq!(accepted(&mut conn).await?, 8);
    assert!(true_cells(&database).await? > 5);
    Ok(())
}
