//! What an order is worth and how it is paid: each kind of what real shops send, as they send it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use uuid::Uuid;

use crate::api;

/// Sends a text as it is, because numbers are what this is about.
async fn post(client: &Client, path: &str, body: &str) -> Result<(u16, Value)> {
    let request = client.http.post(format!("{}/api/v1{path}", client.api));
    let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?)?))
}

/// Two burgers of 12.99 and fries of 4.99, with these fields beside them and these of the burgers.
fn order(beside: &str, burgers: &str) -> String {
    format!(
        r#"{{"customer_id":"customer_123"{beside},"items":[
            {{"item_id":"item_001","item_name":"Burger","quantity":2,"price":12.99{burgers}}},
            {{"item_id":"item_002","item_name":"Fries","quantity":1,"price":4.99}}]}}"#
    )
}

/// An order that costs nothing.
const FREE: &str = r#","adjustments":[{"kind":"discount","name":"Voucher","amount":-30.97}]"#;
const ON_DELIVERY: &str = r#","payment":{"method":"on_delivery","reference":"door-7"}"#;

/// What is wrong with an order, as place and code.
async fn wrong(client: &Client, body: &str) -> Result<(String, String)> {
    let (status, problem) = post(client, "/orders", body).await?;
    assert_eq!(status, 422, "{body}: {problem}");
    let first = &problem["errors"][0];
    let text = |field: &str| first[field].as_str().unwrap_or_default().to_owned();
    Ok((text("attr"), text("code")))
}

fn is(attr: &str, code: &str) -> (String, String) {
    (attr.to_owned(), code.to_owned())
}

fn id(order: &Value) -> Result<Uuid> {
    Ok(order["id"].as_str().context("an id")?.parse()?)
}

/// Case 5: a modifier counts for each unit of its line, and is shown.
#[tokio::test]
async fn extra_cheese_is_paid_for_on_each_burger() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let cheese = r#","modifiers":[{"id":"m1","name":"Extra cheese","quantity":1,"price":1.50,
        "modifiers":[{"name":"Smoked","price":0.25}]}]"#;
    let (status, placed) = post(client, "/orders", &order("", cheese)).await?;
    assert_eq!((status, placed["total"].to_string().as_str()), (202, "34.47"));
    let chosen = json!([{"id": "m1", "name": "Extra cheese", "quantity": 1, "price": 1.50,
        "modifiers": [{"name": "Smoked", "quantity": 1, "price": 0.25}]}]);
    assert_eq!(placed["items"][0]["modifiers"], chosen);
    let shown = client.read(id(&placed)?).await?;
    assert_eq!((&shown["items"], &shown["total"]), (&placed["items"], &placed["total"]));
    pipeline.stop().await
}

