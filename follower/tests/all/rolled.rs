//! Numbers: each event counts once, whoever dies or races; a stay counts where it began, however late it ends.
#![expect(clippy::disallowed_methods, reason = "tasks of a test, which end with it")]

use std::sync::Arc;

use anyhow::Result;
use domain::event::Event;
use domain::gateway::Ledger;
use follower::follow::{Following, Follows, Step};
use follower::rebuild::rebuild;
use follower::roll_up::{RollUp, Rolling};
use futures_util::future::BoxFuture;
use reconcile::{Invariant, reconcile};
use sqlx::{Executor, PgConnection};
use store::feed::Start;
use testbed::numbers::{go_on, roll_up, told};
use testbed::{TestDatabase, until};

/// The same with pages that part orders.
#[derive(Debug)]
struct Slowly;

impl Follows for Slowly {
    const NAME: &'static str = RollUp::NAME;
    const PAGE: u32 = 3;
    const START: Start = RollUp::START;

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        RollUp::take(conn, events)
    }
}

fn rolls<F: Follows>(follows: F, database: &TestDatabase) -> Following<F> {
    Following::new(follows, database.database().session(), Arc::default())
}

/// Whether every number is what the events come to; how many there are.
async fn true_cells(database: &TestDatabase) -> Result<u64> {
    let report = reconcile(database.url(), &Ledger::default()).await?;
    let check = report.of(Invariant::NumbersTrue);
    assert_eq!(check.violated, 0, "{:#?}", check.examples);
    Ok(check.checked)
}

/// Stays that are over, and how long they were together, in seconds, by status and quarter of an hour.
async fn stays(conn: &mut PgConnection) -> Result<Vec<(String, String, i64, i64)>> {
    Ok(sqlx::query_as(
        "SELECT status::text, to_char(quarter AT TIME ZONE 'UTC', 'DD HH24:MI'), sum(stays)::bigint, (sum(total_ms) / 1000)::bigint
         FROM rolled_stays GROUP BY status, quarter ORDER BY quarter, status",
    )
    .fetch_all(conn)
    .await?)
}

fn stay(status: &str, quarter: &str, stays: i64, seconds: i64) -> (String, String, i64, i64) {
    (status.to_owned(), quarter.to_owned(), stays, seconds)
}

#[tokio::test]
async fn a_stay_counts_where_it_began_though_it_ends_after_midnight_and_long_after_its_hour_was_rolled_up()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = told(
        &mut conn,
        &[
            ("CONFIRMED", "2026-03-31T23:38:00Z"),
            ("ACCEPTED", "2026-03-31T23:40:00Z"),
            ("PREPARING", "2026-03-31T23:50:00Z"),
        ],
    )
    .await?;
    // Another one, whose first stay ends after midnight.
    told(&mut conn, &[("CONFIRMED", "2026-03-31T23:59:00Z"), ("CANCELLED", "2026-04-01T00:00:30Z")]).await?;
    roll_up(&database).await?;
    let confirmed = [stay("CONFIRMED", "31 23:30", 1, 120), stay("ACCEPTED", "31 23:30", 1, 600)];
    let sorted = |mut stays: Vec<_>| {
        stays.sort();
        stays
    };
    let mut expected = confirmed.to_vec();
    expected.push(stay("CONFIRMED", "31 23:45", 1, 90));
    assert_eq!(sorted(stays(&mut conn).await?), sorted(expected.clone()), "PREPARING goes on");
    let entered: i64 = sqlx::query_scalar(
        "SELECT entries FROM rolled_entries WHERE status = 'PREPARING' AND quarter = '2026-03-31T23:45:00Z'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(entered, 1);

    go_on(&mut conn, order, 3, &[("READY", "2026-04-01T01:10:00Z"), ("DELIVERED", "2026-04-01T01:10:02Z")])
        .await?;
    roll_up(&database).await?;
    expected.push(stay("PREPARING", "31 23:45", 1, 80 * 60));
    expected.push(stay("READY", "01 01:00", 1, 2));
    assert_eq!(sorted(stays(&mut conn).await?), sorted(expected), "the hour is corrected");
    assert!(true_cells(&database).await? > 10);
    Ok(())
}

