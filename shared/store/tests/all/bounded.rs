//! No list costs more than a bounded look, whatever is asked for: counted in blocks that are read, over 200,000 orders of which
//! half are not over. And whoever follows the cursors meets every order once.

use std::collections::HashSet;

use anyhow::{Context, Result};
use domain::channel::name::ChannelName;
use domain::order::details::Fulfilment;
use domain::order::status::OrderStatus::{
    self, Accepted, Cancelled, Confirmed, Delivered, PaymentProcessing, Pending, Preparing, Ready,
};
use sqlx::{Connection, Executor, PgConnection};
use store::list::{Filter, MAX_COUNTED, Page, PageStart, page};
use testbed::TestDatabase;
use time::OffsetDateTime;
use uuid::Uuid;

/// Orders in all; the newer half are over.
const ORDERS: usize = 200_000;
/// Blocks that a list may read: what 20,000 orders lie on, four times over: for the page and where it ended, for the count and where
/// that ended; and what leads to them. All orders lie on 17,000.
const MOST_READ: i64 = 10_000;
/// The same of a channel's orders, or a location's, which lie scattered: 5,000, twice over, and where each of them
/// stands and how it is handed over.
const MOST_READ_SCATTERED: i64 = 60_000;
/// The server chooses between these, once it has planned a statement five times: for what is asked, and for whatever may be.
pub(crate) const PLANS: [&str; 2] = ["force_custom_plan", "force_generic_plan"];

/// The older half by turns in the queue, claimed and not, confirmed, in the kitchen; the newer half delivered to bob, by a channel.
/// An order each ten milliseconds. The oldest three are zoe's, and
/// made in the attic; of all others every tenth is made in Soho.
async fn fill(conn: &mut PgConnection) -> Result<()> {
    let rows = format!(
        "CREATE TABLE made AS
         SELECT i, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid AS id,
             CASE WHEN i > {ORDERS} / 2 THEN 'DELIVERED'
                  ELSE (ARRAY['PENDING', 'PENDING', 'CONFIRMED', 'ACCEPTED', 'READY'])[1 + i % 5] END::order_status AS status
         FROM (SELECT i, date_trunc('second', now()) - ({ORDERS} - i) * interval '10 ms' AS at FROM generate_series(1, {ORDERS}) i) made"
    );
    for statement in [
        rows.as_str(),
        "INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, cancel_reason, location)
         SELECT id, 100, at, at, 1, status, 'USD', CASE WHEN i <= 3 THEN 'zoe' WHEN status = 'DELIVERED' THEN 'bob' ELSE 'ann' END,
             repeat('x', 200), CASE WHEN i <= 3 THEN 'attic' WHEN i % 10 = 0 THEN 'soho' ELSE 'main' END
         FROM made ORDER BY i",
        "INSERT INTO order_details (order_id, paid_elsewhere, channel, channel_order_id, handover)
         SELECT id, false, 'dish', i, CASE WHEN i % 4 = 0 THEN jsonb_build_object('fulfilment', 'pickup') ELSE '{}' END FROM made WHERE status = 'DELIVERED' ORDER BY i",
        "INSERT INTO open_charges (id, amount_minor, created_at, due_at, began_at, epoch, currency)
         SELECT id, 100, at, at, CASE WHEN i % 5 = 0 THEN at END, CASE WHEN i % 5 = 0 THEN 1 ELSE 0 END, 'USD'
         FROM made WHERE status = 'PENDING' ORDER BY i",
        "INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, kind, status, currency)
         SELECT id, id, 100, at, at + interval '5 min', 'charge', 'succeeded', 'USD' FROM made WHERE status = 'CONFIRMED' ORDER BY i",
        "INSERT INTO in_kitchen SELECT id, status FROM made WHERE status IN ('ACCEPTED', 'READY') ORDER BY i",
    ] {
        conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))).await?;
    }
    Ok(())
}

/// Blocks of all tables and indexes that this transaction has read.
pub(crate) async fn blocks_read(conn: &mut PgConnection) -> Result<i64> {
    let read = "SELECT sum(pg_stat_get_xact_blocks_fetched(oid))::bigint FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    Ok(sqlx::query_scalar(read).fetch_one(conn).await?)
}

