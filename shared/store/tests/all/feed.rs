//! The feed on a real PostgreSQL: nothing is skipped, nothing comes twice, and each subject's events come by their versions,
//! whatever the transactions that write them do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use domain::event::{Event, What};
use domain::order::NewOrder;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, Executor, PgConnection};
use store::feed::{Cursor, Lines, Read, Start, Ticked, forget, lag_seconds, read, read_whole, start, tick};
use testbed::{TestDatabase, until};
use uuid::Uuid;

use crate::orders::{accepted, confirmed};

const WRITERS: u64 = 16;
/// Few, so that writers wait for each other.
const SUBJECTS: usize = 12;
/// How many events are to be written. `FEED_EVENTS=1000000` takes a quarter of an hour.
const EVENTS: usize = 1_280;

fn events_to_write() -> Result<usize> {
    #[expect(clippy::disallowed_methods, reason = "how long to go on is asked of whoever starts the test")]
    let asked = std::env::var("FEED_EVENTS");
    Ok(asked.map_or(Ok(EVENTS), |events| events.parse())?)
}

/// What a reader has seen.
#[derive(Debug, Default)]
struct Seen {
    versions: HashMap<Uuid, i32>,
    events: usize,
}

impl Seen {
    /// Each event must be the next of its subject: none is missed, none comes twice, none before another.
    fn take(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            let last = self.versions.entry(event.subject).or_default();
            ensure!(event.version == *last + 1, "{} has {} after {last}", event.subject, event.version);
            *last = event.version;
            self.events += 1;
        }
        Ok(())
    }
}

/// Reads all that is noted, whole pages of as many ticks as fit.
async fn catch_up(
    conn: &mut PgConnection,
    cursor: &mut Cursor,
    seen: &mut Seen,
    limit: u32,
) -> Result<usize> {
    let mut pages = 0;
    loop {
        let page = read_whole(conn, cursor, limit, Lines::All).await?;
        if !take_page(page, cursor, seen, limit)? {
            return Ok(pages);
        }
        pages += 1;
    }
}

/// The same, tick by tick, as whoever names a cursor for each event.
async fn catch_up_tick_by_tick(
    conn: &mut PgConnection,
    cursor: &mut Cursor,
    seen: &mut Seen,
    limit: u32,
) -> Result<()> {
    while take_page(read(conn, cursor, limit).await?, cursor, seen, limit)? {}
    Ok(())
}

/// Whether there was one.
fn take_page(page: Read, cursor: &mut Cursor, seen: &mut Seen, limit: u32) -> Result<bool> {
    match page {
        Read::Page { events, next } => {
            ensure!(events.len() <= 2 * limit as usize, "a page of {} events", events.len());
            seen.take(&events)?;
            *cursor = next;
            Ok(true)
        }
        Read::UpToDate => Ok(false),
        Read::Gone { .. } => anyhow::bail!("{cursor:?} is gone"),
    }
}

/// One change, as the statements make one: the version goes up under the row's lock.
async fn change(conn: &mut PgConnection, order: Uuid) -> sqlx::Result<()> {
    conn.execute(
        sqlx::query(
            "WITH counted AS (UPDATE orders SET version = version + 1 WHERE id = $1 RETURNING version)
             INSERT INTO order_events (subject, at, version, what, actor)
             SELECT $1, now(), version, 'cancel_wished', 'test' FROM counted",
        )
        .bind(order),
    )
    .await
    .map(drop)
}

