//! Orders of what is in the catalogue: its names, its prices, its rules.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::Pipeline;

use super::{by, id_of, latte, manage, product};
use crate::api;
use crate::people::told;

fn order(lines: &Value) -> Value {
    json!({"customer_id": "ann", "items": lines})
}

async fn post(api: &Pipeline, lines: Value) -> Result<(u16, Value)> {
    let answer = api.client.post(&order(&lines)).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Place and code of each problem.
fn problems(body: &Value) -> Vec<(String, String)> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let all = body["errors"].as_array().into_iter().flatten();
    all.map(|one| (text(one, "attr"), text(one, "code"))).collect()
}

#[tokio::test]
async fn the_catalogue_says_what_it_costs_and_an_order_keeps_that_whatever_becomes_of_the_product()
-> Result<()> {
    let (_database, api) = api().await?;
    let latte = product(&api, latte()).await?;
    let tea = product(&api, json!({"name": "Tea", "price": 2.20})).await?;
    let water = product(&api, json!({"name": "Water", "price": 0})).await?;
    let (large, vanilla, oat) = (
        id_of(&latte["variations"], "Large"),
        id_of(&latte["option_groups"][0]["options"], "Vanilla"),
        id_of(&latte["option_groups"][1]["options"], "Oat"),
    );
    let lines = json!([
        {"product_id": latte["id"], "variation_id": large, "quantity": 2, "note": "hot",
            "options": [{"id": vanilla, "quantity": 2}, {"id": oat}]},
        {"product_id": tea["id"], "quantity": 1, "price": 2.2},
        {"product_id": water["id"], "quantity": 3},
        {"item_id": "gift", "item_name": "Gift wrap", "quantity": 1, "price": 1},
    ]);
    let (status, accepted) = post(&api, lines.clone()).await?;
    assert_eq!(status, 202, "{accepted}");
    // 2 x (4.50 + 2 x 0.50 + 0.60) + 2.20 + 1.00
    assert_eq!(accepted["total"], json!(15.4));
    let line = &accepted["items"][0];
    assert_eq!(
        (&line["item_id"], &line["item_name"], &line["price"]),
        (&json!(large), &json!("Latte, Large"), &json!(4.5))
    );
    assert_eq!((&line["note"], &line["modifiers"][0]["name"]), (&json!("hot"), &json!("Vanilla")));
    assert_eq!((&accepted["items"][1]["item_id"], &accepted["items"][2]["price"]), (&tea["id"], &json!(0.0)));

    // Nothing of this is looked up again.
    let path = format!("/products/{}", latte["id"].as_str().unwrap());
    manage(
        &api,
        Method::PATCH,
        &path,
        json!({"name": "Caffe latte", "variations": [{"name": "Large", "price": 9}]}),
    )
    .await?;
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 204);
    let id = accepted["id"].as_str().unwrap();
    let read = api.client.get(&format!("/api/v1/orders/{id}")).await?;
    assert_eq!((&read["items"], &read["total"]), (&accepted["items"], &accepted["total"]));
    let moved = by("customer:ann", &api, Method::POST, &format!("/orders/{id}/cancel"), None).await?;
    assert_eq!(moved.json::<Value>().await?["status"], "CANCELLED");
    let (status, refused) = post(&api, lines).await?;
    assert_eq!(
        (status, problems(&refused)),
        (422, vec![("items[0].product_id".into(), "unknown_product".into())])
    );
    api.stop().await
}

