//! Platforms' orders as their restaurants have them: cash at the door, several kitchens, a currency that nobody names, rubbish, a
//! remark that comes late.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{of, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use uuid::Uuid;

use crate::api;
use crate::orders::channel_settings::{Internal, inside};
use crate::orders::dialects::{document, speaks};
use crate::orders::from_channels::{document as plain_document, post};
use crate::people::ask;

fn id(order: &Value) -> Result<Uuid> {
    Ok(order["id"].as_str().context("an id")?.parse()?)
}

/// What is wrong with the newest document of a channel that is kept, and the document.
async fn kept(internal: &Internal<'_>, client: &Client, channel: &str) -> Result<(String, String)> {
    let (_, list) = internal.ask(Method::GET, &format!("{channel}/refused")).await?;
    let newest = &list["refused"][0];
    let shown =
        format!("{}/channels/{channel}/refused/{}", internal.base, newest["id"].as_str().unwrap_or(""));
    let body = client.http.get(shown).send().await?.text().await?;
    Ok((newest["errors"][0]["code"].as_str().unwrap_or_default().to_owned(), body))
}

/// Case 9: with the cash at the door and a charge by card it would be paid twice.
#[tokio::test]
async fn a_platforms_cash_order_is_confirmed_charged_by_nobody_and_says_what_is_due() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        let mut orders = Vec::new();
        for (dialect, name, due) in [
            ("deliverect", "all_charges_cash", 14.99),
            ("shopify", "taxes_included_to_be_paid", 27.00),
            ("woocommerce", "coupon_thirds_cash", 8.20),
        ] {
            speaks(internal, dialect, json!({})).await?;
            let (status, order) =
                post(client, &format!("/channels/{dialect}/orders"), &document(dialect, name)?).await?;
            assert_eq!((status, &order["status"], &order["due"]), (202, &json!("CONFIRMED"), &json!(due)));
            assert_eq!((&order["payment"]["method"], order.get("paid_by")), (&json!("on_delivery"), None));
            orders.push((id(&order)?, due));
        }
        // Time enough for whoever would charge them.
        let by_card = client.order(&Client::an_order()).await?;
        client.until_status(by_card, "CONFIRMED").await?;
        for (order, due) in &orders {
            let order = client.read(*order).await?;
            assert_eq!((&order["status"], &order["due"]), (&json!("CONFIRMED"), &json!(due)), "{order}");
            let payments = order["payments"].as_array().context("payments")?;
            assert_eq!((payments.len(), &payments[0]["amount"]), (1, &json!(due)));
            assert_eq!(
                (&payments[0]["kind"], &payments[0]["status"]),
                (&json!("on_delivery"), &json!("due"))
            );
        }
        let (first, due) = orders[0];
        let (status, paid) =
            post(client, &format!("/orders/{first}/collect"), &json!({"amount": due})).await?;
        assert_eq!((status, &paid["due"]), (200, &Value::Null), "{paid}");
        let ledger = client.ledger().await?;
        let charged: Vec<_> = ledger.charges.iter().map(|charge| charge.reference.clone()).collect();
        assert_eq!((charged, ledger.requests.charges), (vec![by_card.to_string()], 1));
        let report = reconcile::reconcile(database.url(), &ledger).await?;
        assert!(report.is_clean(), "{report}");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// Opens a second kitchen, with a currency of its own; and who may look at both.
async fn a_second_kitchen(api: &Pipeline, currency: &str) -> Result<Client> {
    let admin = of("admin:root")?;
    let soho = json!({"id": "soho", "name": "Soho", "time_zone": "UTC", "currency": currency});
    let opened = ask(api, Method::POST, "/locations", &admin, Some(soho)).await?;
    anyhow::ensure!(opened.status() == 201, "{}", opened.text().await?);
    api.client.clone().with_token(&admin)
}