/// So many orders, with five events each.
async fn many(conn: &mut PgConnection, orders: usize) -> Result<()> {
    for _ in 0..orders {
        told(
            conn,
            &[
                ("PENDING", "2026-03-31T10:00:00Z"),
                ("PAYMENT_PROCESSING", "2026-03-31T10:00:01Z"),
                ("CONFIRMED", "2026-03-31T10:00:02Z"),
                ("ACCEPTED", "2026-03-31T10:16:00Z"),
                ("PREPARING", "2026-03-31T10:31:00Z"),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn accepted(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT coalesce(sum(accepted), 0)::bigint FROM rolled_orders")
        .fetch_one(conn)
        .await?)
}

#[tokio::test]
async fn of_several_followers_at_once_each_event_counts_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 40).await?;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let database = database.clone();
        racing.spawn(async move {
            let mut rolling = rolls(Slowly, &database);
            let mut pages = 0;
            loop {
                match rolling.run_once().await? {
                    Step::UpToDate => return anyhow::Ok(pages),
                    Step::Followed(_) => pages += 1,
                    Step::Taken | Step::Gone => {}
                }
            }
        });
    }
    let pages: i32 = racing.join_all().await.into_iter().sum::<Result<i32>>()?;
    assert!(pages >= 200 / 3, "{pages} pages");
    assert_eq!(accepted(&mut conn).await?, 40);
    assert!(true_cells(&database).await? > 5);
    Ok(())
}

#[tokio::test]
async fn one_that_dies_between_its_page_and_its_cursor_leaves_nothing_and_its_page_is_taken_up_again()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut conn, mut holder) = (database.connect().await?, database.connect().await?);
    many(&mut conn, 10).await?;
    let mut rolling = rolls(Slowly, &database);
    let first = rolling.run_once().await?;
    assert_eq!(first, Step::Followed(3));
    // Each table is written in its turn: whoever holds it stops the follower there, in the middle of a page.
    for table in ["orders", "entries", "stays", "customers"] {
        let before = true_cells(&database).await?;
        let mut dying = rolls(Slowly, &database);
        holder.execute("BEGIN").await?;
        holder.execute(sqlx::AssertSqlSafe(format!("LOCK TABLE rolled_{table} IN SHARE MODE"))).await?;
        let dies = tokio::spawn(async move { dying.run_once().await });
        let waiting = until("the follower waits", async || {
            let pid: Option<i32> = sqlx::query_scalar(
                "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation'
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .fetch_optional(&mut conn)
            .await?;
            Ok(pid)
        })
        .await?;
        // The process, and what it has at the server.
        dies.abort();
        let _ = dies.await;
        sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(waiting).execute(&mut conn).await?;
        holder.execute("ROLLBACK").await?;
        assert_eq!(true_cells(&database).await?, before, "nothing of the page is left, at {table}");
        // Another one goes on.
        assert!(matches!(rolls(Slowly, &database).run_once().await?, Step::Followed(_)));
    }
    while rolling.run_once().await? != Step::UpToDate {}
    assert_eq!(accepted(&mut conn).await?, 10);
    assert!(true_cells(&database).await? > 5);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_lost_counts_nothing_twice() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut conn, mut holder) = (database.connect().await?, database.connect().await?);
    many(&mut conn, 10).await?;
    let mut rolling = rolls(Slowly, &database);
    rolling.run_once().await?;
    // Its connection is cut in the middle of a page, and the session runs the step again on a new one.
    holder.execute("BEGIN").await?;
    holder.execute("LOCK TABLE rolled_entries IN SHARE MODE").await?;
    let goes_on = tokio::spawn(async move { (rolling.run_once().await, rolling) });
    let waiting = until("the follower waits", async || {
        let pid: Option<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation'
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_optional(&mut conn)
        .await?;
        Ok(pid)
    })
    .await?;
    sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(waiting).execute(&mut conn).await?;
    holder.execute("ROLLBACK").await?;
    // On a busy machine it may have given up before that.
    let (step, mut rolling) = goes_on.await?;
    assert!(matches!(step, Ok(Step::Followed(3)) | Err(_)), "{step:?}");
    while rolling.run_once().await? != Step::UpToDate {}
    assert_eq!(accepted(&mut conn).await?, 10);
    assert!(true_cells(&database).await? > 5);
    Ok(())
}

#[tokio::test]
async fn made_anew_beside_traffic_the_numbers_are_the_same_and_go_on() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 40).await?;
    roll_up(&database).await?;
    // Somebody has spoilt them, and an event is aside that will be counted with the others.
    conn.execute("UPDATE rolled_orders SET accepted = accepted + 7; DELETE FROM rolled_stays").await?;
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
    let events = rebuild(&database.database()).await?;
    traffic.await??;
    assert!(events >= 200, "{events} events");
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
    assert_eq!(full, 6);
    Ok(())
}

#[tokio::test]
async fn numbers_are_of_all_that_ever_happened_also_where_nobody_followed_then() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    many(&mut conn, 5).await?;
    // The moments of then are forgotten; those of now are not.
    store::feed::tick(&mut conn).await?;
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