/// Takes its id early, changes one or two orders, and commits late, rolls back, or dies; until so many were written by all.
async fn write(
    database: &TestDatabase,
    orders: &[NewOrder],
    left: &AtomicUsize,
    dice: &mut StdRng,
) -> Result<()> {
    let mut conn = database.connect().await?;
    while left.load(Ordering::SeqCst) > 0 {
        let mut tx = conn.begin().await?;
        if dice.random_bool(0.5) {
            tx.execute("SELECT txid_current()").await?;
        }
        // In one order, or they would wait for each other for ever.
        let first = dice.random_range(0..orders.len());
        let second = dice.random_range(0..orders.len());
        for place in [first.min(second), first.max(second)] {
            change(&mut tx, orders[place].id).await?;
        }
        if dice.random_bool(0.1) {
            let late = dice.random_range(1..10);
            sqlx::query("SELECT pg_sleep($1 / 1000.0)").bind(late).execute(&mut *tx).await?;
        }
        match dice.random_range(0..10) {
            0 => tx.rollback().await?,
            1 => {
                // A connection that breaks off in the middle of it, on either side.
                if dice.random_bool(0.5) {
                    let _ = tx.execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
                }
                std::mem::forget(tx);
                conn.close_hard().await?;
                conn = database.connect().await?;
            }
            _ => {
                tx.commit().await?;
                let _ = left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(2)));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn sixteen_writers_that_commit_late_roll_back_and_die_are_followed_exactly() -> Result<()> {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let to_write = events_to_write()?;
    let orders = accepted(&mut conn, SUBJECTS + to_write / 10_000).await?;
    // Somebody else's, which runs all the time: nobody waits for it.
    let mut stranger = database.connect().await?;
    stranger.execute("SET idle_in_transaction_session_timeout = 0").await?;
    let mut stalled = stranger.begin().await?;
    stalled.execute("SELECT txid_current()").await?;

    let (left, writing) = (AtomicUsize::new(to_write), AtomicUsize::new(WRITERS as usize));
    let writers = try_join_all((0..WRITERS).map(async |writer| {
        let mut dice = StdRng::seed_from_u64(seed + writer);
        let written = write(&database, &orders, &left, &mut dice).await;
        writing.fetch_sub(1, Ordering::SeqCst);
        written
    }));
    let tickers = try_join_all((0..3).map(async |_| {
        let mut conn = database.connect().await?;
        let mut noted = 0;
        while writing.load(Ordering::SeqCst) > 0 {
            noted += usize::from(tick(&mut conn).await? == Ticked::Noted);
            tokio::task::yield_now().await;
        }
        anyhow::Ok(noted)
    }));
    let reader = async {
        let mut conn = database.connect().await?;
        let (mut cursor, mut seen) = (start(&mut conn, Start::Earliest).await?, Seen::default());
        let mut dice = StdRng::seed_from_u64(seed + WRITERS);
        while writing.load(Ordering::SeqCst) > 0 {
            // Small pages of one tick, and large ones of many.
            let limit = dice.random_range(1..8) * if dice.random_bool(0.5) { 16 } else { 1 };
            if dice.random_bool(0.5) {
                catch_up_tick_by_tick(&mut conn, &mut cursor, &mut seen, limit).await?;
            } else {
                catch_up(&mut conn, &mut cursor, &mut seen, limit).await?;
            }
            if dice.random_bool(0.05) {
                // Whoever reads dies, too, and goes on where its cursor stands.
                conn.close_hard().await?;
                conn = database.connect().await?;
            }
        }
        anyhow::Ok((cursor, seen))
    };
    let (written, noted, followed) = tokio::join!(writers, tickers, reader);
    written?;
    let (mut cursor, mut seen) = followed?;
    let ticks: usize = noted?.into_iter().sum();
    assert!(ticks > 50 && seen.events > 100, "{ticks} ticks, {} events while they wrote", seen.events);

    // Sessions that broke off are ended by the server when it notices.
    until("all have ended", async || {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL",
        )
        .fetch_one(&mut database.connect().await?)
        .await?;
        Ok((others == 1).then_some(()))
    })
    .await?;
    tick(&mut conn).await?;
    catch_up(&mut conn, &mut cursor, &mut seen, 100).await?;
    stalled.rollback().await?;
    assert_eq!(tick(&mut conn).await?, Ticked::Nothing);
    let there: Vec<(Uuid, i32, i64)> =
        sqlx::query_as("SELECT subject, max(version), count(*) FROM order_events GROUP BY subject")
            .fetch_all(&mut conn)
            .await?;
    assert_eq!(there.iter().map(|(.., count)| *count).sum::<i64>(), seen.events as i64);
    assert_eq!(
        there.into_iter().map(|(subject, last, _)| (subject, last)).collect::<HashMap<_, _>>(),
        seen.versions
    );
    let turned: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM order_events e JOIN order_events next
             ON next.subject = e.subject AND next.version = e.version + 1 WHERE next.tx < e.tx",
    )
    .fetch_one(&mut conn)
    .await?;
    println!(
        "{ticks} ticks, {} events, {turned} pairs with ids against their versions: missed 0, doubled 0, inverted 0",
        seen.events
    );
    assert!(turned > 10, "no race: {turned} pairs have ids against their versions");
    Ok(())
}

