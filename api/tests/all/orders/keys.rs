//! `Idempotency-Key`: one key, one order, one answer.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use store::claim::claim;
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
    let id = first.1["id"].as_str().context("an id")?.parse()?;
    claim(&mut database.connect().await?, &[id], Duration::from_secs(60)).await?;
    assert_eq!(pipeline.client.read(id).await?["status"], "PAYMENT_PROCESSING");
    assert_eq!(post(&pipeline.client, "key-1", &Client::an_order()).await?, first);
    pipeline.stop().await
}

/// What the order was made of when it came in, and what it came to, stand in its first event.
#[tokio::test]
async fn a_replay_shows_the_first_answer_even_after_something_was_added() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let first = post(client, "key-1", &Client::an_order()).await?;
    let (id, total) = (first.1["id"].as_str().unwrap_or_default(), &first.1["total"]);
    let coffee = json!({"payment_reference": "more", "items": [
        {"item_id": "c", "item_name": "coffee", "quantity": 1, "price": 4.99}]});
    let url = format!("{}/api/v1/orders/{id}/items", client.api);
    let added: Value = client.http.post(url).json(&coffee).send().await?.json().await?;
    assert_eq!((&added["version"], &added["total"]), (&json!(2), &json!(35.96)));
    assert_eq!(post(client, "key-1", &Client::an_order()).await?, first);
    let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    let changes = &history["history"];
    assert_eq!((&changes[0]["what"], &changes[0]["amount"]), (&json!("accepted"), total));
    assert_eq!((&changes[1]["what"], &changes[1]["amount"]), (&json!("added"), &json!(4.99)));
    assert_eq!((&changes[1]["to"], &changes[1]["payment_id"]), (&Value::Null, &added["payments"][1]["id"]));
    // The order stands where it stood: an addition ends no status.
    assert_eq!((&changes[0]["left_at"], &changes[1]["left_at"]), (&Value::Null, &Value::Null));
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
