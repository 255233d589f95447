//! The kitchen over a whole pipeline: races of people with each other and with the workers, reconciled with the
//! gateway's ledger.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{count, settled};

/// Requests under way at once.
const SIDE_BY_SIDE: usize = 32;

async fn post(client: &Client, id: Uuid, verb: &str, body: Value) -> Result<(u16, Value)> {
    let answer =
        client.http.post(format!("{}/api/v1/orders/{id}/{verb}", client.api)).json(&body).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
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

#[tokio::test]
async fn orders_cancelled_at_any_moment_keep_nothing() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    options.worker.gateway_timeout = Duration::from_millis(300);
    options.worker.circuit_breaker_failure_threshold = 1_000_000;
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    client
        .faults(json!({"success_rate": 0.9, "latency_max_ms": 30, "error_rate": 0.1, "error_after_rate": 0.1,
            "timeout_after_rate": 0.03, "malformed_rate": 0.05, "control_error_rate": 0.1}))
        .await?;
    // The cancellation follows the order by some milliseconds: before the claim, during the charge, after it.
    let mut under_way = JoinSet::new();
    for n in 0..400_u64 {
        let client = client.clone();
        under_way.spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 3)).await;
            let id = client.order(&Client::an_order()).await?;
            tokio::time::sleep(Duration::from_millis(n % 50)).await;
            // On a machine that is busy with other things an answer may come too late, and the client asks again.
            let mut asked_again = false;
            loop {
                let (status, order) = post(&client, id, "cancel", json!({})).await?;
                match (status, order["current_status"].as_str()) {
                    (200, _) => return anyhow::Ok(order["status"] == "CANCELLED" && !asked_again),
                    (409, Some("CANCELLED")) if asked_again => return Ok(false),
                    (503, _) => asked_again = true,
                    _ => bail!("{status}: {order}"),
                }
            }
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
         JOIN order_events e ON e.order_id = o.id AND e.to_status = 'REJECTED' ORDER BY 1",
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
