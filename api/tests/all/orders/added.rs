//! What is added to an order, with all that a line may have: charged, shown, taken off and given back, to the minor unit; and by which
//! name each payment goes.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via, until};
use uuid::Uuid;

use crate::orders::channel_settings::inside;
use crate::orders::from_channels::post;

/// (8.50 + 2 x (1.25 + 3 x 0.10) - 0.50) x 3 - 2.99 + 0.10 = 11.10 x 3 - 2.89.
const ADDED: f64 = 30.41;

fn burgers() -> Value {
    json!({"item_id": "b", "item_name": "Burger", "quantity": 3, "price": 8.50, "note": "rare",
        "modifiers": [
            {"id": "m1", "name": "Cheese", "quantity": 2, "price": 1.25,
             "modifiers": [{"name": "Smoked", "quantity": 3, "price": 0.10}]},
            {"name": "No bun", "quantity": 1, "price": -0.50}],
        "adjustments": [{"kind": "discount", "name": "Happy hour", "amount": -2.99}, {"kind": "bag", "amount": 0.10}]})
}

fn round(reference: &str) -> Value {
    json!({"payment_reference": reference, "total": ADDED, "items": [burgers()]})
}

/// Waits until no payment of an order is under way.
async fn settled(client: &Client, id: Uuid) -> Result<Value> {
    until("all of its payments are final", async || {
        let order = client.read(id).await?;
        let payments = order["payments"].as_array().context("payments")?;
        let is_final = |one: &Value| one["status"] == "succeeded" || one["status"] == "failed";
        Ok(payments.iter().all(is_final).then_some(order))
    })
    .await
}

/// Of each payment of a kind: its name and amount.
fn payments(order: &Value, kind: &str) -> Vec<(String, f64)> {
    let all = order["payments"].as_array().into_iter().flatten().filter(|one| one["kind"] == kind);
    let one = |one: &Value| {
        let reference = one["reference"].as_str().unwrap_or_default().to_owned();
        (reference, one["amount"].as_f64().unwrap_or_default())
    };
    all.map(one).collect()
}

#[tokio::test]
async fn what_is_chosen_with_an_addition_is_charged_shown_taken_off_and_given_back() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let mut order = Client::an_order();
    order["payment"] = json!({"reference": "table-7"});
    let id = client.order(&order).await?;
    client.until_status(id, "CONFIRMED").await?;
    let path = format!("/orders/{id}/items");
    let mut wrong = round("round-2");
    wrong["total"] = json!(30.40);
    let (status, problem) = post(client, &path, &wrong).await?;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("total_mismatch")), "{problem}");

    let (status, added) = post(client, &path, &round("round-2")).await?;
    assert_eq!((status, &added["total"]), (200, &json!(61.38)), "{added}");
    assert_eq!(added["items"][2], burgers());
    settled(client, id).await?;
    // What is off is off the line as a whole: so the same again is a line of its own.
    let (_, twice) = post(client, &path, &round("round-3")).await?;
    let twice_shown = (&twice["items"][3], &twice["total"]);
    assert_eq!(twice_shown, (&burgers(), &json!(91.79)));
    settled(client, id).await?;

    // Declined: what was added is taken off, and what is alike stays.
    client.faults(json!({"success_rate": 0.0})).await?;
    assert_eq!(post(client, &path, &round("round-4")).await?.1["total"], json!(122.20));
    let order = until("it is taken off", async || {
        let order = client.read(id).await?;
        Ok((order["total"] == json!(91.79)).then_some(order))
    })
    .await?;
    assert_eq!(order["items"], twice["items"]);
    client.no_faults().await?;

    let (status, cancelled) = post(client, &format!("/orders/{id}/cancel"), &json!({})).await?;
    assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")), "{cancelled}");
    let order = settled(client, id).await?;
    let taken = [("table-7", 30.97), ("round-2", ADDED), ("round-3", ADDED)];
    let taken = taken.map(|(name, amount)| (name.to_owned(), amount));
    assert_eq!(payments(&order, "charge")[..3], taken);
    let mut back = payments(&order, "refund");
    back.sort_by(|one, other| other.0.cmp(&one.0));
    assert_eq!(back, [taken[0].clone(), taken[2].clone(), taken[1].clone()], "each by its charge's name");

    let ledger = client.ledger().await?;
    let amounts = |all: Vec<&str>| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let charged = amounts(ledger.charges.iter().map(|one| one.amount.get()).collect());
    assert_eq!(charged, ["30.97", "30.41", "30.41"]);
    let mut refunded = amounts(ledger.refunds.iter().map(|one| one.amount.get()).collect());
    refunded.sort();
    assert_eq!(refunded, ["30.41", "30.41", "30.97"]);
    let report = reconcile::reconcile(database.url(), &ledger).await?;
    assert!(report.is_clean(), "{report}");
    pipeline.stop().await
}

/// By a payment's reference its client finds it again: in the history, too, and where its money goes back.
#[tokio::test]
async fn refunds_and_the_history_go_by_the_names_of_their_payments() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let mut order = Client::an_order();
    order["payment"] = json!({"reference": "table-7"});
    let named = client.order(&order).await?;
    let plain = client.order(&Client::an_order()).await?;
    for id in [named, plain] {
        client.until_status(id, "CONFIRMED").await?;
    }
    assert_eq!(post(client, &format!("/orders/{named}/items"), &round("round-2")).await?.0, 200);
    settled(client, named).await?;
    for id in [named, plain] {
        let reject = json!({"reason": "no buns"});
        assert_eq!(post(client, &format!("/orders/{id}/reject"), &reject).await?.0, 200);
        settled(client, id).await?;
    }
    let events = async |id: Uuid| -> Result<Vec<(String, String, Option<f64>)>> {
        let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
        let about = |event: &Value| {
            let text = |field: &str| event[field].as_str().unwrap_or("-").to_owned();
            let money = event["payment_id"].is_string().then(|| event["amount"].as_f64()).flatten();
            (text("what"), text("payment_reference"), money)
        };
        let events = history["history"].as_array().context("a history")?;
        let mut about: Vec<_> = events.iter().map(about).filter(|(.., money)| money.is_some()).collect();
        about.sort_by(|one, other| one.partial_cmp(other).expect("no such number"));
        Ok(about)
    };
    let is = |what: &str, name: &str, amount: f64| (what.to_owned(), name.to_owned(), Some(amount));
    let all = events(named).await?;
    for expected in [
        is("added", "round-2", ADDED),
        is("addition_charged", "round-2", ADDED),
        is("refund_owed", "round-2", ADDED),
        is("refund_owed", "table-7", 30.97),
        is("refunded", "round-2", ADDED),
        is("refunded", "table-7", 30.97),
    ] {
        assert!(all.contains(&expected), "{expected:?} is not among {all:?}");
    }
    assert!(all.iter().all(|(_, name, _)| name != "-"), "{all:?}");
    let nameless = events(plain).await?;
    assert!(!nameless.is_empty() && nameless.iter().all(|(_, name, _)| name == "-"), "{nameless:?}");

    inside(&database, client, async |internal| {
        let list: Value = client.http.get(format!("{}/refunds", internal.base)).send().await?.json().await?;
        let refunds = list["refunds"].as_array().context("refunds")?;
        let mut names: Vec<_> = refunds.iter().map(|one| one["payment_reference"].as_str()).collect();
        names.sort();
        assert_eq!(names, [None, Some("round-2"), Some("table-7")]);
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
