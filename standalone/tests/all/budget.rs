//! What an order may cost, in counts that do not depend on the machine's mood. One place for all bounds: a change that
//! raises one has to say so here.

use std::time::Duration;

use anyhow::Result;
use api::orders::writer::{Answer, Writer};
use domain::order::NewOrder;
use domain::order::request::OrderRequest;
use domain::origin::Headers;
use domain::payment::AttemptOutcome;
use loadtest::load::{OnFault, Pace, Plan, Tokens, load};
use runtime::tasks::Stop;
use serde_json::json;
use servers::{Postgres, PostgresSettings};
use sqlx::PgConnection;
use store::accept::{Accept, accept};
use store::claim::claim;
use store::settle::{Next, Settlement, settle};
use testbed::{Client, Options, Pipeline, TestDatabase, Via, until};
use tokio::sync::mpsc;

/// Orders in one group commit at full load.
const BATCH: usize = 64;
/// Batches measured: enough for the pages that a batch shares to average out.
const BATCHES: usize = 50;
/// Orders measured.
const ORDERS: i64 = (BATCH * BATCHES) as i64;

/// Transactions: accept, claim, settle, each once a batch. The first two are a statement each; a settlement begins and commits
/// aloud, because a few of them have more to write.
const TRANSACTIONS_A_BATCH: i64 = 3;
/// Rows inserted an order: order, charge in the queue, event; attempt, payment, event.
const INSERTS: i64 = 6;
/// Rows updated an order: the charge, in place, when it is claimed, and the order when it is settled.
const UPDATES: i64 = 2;
/// Rows deleted an order: the charge.
const DELETES: i64 = 1;
/// Bytes of write-ahead log an order, everything included: 2,160 measured, and a tenth. (2,815 before orders' own charges waited in a
/// queue of their own.)
const WAL_BYTES: i64 = 2_380;
/// Bytes of log that an order has more of for a modifier on each of its two lines and a delivery fee: 509 measured, and a tenth. The
/// lines stand in the order's first event, and so do amounts beside them.
const CHOSEN_BYTES: i64 = 560;
/// Messages a batch.
const MESSAGES_A_BATCH: usize = 1;
/// Bytes of a message an order.
const MESSAGE_BYTES: usize = 40;

/// Allocations an order from POST to CONFIRMED, of api, worker and gateway-mock together, unoptimised: 112 measured, and a
/// tenth.
const ALLOCATIONS: u64 = 124;
/// Requests under way at once while they are counted.
const CONNECTIONS: usize = 64;
/// Orders before they are counted, which open connections and prepare statements, and orders that are.
const COUNTED: u64 = 1_000;

fn batch(body: &serde_json::Value) -> Vec<Accept> {
    let body = body.to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
    std::iter::repeat_with(|| Accept { order: NewOrder::parse(&request).unwrap(), key: None })
        .take(BATCH)
        .collect()
}

/// Transactions, and rows inserted, updated, updated in place and deleted, since the server began to count, once they stand still.
async fn counted(conn: &mut PgConnection, expected_inserts: i64) -> Result<(i64, [i64; 4])> {
    until("the server has counted everything", async || {
        let (transactions, inserts, updates, in_place, deletes): (i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
                    sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(n_tup_del)::bigint
             FROM pg_stat_user_tables
             WHERE relname IN ('orders', 'open_charges', 'payments', 'payment_attempts', 'order_events', 'names')",
        )
        .fetch_one(&mut *conn)
        .await?;
        Ok((inserts >= expected_inserts).then_some((transactions, [inserts, updates, in_place, deletes])))
    })
    .await
}

/// Transactions that made the schema, once whoever did has ended, and with that has told what it counted.
async fn made(conn: &mut PgConnection) -> Result<i64> {
    until("nobody else is connected", async || {
        let (sessions, transactions): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()), xact_commit
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut *conn)
        .await?;
        Ok((sessions == 1).then_some(transactions))
    })
    .await
}

/// What orders cost a server of their own from POST to CONFIRMED.
struct Cost {
    transactions: i64,
    /// Inserted, updated, updated in place, deleted; of all orders.
    rows: [i64; 4],
    /// Bytes of log an order.
    wal: i64,
}

async fn cost(body: &serde_json::Value) -> Result<Cost> {
    // A server of its own: the log and the counters are the whole server's.
    let mut server =
        tokio::task::spawn_blocking(|| Postgres::start(&PostgresSettings::temporary())).await??;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let lease = Duration::from_secs(60);
    let mut conn = database.connect().await?;
    let made = made(&mut conn).await?;
    let before: i64 = sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        .fetch_one(&mut conn)
        .await?;
    for _ in 0..BATCHES {
        let batch = batch(body);
        accept(&mut conn, &batch, lease).await?;
        let hints: Vec<_> = batch.iter().map(|one| one.order.payment_id()).collect();
        let claimed = claim(&mut conn, &hints, lease).await?;
        let settlements: Vec<_> = claimed
            .iter()
            .map(|claim| {
                let next = Next::Succeeded { gateway_id: "ch_0123456789abcdef".into() };
                Settlement::new(claim, AttemptOutcome::Succeeded, next)
            })
            .collect();
        assert_eq!(settle(&mut conn, &settlements, lease).await?.len(), BATCH);
    }
    let after: i64 = sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        .fetch_one(&mut conn)
        .await?;
    // A session tells what it has counted when it ends.
    sqlx::Connection::close(conn).await?;
    let mut conn = database.connect().await?;
    let (transactions, rows) = counted(&mut conn, ORDERS * INSERTS).await?;
    drop(conn);
    tokio::task::spawn_blocking(move || server.stop()).await??;
    Ok(Cost { transactions: transactions - made, rows, wal: (after - before) / ORDERS })
}

