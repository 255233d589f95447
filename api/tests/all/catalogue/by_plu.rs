//! A channel whose plus name products: its orders take their stock, as far as there is any, and stay what the platform sold.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Pipeline, TestDatabase};

use super::stock::left;
use super::{by, id_of, manage, product};
use crate::api;
use crate::people::told;

async fn channel(database: &TestDatabase) -> Result<()> {
    database.channel("eats").await?;
    sqlx::query("UPDATE channels SET by_plu = true").execute(&mut database.connect().await?).await?;
    Ok(())
}

/// So many of it are there.
async fn stocked(api: &Pipeline, new: Value, quantity: u32) -> Result<String> {
    let made = product(api, new).await?;
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/products/{id}/stock");
    manage(api, Method::POST, &path, json!({"action": "set", "quantity": quantity})).await?;
    Ok(id)
}

async fn send(api: &Pipeline, number: &str, items: Value) -> Result<(u16, Value)> {
    let document = json!({"channelOrderId": number, "items": items});
    let post = api.client.http.post(format!("{}/api/v1/channels/eats/orders?paid=true", api.client.api));
    let answer = post.json(&document).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn a_channels_order_takes_the_stock_of_what_its_plus_name_and_is_taken_though_it_is_short() -> Result<()>
{
    let (database, api) = api().await?;
    channel(&database).await?;
    let donut =
        stocked(&api, json!({"name": "Donut", "price": 2, "plu": "P-DON", "tracked": true}), 5).await?;
    let cola =
        stocked(&api, json!({"name": "Cola", "price": 3, "plu": "P-COLA", "tracked": true}), 9).await?;
    product(&api, json!({"name": "Tea", "price": 2, "plu": "P-TEA"})).await?;
    let items = |donuts: u32| {
        json!([{"name": "Doughnut", "plu": "P-DON", "quantity": donuts, "price": 4.5},
               {"name": "Menu", "quantity": 2, "price": 9, "subItems": [{"name": "Coke", "plu": "P-COLA", "quantity": 2, "price": 0}]},
               {"name": "Tea", "plu": "P-TEA", "quantity": 1, "price": 1},
               {"name": "Bag", "plu": "P-NOBODY", "quantity": 1, "price": 0.5}])
    };
    let (status, first) = send(&api, "A-1", items(2)).await?;
    // The platform's own prices: 2 x 4.50 + 2 x 9.00 + 1.00 + 0.50
    assert_eq!((status, &first["total"], first.get("short")), (202, &json!(28.5), None), "{first}");
    assert_eq!((left(&api, &donut).await?, left(&api, &cola).await?), ((3, 2), (5, 4)));
    let (status, again) = send(&api, "A-1", items(2)).await?;
    assert_eq!((status, &again["id"], left(&api, &donut).await?), (202, &first["id"], (3, 2)), "taken once");

    let (status, short) = send(&api, "A-2", items(4)).await?;
    assert_eq!(
        (status, &short["total"], &short["items"][0]["quantity"]),
        (202, &json!(37.5), &json!(4)),
        "{short}"
    );
    let expected = json!([{"line": 0, "item_id": donut, "item_name": "Donut", "asked": 4, "taken": 3}]);
    assert_eq!((&short["short"], short.get("left_out")), (&expected, None));
    assert_eq!((left(&api, &donut).await?, left(&api, &cola).await?), ((0, 5), (1, 8)));
    let read = api.client.get(&format!("/api/v1/orders/{}", short["id"].as_str().unwrap())).await?;
    assert_eq!((&read["short"], &read["status"]), (&expected, &json!("CONFIRMED")));
    let (_, gone) = send(&api, "A-3", items(1)).await?;
    assert_eq!(
        (&gone["short"][0]["taken"], &gone["short"][1]["taken"], left(&api, &cola).await?),
        (&json!(0), &json!(1), (0, 9))
    );

    // The kitchen rejects it: what it took goes back, and no more.
    let reject = format!("/orders/{}/reject", short["id"].as_str().unwrap());
    assert_eq!(
        by("staff:bo", &api, Method::POST, &reject, Some(json!({"reason": "sold out"}))).await?.status(),
        200
    );
    store::stock::holds::settle(&mut database.connect().await?, 100).await?;
    assert_eq!(left(&api, &donut).await?, (3, 2));
    let report = reconcile::reconcile(database.url(), &domain::gateway::Ledger::default()).await?;
    for invariant in [reconcile::Invariant::StockAddsUp, reconcile::Invariant::HoldsMatch] {
        assert_eq!(report.of(invariant).violated, 0, "{report}");
    }
    // One that is not set so takes nothing.
    sqlx::query("UPDATE channels SET by_plu = false").execute(&mut database.connect().await?).await?;
    let (status, plain) = send(&api, "A-4", items(9)).await?;
    assert_eq!((status, plain.get("short"), left(&api, &donut).await?), (202, None, (3, 2)));
    api.stop().await
}

#[tokio::test]
async fn a_plu_is_that_of_one_product_of_a_place_or_of_its_variation() -> Result<()> {
    let (database, api) = api().await?;
    channel(&database).await?;
    sqlx::query("INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('airport', 'Airport', 'UTC', 'USD', 30, 'test')")
        .execute(&mut database.connect().await?)
        .await?;
    let shirt = json!({"name": "Shirt", "tracked": true,
        "variations": [{"name": "S", "price": 9, "plu": "P-S"}, {"name": "M", "price": 9, "plu": "P-M"}]});
    let shirt = product(&api, shirt).await?;
    let path = format!("/products/{}", shirt["id"].as_str().unwrap());
    let medium = id_of(&shirt["variations"], "M");
    assert_eq!((&shirt["variations"][1]["plu"], shirt.get("plu")), (&json!("P-M"), None));
    let put = json!({"action": "set", "quantity": 3, "variation_id": medium});
    manage(&api, Method::POST, &format!("{path}/stock"), put).await?;
    let (_, order) =
        send(&api, "A-1", json!([{"name": "Shirt M", "plu": "P-M", "quantity": 4, "price": 9}])).await?;
    assert_eq!(
        (&order["short"][0]["item_name"], &order["short"][0]["taken"]),
        (&json!("Shirt, M"), &json!(3)),
        "{order}"
    );

    let make = async |who: &str, body: Value| by(who, &api, Method::POST, "/products", Some(body)).await;
    let cap = |more: Value| {
        let mut cap = json!({"name": "Cap", "price": 5, "plu": "P-M"});
        cap.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cap
    };
    assert_eq!(told(make("admin:root", cap(json!({}))).await?).await?, (409, "plu_taken".to_owned()));
    let both = json!({"locations": ["airport", "main"]});
    assert_eq!(told(make("admin:root", cap(both)).await?).await?, (409, "plu_taken".to_owned()));
    assert_eq!(make("admin:root", cap(json!({"locations": ["airport"]}))).await?.status(), 201, "elsewhere");
    let twice = json!({"name": "Hat", "variations": [{"name": "S", "price": 1, "plu": "P-H"}, {"name": "M", "price": 1, "plu": "P-H"}]});
    assert_eq!(told(make("admin:root", twice).await?).await?, (422, "repeated".to_owned()));
    let own = json!({"name": "Hat", "plu": "P-H", "variations": [{"name": "S", "price": 1}]});
    assert_eq!(told(make("admin:root", own).await?).await?, (422, "conflict".to_owned()));
    // Its own stays its own; and what is deleted has none any more.
    assert_eq!(
        manage(&api, Method::PATCH, &path, json!({"name": "Tee"})).await?["variations"][1]["plu"],
        "P-M"
    );
    assert_eq!(by("manager:max", &api, Method::DELETE, &path, None).await?.status(), 204);
    assert_eq!(make("admin:root", cap(json!({}))).await?.status(), 201);
    api.stop().await
}
