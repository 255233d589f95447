//! `Idempotency-Key`: one key, one order, one answer. What moves an order has its own file, `keyed_moves.rs`.

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

/// A raw request to `path` under this `Idempotency-Key`; the answer with whether it says that it was replayed.
async fn send(client: &Client, path: &str, keys: &[&str], body: &str) -> Result<(u16, bool, Value)> {
    let mut request = client.http.post(format!("{}/api/v1{path}", client.api));
    for key in keys {
        request = request.header("Idempotency-Key", *key);
    }
    let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await?;
    let replayed = answer.headers().get("idempotency-replayed").map(|value| value.as_bytes() == b"true");
    Ok((answer.status().as_u16(), replayed.unwrap_or_default(), answer.json().await?))
}

fn code(answer: &(u16, bool, Value)) -> (u16, &str) {
    (answer.0, answer.2.pointer("/errors/0/code").and_then(Value::as_str).unwrap_or_default())
}

#[tokio::test]
async fn the_same_content_is_the_same_request_however_it_is_written() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let body = r#"{"customer_id":"c","items":[{"item_id":"i","item_name":"Tea","quantity":2,"price":12}]}"#;
    let (status, replayed, first) = send(client, "/orders", &["k"], body).await?;
    assert_eq!((status, replayed), (202, false));
    let spaced = body.replace(',', " ,\n  ").replace(':', " : ");
    let sorted = r#"{"items":[{"price":12.00,"quantity":2,"item_name":"Te\u0061","item_id":"i"}],"currency":null,"customer_id":"c"}"#;
    for same in [body, &spaced, sorted] {
        assert_eq!(send(client, "/orders", &["k"], same).await?, (202, true, first.clone()), "{same}");
    }
    // With a slash at the end it is the same path.
    assert_eq!(send(client, "/orders/", &["k"], body).await?, (202, true, first.clone()));
    for other in [body.replace("12", "12.01"), body.replace("Tea", "tea"), body.replace("2,", "3,")] {
        let answer = send(client, "/orders", &["k"], &other).await?;
        assert_eq!((code(&answer), answer.1), ((422, "key_reused"), false), "{other}");
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_key_is_the_same_in_quotes_and_without_and_is_given_once() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let order = Client::an_order().to_string();
    let (_, _, first) = send(client, "/orders", &["\"k-1\""], &order).await?;
    assert_eq!(send(client, "/orders", &["k-1"], &order).await?, (202, true, first));
    for keys in [["k-1", "k-1"], ["k-1", "k-2"]] {
        assert_eq!(code(&send(client, "/orders", &keys, &order).await?), (422, "repeated"));
    }
    for none in ["\"\"", "\"k-1", "\"k-1\";v=1"] {
        assert_eq!(code(&send(client, "/orders", &[none], &order).await?), (422, "invalid"), "{none}");
    }
    pipeline.stop().await
}

/// One key and one document to two channels: the second must not be told the first one's order.
#[tokio::test]
async fn a_key_belongs_to_the_place_that_it_was_sent_to() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    for channel in ["a", "b"] {
        database.channel(channel).await?;
    }
    let document = r#"{"channelOrderId":"1","items":[{"name":"Tea","plu":"T","quantity":1,"price":5}]}"#;
    let (status, _, first) = send(client, "/channels/a/orders", &["k"], document).await?;
    assert_eq!(status, 202);
    for other in ["/channels/b/orders", "/channels/a/orders?paid=true", "/orders"] {
        let body = if other == "/orders" { Client::an_order().to_string() } else { document.to_owned() };
        assert_eq!(code(&send(client, other, &["k"], &body).await?), (422, "key_reused"), "{other}");
    }
    assert_eq!(send(client, "/channels/a/orders", &["k"], document).await?, (202, true, first.clone()));
    // By the channel's name for it, too, whatever the key, and however its prices are written.
    let doubles = document.replace("\"price\":5", "\"price\":5.0");
    for keys in [&[][..], &["another"]] {
        assert_eq!(send(client, "/channels/a/orders", keys, &doubles).await?, (202, true, first.clone()));
    }
    let (status, replayed, second) = send(client, "/channels/b/orders", &["k-2"], document).await?;
    assert_eq!((status, replayed), (202, false));
    assert_ne!(second["id"], first["id"]);
    // Of another manager the key is another one.
    let url = format!("{}/api/v1/channels/b/orders?paid=true", client.api);
    let other = document.replace("\"1\"", "\"2\"");
    let request = client.http.post(url).bearer_auth(testbed::people::of("manager:mia")?);
    let request = request.header("idempotency-key", "k").header("content-type", "application/json");
    assert_eq!(request.body(other).send().await?.status(), 202);
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 3);
    pipeline.stop().await
}
