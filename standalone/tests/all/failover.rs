//! The primary dies under load and its standby takes over, there and back: with a synchronous standby nothing is lost or charged
//! twice, with an asynchronous one what is lost is named.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reconcile::{Invariant, reconcile};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use store::Database;
use testbed::{Client, Commits, Options, Pair, Pipeline, TestDatabase, Via, until};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{count, settled};

/// Longer than a server may take over a statement: what it has not said by then, it will not say.
const LONGER_THAN_A_STATEMENT: Duration = Duration::from_secs(7);

/// A pipeline over a pair of servers.
async fn over(pair: &Pair) -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::on(&pair.url("postgres").await?).await?;
    let pipeline =
        Pipeline::over(Database::new(database.url(), "test")?, Options::new(Via::InProcess)).await?;
    Ok((database, pipeline))
}

/// One order under its key: its status code, and its id where it was accepted.
async fn post(client: &Client, key: &str) -> Result<(u16, Option<Uuid>)> {
    let request = client.http.post(format!("{}/api/v1/orders", client.api));
    let answer = request.header("Idempotency-Key", key).json(&Client::an_order()).send().await?;
    let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await?;
    ensure!(status == 202 || (status == 503 && retry), "{status}, Retry-After: {retry}: {body}");
    Ok((status, body["id"].as_str().and_then(|id| id.parse().ok())))
}

/// Orders, one after the other, each sent until it is accepted; until `enough`.
async fn load(client: Client, enough: Arc<AtomicBool>) -> Result<Vec<Uuid>> {
    let mut accepted = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        let key = Uuid::new_v4().to_string();
        loop {
            if let (202, id) = post(&client, &key).await? {
                accepted.push(id.context("the answer has no id")?);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_takes_over_under_load_and_nothing_is_lost_or_charged_twice_there_and_back()
-> Result<()> {
    let pair = Pair::start(Commits::WaitForStandby).await?;
    let (database, pipeline) = over(&pair).await?;
    let client = &pipeline.client;
    client.faults(json!({"latency_min_ms": 5, "latency_max_ms": 300})).await?;
    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(load(client.clone(), Arc::clone(&enough)));
    }
    for turn in 1..=2 {
        until("orders flow", async || Ok((count(&database, "CONFIRMED").await? >= turn * 100).then_some(())))
            .await?;
        pair.fail_over(Duration::from_millis(300)).await?;
        pair.rejoin().await?;
    }
    enough.store(true, Ordering::Relaxed);
    let mut accepted = HashSet::new();
    while let Some(sent) = clients.join_next().await {
        accepted.extend(sent??);
    }
    client.no_faults().await?;
    assert_eq!(
        settled(database.url(), client, None).await?,
        accepted.len() as u64,
        "no order more, none less"
    );
    assert_eq!(client.ledger().await?.charges.len(), accepted.len());
    assert_eq!(count(&database, "CONFIRMED").await?, i64::try_from(accepted.len())?);
    pipeline.stop().await
}

/// The standby is away, and commits wait for it: nobody may be told of what it does not have, a second request for the same
/// order neither.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_synchronous_standby_does_not_have_is_never_acknowledged() -> Result<()> {
    let pair = Pair::start(Commits::WaitForStandby).await?;
    let (database, pipeline) = over(&pair).await?;
    let client = &pipeline.client;
    assert_eq!(post(client, "before").await?.0, 202);
    pair.cut_off().await?;
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < LONGER_THAN_A_STATEMENT {
        assert_eq!(post(client, "meanwhile").await?, (503, None), "after {:?}", begun.elapsed());
        asked += 1;
    }
    assert!(asked > 1, "{asked}");
    pair.fail_over(Duration::ZERO).await?;
    until(
        "orders are accepted again",
        async || Ok((post(client, "meanwhile").await?.0 == 202).then_some(())),
    )
    .await?;
    assert_eq!(settled(database.url(), client, None).await?, 2);
    assert_eq!(client.ledger().await?.charges.len(), 2);
    pipeline.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_asynchronous_standby_did_not_have_is_named_with_its_charge() -> Result<()> {
    let pair = Pair::start(Commits::WaitForNobody).await?;
    let (database, pipeline) = over(&pair).await?;
    let client = &pipeline.client;
    let kept: HashSet<Uuid> = client.orders(20, 4).await?.into_iter().collect();
    settled(database.url(), client, None).await?;
    // The standby has this one as it was accepted, and does not know that it was charged.
    client.faults(json!({"down": true})).await?;
    let half = client.order(&Client::an_order()).await?;
    pair.until_equal().await?;
    pair.cut_off().await?;
    client.no_faults().await?;
    let lost: HashSet<Uuid> = client.orders(20, 4).await?.into_iter().collect();
    settled(database.url(), client, None).await?;

    pair.fail_over(Duration::ZERO).await?;
    // Its charge is asked for again, under its key, and is the one that there is.
    until("the half one is confirmed anew", async || {
        Ok((client.read(half).await?["status"] == "CONFIRMED").then_some(()))
    })
    .await?;
    let ledger = client.ledger().await?;
    let report = reconcile(database.url(), &ledger).await?;
    assert_eq!(report.orders(), kept.len() as u64 + 1);
    assert_eq!(ledger.charges.len(), kept.len() + lost.len() + 1, "nothing is charged twice");
    let named = report.of(Invariant::LedgerExplained);
    assert_eq!(named.violated, lost.len() as u64, "\n{report}");
    for id in &lost {
        let charge = format!("charge {id} of 30.97 USD for order {id}");
        assert!(named.examples.contains(&charge), "{charge} is not named:\n{report}");
    }
    assert_eq!(report.of(Invariant::ChargedOnce).violated, 0, "\n{report}");
    pipeline.stop().await
}

/// What a managed failover looks like from here: the primary is read-only for a while, with charges under way.
#[tokio::test]
async fn charges_under_way_are_settled_when_the_database_can_be_written_to_again() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    client.faults(json!({"latency_min_ms": 700, "latency_max_ms": 700})).await?;
    client.orders(20, 8).await?;
    let mut conn = database.connect().await?;
    let under_way = "SELECT count(*) FROM open_charges WHERE trying IS NOT NULL";
    until("all are being charged", async || {
        let under_way: i64 = sqlx::query_scalar(under_way).fetch_one(&mut conn).await?;
        Ok((under_way == 20).then_some(()))
    })
    .await?;
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await?;
    let read_only =
        |on| AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}"));
    conn.execute(sqlx::raw_sql(read_only("on"))).await?;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    conn.execute(end).await?;
    assert_eq!(post(client, "meanwhile").await?.0, 503);
    until("the gateway has charged all", async || {
        Ok((client.ledger().await?.charges.len() == 20).then_some(()))
    })
    .await?;
    assert_eq!(post(client, "meanwhile").await?.0, 503);
    let settled_meanwhile: i64 =
        sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&mut conn).await?;
    assert_eq!(settled_meanwhile, 0);
    conn.execute(sqlx::raw_sql(AssertSqlSafe(format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only"
    ))))
    .await?;

    client.no_faults().await?;
    settled(database.url(), client, None).await?;
    // By those who had charged them: no lease ran out, nothing was asked twice.
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM payment_attempts").fetch_one(&mut conn).await?;
    assert_eq!((tries, count(&database, "CONFIRMED").await?), (20, 20));
    until(
        "orders are accepted again",
        async || Ok((post(client, "meanwhile").await?.0 == 202).then_some(())),
    )
    .await?;
    pipeline.stop().await
}
