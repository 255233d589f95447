//! `Idempotency-Key`: one key, one order, one answer.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Client;

use crate::api;

async fn post(client: &Client, key: &str, order: &Value) -> Result<(u16, Value)> {
    let request = client.http.post(format!("{}/api/v1/orders", client.api)).header("idempotency-key", key);
    let response = request.json(order).send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

#[tokio::test]
async fn fifty_at_once_are_one_order_and_fifty_equal_answers() -> Result<()> {
    let (database, pipeline) = api().await?;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = pipeline.client.clone();
        under_way.spawn(async move { post(&client, "key-1", &Client::an_order()).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = under_way.join_next().await {
        answers.push(answer??);
    }
    assert_eq!(answers[0].0, 202);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 1);
    pipeline.stop().await
}

#[tokio::test]
async fn a_replay_shows_the_first_answer_even_after_the_order_moved_on() -> Result<()> {
    let (database, pipeline) = api().await?;
    let first = post(&pipeline.client, "key-1", &Client::an_order()).await?;
    sqlx::query("UPDATE orders SET status = 'PAYMENT_PROCESSING', version = 2, updated_at = now()")
        .execute(&mut database.connect().await?)
        .await?;
    assert_eq!(post(&pipeline.client, "key-1", &Client::an_order()).await?, first);
    pipeline.stop().await
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused_and_so_is_a_key_that_is_none() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    post(client, "key-1", &Client::an_order()).await?;
    let mut other = Client::an_order();
    other["items"][0]["quantity"] = json!(3);
    let (status, body) = post(client, "key-1", &other).await?;
    assert_eq!((status, &body["errors"][0]["code"]), (422, &json!("key_reused")));
    assert_eq!(post(client, "key-2", &other).await?.0, 202, "another key is another order");
    assert_eq!(post(client, "", &other).await?.0, 422);
    assert_eq!(post(client, &"k".repeat(256), &other).await?.0, 422);
    pipeline.stop().await
}
