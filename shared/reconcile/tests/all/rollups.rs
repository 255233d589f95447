//! The numbers are what the events come to, wherever the follower stands; and whatever is wrong with any of them is found.

use anyhow::{Result, ensure};
use domain::gateway::Ledger;
use reconcile::{Check, Invariant, reconcile};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::feed::cursors::{self, Place};
use store::feed::{self, Read, Start};
use store::rollups;
use testbed::TestDatabase;
use uuid::Uuid;

use crate::events::all_that_happens;

/// Rolls up a page, and says whether there was one.
async fn roll_up(conn: &mut PgConnection, rows: u32) -> Result<bool> {
    feed::tick(conn).await?;
    let mut tx = conn.begin().await?;
    let Place::At(cursor) = cursors::lock(&mut tx, "roll_up", Start::Earliest).await? else {
        return Ok(false);
    };
    let page = feed::read(&mut tx, &cursor, rows).await?;
    if let Read::Page { events, next } = &page {
        rollups::add(&mut tx, events).await?;
        cursors::set(&mut tx, "roll_up", next).await?;
    }
    tx.commit().await?;
    ensure!(!matches!(page, Read::Gone { .. }), "nothing is lost here");
    Ok(matches!(page, Read::Page { .. }))
}

/// Money that no gateway has: taken by a channel and by hand, each given back, and kept; and amounts beside what is added.
async fn others(conn: &mut PgConnection) -> Result<()> {
    let stories: [(&str, &[&str]); 5] = [
        ("paid_elsewhere", &["accepted CONFIRMED 1000", "moved CANCELLED"]),
        ("paid_elsewhere", &["accepted CONFIRMED 1000", "moved READY", "moved CANCELLED", "kept - 1000"]),
        ("on_delivery", &["accepted CONFIRMED 1000", "added - 250", "collected - 1000", "moved CANCELLED"]),
        (
            "on_delivery",
            &["accepted CONFIRMED 1000", "collected - 1000", "moved READY", "moved CANCELLED", "kept - 1000"],
        ),
        ("card", &["accepted PENDING 1000", "moved CONFIRMED 1000", "added - 250", "addition_charged - 250"]),
    ];
    for (method, story) in stories {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
             VALUES ($1, 1000, now(), now(), 1, 'PENDING', 'USD', 'ann')",
        )
        .bind(id)
        .execute(&mut *conn)
        .await?;
        for (event, version) in story.iter().zip(1..) {
            let mut words = event.split(' ');
            let (what, to, amount) = (words.next(), words.next(), words.next());
            // What is added has a payment of its own; all else is about the order's.
            sqlx::query(
                r#"INSERT INTO order_events (subject, at, version, what, to_status, actor, reason, amount_minor, payment_id, items)
                   VALUES ($1, now() + make_interval(mins => $3), $3, $2::event_what, nullif($4, '-')::order_status, 'test', $5, $6::text::bigint,
                       CASE WHEN $2 LIKE 'add%' THEN md5($1::text)::uuid WHEN $3 > 1 AND $6 IS NOT NULL THEN $1 END,
                       CASE WHEN $2 = 'added' THEN '[{"item_id":"i","item_name":"n","quantity":1,"price":2.00,
                           "adjustments":[{"kind":"tip","amount":0.50}]}]'::json END)"#,
            )
            .bind(id)
            .bind(what)
            .bind(version)
            .bind(to)
            .bind((version == 1).then_some(method))
            .bind(amount)
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}

async fn judged(database: &TestDatabase) -> Result<Check> {
    Ok(reconcile(database.url(), &Ledger::default()).await?.of(Invariant::NumbersTrue).clone())
}

#[tokio::test]
async fn the_numbers_are_what_the_events_come_to_wherever_the_follower_stands() -> Result<()> {
    // Small pages part orders, and larger ones hold several.
    for rows in [1, 7, 1_000] {
        let database = TestDatabase::new().await?;
        let mut conn = database.connect().await?;
        all_that_happens(&mut conn).await?;
        others(&mut conn).await?;
        assert_eq!(judged(&database).await?.checked, 0, "nobody has rolled up");
        let mut pages = 0;
        while roll_up(&mut conn, rows).await? {
            pages += 1;
            // Not after each of a hundred.
            if rows > 1 || pages % 9 == 0 {
                let judged = judged(&database).await?;
                assert_eq!(judged.violated, 0, "{rows} rows, page {pages}: {:#?}", judged.examples);
            }
        }
        let last = judged(&database).await?;
        assert_eq!(last.violated, 0, "{rows} rows: {:#?}", last.examples);
        assert!(last.checked >= 40, "{} cells", last.checked);
        let kinds: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT kind::text FROM rolled_money ORDER BY 1")
                .fetch_all(&mut conn)
                .await?;
        let expected = [
            "charged",
            "collected",
            "collected_back",
            "delivery_fee",
            "discount",
            "due",
            "elsewhere",
            "elsewhere_back",
            "refund_owed",
            "refunded",
            "tip",
        ];
        assert_eq!(kinds, expected, "all that happens moves money in all these ways");
        // What has to go back in the end: once each, since the others' is kept.
        let sums: Vec<(String, i64)> = sqlx::query_as(
            "SELECT kind::text, sum(amount_minor)::bigint FROM rolled_money
             WHERE kind IN ('collected_back', 'elsewhere', 'elsewhere_back', 'tip') GROUP BY 1 ORDER BY 1",
        )
        .fetch_all(&mut conn)
        .await?;
        let sum = |kind: &str, minor| (kind.to_owned(), minor);
        let expected = [
            sum("collected_back", 1_000),
            sum("elsewhere", 2_000),
            sum("elsewhere_back", 1_000),
            sum("tip", 100),
        ];
        assert_eq!(sums, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_number_that_is_wrong_is_found_and_so_is_one_that_is_missing_or_one_too_many() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    all_that_happens(&mut conn).await?;
    while roll_up(&mut conn, 1_000).await? {}
    let numbers: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name, column_name FROM information_schema.columns
         WHERE table_name LIKE 'rolled_%' AND (data_type = 'bigint' OR column_name IN ('first_at', 'last_at'))",
    )
    .fetch_all(&mut conn)
    .await?;
    assert_eq!(numbers.len(), 18);
    for (table, column) in numbers {
        let more = if column.ends_with("_at") { "interval '1 s'" } else { "1" };
        let wrong = format!("UPDATE {table} SET {column} = {column} + {more}");
        let missing = format!("DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})");
        for harm in [wrong, missing] {
            conn.execute(AssertSqlSafe(format!("CREATE TABLE kept AS SELECT * FROM {table}"))).await?;
            conn.execute(AssertSqlSafe(harm.clone())).await?;
            assert!(judged(&database).await?.violated > 0, "{harm}");
            let mend = format!("TRUNCATE {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept");
            conn.execute(AssertSqlSafe(mend)).await?;
        }
    }
    assert_eq!(judged(&database).await?.violated, 0, "mended");
    // An event that was rolled up, and is no more: its numbers are one too many.
    conn.execute("DELETE FROM order_events WHERE what = 'refunded'").await?;
    assert!(judged(&database).await?.violated > 0);
    Ok(())
}