/// The run that the model found for ticks by xmin: a third transaction, which has nothing to do with it, runs between the two
/// ids. Its id is the oldest that runs, and it parts the two events.
#[tokio::test]
async fn ids_against_versions_with_a_stranger_between_them_are_read_in_order_and_at_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let mut cursor = start(&mut conn, Start::Latest).await?;
    let mut seen = Seen::default();
    tick(&mut conn).await?;
    catch_up(&mut conn, &mut cursor, &mut seen, 10).await?;
    let mut connections = [database.connect().await?, database.connect().await?, database.connect().await?];
    let [early, stranger, late] = &mut connections;
    let (mut early, mut stranger, mut late) =
        (early.begin().await?, stranger.begin().await?, late.begin().await?);
    let mut ids = Vec::new();
    for tx in [&mut early, &mut stranger, &mut late] {
        let id: i64 = sqlx::query_scalar("SELECT txid_current()").fetch_one(&mut **tx).await?;
        ids.push(id);
    }
    change(&mut late, order.id).await?;
    late.commit().await?;
    change(&mut early, order.id).await?;
    early.commit().await?;
    // Other tests have transactions, too, and older ones.
    until("the stranger parts the first from the last", async || {
        let oldest = "SELECT txid_snapshot_xmin(txid_current_snapshot())";
        let xmin: i64 = sqlx::query_scalar(oldest).fetch_one(&mut database.connect().await?).await?;
        Ok((ids[0] < xmin && xmin < ids[2]).then_some(()))
    })
    .await?;
    assert_eq!(tick(&mut conn).await?, Ticked::Noted);
    catch_up(&mut conn, &mut cursor, &mut seen, 1).await?;
    assert_eq!(seen.versions[&order.id], 3, "both, though the stranger still runs");
    stranger.rollback().await?;
    Ok(())
}

#[tokio::test]
async fn pages_are_bounded_and_a_cursor_names_its_place_within_a_tick() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let earliest = start(&mut conn, Start::Earliest).await?;
    assert!(matches!(read(&mut conn, &earliest, 10).await?, Read::UpToDate));
    assert_eq!(tick(&mut conn).await?, Ticked::Nothing, "nothing has happened yet");
    confirmed(&mut conn, 10).await?;
    assert!(matches!(read(&mut conn, &earliest, 10).await?, Read::UpToDate), "what is not noted is not read");
    assert_eq!(tick(&mut conn).await?, Ticked::Noted);
    assert!(lag_seconds(&mut conn, &earliest).await? > 0.0);
    let (mut cursor, mut seen) = (earliest, Seen::default());
    // Twenty rows by seven; each order's second one is two events.
    assert_eq!(catch_up(&mut conn, &mut cursor, &mut seen, 7).await?, 3);
    assert_eq!((seen.events, seen.versions.len()), (30, 10));
    assert!(lag_seconds(&mut conn, &cursor).await?.abs() < f64::EPSILON);
    assert_eq!(tick(&mut conn).await?, Ticked::Nothing);
    assert_eq!(start(&mut conn, Start::Latest).await?.tick, cursor.tick);
    assert_eq!(start(&mut conn, Start::At(cursor.noted_at)).await?.tick, cursor.tick);
    let before = cursor.noted_at - time::Duration::MICROSECOND;
    assert_eq!(start(&mut conn, Start::At(before)).await?.tick, earliest.tick);
    let Read::Page { events, .. } = read(&mut conn, &earliest, 1).await? else { panic!("a page") };
    assert_eq!((events[0].what, events[0].amount_minor), (What::Accepted, Some(2_500)));
    assert_eq!(events[0].items.as_ref().map(Vec::len), Some(1));
    Ok(())
}