/// Cases 9 and 10: what is paid at the door is charged by nobody, and staff write down that it came in.
#[tokio::test]
async fn cash_at_the_door_is_never_charged_and_is_written_down_when_it_came() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let (status, placed) = post(client, "/orders", &order(ON_DELIVERY, "")).await?;
    assert_eq!((status, &placed["status"], &placed["due"]), (202, &json!("CONFIRMED"), &json!(30.97)));
    assert_eq!(placed["payment"], json!({"method": "on_delivery", "reference": "door-7"}));
    assert!(placed["accept_by"].is_string(), "{placed}");
    let id = id(&placed)?;
    let path = |what: &str| format!("/orders/{id}/{what}");

    // What is added is due with it.
    let more = r#"{"payment_reference":"round-2","items":[{"item_id":"t","item_name":"Tea","quantity":1,"price":2}]}"#;
    let (status, added) = post(client, &path("items"), more).await?;
    assert_eq!((status, &added["due"], &added["total"]), (200, &json!(32.97), &json!(32.97)));
    for payment in added["payments"].as_array().context("payments")? {
        assert_eq!((&payment["kind"], &payment["status"]), (&json!("on_delivery"), &json!("due")));
    }
    assert_eq!(added["payments"][0]["reference"], "door-7");
    let again = more.replace("round-2", "door-7");
    let (status, refused) = post(client, &path("items"), &again).await?;
    assert_eq!((status, &refused["errors"][0]["code"]), (409, &json!("duplicate_payment_reference")));

    let (status, other) = post(client, &path("collect"), r#"{"amount":30.97}"#).await?;
    assert_eq!((status, &other["errors"][0]["code"]), (409, &json!("other_amount_due")));
    let (status, other) = post(client, &path("collect"), r#"{"amuont":32.97}"#).await?;
    assert_eq!((status, &other["errors"][0]["code"]), (422, &json!("unknown_field")));
    let (status, paid) = post(client, &path("collect"), r#"{"amount":32.97}"#).await?;
    assert_eq!((status, &paid["due"]), (200, &Value::Null), "{paid}");
    let statuses: Vec<_> =
        paid["payments"].as_array().into_iter().flatten().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["succeeded", "succeeded"]);
    let (status, again) = post(client, &path("collect"), "").await?;
    assert_eq!((status, &again["errors"][0]["code"]), (409, &json!("nothing_due")));

    let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    let events = history["history"].as_array().context("events")?;
    assert_eq!((&events[0]["to"], &events[0]["reason"]), (&json!("CONFIRMED"), &json!("on_delivery")));
    let collected: Vec<_> = events.iter().filter(|event| event["what"] == "collected").collect();
    let amounts: Vec<_> = collected.iter().map(|event| event["amount"].as_f64()).collect();
    assert_eq!(amounts, [Some(30.97), Some(2.0)]);
    assert_eq!(collected[0]["payment_reference"], "door-7");
    assert!(collected.iter().all(|event| event["actor"].is_string() && event["at"].is_string()));

    // It ends after all: no gateway gives anything back, and the order says who must.
    let (status, cancelled) = post(client, &path("cancel"), "").await?;
    assert_eq!((status, &cancelled["refund_by"]), (200, &json!("house")));
    assert_eq!(cancelled["payments"].as_array().map(Vec::len), Some(2), "no refund");
    assert!(client.ledger().await?.charges.is_empty(), "nothing was ever charged");
    pipeline.stop().await
}

/// The same, where nothing came in before the order ended: nothing has to go back, to nobody.
#[tokio::test]
async fn what_was_due_and_never_came_is_given_back_by_nobody() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let (_, placed) = post(client, "/orders", &order(ON_DELIVERY, "")).await?;
    let id = id(&placed)?;
    let (status, cancelled) = post(client, &format!("/orders/{id}/cancel"), "").await?;
    assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")));
    assert_eq!((&cancelled["due"], &cancelled["refund_by"]), (&Value::Null, &Value::Null));
    assert_eq!(cancelled["payments"][0]["status"], "failed");
    let (status, late) = post(client, &format!("/orders/{id}/collect"), "").await?;
    assert_eq!((status, &late["errors"][0]["code"]), (409, &json!("nothing_due")));
    let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    let whats: Vec<_> =
        history["history"].as_array().into_iter().flatten().map(|event| &event["what"]).collect();
    assert_eq!(whats, ["accepted", "moved"], "no money moved");
    pipeline.stop().await
}

