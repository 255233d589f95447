//! What a client has seen of an order: `ETag`, `If-Match`, `If-None-Match`.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Response;
use serde_json::{Value, json};
use store::claim::claim;
use store::sweep::claim_due;
use testbed::{Client, make_due};
use uuid::Uuid;

use crate::api;

const HOUR: Duration = Duration::from_secs(3_600);

async fn get(client: &Client, id: Uuid, known: &str) -> Result<Response> {
    let request = client.http.get(format!("{}/api/v1/orders/{id}", client.api));
    Ok(request.header("if-none-match", known).send().await?)
}

fn tag(answer: &Response) -> Result<String> {
    Ok(answer.headers().get("etag").context("no tag")?.to_str()?.to_owned())
}

/// Asks for something to be done with an order that is as `seen`: status, code, and where the order stands.
async fn act(
    client: &Client,
    id: Uuid,
    what: &str,
    seen: &str,
    body: Value,
) -> Result<(u16, String, String)> {
    let request = client.http.post(format!("{}/api/v1/orders/{id}/{what}", client.api));
    let answer = request.header("if-match", seen).json(&body).send().await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await?;
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let stands = if status == 200 { &body["status"] } else { &body["current_status"] };
    Ok((status, text(&body["errors"][0]["code"]), text(stands)))
}

fn changed(status: &str) -> (u16, String, String) {
    (412, "version_changed".to_owned(), status.to_owned())
}

#[tokio::test]
async fn nothing_is_done_to_an_order_that_is_not_as_it_was_seen() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = client.order(&Client::an_order()).await?;
    let added = json!({"items": [{"item_id": "i", "item_name": "n", "quantity": 1, "price": 1}], "payment_reference": "r"});
    let moves = [("cancel", json!({})), ("items", added)];
    for (what, body) in &moves {
        for seen in ["\"999\"", "\"2\", \"3\"", "W/\"7-x\"", "\"somebody else's\"", "-1"] {
            assert_eq!(act(client, id, what, seen, body.clone()).await?, changed("PENDING"), "{what} {seen}");
        }
    }
    // Claimed, it is shown one version on, though nothing is written yet.
    let seen = tag(&get(client, id, "").await?)?;
    claim(&mut database.connect().await?, &[id], HOUR).await?;
    let shown = client.read(id).await?;
    assert_eq!((&shown["status"], &shown["version"]), (&json!("PAYMENT_PROCESSING"), &json!(2)));
    assert_eq!(act(client, id, "cancel", &seen, json!({})).await?, changed("PAYMENT_PROCESSING"));
    assert_eq!(client.read(id).await?["cancel_requested"], Value::Null);
    assert_eq!(
        act(client, id, "payment", "\"1\"", json!({"payment_reference": "p"})).await?,
        changed("PAYMENT_PROCESSING")
    );
    let seen = tag(&get(client, id, "").await?)?;
    assert_eq!(act(client, id, "cancel", &seen, json!({})).await?.0, 200);

    for seen in ["*", "\"1\"", "\"5\", \"1-any\"", "1"] {
        let id = client.order(&Client::an_order()).await?;
        let done = act(client, id, "cancel", seen, json!({})).await?;
        assert_eq!(done, (200, String::new(), "CANCELLED".to_owned()), "{seen}");
    }
    pipeline.stop().await
}

#[tokio::test]
async fn who_has_seen_it_all_gets_304_and_who_missed_a_try_does_not() -> Result<()> {
    let (database, pipeline) = api().await?;
    let (client, mut conn) = (&pipeline.client, database.connect().await?);
    let id = client.order(&Client::an_order()).await?;
    claim(&mut conn, &[id], HOUR).await?;
    let first = get(client, id, "").await?;
    let seen = tag(&first)?;
    assert!(seen.starts_with("\"2-"), "{seen}");
    assert_eq!(first.headers()["content-type"], "application/json");
    for known in [seen.clone(), format!("W/{seen}"), format!("\"x\", {seen}")] {
        let same = get(client, id, &known).await?;
        assert_eq!((same.status().as_u16(), tag(&same)?), (304, seen.clone()), "{known}");
        assert!(same.bytes().await?.is_empty());
    }
    // Its worker died, and another one tries: no new version, and yet something new.
    make_due(&mut conn).await?;
    assert_eq!(claim_due(&mut conn, 10, HOUR).await?.len(), 1);
    let next = get(client, id, &seen).await?;
    assert!(tag(&next)?.starts_with("\"2-"), "{next:?}");
    let next: Value = next.json().await?;
    assert_eq!(next["payment_attempts"].as_array().map(Vec::len), Some(2), "{next}");
    pipeline.stop().await
}
