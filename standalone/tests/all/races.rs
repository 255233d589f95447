//! The kitchen over a whole pipeline: races of people with each other and with the workers, reconciled with the
//! gateway's ledger.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{count, settled};

/// Requests under way at once.
const SIDE_BY_SIDE: usize = 32;

/// Asks as a client does: on a busy machine an answer may come too late (503), and then it asks again. What its first
/// request did is told by the conflict with itself.
async fn post(client: &Client, id: Uuid, verb: &str, body: Value) -> Result<(u16, Value)> {
    let url = format!("{}/api/v1/orders/{id}/{verb}", client.api);
    let mut asked_again = false;
    loop {
        let answer = client.http.post(&url).json(&body).send().await?;
        let (status, answer) = (answer.status().as_u16(), answer.json::<Value>().await?);
        let code = answer["errors"][0]["code"].as_str().unwrap_or("");
        match status {
            503 => asked_again = true,
            409 if asked_again && ["same_status", "duplicate_payment_reference"].contains(&code) => {
                return Ok((200, client.read(id).await?));
            }
            _ => return Ok((status, answer)),
        }
    }
}

/// Does `work` for each order, some at a time.
async fn for_each<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    orders: &[Uuid],
    work: impl Fn(Uuid) -> F,
) -> Result<Vec<T>> {
    let room = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut under_way = JoinSet::new();
    for id in orders {
        let (room, work) = (Arc::clone(&room).acquire_owned().await?, work(*id));
        under_way.spawn(async move {
            let done = work.await;
            drop(room);
            done
        });
    }
    let mut all = Vec::with_capacity(orders.len());
    while let Some(done) = under_way.join_next().await {
        all.push(done??);
    }
    Ok(all)
}

async fn all_are(database: &TestDatabase, status: &str, orders: usize) -> Result<()> {
    testbed::until(&format!("all are {status}"), async || {
        Ok((count(database, status).await? == orders as i64).then_some(()))
    })
    .await
}

#[tokio::test]
async fn accept_and_reject_fired_together_a_thousand_times_have_one_winner_each() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let orders = pipeline.client.orders(1_000, SIDE_BY_SIDE).await?;
    all_are(&database, "CONFIRMED", 1_000).await?;
    let outcomes = for_each(&orders, |id| {
        let client = pipeline.client.clone();
        async move {
            let (accept, reject) = tokio::join!(
                post(&client, id, "accept", json!({})),
                post(&client, id, "reject", json!({"reason": "no buns"}))
            );
            let (accept, reject) = (accept?, reject?);
            let (winner, loser) = if accept.0 == 200 { (&accept, &reject) } else { (&reject, &accept) };
            ensure!((winner.0, loser.0) == (200, 409), "order {id}: {accept:?} and {reject:?}");
            ensure!(loser.1["current_status"] == winner.1["status"], "{loser:?} lost to {winner:?}");
            Ok(accept.0 == 200)
        }
    })
    .await?;
    let accepted = outcomes.iter().filter(|accepted| **accepted).count();
    assert_eq!(settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?, 1_000);
    assert_eq!(count(&database, "ACCEPTED").await? as usize, accepted);
    assert_eq!(pipeline.client.ledger().await?.refunds.len(), 1_000 - accepted, "only where rejected");
    println!("{accepted} of 1,000 were accepted");
    pipeline.stop().await
}

/// Waits until the order shows another status than these, for half a minute at most.
async fn not_any_more(client: &Client, id: Uuid, statuses: &[&str]) -> Result<()> {
    // By hand: the future of an async closure that borrows is not known to be `Send`.
    for _ in 0..3_000 {
        let order = client.read(id).await?;
        if !statuses.iter().any(|status| order["status"] == *status) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("order {id} is still {statuses:?}")
}

/// The cancellation comes before the claim, at some moment after it, during the charge, and after it.
#[tokio::test]
async fn orders_cancelled_at_any_moment_keep_nothing() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    // Charges take long enough for a cancellation of a busy machine to come meanwhile.
    options.worker.gateway_timeout = Duration::from_secs(2);
    options.worker.circuit_breaker_failure_threshold = 1_000_000;
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    client
        .faults(
            json!({"success_rate": 0.9, "latency_max_ms": 1_500, "error_rate": 0.1, "error_after_rate": 0.1,
            "timeout_after_rate": 0.03, "malformed_rate": 0.05, "control_error_rate": 0.1}),
        )
        .await?;
    let mut under_way = JoinSet::new();
    for n in 0..400_u64 {
        let client = client.clone();
        under_way.spawn(async move {
            // As fast as they are cancelled: what waits in a queue comes when its charge is over.
            tokio::time::sleep(Duration::from_millis(n * 30)).await;
            let id = client.order(&Client::an_order()).await?;
            match n % 4 {
                0 => {}
                1 => tokio::time::sleep(Duration::from_millis(n % 50)).await,
                // A busy machine may be late for any time of day, but not for what it shows itself.
                2 => not_any_more(&client, id, &["PENDING"]).await?,
                _ => not_any_more(&client, id, &["PENDING", "PAYMENT_PROCESSING"]).await?,
            }
            let (status, order) = post(&client, id, "cancel", json!({})).await?;
            ensure!(status == 200, "{status}: {order}");
            anyhow::Ok(order["status"] == "CANCELLED")
        });
    }
    let mut at_once = 0;
    while let Some(done) = under_way.join_next().await {
        at_once += usize::from(done??);
    }
    all_are(&database, "CANCELLED", 400).await?;
    assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 400);
    let ledger = client.ledger().await?;
    assert_eq!(ledger.charges.len(), ledger.refunds.len(), "net 0");
    println!("{at_once} of 400 at once, {} were charged and given back", ledger.refunds.len());
    assert!(at_once < 400 && !ledger.refunds.is_empty(), "no race");
    pipeline.stop().await
}