/// Whoever is behind pays a transaction a page, and not one a tick: or the quickest follower's ticks would hold up all others.
#[tokio::test]
async fn several_ticks_are_one_page_as_far_as_they_fit() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let earliest = start(&mut conn, Start::Earliest).await?;
    for _ in 0..10 {
        confirmed(&mut conn, 2).await?;
        assert_eq!(tick(&mut conn).await?, Ticked::Noted);
    }
    for (limit, pages) in [(1_000, 1), (41, 2), (20, 4), (4, 20), (1, 50)] {
        let (mut cursor, mut seen) = (earliest, Seen::default());
        let read = catch_up(&mut conn, &mut cursor, &mut seen, limit).await?;
        assert_eq!((seen.events, seen.versions.len()), (60, 20));
        assert!(read <= pages, "forty rows in ten ticks by {limit}: {read} pages");
    }
    Ok(())
}

/// Ticks are noted ten times a second, beside tables of any size.
#[tokio::test]
async fn a_tick_looks_at_a_few_index_entries_however_many_events_there_are() -> Result<()> {
    const LOOKS: i64 = 20;
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute(
        "INSERT INTO order_events (subject, at, version, what, actor)
         SELECT '00000000-0000-7000-8000-000000000000', now(), i, 'cancel_wished', 'test' FROM generate_series(1, 50000) i",
    )
    .await?;
    conn.execute("ANALYZE order_events").await?;
    assert_eq!(tick(&mut conn).await?, Ticked::Noted);
    conn.close().await?;
    let read = "SELECT pg_stat_get_tuples_returned('order_events'::regclass) + pg_stat_get_tuples_returned('order_events_by_tx'::regclass),
                       pg_stat_get_numscans('order_events_by_tx'::regclass)";
    let (before, scans): (i64, i64) = sqlx::query_as(read).fetch_one(&mut database.connect().await?).await?;
    let mut conn = database.connect().await?;
    for _ in 0..LOOKS {
        assert_eq!(tick(&mut conn).await?, Ticked::Nothing);
    }
    // A session tells what it has read when it ends.
    conn.close().await?;
    let entries = until("its looks are counted", async || {
        let (now, scans_now): (i64, i64) =
            sqlx::query_as(read).fetch_one(&mut database.connect().await?).await?;
        Ok((scans_now >= scans + LOOKS).then_some(now - before))
    })
    .await?;
    assert!(entries <= 2 * LOOKS, "{entries} rows and entries for {LOOKS} ticks");
    Ok(())
}

/// As after a restored backup: what a reader remembers is not there, or is another.
#[tokio::test]
async fn a_cursor_that_the_database_does_not_know_is_gone_and_never_silent() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let earliest = start(&mut conn, Start::Earliest).await?;
    accepted(&mut conn, 3).await?;
    tick(&mut conn).await?;
    let Read::Page { next, .. } = read(&mut conn, &earliest, 2).await? else { panic!("a page") };
    let is_gone = async |conn: &mut PgConnection, cursor: &Cursor| -> Result<bool> {
        Ok(matches!(read(conn, cursor, 2).await?, Read::Gone { earliest: begin } if begin == earliest))
    };
    assert!(!is_gone(&mut conn, &next).await?);
    let other_tick = Cursor { noted_at: next.noted_at + time::Duration::SECOND, ..next };
    assert!(is_gone(&mut conn, &other_tick).await?);
    let later_tick = Cursor { tick: next.tick + 7, ..next };
    assert!(is_gone(&mut conn, &later_tick).await?);
    // Made anew from a dump: its ids begin again, and the last tick says that they were further on.
    conn.execute("UPDATE feed_ticks SET before_tx = before_tx + 1000000 WHERE tick = 1").await?;
    assert_eq!(tick(&mut conn).await?, Ticked::WentBack);
    Ok(())
}

