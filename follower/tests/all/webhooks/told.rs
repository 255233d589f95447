//! What endpoints are told: what they chose, of what happens since they were made, signed.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use reqwest::Method;
use ring::hmac;
use serde_json::json;
use uuid::Uuid;

use super::versions;
use crate::House;
use crate::receiver::Came;

/// Whether one of its signatures was made with this secret.
fn is_signed(came: &Came, secret: &str) -> Result<bool> {
    let key = B64.decode(secret.strip_prefix("whsec_").context("no secret")?)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = format!("{}.{}.{}", came.id, came.timestamp, came.body);
    Ok(came.signature.split(' ').any(|one| {
        let tag = one.strip_prefix("v1,").and_then(|tag| B64.decode(tag).ok()).unwrap_or_default();
        hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    }))
}

#[tokio::test]
async fn each_endpoint_is_told_what_it_chose_in_order_and_signed() -> Result<()> {
    let mut house = House::new().await?;
    let before = house.order().await?;
    house.follow().await?;
    let (all, secret) = house.webhook("/all", json!({})).await?;
    house.webhook("/moves", json!({"types": ["order.moved"]})).await?;
    house.webhook("/channel", json!({"channels": ["DishDash"]})).await?;
    let orders = [house.order().await?, house.order().await?];
    for order in orders {
        house.cancel(order).await?;
    }
    house.follow().await?;
    house.deliver().await?;
    let came = house.receiver.came("/all");
    for order in orders {
        assert_eq!(versions(&came, order)?, [1, 2]);
        assert_eq!(versions(&house.receiver.came("/moves"), order)?, [2]);
    }
    assert_eq!(versions(&came, before)?, [0; 0], "it is told of what happens since it was made");
    assert!(house.receiver.came("/channel").is_empty());
    for one in &came {
        assert!(is_signed(one, &secret)?);
        assert!(!one.body.contains("customer_123"), "nobody is named");
    }
    assert_eq!(house.listed(all, "taken").await?.len(), 4);

    // One secret follows another: both are good, until the next one.
    let secrets = format!("/webhooks/{all}/secrets");
    let mut known = vec![secret];
    for good in [[true, true, false], [false, true, true]] {
        let (status, made) = house.ask(Method::POST, &secrets, json!({})).await?;
        assert_eq!(status, 201);
        known.push(made["secret"].as_str().context("no secret")?.to_owned());
        let (status, told) = house.ask(Method::POST, &format!("/webhooks/{all}/test"), json!({})).await?;
        assert_eq!(status, 202);
        house.deliver().await?;
        let came = house.receiver.came("/all");
        let test = came.iter().find(|one| told["event"] == one.id.as_str()).context("no test")?;
        for (secret, good) in known.iter().zip(good) {
            assert_eq!(is_signed(test, secret)?, good);
        }
    }
    house.api.stop().await
}

#[tokio::test]
async fn of_products_those_are_told_who_ask_for_them_where_they_are_sold() -> Result<()> {
    let mut house = House::new().await?;
    house.webhook("/orders", json!({})).await?;
    house.webhook("/both", json!({"types": ["product", "order"]})).await?;
    house.webhook("/drops", json!({"types": ["product.price_dropped"]})).await?;
    house.webhook("/channel", json!({"types": ["product"], "channels": ["DishDash"]})).await?;
    let (status, made) =
        house.ask(Method::POST, "/products", json!({"name": "Latte", "price": 4, "tracked": true})).await?;
    assert_eq!(status, 201, "{made}");
    let product: Uuid = made["id"].as_str().context("no id")?.parse()?;
    for price in [3, 1] {
        let (status, body) =
            house.ask(Method::PATCH, &format!("/products/{product}"), json!({"price": price})).await?;
        assert_eq!(status, 200, "{body}");
    }
    let stock = json!({"action": "add", "quantity": 5});
    assert_eq!(house.ask(Method::POST, &format!("/products/{product}/stock"), stock).await?.0, 200);
    let order = house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/both"), product)?, [1, 2, 3, 4]);
    assert_eq!(versions(&house.receiver.came("/both"), order)?, [1]);
    assert_eq!(versions(&house.receiver.came("/drops"), product)?, [3]);
    assert_eq!(versions(&house.receiver.came("/orders"), order)?, [1]);
    assert_eq!(house.receiver.came("/orders").len(), 1, "who names no types knows orders only");
    assert!(house.receiver.came("/channel").is_empty(), "no product came by a channel");
    let told: serde_json::Value = serde_json::from_str(&house.receiver.came("/drops")[0].body)?;
    assert_eq!(
        (&told["source"], &told["type"]),
        (&json!("/api/v1/products"), &json!("product.price_dropped"))
    );
    assert_eq!(
        told["data"],
        json!({"product_id": product, "version": 3, "what": "price_dropped", "locations": ["main"]})
    );
    house.api.stop().await
}
