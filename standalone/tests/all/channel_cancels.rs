//! A channel calls its orders off while the kitchen is at them: a thousand races, each with one outcome, and the money is right.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::settled;

const ORDERS: usize = 1_000;
/// Races under way at once: enough to keep the movers busy. More only wait for their turn with them.
const SIDE_BY_SIDE: usize = 24;
/// One of so many is charged here, so that its charge takes part in the race; of the others the money is taken elsewhere, or comes
/// in when they are handed over.
const CHARGED: usize = 5;

fn document(n: usize) -> Value {
    json!({
        "_id": format!("d-{n}"), "channelOrderId": format!("A-{n}"), "orderIsAlreadyPaid": !n.is_multiple_of(CHARGED),
        "items": [{"name": "Burger", "plu": "P", "quantity": 1, "price": 12.99,
                   "subItems": [{"name": "Cheese", "quantity": 2, "price": 0.75}]}],
        "status": 20
    })
}

/// Asks again where an answer came too late, as clients do.
async fn ask(client: &Client, put: bool, path: &str, body: &Value) -> Result<(u16, Value)> {
    let url = format!("{}/api/v1{path}", client.api);
    loop {
        let request = if put { client.http.put(&url) } else { client.http.post(&url) };
        let answer = request.json(body).send().await?;
        let (status, answer) = (answer.status().as_u16(), answer.json::<Value>().await?);
        if status != 503 {
            return Ok((status, answer));
        }
    }
}

/// The kitchen cooks as soon as it may, and says when it has begun; whether the food got ready.
async fn cook(client: &Client, id: &str, begun: &Notify) -> Result<bool> {
    let path = format!("/orders/{id}/status");
    for status in ["PREPARING", "READY"] {
        loop {
            let (code, answer) = ask(client, true, &path, &json!({"status": status})).await?;
            match (code, answer["current_status"].as_str()) {
                (200, _) => break,
                // What was asked before 503 may have been done.
                (409, Some(now)) if now == status => break,
                (409, Some("PENDING" | "PAYMENT_PROCESSING")) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (409, Some("CANCELLED" | "PAYMENT_FAILED")) => return Ok(false),
                _ => anyhow::bail!("{status}: {code} {answer}"),
            }
        }
        begun.notify_one();
    }
    Ok(true)
}

/// One order, its kitchen and its channel; and whether the channel was faster.
async fn race(client: Client, n: usize) -> Result<(Uuid, bool)> {
    let path = "/channels/eats/orders";
    let (code, order) = ask(&client, false, path, &document(n)).await?;
    ensure!(code == 202, "{code} {order}");
    let id = order["id"].as_str().context("an id")?;
    let mut off = document(n);
    off["status"] = json!(100);
    let begun = Notify::new();
    let (ready, said) = tokio::join!(cook(&client, id, &begun), async {
        // Of two one when it comes, and one when the kitchen has begun.
        if n.is_multiple_of(2) {
            tokio::time::timeout(Duration::from_secs(5), begun.notified()).await.ok();
        }
        ask(&client, false, path, &off).await
    });
    let (ready, (code, said)) = (ready?, said?);
    let off = match code {
        200 => true,
        409 if said["errors"][0]["code"] == "illegal_move" => false,
        _ => anyhow::bail!("{code} {said}"),
    };
    ensure!(off != ready, "order {id}: called off {off}, ready {ready}: {said}");
    Ok((id.parse()?, off))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cancels_of_a_channel_race_the_kitchen_and_each_has_one_outcome() -> Result<()> {
    let database = TestDatabase::new().await?;
    database.channel("eats").await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let room = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut races = JoinSet::new();
    for n in 0..ORDERS {
        let (client, room) = (pipeline.client.clone(), Arc::clone(&room));
        races.spawn(async move {
            let _room = room.acquire_owned().await?;
            race(client, n).await
        });
    }
    let (mut off, mut ready) = (BTreeSet::new(), BTreeSet::new());
    while let Some(done) = races.join_next().await {
        let (id, is_off) = done??;
        if is_off { &mut off } else { &mut ready }.insert(id);
    }
    println!("{} were called off, {} got ready", off.len(), ready.len());
    assert!(!off.is_empty() && !ready.is_empty(), "nobody met");
    settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?;
    for (status, expected) in [("CANCELLED", off), ("READY", ready)] {
        let are: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM shown_orders WHERE status::text = $1")
            .bind(status)
            .fetch_all(&mut database.connect().await?)
            .await?;
        assert_eq!(are.into_iter().collect::<BTreeSet<_>>(), expected, "{status}");
    }
    pipeline.stop().await
}