#[tokio::test]
async fn ticks_are_forgotten_by_their_age_but_for_what_a_follower_has_still_to_read() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for _ in 0..6 {
        accepted(&mut conn, 1).await?;
        tick(&mut conn).await?;
    }
    conn.execute("UPDATE feed_ticks SET at = at - interval '1 day' WHERE tick < 6").await?;
    let (week, hour) = (Duration::from_secs(7 * 24 * 3_600), Duration::from_secs(3_600));
    assert_eq!(forget(&mut conn, week, 10).await?, 0);
    // It has read tick 3 in part, and needs the one before to know what that has.
    conn.execute(
        "INSERT INTO feed_cursors (follower, tick, noted_at, subject, version)
         SELECT 'slow', tick, at, '00000000-0000-0000-0000-000000000000', 0 FROM feed_ticks WHERE tick = 3",
    )
    .await?;
    let left = async |conn: &mut PgConnection| -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar("SELECT tick FROM feed_ticks ORDER BY tick").fetch_all(conn).await?)
    };
    assert_eq!(forget(&mut conn, hour, 1).await?, 1, "oldest first");
    assert_eq!(left(&mut conn).await?[0], 1);
    assert_eq!(forget(&mut conn, hour, 10).await?, 1);
    assert_eq!(left(&mut conn).await?, [2, 3, 4, 5, 6]);
    let noted_at = sqlx::query_scalar("SELECT noted_at FROM feed_cursors").fetch_one(&mut conn).await?;
    let mut slow = Cursor { tick: 3, noted_at, within: Some((Uuid::nil(), 0)) };
    let mut seen = Seen::default();
    catch_up(&mut conn, &mut slow, &mut seen, 10).await?;
    assert_eq!(seen.events, 4, "those of ticks 3 to 6");
    conn.execute("DELETE FROM feed_cursors").await?;
    conn.execute("UPDATE feed_ticks SET at = at - interval '1 day'").await?;
    assert_eq!(forget(&mut conn, hour, 10).await?, 4);
    assert_eq!(left(&mut conn).await?, [6], "the last one stays");
    Ok(())
}

/// What a follower does with a page and its cursor are one transaction, under a lock: two that follow at once, and die now
/// and then, do each thing once.
#[tokio::test]
async fn two_followers_that_die_do_everything_once() -> Result<()> {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    conn.execute(
        "CREATE TABLE done (subject uuid, version integer, PRIMARY KEY (subject, version));
         CREATE TABLE place (tick bigint, at timestamptz, subject uuid, version integer);
         INSERT INTO place SELECT tick, at FROM feed_ticks",
    )
    .await?;
    for _ in 0..5 {
        confirmed(&mut conn, 20).await?;
        tick(&mut conn).await?;
    }
    let follow = async |number: u64| -> Result<()> {
        let mut dice = StdRng::seed_from_u64(seed + number);
        let mut conn = database.connect().await?;
        loop {
            let mut tx = conn.begin().await?;
            tx.execute("SELECT pg_advisory_xact_lock(1)").await?;
            let (tick, noted_at, subject, version): (_, _, Option<Uuid>, Option<i32>) =
                sqlx::query_as("SELECT * FROM place").fetch_one(&mut *tx).await?;
            let cursor = Cursor { tick, noted_at, within: subject.zip(version) };
            let Read::Page { events, next } = read(&mut tx, &cursor, 9).await? else { return Ok(()) };
            for event in &events {
                sqlx::query("INSERT INTO done VALUES ($1, $2)")
                    .bind(event.subject)
                    .bind(event.version)
                    .execute(&mut *tx)
                    .await?;
            }
            if dice.random_bool(0.3) {
                tx.rollback().await?;
                continue;
            }
            sqlx::query("UPDATE place SET tick = $1, at = $2, subject = $3, version = $4")
                .bind(next.tick)
                .bind(next.noted_at)
                .bind(next.within.map(|(subject, _)| subject))
                .bind(next.within.map(|(_, version)| version))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
    };
    let (one, other) = tokio::join!(follow(0), follow(1));
    one?;
    other?;
    let (done, events): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM shown_events)")
            .fetch_one(&mut conn)
            .await?;
    assert_eq!((done, events), (300, 300));
    Ok(())
}
