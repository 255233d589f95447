//! What a list shows is what the table holds, whatever is asked for; and a restaurant's board reads no more of the table
//! than it shows.
use anyhow::{Context, Result};
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use store::list::{Counted, Filter, PageStart, page};
use store::moves::{Moved, carry_out};
use testbed::TestDatabase;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::orders::{accepted, claimed, confirmed};

/// Orders that are over.
const FINISHED: i64 = 20_000;
/// Filters drawn.
const FILTERS: usize = 150;
/// Locations that are asked for.
const PLACES: [&[&str]; 5] = [&[], &[], &["main"], &["soho"], &["soho", "main"]];
/// Rows of `orders` that a board may read: no more than wait for something.
const MOST_READ: usize = 16;

async fn finished(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
         SELECT ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 100, now() - interval '1 day', now(), 6,
             'DELIVERED', 'USD', 'bob' FROM generate_series(1, $1) i",
    )
    .bind(FINISHED)
    .execute(&mut *conn)
    .await?;
    // As it is after a while; what the planner thinks of an empty table is another matter.
    sqlx::query("ANALYZE orders").execute(conn).await?;
    Ok(())
}

async fn step(conn: &mut PgConnection, order_id: Uuid, wanted: Wanted) -> Result<()> {
    let ask = Move {
        request: Uuid::now_v7(),
        order_id,
        wanted,
        by: Actor::Staff(None),
        reason: Some("so".to_owned()),
        expected: Expected::default(),
    };
    let moved = carry_out(conn, &ask).await?;
    anyhow::ensure!(matches!(moved, Moved::Done { .. }), "{wanted:?}: {moved:?}");
    Ok(())
}

/// Orders that stand everywhere, each way that leads into the kitchen and out of it walked once.
async fn everywhere(conn: &mut PgConnection) -> Result<()> {
    use OrderStatus::{Accepted, Delivered, Preparing, Ready};
    accepted(conn, 3).await?;
    let processing = accepted(conn, 3).await?;
    claimed(conn, &processing).await?;
    let ways: [&[Wanted]; 9] = [
        &[],
        &[Wanted::Accept],
        &[Wanted::Reject],
        &[Wanted::Cancel],
        &[Wanted::Accept, Wanted::Cancel],
        &[Wanted::Status(Accepted), Wanted::Status(Preparing)],
        &[Wanted::Accept, Wanted::Status(Preparing), Wanted::Status(Ready)],
        &[Wanted::Accept, Wanted::Status(Preparing), Wanted::Status(Accepted)],
        &[Wanted::Accept, Wanted::Status(Preparing), Wanted::Status(Ready), Wanted::Status(Delivered)],
    ];
    for (order, way) in confirmed(conn, ways.len()).await?.iter().zip(ways) {
        for wanted in way {
            step(conn, order.id, *wanted).await?;
        }
    }
    Ok(())
}

/// What should be shown, by a look at every row.
async fn by_looking(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(
        "SELECT id FROM shown_orders
         WHERE ($1::text IS NULL OR customer_id = $1) AND (cardinality($2::order_status[]) = 0 OR status = ANY($2))
             AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
             AND (cardinality($5::text[]) = 0 OR location = ANY($5))
             AND ($6::timestamptz IS NULL OR updated_at >= $6)
         ORDER BY id DESC",
    )
    .bind(&filter.customer_id)
    .bind(&filter.statuses)
    .bind(filter.from)
    .bind(filter.to)
    .bind(&filter.locations)
    .bind(filter.updated_from)
    .fetch_all(conn)
    .await?)
}

/// Rows of `orders` that this connection has read, since it last told the server about it: not within a transaction.
async fn rows_read(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'orders'",
    )
    .fetch_one(conn)
    .await?)
}

/// A page, how many match, and how many rows of `orders` were read for it.
async fn shown(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: usize,
) -> Result<(Vec<Uuid>, Counted, usize)> {
    let mut tx = conn.begin().await?;
    let before = rows_read(&mut tx).await?;
    let found = page(&mut tx, filter, start, limit).await?;
    let read = rows_read(&mut tx).await? - before;
    tx.rollback().await?;
    let ids = found.orders.iter().map(|order| order.id).collect();
    Ok((ids, found.total, usize::try_from(read)?))
}

