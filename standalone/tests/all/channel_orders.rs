//! Orders from channels through the whole pipeline: one charge however often they come, none where the channel took the
//! money, and nobody's name in any log.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::processes::Processes;
use crate::settled;

/// What nobody may read in a log.
const SECRETS: [&str; 5] = ["Ada Byron", "7946 0000", "St James", "SW1Y", "rings twice"];

fn document(order: &str) -> Value {
    json!({
        "_id": "65a1f0c2", "created": "2026-01-31T17:02:11.000Z", "account": "acc-7", "brandId": "b-1",
        "channelOrderId": order,
        "customer": {"name": "Ada Byron", "phoneNumber": "+44 20 7946 0000", "note": "rings twice"},
        "deliveryAddress": {"street": "12 St James's Square", "city": "London", "postalCode": "SW1Y 4JH"},
        "pickupTime": "2026-01-31T18:30:00Z",
        "items": [{"name": "Burger", "plu": "P-BURG", "quantity": 2, "price": 12.99},
                  {"name": "Fries", "plu": "P-FRI", "quantity": 1, "price": 4.99}],
        "status": 20, "statusHistory": [{"status": 10, "by": "Ada Byron"}]
    })
}

async fn post(client: &Client, query: &str, document: &Value) -> Result<Value> {
    let url = format!("{}/api/v1/channels/dishdash/orders{query}", client.api);
    let answer = client.http.post(url).json(document).send().await?;
    let (status, body) = (answer.status(), answer.json().await?);
    ensure!(status == 202, "{status}: {body}");
    Ok(body)
}

fn id(order: &Value) -> Result<Uuid> {
    Ok(order["id"].as_str().context("an id")?.parse()?)
}