/// Case 12: a total that the client says must be the order's.
#[tokio::test]
async fn another_total_than_the_lines_come_to_is_refused() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    assert_eq!(wrong(client, &order(r#","total":1.00"#, "")).await?, is("total", "total_mismatch"));
    let (status, placed) = post(client, "/orders", &order(r#","total":30.970"#, "")).await?;
    assert_eq!((status, &placed["total"]), (202, &json!(30.97)));
    pipeline.stop().await
}

/// Case 13: what is sent beside the lines is added, or refused by name, and never passed over.
#[tokio::test]
async fn tips_fees_discounts_and_taxes_are_taken_and_what_is_misspelt_is_refused() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let beside = r#","adjustments":[{"kind":"delivery_fee","amount":2.99},{"kind":"tip","amount":2.00},
        {"kind":"tax","name":"VAT 7 %","amount":2.17},{"kind":"discount","name":"Happy hour","amount":-3.00}]"#;
    let (status, placed) = post(client, "/orders", &order(beside, "")).await?;
    assert_eq!((status, placed["total"].to_string().as_str()), (202, "35.13"));
    let shown = client.read(id(&placed)?).await?;
    assert_eq!(shown["adjustments"], placed["adjustments"]);
    assert_eq!(shown["adjustments"][3], json!({"kind": "discount", "name": "Happy hour", "amount": -3.00}));
    let listed = client.get("/api/v1/orders?customer_id=customer_123").await?;
    assert_eq!(listed["orders"][0]["adjustments"], placed["adjustments"]);
    for field in ["tip", "delivery_fee", "discount", "tax"] {
        let body = order(&format!(r#","{field}":2.00"#), "");
        assert_eq!(wrong(client, &body).await?, is(field, "unknown_field"));
    }
    let twice = r#","total":30.97,"total":30.97"#;
    assert_eq!(wrong(client, &order(twice, "")).await?, is("total", "repeated"));
    pipeline.stop().await
}

/// Case 14: notes reach the kitchen, and stand in no log; metadata are kept.
#[tokio::test]
async fn notes_are_shown_to_whoever_makes_the_food() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let beside = r#","note":"ring twice\nback door","metadata":{"table":"7"}"#;
    let burgers = r#","note":"no nuts, allergy""#;
    let (status, placed) = post(client, "/orders", &order(beside, burgers)).await?;
    assert_eq!(status, 202, "{placed}");
    let listed = client.get("/api/v1/orders").await?["orders"][0].clone();
    for shown in [&placed, &client.read(id(&placed)?).await?, &listed] {
        assert_eq!(shown["items"][0]["note"], "no nuts, allergy");
        assert_eq!(shown["note"], "ring twice\nback door");
        assert_eq!(shown["metadata"], json!({"table": "7"}));
    }
    pipeline.stop().await
}

/// Case 39: what serialisers of doubles write is what they were given.
#[tokio::test]
async fn whole_quantities_and_exact_prices_are_taken_however_they_are_written() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let body = order("", "").replace("\"quantity\":2", "\"quantity\":2.0").replace("4.99", "1e2");
    let (status, placed) = post(client, "/orders", &body).await?;
    assert_eq!((status, placed["total"].to_string().as_str()), (202, "125.98"));
    assert_eq!(placed["items"][0]["quantity"], json!(2));
    for (from, to, attr, code) in [
        ("\"quantity\":2", "\"quantity\":1.5", "items[0].quantity", "not_whole"),
        ("12.99", "1299e-3", "items[0].price", "too_precise"),
    ] {
        assert_eq!(wrong(client, &order("", "").replace(from, to)).await?, is(attr, code));
    }
    pipeline.stop().await
}

/// Case 43: a currency is the same in small letters.
#[tokio::test]
async fn a_currency_may_be_written_small() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let (status, placed) = post(&pipeline.client, "/orders", &order(r#","currency":"eur""#, "")).await?;
    assert_eq!((status, &placed["currency"]), (202, &json!("EUR")));
    pipeline.stop().await
}

/// Case 46: what a voucher pays for is confirmed, and nobody is charged.
#[tokio::test]
async fn a_free_order_is_confirmed_without_a_charge() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let (status, placed) = post(client, "/orders", &order(FREE, "")).await?;
    assert_eq!((status, &placed["status"], &placed["total"]), (202, &json!("CONFIRMED"), &json!(0.0)));
    let id = id(&placed)?;
    let payments = client.read(id).await?["payments"].clone();
    assert_eq!(
        (payments.as_array().map(Vec::len), &payments[0]["kind"], &payments[0]["status"]),
        (Some(1), &json!("free"), &json!("succeeded"))
    );
    // What is added to it is charged as ever.
    let more =
        r#"{"payment_reference":"x","items":[{"item_id":"t","item_name":"Tea","quantity":1,"price":2}]}"#;
    post(client, &format!("/orders/{id}/items"), more).await?;
    testbed::until("the tea is paid", async || {
        Ok((client.read(id).await?["payments"][1]["status"] == "succeeded").then_some(()))
    })
    .await?;
    let (status, rejected) = post(client, &format!("/orders/{id}/reject"), r#"{"reason":"closed"}"#).await?;
    assert_eq!(
        (status, &rejected["status"], &rejected["refund_by"]),
        (200, &json!("REJECTED"), &Value::Null)
    );
    let refunds = rejected["payments"].as_array().into_iter().flatten().filter(|one| one["kind"] == "refund");
    let refunds: Vec<_> = refunds.map(|one| one["amount"].as_f64()).collect();
    assert_eq!(refunds, [Some(2.0)], "the tea, and nothing for what was free");
    let (status, gift) =
        post(client, "/orders", &order("", "").replace("12.99", "0").replace("4.99", "0")).await?;
    assert_eq!((status, &gift["status"]), (202, &json!("CONFIRMED")));
    assert_eq!(client.ledger().await?.charges.len(), 1, "the tea");
    pipeline.stop().await
}

/// Case 47: a discount is an amount below zero beside the lines, and no line itself.
#[tokio::test]
async fn a_discount_is_given_beside_the_lines_and_takes_off_no_more_than_there_is() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let discount =
        |amount: &str| order(&format!(r#","adjustments":[{{"kind":"discount","amount":{amount}}}]"#), "");
    let (status, placed) = post(client, "/orders", &discount("-3.00")).await?;
    assert_eq!((status, &placed["total"]), (202, &json!(27.97)));
    assert_eq!(wrong(client, &discount("-30.98")).await?, is("adjustments", "below_zero"));
    assert_eq!(wrong(client, &discount("3.00")).await?, is("adjustments[0].amount", "wrong_sign"));
    let line = order("", "").replace("4.99", "-3.00");
    assert_eq!(wrong(client, &line).await?, is("items[1].price", "negative"));
    pipeline.stop().await
}

/// Case 70: nobody is called by what nobody sees.
#[tokio::test]
async fn invisible_characters_make_no_names_and_no_ids() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let customer = |text: &str| order("", "").replace("customer_123", text);
    assert_eq!(wrong(client, &customer("\u{200B}")).await?, is("customer_id", "empty"));
    for text in ["bob\u{200B}", "bob\u{202E}", "\u{FEFF}bob", "bob\u{200D}"] {
        assert_eq!(
            wrong(client, &customer(text)).await?,
            is("customer_id", "invisible_character"),
            "{text:?}"
        );
    }
    let name = |text: &str| order("", "").replace("Burger", text);
    for text in ["Bur\u{202E}ger", "Bur\u{2028}ger"] {
        assert_eq!(wrong(client, &name(text)).await?, is("items[0].item_name", "invisible_character"));
    }
    let (status, placed) = post(client, "/orders", &customer(" bob ")).await?;
    assert_eq!((status, &placed["customer_id"]), (202, &json!("bob")));
    let (status, family) = post(client, "/orders", &name("👨\u{200D}👩\u{200D}👧 menu")).await?;
    assert_eq!((status, &family["items"][0]["item_name"]), (202, &json!("👨\u{200D}👩\u{200D}👧 menu")));
    pipeline.stop().await
}

/// The same request again, under a key and by a channel's name, is answered as it was the first time, to the byte.
#[tokio::test]
async fn all_of_it_is_replayed_as_it_was_accepted() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    for (number, beside) in
        [FREE, ON_DELIVERY, r#","note":"x","metadata":{"a":"b"},"payment":{"reference":"r"}"#]
            .into_iter()
            .enumerate()
    {
        let beside = format!(r#"{beside},"channel":"dishdash","channel_order_id":"{number}""#);
        let body = order(&beside, r#","modifiers":[{"name":"m","price":0}],"note":"n""#);
        let first = post(client, "/orders", &body).await?;
        assert_eq!(first.0, 202, "{}", first.1);
        assert_eq!(post(client, "/orders", &body).await?, first);
        let other = post(client, "/orders", &body.replace("\"n\"", "\"o\"")).await?;
        assert_eq!(other.0, 409, "another note is another order: {}", other.1);
    }
    // Too late for the kitchen is too late here, too, and what never came is not given back.
    let (_, late) = post(client, "/orders", &order(ON_DELIVERY, "")).await?;
    sqlx::query("UPDATE payments SET answer_by = now() - interval '1 s' WHERE order_id = $1")
        .bind(id(&late)?)
        .execute(&mut database.connect().await?)
        .await?;
    let (status, problem) = post(client, &format!("/orders/{}/accept", id(&late)?), "").await?;
    assert_eq!((status, &problem["errors"][0]["code"]), (409, &json!("deadline_passed")));
    pipeline.stop().await
}