/// Case 18: a platform names the kitchen in its own words, whichever they are.
#[tokio::test]
async fn which_kitchen_makes_a_platforms_order_is_shown_and_can_be_asked_for() -> Result<()> {
    let (database, pipeline) = api().await?;
    let admin = &a_second_kitchen(&pipeline, "EUR").await?;
    inside(&database, &pipeline.client, async |internal| {
        let map = json!({"locations": {"their-7": "soho", "905684977": "soho", "their-1": "main"}});
        let (mut at_soho, mut by_deliverect) = (Vec::new(), Vec::new());
        for (number, (dialect, name, field, value)) in [
            ("deliverect", "modifiers_for_each", "posLocationId", json!("their-7")),
            ("deliverect", "modifiers_for_each", "location", json!("their-7")),
            ("deliverect", "modifiers_for_each", "channelLink", json!("their-7")),
            ("shopify", "taxes_on_top_and_tip", "location_id", json!(905_684_977)),
            ("plain", "", "location", json!("their-7")),
            ("deliverect", "modifiers_for_each", "location", json!("their-1")),
            ("plain", "", "posLocationId", json!("their-1")),
        ]
        .into_iter()
        .enumerate()
        {
            speaks(internal, dialect, map.clone()).await?;
            let mut order = if dialect == "plain" { plain_document() } else { document(dialect, name)? };
            let called = if dialect == "shopify" { "id" } else { "channelOrderId" };
            (order[called], order["_id"], order[field]) = (json!(number), json!(number), value.clone());
            let (status, order) = post(admin, &format!("/channels/{dialect}/orders"), &order).await?;
            assert_eq!(status, 202, "{dialect} {field}: {order}");
            let ours = if value == "their-1" { Value::Null } else { json!("soho") };
            assert_eq!(order["location"], ours, "{dialect} {field}");
            assert_eq!(admin.read(id(&order)?).await?["location"], ours);
            if ours == "soho" {
                at_soho.insert(0, order["id"].clone());
                by_deliverect.extend((dialect == "deliverect").then(|| order["id"].clone()));
            }
        }
        by_deliverect.reverse();
        let listed = async |token: &str, query: &str| -> Result<Vec<Value>> {
            let list = ask(&pipeline, Method::GET, &format!("/orders?{query}"), token, None).await?;
            let list: Value = list.json().await?;
            let orders = list["orders"].as_array().with_context(|| list.to_string())?;
            Ok(orders.iter().map(|order| order["id"].clone()).collect())
        };
        let (root, bo) = (of("admin:root")?, token_at("bo", "staff", &["soho"])?);
        assert_eq!(listed(&root, "location=soho").await?, at_soho);
        assert_eq!(listed(&root, "location=soho&channel=deliverect").await?, by_deliverect);
        assert_eq!(listed(&bo, "").await?, at_soho, "the kitchen sees its own");
        assert_eq!(listed(&root, "location=main").await?.len(), 2);
        assert_eq!(listed(&root, "").await?.len(), 7);
        // A plain document is refused, too, where its kitchen is none that is set.
        let mut order = plain_document();
        order["location"] = json!("their-9");
        let (status, problem) = post(admin, "/channels/plain/orders", &order).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("unknown_location")), "{problem}");
        assert_eq!(kept(internal, admin, "plain").await?, ("unknown_location".to_owned(), order.to_string()));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// Case 11: what neither the document nor the channel names is said by where the order is made.
#[tokio::test]
async fn a_document_without_a_currency_is_in_that_of_its_location() -> Result<()> {
    let (database, pipeline) = api().await?;
    let admin = &a_second_kitchen(&pipeline, "JPY").await?;
    let main = json!({"name": "Main", "time_zone": "UTC", "currency": "EUR"});
    let set = ask(&pipeline, Method::PUT, "/locations/main", &of("admin:root")?, Some(main)).await?;
    assert_eq!(set.status(), 200);
    inside(&database, &pipeline.client, async |internal| {
        let places = json!({"their-7": "soho"});
        let mut number = 0;
        let mut send = async |dialect: &str, name: &str, members: Value| -> Result<(Value, Value)> {
            let mut order = if dialect == "plain" { plain_document() } else { document(dialect, name)? };
            number += 1;
            let called = if dialect == "woocommerce" { "id" } else { "channelOrderId" };
            (order[called], order["_id"]) = (json!(number), json!(number));
            for (name, value) in members.as_object().context("members")? {
                order[name] = value.clone();
            }
            let (status, order) = post(admin, &format!("/channels/{dialect}/orders"), &order).await?;
            anyhow::ensure!(status == 202, "{dialect}: {order}");
            Ok((order["currency"].clone(), order["total"].clone()))
        };
        let is = |currency: &str, total: f64| (json!(currency), json!(total));
        for dialect in ["deliverect", "woocommerce", "plain"] {
            internal.put(dialect, json!({"dialect": dialect, "locations": places})).await?;
        }
        let none = json!({"currency": null});
        assert_eq!(send("deliverect", "modifiers_for_each", json!({})).await?, is("EUR", 10.00));
        assert_eq!(send("woocommerce", "shipping_and_tax", none.clone()).await?, is("EUR", 29.35));
        assert_eq!(send("plain", "", json!({})).await?, is("EUR", 30.97));
        // Its digits are those of the currency, too.
        let there = json!({"location": "their-7"});
        let yen = (json!("JPY"), json!(10));
        assert_eq!(send("deliverect", "modifiers_for_each", there.clone()).await?, yen);
        let tea = json!([{"name": "Tea", "quantity": 2, "price": 5}]);
        let items = json!({"items": tea, "location": "their-7", "decimalDigits": null});
        assert_eq!(send("plain", "", items.clone()).await?, yen);

        // The price list's goes before it, the channel's before that, and the document's before all.
        let prices = json!({"currency": "CHF", "prices": [{"plu": "P-BURG", "price": 11.50}]});
        assert_eq!(internal.put("plain/prices", prices).await?.0, 200);
        assert_eq!(send("plain", "", items.clone()).await?, is("CHF", 10.00));
        for dialect in ["deliverect", "plain"] {
            let settings = json!({"dialect": dialect, "currency": "SEK", "locations": places});
            internal.put(dialect, settings).await?;
        }
        assert_eq!(send("plain", "", items).await?, is("SEK", 10.00));
        assert_eq!(send("deliverect", "modifiers_for_each", there).await?, is("SEK", 10.00));
        let own = json!({"location": "their-7", "currency": "NOK"});
        assert_eq!(send("deliverect", "modifiers_for_each", own).await?, is("NOK", 10.00));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// Cases 7 and 8: rubbish where it speaks of money is told by its place, and the document is there to be looked at.
#[tokio::test]
async fn rubbish_among_discounts_or_in_a_payment_is_refused_and_kept() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({})).await?;
        for (field, value, attr, code) in [
            (
                "discounts",
                json!([{"name": "WELCOME", "amount": "a lot"}]),
                "discounts[0].amount",
                "not_decimal",
            ),
            ("discounts", json!(["WELCOME"]), "discounts[0]", "not_an_object"),
            ("discounts", json!("WELCOME"), "discounts", "not_a_list"),
            ("payment", json!("cash"), "payment", "not_an_object"),
            ("payment", json!({"amount": 1499, "type": "cash"}), "payment.type", "not_whole"),
            ("payment", json!({"amount": 1499, "type": 1, "due": "all"}), "payment.due", "not_decimal"),
        ] {
            let mut order = document("deliverect", "all_charges_cash")?;
            order[field] = value;
            let (status, problem) = post(client, "/channels/deliverect/orders", &order).await?;
            let first = &problem["errors"][0];
            assert_eq!(
                (status, &first["attr"], &first["code"]),
                (422, &json!(attr), &json!(code)),
                "{problem}"
            );
            let (why, body) = kept(internal, client, "deliverect").await?;
            assert_eq!((&*why, body), (code, order.to_string()), "as it came");
        }
        let (status, order) =
            post(client, "/channels/deliverect/orders", &document("deliverect", "all_charges_cash")?).await?;
        assert_eq!(status, 202, "no number was taken by what was refused: {order}");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// A remark says how a line is made, an allergy perhaps: so another one is another order. It is not passed over, and not slipped in
/// under the kitchen's hands: it is refused, and kept for somebody who can call.
#[tokio::test]
async fn another_remark_of_a_line_is_refused_and_shown_and_changes_nothing() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        for dialect in ["plain", "deliverect"] {
            speaks(internal, dialect, json!({})).await?;
            let mut order =
                if dialect == "plain" { plain_document() } else { document(dialect, "modifiers_for_each")? };
            order["items"][0]["remark"] = json!("no nuts");
            order["items"][0]["subItems"] =
                json!([{"plu": "TOP", "name": "Topping", "price": 100, "quantity": 2, "remark": "apart"}]);
            if dialect == "plain" {
                order["items"][0]["subItems"][0]["price"] = json!(0.5);
            }
            let path = format!("/channels/{dialect}/orders");
            let (status, first) = post(client, &path, &order).await?;
            assert_eq!((status, &first["items"][0]["note"]), (202, &json!("no nuts")), "{first}");
            for (place, remark) in [
                ("/items/0/remark", json!("no nuts, no milk")),
                ("/items/0/remark", Value::Null),
                ("/items/0/subItems/0/remark", json!("on top")),
            ] {
                let mut other = order.clone();
                *other.pointer_mut(place).context("a remark")? = remark;
                let (status, problem) = post(client, &path, &other).await?;
                let told = (status, &problem["errors"][0]["code"], &problem["current_status"]);
                assert_eq!(told, (409, &json!("duplicate_channel_order_id"), &first["status"]), "{problem}");
                let (code, body) = kept(internal, client, dialect).await?;
                assert_eq!((&*code, body), ("duplicate_channel_order_id", other.to_string()));
            }
            let read = client.read(id(&first)?).await?;
            assert_eq!((&read["items"], &read["version"]), (&first["items"], &json!(1)));
            // What is to be minded with the order as a whole is told, as long as nobody makes it.
            order["note"] = json!("no milk");
            let (status, told) = post(client, &path, &order).await?;
            assert_eq!((status, &told["version"]), (200, &json!(2)), "{told}");
            assert!(told["note"].as_str().is_some_and(|note| note.contains("no milk")), "{told}");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

/// Of the plain dialect, too, each location has numbers of its own: an order is known again there, and called off there.
#[tokio::test]
async fn a_plain_order_of_a_second_kitchen_is_known_again_and_called_off_there() -> Result<()> {
    let (database, pipeline) = api().await?;
    let admin = &a_second_kitchen(&pipeline, "EUR").await?;
    inside(&database, &pipeline.client, async |internal| {
        speaks(internal, "plain", json!({"locations": {"their-1": "main", "their-7": "soho"}})).await?;
        let prices = json!({"currency": "EUR", "prices": [{"plu": "P-BURG", "price": 11.50}, {"plu": "P-FRI", "price": 4}]});
        assert_eq!(internal.put("plain/prices", prices).await?.0, 200);
        let at = |location: &str, status: u8| -> Result<Value> {
            let mut order = plain_document();
            for item in [0, 1] {
                order["items"][item].as_object_mut().context("an item")?.remove("price");
            }
            // Nothing but its number says which order it is.
            (order["_id"], order["created"]) = (Value::Null, Value::Null);
            (order["location"], order["status"]) = (json!(location), json!(status));
            Ok(order)
        };
        let send = async |order: Value| post(admin, "/channels/plain/orders", &order).await;
        let (status, soho) = send(at("their-7", 20)?).await?;
        assert_eq!((status, &soho["location"], &soho["total"]), (202, &json!("soho"), &json!(27.00)), "{soho}");
        let (status, main) = send(at("their-1", 20)?).await?;
        assert_eq!((status, main.get("location")), (202, None), "{main}");
        assert_ne!(main["id"], soho["id"], "the same number and food, at another location");

        assert_eq!(internal.put("plain/prices", json!({"prices": []})).await?.0, 200);
        for (location, order) in [("their-7", &soho), ("their-1", &main)] {
            let (status, again) = send(at(location, 20)?).await?;
            assert_eq!((status, &again["id"]), (202, &order["id"]), "it came when it still had prices: {again}");
        }
        for (location, order) in [("their-7", &soho), ("their-1", &main)] {
            let (status, off) = send(at(location, 100)?).await?;
            assert_eq!((status, &off["id"], &off["status"]), (200, &order["id"], &json!("CANCELLED")), "{off}");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