#[tokio::test]
async fn what_is_no_choice_of_the_catalogue_is_told_by_its_place() -> Result<()> {
    let (database, api) = api().await?;
    sqlx::query("INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('airport', 'Airport', 'UTC', 'USD', 30, 'test')")
        .execute(&mut database.connect().await?)
        .await?;
    let latte = product(&api, latte()).await?;
    let mocha = product(
        &api,
        json!({"name": "Mocha", "variations": [{"name": "Large", "price": 5}],
        "option_groups": [{"name": "Cocoa", "options": [{"name": "More"}]}]}),
    )
    .await?;
    let tea = product(&api, json!({"name": "Tea", "price": 2.2})).await?;
    let euros = product(&api, json!({"name": "Kuchen", "price": 3, "currency": "EUR"})).await?;
    let there = json!({"name": "Bagel", "price": 3, "locations": ["airport"]});
    let there: Value = by("admin:root", &api, Method::POST, "/products", Some(there)).await?.json().await?;
    let large = id_of(&latte["variations"], "Large");
    let syrup = |name: &str| id_of(&latte["option_groups"][0]["options"], name);
    let whole = id_of(&latte["option_groups"][1]["options"], "Whole");
    let (others, cocoa) =
        (id_of(&mocha["variations"], "Large"), id_of(&mocha["option_groups"][0]["options"], "More"));
    let of_latte = |more: Value| {
        let mut line = json!({"product_id": latte["id"], "variation_id": large, "quantity": 1, "options": [{"id": whole}]});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    assert_eq!(post(&api, json!([of_latte(json!({}))])).await?.0, 202);
    for (line, at, code) in [
        (of_latte(json!({"variation_id": others})), "variation_id", "unknown_variation"),
        (of_latte(json!({"variation_id": null})), "variation_id", "required"),
        (of_latte(json!({"options": [{"id": whole}, {"id": cocoa}]})), "options[1].id", "unknown_option"),
        (of_latte(json!({"options": []})), "options", "too_few"),
        (of_latte(json!({"options": [{"id": whole, "quantity": 2}]})), "options", "too_many"),
        (
            of_latte(json!({"options": [{"id": whole}, {"id": syrup("Vanilla"), "quantity": 3}]})),
            "options",
            "too_many",
        ),
        (of_latte(json!({"options": [{"id": whole}, {"id": whole}]})), "options[1].id", "repeated"),
        (of_latte(json!({"options": [{"id": whole, "price": 0}]})), "options[0].price", "unknown_field"),
        (of_latte(json!({"quantity": -1})), "quantity", "out_of_range"),
        (of_latte(json!({"item_name": "Latte for nothing"})), "item_name", "conflict"),
        (of_latte(json!({"adjustments": [{"kind": "discount", "amount": -4}]})), "adjustments", "conflict"),
        (
            json!({"product_id": tea["id"], "variation_id": large, "quantity": 1}),
            "variation_id",
            "unknown_variation",
        ),
        (json!({"product_id": euros["id"], "quantity": 1}), "product_id", "other_currency"),
        (json!({"product_id": there["id"], "quantity": 1}), "product_id", "not_sold_here"),
        (json!({"product_id": large, "quantity": 1}), "product_id", "unknown_product"),
        (json!({"product_id": "latte", "quantity": 1}), "product_id", "no_id"),
        (
            json!({"item_id": "i", "item_name": "n", "price": 1, "quantity": 1, "options": []}),
            "product_id",
            "required",
        ),
    ] {
        let (status, refused) = post(&api, json!([line])).await?;
        let expected = vec![(format!("items[0].{at}"), code.to_owned())];
        assert_eq!((status, problems(&refused)), (422, expected), "{line}");
    }
    // A price that was named is the catalogue's, or there is no order.
    let line = |price: f64| json!([{"product_id": tea["id"], "quantity": 3, "price": price}]);
    let (status, refused) = post(&api, line(1.0)).await?;
    assert_eq!((status, problems(&refused)), (409, vec![("items[0].price".into(), "price_mismatch".into())]));
    assert_eq!(post(&api, line(2.2)).await?.0, 202);
    let mut total = order(&line(2.2));
    total["total"] = json!(1.0);
    assert_eq!(told(api.client.post(&total).await?).await?, (422, "total_mismatch".to_owned()));
    // And nobody takes off what they like: only the house.
    let mut reduced = order(&line(2.2));
    reduced["adjustments"] = json!([{"kind": "discount", "amount": -6}]);
    assert_eq!(by("customer:ann", &api, Method::POST, "/orders", Some(reduced.clone())).await?.status(), 403);
    assert_eq!(api.client.post(&reduced).await?.status(), 202);
    api.stop().await
}

#[tokio::test]
async fn products_can_be_added_to_an_order_and_a_price_that_has_just_changed_counts_everywhere() -> Result<()>
{
    let (database, api) = api().await?;
    let options = testbed::Options { with_worker: false, ..testbed::Options::new(testbed::Via::InProcess) };
    let there = Pipeline::start(&database, options).await?;
    let tea = product(&api, json!({"name": "Tea", "price": 2})).await?;
    let lines = json!([{"product_id": tea["id"], "quantity": 1}]);
    let (_, accepted) = post(&there, lines.clone()).await?;
    let path = format!("/orders/{}/items", accepted["id"].as_str().unwrap());
    let add = json!({"items": lines, "payment_reference": "more"});
    let added = manage(&there, Method::POST, &path, add).await?;
    assert_eq!((&added["total"], &added["items"][0]["quantity"]), (&json!(4.0), &json!(2)));

    let change = format!("/products/{}", tea["id"].as_str().unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    manage(&api, Method::PATCH, &change, json!({"price": 3})).await?;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(post(&there, lines).await?.1["total"], json!(3.0));
    let old =
        json!({"items": [{"product_id": tea["id"], "quantity": 1, "price": 2}], "payment_reference": "old"});
    let refused = by("manager:max", &there, Method::POST, &path, Some(old)).await?;
    assert_eq!(told(refused).await?, (409, "price_mismatch".to_owned()));
    there.stop().await?;
    api.stop().await
}

/// The same request again, whose answer was lost: under its key it is answered as it was, whatever it costs by now.
#[tokio::test]
async fn under_its_key_an_order_is_answered_as_it_was_though_its_price_has_changed() -> Result<()> {
    let (_database, api) = api().await?;
    let tea = product(&api, json!({"name": "Tea", "price": 2.20})).await?;
    let product = format!("/products/{}", tea["id"].as_str().unwrap());
    let send = async |path: &str, key: &str, body: &Value| -> Result<(u16, bool, Value)> {
        let request = api.client.http.post(format!("{}/api/v1{path}", api.client.api));
        let answer = request.header("idempotency-key", key).json(body).send().await?;
        let replayed = answer.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
        Ok((answer.status().as_u16(), replayed, answer.json().await?))
    };
    let asked =
        json!({"customer_id": "ann", "total": 4.4, "items": [{"product_id": tea["id"], "quantity": 2}]});
    let (status, _, accepted) = send("/orders", "first", &asked).await?;
    assert_eq!(status, 202, "{accepted}");
    let more = json!({"payment_reference": "more", "items": [{"product_id": tea["id"], "quantity": 1, "price": 2.2}]});
    let items = format!("/orders/{}/items", accepted["id"].as_str().unwrap());
    let (status, replayed, added) = send(&items, "more", &more).await?;
    assert_eq!((status, replayed), (200, false), "{added}");

    manage(&api, Method::PATCH, &product, json!({"price": 3})).await?;
    let (status, replayed, again) = send("/orders", "first", &asked).await?;
    assert_eq!((status, replayed, &again["id"]), (202, true, &accepted["id"]), "{again}");
    assert_eq!(send(&items, "more", &more).await?, (200, true, added.clone()));
    // What is new costs what it costs now; and another request is not answered under the key.
    assert_eq!(send("/orders", "second", &asked).await?.0, 422);
    assert_eq!(send(&items, "other", &more).await?.0, 409);
    let other =
        json!({"customer_id": "ann", "items": [{"product_id": tea["id"], "quantity": 1, "price": 2.2}]});
    assert_eq!(send("/orders", "first", &other).await?.0, 409);

    assert_eq!(by("manager:max", &api, Method::DELETE, &product, None).await?.status(), 204);
    let (status, replayed, again) = send("/orders", "first", &asked).await?;
    assert_eq!((status, replayed, &again["id"]), (202, true, &accepted["id"]), "{again}");
    assert_eq!(send(&items, "more", &more).await?, (200, true, added));
    api.stop().await
}

/// What others got wrong: without variations it could not be ordered, or not be moved on, and an order of what was deleted neither.
#[tokio::test]
async fn what_comes_in_no_variations_is_ordered_and_its_order_goes_on_though_it_is_deleted() -> Result<()> {
    let (_database, api) = api().await?;
    for (name, price) in [("Tea", 2.2), ("Water", 0.0)] {
        let made = product(&api, json!({"name": name, "price": price})).await?;
        let body = json!({"customer_id": "ann", "payment": {"method": "on_delivery"},
            "items": [{"product_id": made["id"], "quantity": 1}]});
        let accepted: Value = api.client.post(&body).await?.json().await?;
        assert_eq!((&accepted["status"], &accepted["total"]), (&json!("CONFIRMED"), &json!(price)));
        let path = format!("/products/{}", made["id"].as_str().unwrap());
        assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 204);
        let id = accepted["id"].as_str().unwrap();
        for status in ["ACCEPTED", "PREPARING", "READY", "DELIVERED"] {
            let put = Some(json!({"status": status}));
            let moved = by("staff:bo", &api, Method::PUT, &format!("/orders/{id}/status"), put).await?;
            assert_eq!(moved.json::<Value>().await?["status"], status, "{name}");
        }
        let again = api.client.get(&format!("/api/v1/orders/{id}")).await?;
        assert_eq!((&again["items"][0]["item_name"], &again["total"]), (&json!(name), &json!(price)));
    }
    // What nobody knows is told so, however it is written, and is no fault of ours.
    for id in [
        json!(uuid::Uuid::nil()),
        json!(uuid::Uuid::now_v7()),
        json!(""),
        json!(7),
        json!(null),
        json!({"id": 1}),
        json!("x".repeat(10_000)),
    ] {
        let (status, refused) = post(&api, json!([{"product_id": id, "quantity": 1}])).await?;
        assert_eq!(status, 422, "{refused}");
    }
    api.stop().await
}
