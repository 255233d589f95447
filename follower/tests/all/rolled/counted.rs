//! Each event counts once, and a stay where it began.

use anyhow::Result;
use domain::order::status::OrderStatus;
use domain::rolled::QUARTER_SECONDS;
use follower::follow::Step;
use sqlx::{Executor, PgConnection};
use testbed::numbers::{go_on, hours, roll_up, told};
use testbed::{TestDatabase, until};
use time::Duration;
use time::macros::format_description;

use super::{Slowly, accepted, many, rolls, somebody_waits, true_cells};

/// Stays that are over, and how long they were together, in seconds, by status and quarter of an hour.
async fn stays(conn: &mut PgConnection) -> Result<Vec<(String, String, i64, i64)>> {
    let quarter = format_description!("[day] [hour]:[minute]");
    let mut all = Vec::new();
    for ((_, begins, _), hour) in hours(conn).await? {
        for ((n, status), stays) in hour.statuses.iter().filter(|(_, stays)| !stays.buckets.is_empty()) {
            let begins = (begins + Duration::seconds(i64::from(*n) * QUARTER_SECONDS)).format(quarter)?;
            let over = stays.buckets.values().sum();
            all.push((status.as_str().to_owned(), begins, over, stays.total_ms / 1_000));
        }
    }
    all.sort();
    Ok(all)
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
    let mut expected = vec![
        stay("ACCEPTED", "31 23:30", 1, 600),
        stay("CONFIRMED", "31 23:30", 1, 120),
        stay("CONFIRMED", "31 23:45", 1, 90),
    ];
    assert_eq!(stays(&mut conn).await?, expected, "PREPARING goes on");
    let all = hours(&mut conn).await?;
    let entered = all.iter().filter_map(|(_, hour)| hour.statuses.get(&(3, OrderStatus::Preparing)));
    assert_eq!(entered.map(|stays| stays.entries).collect::<Vec<_>>(), [1]);

    go_on(&mut conn, order, 3, &[("READY", "2026-04-01T01:10:00Z"), ("DELIVERED", "2026-04-01T01:10:02Z")])
        .await?;
    roll_up(&database).await?;
    expected.push(stay("PREPARING", "31 23:45", 1, 80 * 60));
    expected.push(stay("READY", "01 01:00", 1, 2));
    expected.sort();
    assert_eq!(stays(&mut conn).await?, expected, "the hour is corrected");
    assert!(true_cells(&database).await? > 10);
    Ok(())
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
    for table in ["hours", "customers"] {
        let before = true_cells(&database).await?;
        let mut dying = rolls(Slowly, &database);
        holder.execute("BEGIN").await?;
        holder.execute(sqlx::AssertSqlSafe(format!("LOCK TABLE rolled_{table} IN SHARE MODE"))).await?;
        let dies = tokio::spawn(async move { dying.run_once().await });
        let waiting =
            until("the follower waits", async || somebody_waits(&mut conn, "relation").await).await?;
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
    holder.execute("LOCK TABLE rolled_hours IN SHARE MODE").await?;
    let goes_on = tokio::spawn(async move { (rolling.run_once().await, rolling) });
    let waiting = until("the follower waits", async || somebody_waits(&mut conn, "relation").await).await?;
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