#[tokio::test]
async fn unanswered_orders_are_rejected_on_time() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    options.worker.accept_deadline = Duration::from_secs(2);
    let pipeline = Pipeline::start(&database, options).await?;
    let orders = pipeline.client.orders(200, SIDE_BY_SIDE).await?;
    all_are(&database, "REJECTED", orders.len()).await?;
    let late: Vec<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM e.at - o.accept_by)::float8 FROM orders o
         JOIN order_events e ON e.subject = o.id AND e.to_status = 'REJECTED' ORDER BY 1",
    )
    .fetch_all(&mut database.connect().await?)
    .await?;
    let (first, p99) = (late.first().context("some")?, late[late.len() * 99 / 100]);
    assert!(*first >= 0.0 && p99 < 5.0, "from {first} s to {p99} s (p99) after the deadline");
    println!("rejected {first:.3} s to {p99:.3} s (p99) after the deadline");
    settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?;
    assert_eq!(pipeline.client.ledger().await?.refunds.len(), 200);
    pipeline.stop().await
}

/// The money that the gateway kept, in minor units.
fn kept(ledger: &domain::gateway::Ledger) -> i64 {
    let minor = |money: Result<domain::money::Money, _>| money.map_or(0, |money| money.minor());
    ledger.charges.iter().map(|charge| minor(charge.money())).sum::<i64>()
        - ledger.refunds.iter().map(|refund| minor(refund.money())).sum::<i64>()
}

fn one_more(reference: &str) -> Value {
    json!({"payment_reference": reference,
        "items": [{"item_id": "item_002", "item_name": "Fries", "quantity": 1, "price": 4.99}]})
}

#[tokio::test]
async fn twenty_additions_of_one_at_once_make_twenty_one_units_and_twenty_one_charges() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    // To an order that is not paid yet, and to one that is.
    for paid in [false, true] {
        client.faults(json!({"latency_min_ms": 300, "latency_max_ms": 300})).await?;
        let id = client.order(&Client::an_order()).await?;
        if paid {
            client.until_status(id, "CONFIRMED").await?;
        }
        let numbers: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
        let answers = for_each(&numbers, |n| {
            let client = client.clone();
            async move { post(&client, id, "items", one_more(&n.to_string())).await }
        })
        .await?;
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        let (status, again) = post(client, id, "items", one_more(&numbers[7].to_string())).await?;
        assert_eq!((status, &again["errors"][0]["code"]), (409, &json!("duplicate_payment_reference")));
        client.no_faults().await?;
        let order = testbed::until("all is charged", async || {
            let order = client.read(id).await?;
            let all =
                order["payments"].as_array().context("a list")?.iter().all(|p| p["status"] == "succeeded");
            Ok(all.then_some(order))
        })
        .await?;
        assert_eq!(order["items"][1]["quantity"], 21);
        assert_eq!(order["payments"].as_array().map(Vec::len), Some(21));
        assert_eq!((&order["total"], &order["status"]), (&json!(130.77), &json!("CONFIRMED")));
    }
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    let ledger = client.ledger().await?;
    assert_eq!((ledger.charges.len(), kept(&ledger)), (42, 2 * 13_077));
    pipeline.stop().await
}