/// A page, and how many blocks were read for it.
async fn read(
    conn: &mut PgConnection,
    filter: &Filter,
    start: PageStart,
    limit: usize,
) -> Result<(Page, i64)> {
    let mut tx = conn.begin().await?;
    let before = blocks_read(&mut tx).await?;
    let page = page(&mut tx, filter, start, limit).await?;
    let read = blocks_read(&mut tx).await? - before;
    tx.rollback().await?;
    Ok((page, read))
}

fn of(statuses: &[OrderStatus]) -> Filter {
    Filter { statuses: statuses.to_vec(), ..Filter::default() }
}

fn customer(id: &str, statuses: &[OrderStatus]) -> Filter {
    Filter { customer_id: Some(id.to_owned()), ..of(statuses) }
}

fn at(locations: &[&str], statuses: &[OrderStatus]) -> Filter {
    Filter { locations: locations.iter().map(|id| id.to_string()).collect(), ..of(statuses) }
}

fn channel(customer_id: Option<&str>, statuses: &[OrderStatus]) -> Filter {
    let customer_id = customer_id.map(str::to_owned);
    Filter { channel: ChannelName::parse("dish").ok(), customer_id, ..of(statuses) }
}

/// What may be asked for, and where in it.
async fn asked(conn: &mut PgConnection) -> Result<Vec<(Filter, PageStart)>> {
    let nth = "SELECT id, created_at FROM orders WHERE id <= (SELECT id FROM made WHERE i = $1) ORDER BY id DESC LIMIT 1";
    let (deep, then): (Uuid, OffsetDateTime) =
        sqlx::query_as(nth).bind(i32::try_from(ORDERS / 4)?).fetch_one(conn).await?;
    let pickup = || Filter { fulfilment: Some(Fulfilment::Pickup), ..Filter::default() };
    let board = [Confirmed, Accepted, Preparing, Ready];
    let open = [Pending, PaymentProcessing, Confirmed, Accepted, Preparing, Ready];
    let filters = [
        Filter::default(),
        of(&[Delivered]),
        // Nobody has it.
        of(&[Cancelled]),
        of(&[Pending]),
        of(&[PaymentProcessing]),
        of(&[Confirmed]),
        of(&[Ready]),
        of(&[Preparing]),
        of(&board),
        of(&open),
        of(&[Pending, Delivered]),
        customer("bob", &[]),
        customer("bob", &[Cancelled]),
        customer("ann", &[Delivered]),
        customer("zoe", &[]),
        customer("nobody", &open),
        channel(None, &[]),
        channel(None, &[Cancelled]),
        channel(Some("zoe"), &[]),
        at(&["attic"], &[]),
        at(&["attic"], &[Cancelled]),
        at(&["soho"], &board),
        at(&["soho"], &[Pending]),
        at(&["main"], &open),
        at(&["attic", "soho"], &[]),
        Filter { customer_id: Some("zoe".to_owned()), ..at(&["soho"], &[]) },
        pickup(),
        Filter { statuses: vec![Cancelled], ..pickup() },
        Filter { customer_id: Some("bob".to_owned()), ..pickup() },
        Filter { channel: ChannelName::parse("dish").ok(), ..pickup() },
        Filter { locations: vec!["soho".to_owned()], ..pickup() },
        Filter { updated_from: Some(then), ..Filter::default() },
        Filter { updated_from: Some(then), ..of(&board) },
        Filter { updated_from: Some(then), ..of(&[Pending]) },
        Filter { updated_from: Some(OffsetDateTime::now_utc() + time::Duration::HOUR), ..Filter::default() },
        Filter { to: Some(then), ..Filter::default() },
        Filter { to: Some(then), from: Some(then - time::Duration::minutes(1)), ..of(&[Cancelled]) },
        Filter { from: Some(then), ..of(&board) },
        Filter { from: Some(then), ..of(&open) },
        Filter { to: Some(then), ..customer("bob", &[]) },
    ];
    let starts = [PageStart::Offset(0), PageStart::Offset(MAX_COUNTED - 100), PageStart::After(deep)];
    Ok(filters.into_iter().flat_map(|filter| starts.map(|start| (filter.clone(), start))).collect())
}

fn may_read(filter: &Filter) -> i64 {
    // Of what is pending and has changed it is looked up whether its charge was claimed.
    let asks_the_queue = filter.updated_from.is_some() && filter.statuses.contains(&Pending);
    let is_scattered = filter.channel.is_some()
        || filter.locations.len() == 1
        || filter.fulfilment.is_some()
        || asks_the_queue;
    if is_scattered { MOST_READ_SCATTERED } else { MOST_READ }
}

