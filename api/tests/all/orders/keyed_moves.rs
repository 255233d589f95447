//! What moves an order honours the `Idempotency-Key`: sent again because its answer was lost, it is answered and not done again.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::payment::AttemptOutcome;
use reqwest::Method;
use serde_json::{Value, json};
use store::claim::claim;
use store::settle::{Next, Settlement, settle};
use testbed::{Client, TestDatabase};
use uuid::Uuid;

use crate::api;

const HOUR: Duration = Duration::from_secs(3_600);

/// The answer's status, whether it says that it was replayed, and its body.
type Answer = (u16, bool, Value);

/// A request about an order.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Value,
}

impl Ask<'_> {
    async fn send(&self, client: &Client, id: Uuid, key: Option<&str>) -> Result<Answer> {
        let url = format!("{}/api/v1/orders/{id}/{}", client.api, self.path);
        let mut request = client.http.request(self.method.clone(), url);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if !self.body.is_null() {
            request = request.json(&self.body);
        }
        let answer = request.send().await?;
        let replayed = answer.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
        Ok((answer.status().as_u16(), replayed, answer.json().await?))
    }
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.2.pointer("/errors/0/code").and_then(Value::as_str).unwrap_or_default())
}

/// An order of which the charge ended so; `None`: it was never claimed.
async fn charged(database: &TestDatabase, client: &Client, took: Option<bool>) -> Result<Uuid> {
    let id = client.order(&Client::an_order()).await?;
    let mut conn = database.connect().await?;
    if let Some(took) = took {
        let claim = claim(&mut conn, &[id], HOUR).await?.pop().context("it can be claimed")?;
        let (outcome, next) = if took {
            (AttemptOutcome::Succeeded, Next::Succeeded { gateway_id: "ch_1".into() })
        } else {
            (AttemptOutcome::Declined, Next::Failed)
        };
        settle(&mut conn, &[Settlement::new(&claim, outcome, next)], HOUR).await?;
    }
    Ok(id)
}

#[tokio::test]
async fn whatever_is_asked_of_an_order_twice_under_one_key_is_done_once() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let coffee = json!([{"item_id": "c", "item_name": "coffee", "quantity": 1, "price": 4.99}]);
    // With what the order's charge came to, and what is told without a key.
    for (took, method, path, body, again) in [
        (Some(true), Method::POST, "accept", Value::Null, "same_status"),
        (Some(true), Method::POST, "reject", json!({"reason": "no buns"}), "same_status"),
        (Some(true), Method::POST, "cancel", Value::Null, "same_status"),
        (None, Method::POST, "cancel", json!({"reason": "too late"}), "same_status"),
        (Some(true), Method::PUT, "status", json!({"status": "PREPARING"}), "same_status"),
        (
            Some(true),
            Method::POST,
            "items",
            json!({"items": coffee, "payment_reference": "more"}),
            "duplicate_payment_reference",
        ),
        (
            Some(false),
            Method::POST,
            "payment",
            json!({"payment_reference": "anew"}),
            "duplicate_payment_reference",
        ),
    ] {
        let id = charged(&database, client, took).await?;
        let ask = Ask { method, path, body };
        let first = ask.send(client, id, Some("k")).await?;
        assert_eq!((first.0, first.1), (200, false), "{path}: {}", first.2);
        assert_eq!(ask.send(client, id, Some("\"k\"")).await?, (200, true, first.2.clone()), "{path}");
        assert_eq!(code(&ask.send(client, id, None).await?), (409, again), "{path}");
        assert_eq!(code(&ask.send(client, id, Some("other")).await?), (409, again), "{path}");
        // Of another order, or saying something else, it is another request.
        let elsewhere = charged(&database, client, took).await?;
        assert_eq!(code(&ask.send(client, elsewhere, Some("k")).await?), (422, "key_reused"), "{path}");
        if path != "accept" {
            let mut body = ask.body.clone();
            let field = if body.get("payment_reference").is_some() { "payment_reference" } else { "reason" };
            body[field] = json!("another");
            let other = Ask { method: ask.method.clone(), path, body };
            assert_eq!(code(&other.send(client, id, Some("k")).await?), (422, "key_reused"), "{path}");
        }
        let order = client.read(id).await?;
        assert_eq!(order["version"], first.2["version"], "{path} changed it once");
        assert_eq!(order["payments"], first.2["payments"], "{path}");
        // One key, one of these at a time.
        sqlx::raw_sql("DELETE FROM names WHERE kind = 'idempotency_key'")
            .execute(&mut database.connect().await?)
            .await?;
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_replayed_move_shows_the_order_as_it_stands_now() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = charged(&database, client, Some(true)).await?;
    let take = Ask { method: Method::POST, path: "accept", body: Value::Null };
    let begin = Ask { method: Method::PUT, path: "status", body: json!({"status": "PREPARING"}) };
    take.send(client, id, Some("take")).await?;
    begin.send(client, id, Some("begin")).await?;
    let (status, replayed, order) = take.send(client, id, Some("take")).await?;
    assert_eq!((status, replayed, &order["status"]), (200, true, &json!("PREPARING")));
    // The same key in the path's other methods and under another path is another request's.
    let wrong = Ask { method: Method::POST, path: "cancel", body: Value::Null };
    assert_eq!(code(&wrong.send(client, id, Some("take")).await?), (422, "key_reused"));
    assert_eq!(client.read(id).await?["status"], "PREPARING");
    pipeline.stop().await
}

#[tokio::test]
async fn a_key_of_somebody_else_or_no_key_at_all_changes_nothing_for_a_move() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = charged(&database, client, Some(true)).await?;
    let ask = Ask { method: Method::POST, path: "accept", body: Value::Null };
    assert_eq!(code(&ask.send(client, id, Some("")).await?), (422, "invalid"));
    assert_eq!(ask.send(client, id, Some("k")).await?.0, 200);
    let other = client.clone().with_token(&testbed::people::of("staff:ann")?)?;
    assert_eq!(
        code(&ask.send(&other, id, Some("k")).await?),
        (409, "same_status"),
        "ann has sent nothing before"
    );
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM names WHERE request IS NOT NULL")
        .fetch_one(&mut database.connect().await?)
        .await?;
    assert_eq!(keys, 1, "what was refused leaves none");
    pipeline.stop().await
}