#[tokio::test]
async fn a_rejected_order_with_three_charges_has_three_refunds_and_nothing_is_kept() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let id = client.order(&Client::an_order()).await?;
    client.until_status(id, "CONFIRMED").await?;
    for n in ["a", "b"] {
        assert_eq!(post(client, id, "items", one_more(n)).await?.0, 200);
    }
    testbed::until("all is charged", async || {
        let order = client.read(id).await?;
        let all = order["payments"].as_array().context("a list")?.iter().all(|p| p["status"] == "succeeded");
        Ok(all.then_some(()))
    })
    .await?;
    let (status, order) = post(client, id, "reject", json!({"reason": "no buns"})).await?;
    assert_eq!((status, order["payments"].as_array().map(Vec::len)), (200, Some(6)));
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    let ledger = client.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.refunds.len(), kept(&ledger)), (3, 3, 0));
    let more = post(client, id, "items", one_more("c")).await?;
    assert_eq!((more.0, &more.1["errors"][0]["code"]), (409, &json!("not_open")));
    pipeline.stop().await
}

#[tokio::test]
async fn an_addition_whose_charge_fails_is_taken_off_and_the_order_stands() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let id = client.order(&Client::an_order()).await?;
    client.until_status(id, "CONFIRMED").await?;
    client.faults(json!({"success_rate": 0.0})).await?;
    assert_eq!(post(client, id, "items", one_more("a")).await?.1["total"], json!(35.96));
    let order = testbed::until("it is taken off", async || {
        let order = client.read(id).await?;
        Ok((order["total"] == json!(30.97)).then_some(order))
    })
    .await?;
    assert_eq!((&order["status"], &order["items"][1]["quantity"]), (&json!("CONFIRMED"), &json!(1)));
    assert_eq!(order["payments"][1]["status"], "failed");

    // Paid anew: an order whose own charge failed, with an addition that was never charged.
    let id = client.order(&Client::an_order()).await?;
    let added = post(client, id, "items", one_more("b")).await?;
    client.until_status(id, "PAYMENT_FAILED").await?;
    client.no_faults().await?;
    let total = if added.0 == 200 {
        testbed::until("it is taken off", async || {
            let order = client.read(id).await?;
            Ok((order["total"] == json!(30.97)).then_some(order["total"].clone()))
        })
        .await?
    } else {
        json!(30.97)
    };
    let pay = json!({"payment_reference": "other card"});
    let (status, order) = post(client, id, "payment", pay.clone()).await?;
    assert_eq!((status, &order["status"], &order["total"]), (200, &json!("PAYMENT_PROCESSING"), &total));
    let order = client.until_status(id, "CONFIRMED").await?;
    assert_eq!(order["version"], 5);
    let again = post(client, id, "payment", pay).await?;
    assert_eq!((again.0, &again.1["errors"][0]["code"]), (409, &json!("duplicate_payment_reference")));
    let other = post(client, id, "payment", json!({"payment_reference": "third card"})).await?;
    assert_eq!((other.0, &other.1["errors"][0]["code"]), (409, &json!("illegal_move")));
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    let ledger = client.ledger().await?;
    assert_eq!(kept(&ledger), 2 * 3_097);
    pipeline.stop().await
}

#[tokio::test]
async fn orders_with_additions_cancelled_at_any_moment_keep_nothing() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    options.worker.gateway_timeout = Duration::from_millis(300);
    options.worker.circuit_breaker_failure_threshold = 1_000_000;
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    client
        .faults(json!({"success_rate": 0.8, "latency_max_ms": 60, "error_rate": 0.1, "error_after_rate": 0.1,
            "malformed_rate": 0.05, "control_error_rate": 0.1}))
        .await?;
    let orders: Vec<Uuid> = (0..150).map(|_| Uuid::now_v7()).collect();
    for_each(&orders, |seed| {
        let client = client.clone();
        async move {
            let id = client.order(&Client::an_order()).await?;
            let nap = |bits: u32| Duration::from_millis((seed.as_u128() >> bits) as u64 % 120);
            for n in ["a", "b"] {
                tokio::time::sleep(nap(if n == "a" { 0 } else { 8 })).await;
                let (status, answer) = post(&client, id, "items", one_more(n)).await?;
                ensure!([200, 409].contains(&status), "{status}: {answer}");
            }
            tokio::time::sleep(nap(16)).await;
            let (status, answer) = post(&client, id, "cancel", json!({})).await?;
            ensure!(status == 200, "{status}: {answer}");
            Ok(())
        }
    })
    .await?;
    all_are(&database, "CANCELLED", 150).await?;
    testbed::until("every failed addition is taken off", async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM shown_payments WHERE added IS NOT NULL AND (due_at IS NOT NULL OR (status = 'failed' AND dropped_at IS NULL))",
        )
        .fetch_one(&mut database.connect().await?)
        .await?;
        Ok((left == 0).then_some(()))
    })
    .await?;
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    let ledger = client.ledger().await?;
    println!(
        "{} charges, {} refunds, {} voids",
        ledger.charges.len(),
        ledger.refunds.len(),
        ledger.voided.len()
    );
    assert_eq!(kept(&ledger), 0);
    pipeline.stop().await
}
