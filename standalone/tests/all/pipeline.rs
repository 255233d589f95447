//! One order and many, through both brokers.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};

use crate::{count, settled};

fn both() -> Result<[Via; 2]> {
    Ok([Via::InProcess, Via::RabbitMq(TestQueue::new()?)])
}

#[tokio::test]
async fn the_order_of_the_readme_is_confirmed_with_one_charge_of_30_97() -> Result<()> {
    for via in both()? {
        let database = TestDatabase::new().await?;
        let pipeline = Pipeline::start(&database, Options::new(via)).await?;
        let client = &pipeline.client;
        let response = client.post(&Client::an_order()).await?;
        assert_eq!(response.status(), 202);
        let location = response.headers()["location"].to_str()?.to_owned();
        assert!(response.text().await?.contains(r#""total":30.97,"#));

        let order = until("it is confirmed", async || {
            let order = client.get(&location).await?;
            Ok((order["status"] == "CONFIRMED").then_some(order))
        })
        .await?;
        let attempts = order["payment_attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!((&attempts[0]["outcome"], &attempts[0]["number"]), (&json!("succeeded"), &json!(1)));
        let history = client.get(&format!("{location}/history")).await?;
        let moves: Vec<&Value> =
            history["history"].as_array().unwrap().iter().map(|event| &event["to"]).collect();
        assert_eq!(moves, ["PENDING", "PAYMENT_PROCESSING", "CONFIRMED"]);

        let ledger = client.ledger().await?;
        assert_eq!(ledger.charges.len(), 1);
        assert_eq!(ledger.charges[0].amount.get(), "30.97");
        assert_eq!(ledger.charges[0].reference, order["id"].as_str().unwrap());
        assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 1);
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_declining_gateway_fails_orders_after_one_try_with_the_breaker_closed() -> Result<()> {
    for via in both()? {
        let database = TestDatabase::new().await?;
        let pipeline = Pipeline::start(&database, Options::new(via)).await?;
        pipeline.client.faults(json!({"success_rate": 0.0})).await?;
        for id in pipeline.client.orders(40, 8).await? {
            let order = pipeline.client.until_status(id, "PAYMENT_FAILED").await?;
            let attempts = order["payment_attempts"].as_array().unwrap();
            assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &json!("declined")));
        }
        // Had it opened at the fifth decline, this one would wait for a probe under a breaker that counts declines.
        pipeline.client.no_faults().await?;
        let id = pipeline.client.order(&Client::an_order()).await?;
        pipeline.client.until_status(id, "CONFIRMED").await?;
        settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?;
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_erroring_gateway_is_asked_three_times_with_growing_gaps_and_then_the_key_is_void() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::RabbitMq(TestQueue::new()?))).await?;
    pipeline.client.faults(json!({"error_rate": 1.0})).await?;
    let id = pipeline.client.order(&Client::an_order()).await?;
    let order = pipeline.client.until_status(id, "PAYMENT_FAILED").await?;
    let attempts = order["payment_attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(attempts.iter().all(|attempt| attempt["outcome"] == "in_doubt"));
    let gaps: Vec<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY number))::float8
         FROM payment_attempts WHERE action = 'charge' ORDER BY number OFFSET 1",
    )
    .fetch_all(&mut database.connect().await?)
    .await?;
    assert!(gaps[0] >= 0.08 && gaps[1] >= 0.16, "{gaps:?}: after 100 ms and 200 ms, a fifth more or less");
    let ledger = pipeline.client.ledger().await?;
    assert_eq!((ledger.charges.len(), ledger.voided.len()), (0, 1));
    settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_gateway_with_every_fault_at_once_ends_every_order_and_charges_none_twice() -> Result<()> {
    // Beside each other: each waits for one retry after the other.
    let [in_process, by_rabbitmq] = both()?.map(every_fault_at_once);
    tokio::try_join!(in_process, by_rabbitmq).map(drop)
}

async fn every_fault_at_once(via: Via) -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(via);
    options.worker.gateway_timeout = std::time::Duration::from_millis(300);
    options.worker.circuit_breaker_recovery = std::time::Duration::from_millis(50);
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    client
        .faults(json!({"success_rate": 0.9, "latency_max_ms": 20, "error_rate": 0.1, "error_after_rate": 0.1,
            "timeout_before_rate": 0.03, "timeout_after_rate": 0.05, "malformed_rate": 0.05,
            "too_many_rate": 0.02, "control_error_rate": 0.1}))
        .await?;
    client.orders(150, 32).await?;
    // The faults stay: everything has to end in spite of them.
    until("all have ended", async || {
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM shown_payments WHERE due_at IS NOT NULL")
            .fetch_one(&mut database.connect().await?)
            .await?;
        Ok((open == 0).then_some(()))
    })
    .await?;
    assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 150);
    assert!(count(&database, "CONFIRMED").await? > 100);
    pipeline.stop().await
}

#[tokio::test]
async fn two_pipelines_share_one_database_and_one_queue() -> Result<()> {
    let database = TestDatabase::new().await?;
    let queue = TestQueue::new()?;
    // Both workers ask the first one's gateway: a second ledger would be a second bank.
    let first = Pipeline::start(&database, Options::new(Via::RabbitMq(queue.clone()))).await?;
    let mut options = Options::new(Via::RabbitMq(queue));
    options.gateway = Some(first.client.gateway.clone());
    let second = Pipeline::start(&database, options).await?;
    let (a, b) = tokio::join!(first.client.orders(500, 16), second.client.orders(500, 16));
    assert_eq!(a?.len() + b?.len(), 1_000);
    assert_eq!(settled(database.url(), &first.client, Some(&first.broker)).await?, 1_000);
    assert_eq!(count(&database, "CONFIRMED").await?, 1_000);
    second.stop().await?;
    first.stop().await
}