#[tokio::test]
async fn an_order_costs_no_more_than_its_budget() -> Result<()> {
    let Cost { transactions, rows, wal } = cost(&Client::an_order()).await?;
    // All updates in place: no index is written for them.
    assert_eq!(rows, [INSERTS, UPDATES, UPDATES, DELETES].map(|rows| rows * ORDERS));
    // Beside the three a batch: looking at the log and at these counters, 11 times as measured.
    assert!(transactions <= TRANSACTIONS_A_BATCH * BATCHES as i64 + 20, "{transactions} transactions");
    println!("{wal} bytes of write-ahead log an order");
    assert!(wal <= WAL_BYTES, "{wal} bytes of log an order");
    Ok(())
}

#[tokio::test]
async fn what_is_chosen_and_what_comes_beside_the_lines_cost_bytes_and_nothing_else() -> Result<()> {
    let plain = cost(&Client::an_order()).await?;
    let mut order = Client::an_order();
    for line in order["items"].as_array_mut().into_iter().flatten() {
        line["modifiers"] = json!([{"id": "m1", "name": "Extra cheese", "quantity": 1, "price": 1.5}]);
    }
    order["adjustments"] = json!([{"kind": "delivery_fee", "amount": 2.99}]);
    let chosen = cost(&order).await?;
    assert_eq!(chosen.rows, plain.rows, "as many rows, and all updates in place");
    println!("{} bytes of write-ahead log an order more", chosen.wal - plain.wal);
    assert!(chosen.wal - plain.wal <= CHOSEN_BYTES, "{} bytes of log an order more", chosen.wal - plain.wal);
    Ok(())
}

#[tokio::test]
async fn a_group_commit_is_one_message() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (desk, lane) = runtime::batch::desk::<Accept, Answer>(BATCH, BATCH);
    let (publish, mut hints) = mpsc::channel(16);
    let mut writer = Writer::new(lane, database.database().session(), publish, Duration::from_secs(60));
    let waiting: Vec<_> = batch(&Client::an_order())
        .into_iter()
        .map(|order| {
            let desk = desk.clone();
            Box::pin(async move { desk.offer(order).await })
        })
        .collect();
    let (answers, written) = tokio::join!(
        async {
            let mut answers = Vec::new();
            let mut set = tokio::task::JoinSet::new();
            waiting.into_iter().for_each(|one| drop(set.spawn(one)));
            while let Some(answer) = set.join_next().await {
                answers.push(answer??);
            }
            anyhow::Ok(answers)
        },
        async {
            let mut written = 0;
            let mut batches = 0;
            while written < BATCH {
                written += writer.run_once().await.unwrap_or(BATCH);
                batches += 1;
            }
            batches
        }
    );
    assert_eq!(answers?.len(), BATCH);
    let mut messages = 0;
    while let Ok(message) = hints.try_recv() {
        messages += MESSAGES_A_BATCH;
        let (bytes, payments) = (message.to_bytes().len(), message.payments.len());
        assert!(bytes <= MESSAGE_BYTES * payments + 32, "{bytes} bytes for {payments} payments");
        assert_eq!(message.headers(), Headers::default(), "no trace, no headers");
    }
    assert_eq!(messages, written, "a message a group commit, whatever its size");
    Ok(())
}

/// The whole pipeline on one thread, because allocations are counted by thread. The load generator's own are few: it
/// repeats one request over connections that it keeps.
#[test]
fn an_order_allocates_no_more_than_its_budget() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let database = runtime.block_on(TestDatabase::new())?;
    let options = Options::new(Via::InProcess);
    let pipeline = runtime.block_on(Pipeline::start(&database, options))?;
    let plan = Plan {
        addr: pipeline.client.api.trim_start_matches("http://").parse()?,
        connections: CONNECTIONS,
        tokens: Tokens::one(&testbed::people::manager()?),
        pace: Pace::Closed,
        count: Some(COUNTED),
        time: None,
        with_keys: false,
        on_fault: OnFault::Stop,
        accepted_log: None,
    };
    let run = || {
        runtime.block_on(async {
            load(&plan, &Stop::new()).await?;
            loadtest::until_settled(database.url(), Duration::from_secs(60), &Stop::new()).await
        })
    };
    run()?;
    let mut counted = Ok(Duration::ZERO);
    let allocations = allocation_counter::measure(|| counted = run()).count_total / COUNTED;
    counted?;
    println!("{allocations} allocations an order");
    assert!(allocations <= ALLOCATIONS, "{allocations} allocations an order");
    runtime.block_on(async {
        crate::settled(database.url(), &pipeline.client, None).await?;
        pipeline.stop().await
    })
}