#[tokio::test]
async fn a_board_of_what_is_not_over_reads_what_it_shows_and_nothing_of_what_is() -> Result<()> {
    use OrderStatus::{Accepted, Confirmed, PaymentProcessing, Pending, Preparing, Ready};
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    finished(&mut conn).await?;
    everywhere(&mut conn).await?;
    let boards: [(&[OrderStatus], usize); 7] = [
        (&[Pending], 3),
        (&[PaymentProcessing], 3),
        (&[Confirmed], 1),
        (&[Accepted], 2),
        (&[Preparing], 1),
        (&[Ready], 1),
        (&[Pending, PaymentProcessing, Confirmed, Accepted, Preparing, Ready], 11),
    ];
    for (statuses, count) in boards {
        let filter = Filter { statuses: statuses.to_vec(), ..Filter::default() };
        let (ids, total, read) = shown(&mut conn, &filter, PageStart::Offset(0), 20).await?;
        assert_eq!((ids.len(), total.orders, total.capped), (count, count, false), "{statuses:?}");
        assert_eq!(ids, by_looking(&mut conn, &filter).await?, "{statuses:?}");
        assert!(read <= MOST_READ, "{statuses:?}: {read} rows read for {count}");
    }
    // Whoever moves it: an old program, a person at a console.
    let moved: Vec<Uuid> =
        sqlx::query_scalar("UPDATE orders SET status = 'PREPARING' WHERE status = 'CONFIRMED' RETURNING id")
            .fetch_all(&mut conn)
            .await?;
    let filter = Filter { statuses: vec![Preparing], ..Filter::default() };
    let (ids, total, _) = shown(&mut conn, &filter, PageStart::Offset(0), 20).await?;
    assert!(moved.len() == 1 && ids.contains(&moved[0]) && total.orders == 2, "{moved:?}, {ids:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_is_what_a_look_at_every_row_finds() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    finished(&mut conn).await?;
    everywhere(&mut conn).await?;
    let elsewhere = "UPDATE orders SET location = 'soho' WHERE right(id::text, 1) IN ('3', '7', 'a', 'e')";
    sqlx::query(elsewhere).execute(&mut conn).await?;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let hours = |hours: i64| OffsetDateTime::now_utc() - time::Duration::hours(hours);
    let mut found_some = 0;
    for _ in 0..FILTERS {
        let filter = Filter {
            customer_id: dice.random_bool(0.3).then(|| ["ann", "bob"].choose(&mut dice).unwrap().to_string()),
            channel: None,
            fulfilment: None,
            updated_from: dice.random_bool(0.2).then(|| hours(dice.random_range(0..2))),
            locations: PLACES.choose(&mut dice).unwrap().iter().map(|id| id.to_string()).collect(),
            statuses: OrderStatus::ALL.into_iter().filter(|_| dice.random_bool(0.2)).collect(),
            // An order's id holds when it was made; the old ones' ids are those of 1970, so `from` is never before them.
            from: dice.random_bool(0.2).then(|| hours(dice.random_range(0..2))),
            to: dice.random_bool(0.2).then(|| hours(dice.random_range(-2..48))),
        };
        let all = by_looking(&mut conn, &filter).await?;
        found_some += usize::from(!all.is_empty());
        let (offset, limit) = (dice.random_range(0..5), dice.random_range(1..30));
        let (ids, total, _) = shown(&mut conn, &filter, PageStart::Offset(offset), limit).await?;
        let expected: Vec<Uuid> = all.iter().copied().skip(offset).take(limit).collect();
        assert_eq!(ids, expected, "{filter:?}");
        if total.capped {
            // Not every one of the twenty thousand was looked at.
            assert!(total.orders <= all.len(), "{filter:?}: {total:?} of {}", all.len());
        } else {
            assert_eq!(total.orders, all.len(), "{filter:?}");
        }
        if let Some(after) = ids.last() {
            let (ids, _, _) = shown(&mut conn, &filter, PageStart::After(*after), limit).await?;
            let place = all.iter().position(|id| id == after).context("it was found")?;
            let expected: Vec<Uuid> = all.iter().copied().skip(place + 1).take(limit).collect();
            assert_eq!(ids, expected, "{filter:?} after {after}");
        }
    }
    assert!(found_some > FILTERS / 3, "only {found_some} filters found anything");
    Ok(())
}
