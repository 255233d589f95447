//! The numbers are what the events come to, wherever the follower stands; and whatever is wrong with any of them is found.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use domain::gateway::Ledger;
use domain::rolled::hour::Hour;
use reconcile::{Check, Invariant, reconcile};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::feed::cursors::{self, Place};
use store::feed::{self, Lines, Read, Start};
use store::rollups;
use testbed::TestDatabase;
use testbed::numbers::{hours, keep};
use uuid::Uuid;

use crate::events::all_that_happens;

/// Rolls up a page as the follower does, and says whether there was one.
async fn roll_up(conn: &mut PgConnection, rows: u32) -> Result<bool> {
    feed::tick(conn).await?;
    let mut tx = conn.begin().await?;
    let Place::At(cursor) = cursors::lock(&mut tx, "roll_up", Start::Earliest).await? else {
        return Ok(false);
    };
    let page = feed::read_whole(&mut tx, &cursor, rows, Lines::WithAmounts).await?;
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
        let mut sums = BTreeMap::new();
        for (_, hour) in hours(&mut conn).await? {
            for ((.., kind), sum) in &hour.money {
                *sums.entry(kind.as_str()).or_insert(0) += sum.amount;
            }
        }
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
        let kinds: Vec<&str> = sums.keys().copied().collect();
        assert_eq!(kinds, expected, "all that happens moves money in all these ways");
        // What has to go back in the end: once each, since the others' is kept.
        for (kind, minor) in
            [("collected_back", 1_000), ("elsewhere", 2_000), ("elsewhere_back", 1_000), ("tip", 100)]
        {
            assert_eq!(sums[kind], minor, "{kind}");
        }
    }
    Ok(())
}

/// Makes something of an hour wrong; whether there was anything to be wrong.
type Harm = fn(&mut Hour) -> bool;

/// What may be wrong with an hour.
const HARMS: [(&str, Harm); 17] = [
    ("accepted", |hour| hour.orders.values_mut().next().map(|of| of.accepted += 1).is_some()),
    ("confirmed", |hour| hour.orders.values_mut().next().map(|of| of.confirmed += 1).is_some()),
    ("failed", |hour| hour.orders.values_mut().next().map(|of| of.failed += 1).is_some()),
    ("rejected", |hour| hour.orders.values_mut().next().map(|of| of.rejected += 1).is_some()),
    ("cancelled", |hour| hour.orders.values_mut().next().map(|of| of.cancelled += 1).is_some()),
    ("delivered", |hour| hour.orders.values_mut().next().map(|of| of.delivered += 1).is_some()),
    ("entries", |hour| hour.statuses.values_mut().next().map(|of| of.entries += 1).is_some()),
    ("total_ms", |hour| hour.statuses.values_mut().next().map(|of| of.total_ms += 1).is_some()),
    ("a bucket", |hour| {
        hour.statuses.values_mut().find_map(|of| of.buckets.values_mut().next()).map(|of| *of += 1).is_some()
    }),
    ("no bucket", |hour| hour.statuses.values_mut().find_map(|of| of.buckets.pop_first()).is_some()),
    ("money", |hour| hour.money.values_mut().next().map(|of| of.amount += 1).is_some()),
    ("times of money", |hour| hour.money.values_mut().next().map(|of| of.times += 1).is_some()),
    ("reasons", |hour| hour.reasons.values_mut().next().map(|of| *of += 1).is_some()),
    ("no orders", |hour| hour.orders.pop_first().is_some()),
    ("no status", |hour| hour.statuses.pop_first().is_some()),
    ("no money", |hour| hour.money.pop_first().is_some()),
    ("no reasons", |hour| hour.reasons.pop_first().is_some()),
];

#[tokio::test]
async fn a_number_of_an_hour_that_is_wrong_is_found_and_so_is_one_that_is_missing() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    all_that_happens(&mut conn).await?;
    while roll_up(&mut conn, 1_000).await? {}
    let (kept, mut all) = (hours(&mut conn).await?, HARMS.to_vec());
    for (key, hour) in &kept {
        for (name, harm) in HARMS {
            let mut wrong = hour.clone();
            if harm(&mut wrong) {
                keep(&mut conn, key, &wrong).await?;
                assert!(judged(&database).await?.violated > 0, "{name}");
                all.retain(|(left, _)| *left != name);
            }
        }
        keep(&mut conn, key, hour).await?;
    }
    assert!(all.is_empty(), "{:?}", all.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(judged(&database).await?.violated, 0, "mended");
    conn.execute("CREATE TABLE kept AS SELECT * FROM rolled_hours; UPDATE rolled_hours SET hourly = ''")
        .await?;
    assert!(judged(&database).await?.violated > 0, "the whole hour");
    conn.execute("TRUNCATE rolled_hours; INSERT INTO rolled_hours SELECT * FROM kept; DROP TABLE kept")
        .await?;
    assert_eq!(judged(&database).await?.violated, 0, "mended again");
    // What nobody can read is no number.
    conn.execute("UPDATE rolled_hours SET money = '\\x7f'").await?;
    assert!(judged(&database).await?.violated > 0);
    conn.execute("DELETE FROM rolled_hours").await?;
    assert!(judged(&database).await?.violated > 10);
    Ok(())
}

#[tokio::test]
async fn a_customers_number_that_is_wrong_is_found_and_so_is_one_that_is_missing_or_one_too_many()
-> Result<()> {
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
    assert_eq!(numbers.len(), 6);
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