#[tokio::test]
async fn an_aggregators_order_posted_fifty_times_is_confirmed_with_one_charge() -> Result<()> {
    let database = TestDatabase::new().await?;
    for via in [Via::InProcess, Via::RabbitMq(TestQueue::new()?)] {
        let pipeline = Pipeline::start(&database, Options::new(via)).await?;
        let client = &pipeline.client;
        let name = Uuid::now_v7().to_string();
        let mut posts = JoinSet::new();
        for _ in 0..50 {
            let (client, document) = (client.clone(), document(&name));
            posts.spawn(async move { id(&post(&client, "", &document).await?) });
        }
        let mut ids = Vec::new();
        while let Some(posted) = posts.join_next().await {
            ids.push(posted??);
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let order = client.until_status(ids[0], "CONFIRMED").await?;
        assert_eq!((&order["total"], order["payments"].as_array().map(Vec::len)), (&json!(30.97), Some(1)));
        let ours: Vec<_> = client.ledger().await?.charges;
        assert_eq!(ours.len(), 1);
        assert_eq!(
            (ours[0].amount.get(), ours[0].reference.as_str()),
            ("30.97", ids[0].to_string().as_str())
        );
        // The gateway is new with each pipeline, so the books of both can only be compared each by itself.
        settled(database.url(), client, Some(&pipeline.broker)).await?;
        pipeline.stop().await?;
        wipe(&database).await?;
    }
    Ok(())
}

async fn wipe(database: &TestDatabase) -> Result<()> {
    sqlx::query(
        "TRUNCATE orders, in_kitchen, payments, open_charges, payment_attempts, order_events, order_details, names",
    )
    .execute(&mut database.connect().await?)
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_the_channel_took_is_never_charged_and_never_refunded_whatever_becomes_of_the_order()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options::new(Via::InProcess);
    options.worker.accept_deadline = Duration::from_secs(3);
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    database.channel("dishdash").await?;
    let mut orders = Vec::new();
    for n in 0..4 {
        let order = post(client, "?paid=true", &document(&format!("A-{n}"))).await?;
        assert_eq!((&order["status"], &order["paid_by"]), (&json!("CONFIRMED"), &json!("channel")));
        orders.push(id(&order)?);
    }
    // One that we charge, between them: its checks must not be looser for them.
    let charged = id(&post(client, "", &document("B-1")).await?)?;
    let [forgotten, taken, refused, added] = orders[..] else { unreachable!("four") };
    let ask = async |id: Uuid, what: &str, body: Value| -> Result<Value> {
        let url = format!("{}/api/v1/orders/{id}/{what}", client.api);
        let answer = client.http.post(url).json(&body).send().await?;
        ensure!(answer.status() == 200, "{what}: {}", answer.text().await?);
        Ok(answer.json().await?)
    };
    ask(taken, "accept", json!({})).await?;
    let rejected = ask(refused, "reject", json!({"reason": "no buns"})).await?;
    assert_eq!(rejected["refund_by"], "channel");
    assert_eq!(rejected["payments"].as_array().map(Vec::len), Some(1));
    // What is added later is ours to charge, and ours to give back.
    let fries = json!({"payment_reference": "more",
        "items": [{"item_id": "x", "item_name": "Fries", "quantity": 1, "price": 4.99}]});
    ask(added, "items", fries).await?;
    testbed::until("the addition is charged", async || {
        let order = client.read(added).await?;
        Ok((order["payments"][1]["status"] == "succeeded").then_some(()))
    })
    .await?;
    client.until_status(charged, "CONFIRMED").await?;
    ask(charged, "accept", json!({})).await?;

    // Nobody answers these: the sweep does.
    for late in [forgotten, added] {
        let order = client.until_status(late, "REJECTED").await?;
        assert_eq!(order["refund_by"], "channel");
        let history = client.get(&format!("/api/v1/orders/{late}/history")).await?;
        let events = history["history"].as_array().context("a history")?;
        let moves: Vec<_> = events.iter().filter(|event| !event["to"].is_null()).collect();
        assert_eq!((&moves[0]["to"], &moves[0]["reason"]), (&json!("CONFIRMED"), &json!("paid_elsewhere")));
        assert_eq!((&moves[1]["to"], &moves[1]["reason"]), (&json!("REJECTED"), &json!("accept_deadline")));
        assert_eq!(history["imported"]["status"], 20);
    }
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    let ledger = client.ledger().await?;
    let charges: Vec<&str> = ledger.charges.iter().map(|charge| charge.reference.as_str()).collect();
    assert_eq!(charges.len(), 2, "{charges:?}");
    assert!(charges.contains(&charged.to_string().as_str()) && charges.contains(&added.to_string().as_str()));
    let refunds: Vec<&str> = ledger.refunds.iter().map(|refund| refund.amount.get()).collect();
    assert_eq!(refunds, ["4.99"], "the addition's alone");
    let contradicting = store::facts::contradicting_orders(&mut database.connect().await?, 100).await?;
    assert_eq!(contradicting, 0);
    pipeline.stop().await
}

#[tokio::test]
async fn nobody_is_named_in_any_log_metric_or_message_to_the_gateway() -> Result<()> {
    // All that is ours, and the statements; not so much that the first lines are forgotten.
    let loud = [("LOG_LEVEL", "info,api=trace,worker=trace,gateway_mock=trace,shared=trace,sqlx=trace")];
    let processes = Processes::with(&loud, &loud, &loud).await?;
    let client = &processes.client;
    let order = post(client, "", &document("A-1")).await?;
    assert_eq!(order["customer"]["name"], SECRETS[0]);
    testbed::until("it is paid or not", async || {
        let order = client.read(id(&order)?).await?;
        Ok((order["status"] != "PENDING" && order["status"] != "PAYMENT_PROCESSING").then_some(()))
    })
    .await?;
    // Refused, and shown: these are logged, too.
    let mut wrong = document("A-2");
    wrong["pickupTime"] = json!("7946 0000");
    assert!(post(client, "", &wrong).await.is_err());
    client.get("/api/v1/orders?channel=dishdash").await?;
    for (program, must_say) in [
        (&processes.api, ["accepting orders at", "/api/v1/channels/{channel}/orders"]),
        (&processes.worker, ["working", "asked the gateway"]),
        (&processes.gateway, ["addr=", "charges"]),
    ] {
        let said = program.said();
        for must_say in must_say {
            assert!(said.contains(must_say), "{must_say} is not in {said}");
        }
        for secret in SECRETS {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
    let ledger = client.http.get(format!("{}/v1/ledger", client.gateway)).send().await?.text().await?;
    assert!(SECRETS.iter().all(|secret| !ledger.contains(secret)), "{ledger}");
    settled(processes.database.url(), client, None).await?;
    processes.stop().await
}
