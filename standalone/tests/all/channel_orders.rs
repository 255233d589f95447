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

/// What nobody may read in a log: who and where, how one gets in, and what somebody must not eat.
const SECRETS: [&str; 13] = [
    "Ada Byron",
    "7946 0000",
    "St James",
    "SW1Y",
    "rings twice",
    "third floor, door 4711",
    "code 77-88",
    "ada@example.com",
    "key under the pot",
    "allergic to nuts",
    "lactose",
    "Analytical Engines",
    "table by the window",
];

fn document(order: &str) -> Value {
    json!({
        "_id": "65a1f0c2", "created": "2026-01-31T17:02:11.000Z", "account": "acc-7", "brandId": "b-1",
        "channelOrderId": order,
        "customer": {"name": "Ada Byron", "phoneNumber": "+44 20 7946 0000", "note": "rings twice",
                     "phoneAccessCode": "code 77-88", "email": "ada@example.com", "companyName": "Analytical Engines"},
        "deliveryAddress": {"street": "12 St James's Square", "extraAddressInfo": "third floor, door 4711",
                            "city": "London", "postalCode": "SW1Y 4JH"},
        "pickupTime": "2026-01-31T18:30:00Z", "note": "key under the pot", "table": "table by the window",
        "items": [{"name": "Burger", "plu": "P-BURG", "quantity": 2, "price": 12.99, "remark": "allergic to nuts",
                   "subItems": [{"name": "Cheese", "quantity": 1, "price": 0, "remark": "lactose"}]},
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
    let mut processes = Processes::with(&loud, &loud, &loud).await?;
    let client = &processes.client.clone();
    let order = post(client, "", &document("A-1")).await?;
    let shown = order.to_string();
    assert!(
        SECRETS.iter().all(|secret| shown.contains(secret)),
        "whoever may see it sees all of it: {shown}"
    );
    testbed::until("it is paid or not", async || {
        let order = client.read(id(&order)?).await?;
        Ok((order["status"] != "PENDING" && order["status"] != "PAYMENT_PROCESSING").then_some(()))
    })
    .await?;
    // Another note, which is written down; and lines of our own with notes, at once and later.
    let mut told = document("A-1");
    told["note"] = json!("key under the pot, St James");
    let url = format!("{}/api/v1/channels/dishdash/orders", client.api);
    assert_eq!(client.http.post(&url).json(&told).send().await?.status(), 200);
    let mut ours = Client::an_order();
    ours["note"] = json!("key under the pot");
    ours["items"][0]["note"] = json!("allergic to nuts");
    let ours = client.order(&ours).await?;
    let more = json!({"payment_reference": "more", "items": [{"item_id": "x", "item_name": "Shake", "quantity": 1,
        "price": 4.99, "note": "lactose"}]});
    client.http.post(format!("{}/api/v1/orders/{ours}/items", client.api)).json(&more).send().await?;
    // Refused, and shown: these are logged, too.
    for (place, rubbish) in [
        ("/pickupTime", json!("7946 0000")),
        ("/note", json!(["key under the pot"])),
        ("/customer/phoneAccessCode", json!({"is": "code 77-88"})),
        ("/deliveryAddress/extraAddressInfo", json!(["third floor, door 4711"])),
        ("/items/0/remark", json!(["allergic to nuts"])),
    ] {
        let mut wrong = document("A-2");
        *wrong.pointer_mut(place).context("it is there")? = rubbish;
        assert!(post(client, "", &wrong).await.is_err(), "{place}");
    }
    client.get("/api/v1/orders?channel=dishdash").await?;
    for (program, must_say) in [
        (&mut processes.api, ["accepting orders at", "/api/v1/channels/{channel}/orders"]),
        (&mut processes.worker, ["working", "asked the gateway"]),
        (&mut processes.gateway, ["addr=", "charges"]),
    ] {
        let metrics = program.says("metrics at ").await?;
        let said = program.said() + &client.http.get(metrics).send().await?.text().await?;
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