/// From now on its statements are planned so.
pub(crate) async fn planned(conn: &mut PgConnection, plans: &str) -> Result<()> {
    conn.execute(sqlx::AssertSqlSafe(format!("SET plan_cache_mode = {plans}"))).await?;
    Ok(())
}

/// All that whoever follows the cursors meets, in order.
async fn followed(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Uuid>> {
    let mut met = Vec::new();
    let mut start = PageStart::Offset(0);
    loop {
        let (page, _) = read(conn, filter, start, 3_000).await?;
        met.extend(page.orders.iter().map(|order| order.id));
        match page.next {
            Some(next) => start = PageStart::After(next),
            None => return Ok(met),
        }
    }
}

#[tokio::test]
async fn no_list_of_many_reads_more_than_a_bounded_look_and_cursors_lead_to_every_order() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    fill(&mut conn).await?;
    let all = asked(&mut conn).await?;
    // As it is before anybody has told the planner how much there is, and after.
    for analyzed in [false, true] {
        if analyzed {
            conn.execute("ANALYZE").await?;
        }
        let readers = database.database().read_pool(1);
        let mut reader = readers.acquire().await?;
        let (mut most, mut too_many) = (0, Vec::new());
        for plans in PLANS {
            planned(&mut reader, plans).await?;
            for (filter, start) in &all {
                let (_, read) = read(&mut reader, filter, *start, 100).await?;
                most = most.max(read);
                if read > may_read(filter) {
                    too_many.push(format!("{read} blocks, {plans}, for {filter:?}, {start:?}"));
                }
            }
        }
        println!("{most} blocks at most, analyzed: {analyzed}");
        assert!(too_many.is_empty(), "analyzed: {analyzed}: {too_many:#?}");
        readers.close();
    }
    let then = OffsetDateTime::now_utc() - time::Duration::seconds(1_500);
    let ready_since = format!("status = 'READY' AND at >= '{then}'");
    for (filter, matches) in [
        (of(&[Ready]), "status = 'READY'"),
        (of(&[Confirmed]), "status = 'CONFIRMED'"),
        (of(&[Pending]), "status = 'PENDING' AND i % 5 <> 0"),
        (of(&[PaymentProcessing, Accepted]), "status = 'PENDING' AND i % 5 = 0 OR status = 'ACCEPTED'"),
        (customer("bob", &[Delivered]), "status = 'DELIVERED'"),
        (at(&["soho"], &[Ready]), "i % 10 = 0 AND status = 'READY'"),
        (at(&["attic"], &[]), "i <= 3"),
        (
            Filter { fulfilment: Some(Fulfilment::Pickup), ..Filter::default() },
            "status = 'DELIVERED' AND i % 4 = 0",
        ),
        (Filter { updated_from: Some(then), ..of(&[Ready]) }, &ready_since),
    ] {
        let met = followed(&mut conn, &filter).await?;
        let ids = format!("SELECT id FROM made WHERE {matches} ORDER BY id DESC");
        let expected: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(ids)).fetch_all(&mut conn).await?;
        assert_eq!(met.len(), expected.len(), "{filter:?}");
        assert_eq!(met, expected, "{filter:?}");
        assert_eq!(met.iter().collect::<HashSet<_>>().len(), met.len());
    }
    let total = async |conn: &mut PgConnection, filter: &Filter| -> Result<(usize, bool)> {
        let (page, _) = read(conn, filter, PageStart::Offset(0), 20).await?;
        Ok((page.total.orders, page.total.capped))
    };
    assert_eq!(total(&mut conn, &Filter::default()).await?, (MAX_COUNTED, true));
    assert_eq!(total(&mut conn, &of(&[Ready])).await?, (MAX_COUNTED, true));
    assert_eq!(total(&mut conn, &of(&[Cancelled])).await?, (0, true), "so far was looked");
    assert_eq!(total(&mut conn, &customer("zoe", &[])).await?, (3, false));
    let first = read(&mut conn, &of(&[Confirmed, Ready]), PageStart::Offset(0), 20).await?.0;
    first.next.context("there is more")?;
    Ok(())
}
