//! The gateway's own names for what is charged and for who pays reach it with each charge of their order, and stand in no log.

use anyhow::{Context, Result};
use domain::gateway::NamedCharge;
use serde_json::{Value, json};
use testbed::Client;
use uuid::Uuid;

use crate::processes::Processes;
use crate::settled;

/// What nobody may read in a log. One has what JSON has to escape.
const NAMES: [&str; 2] = ["pm_\"1a2b\"", "cus_3c4d"];

async fn ask(client: &Client, id: Uuid, verb: &str, body: Value) -> Result<Value> {
    let url = format!("{}/api/v1/orders/{id}/{verb}", client.api);
    let answer = client.http.post(url).json(&body).send().await?;
    anyhow::ensure!(answer.status().is_success(), "{verb}: {}", answer.text().await?);
    Ok(answer.json().await?)
}

#[tokio::test]
async fn the_gateways_own_names_reach_it_with_each_charge_and_stand_in_no_log() -> Result<()> {
    let loud = [("LOG_LEVEL", "info,api=trace,worker=trace,gateway_mock=trace,shared=trace")];
    let processes = Processes::with(&loud, &loud, &loud).await?;
    let client = &processes.client;
    let [payment_method, customer] = NAMES;
    let order = |payment: Value| {
        let mut order = Client::an_order();
        order["payment"] = payment;
        order
    };
    let both =
        json!({"method": "card", "gateway_payment_method": payment_method, "gateway_customer": customer});
    // A batch of all kinds: with both names, with one, with details and none, and a plain one.
    let named = client.order(&order(both)).await?;
    let half = client.order(&order(json!({"gateway_customer": customer}))).await?;
    let other = client.order(&order(json!({"reference": "table-7"}))).await?;
    let plain = client.order(&Client::an_order()).await?;
    for id in [named, half, other, plain] {
        client.until_status(id, "CONFIRMED").await?;
    }
    let fries = json!({"payment_reference": "more",
        "items": [{"item_id": "x", "item_name": "Fries", "quantity": 1, "price": 4.99}]});
    let added = ask(client, named, "items", fries).await?;
    let addition: Uuid = added["payments"][1]["id"].as_str().context("a charge")?.parse()?;
    testbed::until("the addition is charged", async || {
        let order = client.read(named).await?;
        Ok((order["payments"][1]["status"] == "succeeded").then_some(()))
    })
    .await?;
    // Its refund needs no name: the gateway knows what it took.
    ask(client, named, "cancel", json!({})).await?;
    settled(processes.database.url(), client, None).await?;

    let name = |text: &str| Some(text.to_owned());
    let charge =
        |key: Uuid, payment_method, customer| NamedCharge { key: key.to_string(), payment_method, customer };
    let mut expected = vec![
        charge(named, name(payment_method), name(customer)),
        charge(half, None, name(customer)),
        charge(addition, name(payment_method), name(customer)),
    ];
    expected.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(client.ledger().await?.named, expected);
    for program in [&processes.api, &processes.worker, &processes.gateway] {
        let said = program.said();
        assert!(NAMES.iter().all(|name| !said.contains(name) && !said.contains("pm_")), "{said}");
    }
    processes.stop().await
}
