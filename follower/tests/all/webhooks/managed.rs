//! Who sets webhooks, and where they may lead to.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;
use testbed::people::{of, token_at};

use crate::House;

#[tokio::test]
async fn nothing_is_sent_to_what_only_this_machine_can_reach() -> Result<()> {
    let mut house = House::with(|settings| settings.webhook_networks.clear()).await?;
    let (by_address, _) = house.webhook("/in", json!({})).await?;
    let port = house.receiver.url.rsplit(':').next().context("no port")?.to_owned();
    let mut others = Vec::new();
    for url in [
        format!("http://localhost:{port}/in"),
        format!("https://localhost:{port}/in"),
        format!("https://[::ffff:127.0.0.1]:{port}/in"),
        format!("https://127.1:{port}/in"),
    ] {
        let (status, made) = house.ask(Method::POST, "/webhooks", json!({"url": url})).await?;
        assert_eq!(status, 201, "{made}");
        others.push(made["id"].as_str().context("no id")?.parse()?);
    }
    house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    assert!(house.receiver.came("/in").is_empty());
    for webhook in others.into_iter().chain([by_address]) {
        assert_eq!(house.listed(webhook, "waiting").await?[0].1, ["not_allowed"]);
    }
    house.api.stop().await
}

#[tokio::test]
async fn managers_see_to_webhooks_of_their_own_locations() -> Result<()> {
    let house = House::new().await?;
    let (id, secret) = house.webhook("/in", json!({"types": ["order.moved"]})).await?;
    let (_, list) = house.ask(Method::GET, "/webhooks", json!({})).await?;
    let text = list.to_string();
    assert!(text.contains(&id.to_string()) && !text.contains(&secret), "no secret is shown again");
    assert_eq!(list["webhooks"][0]["locations"], json!(["main"]), "a manager's are their own locations");
    let client = &house.api.client;
    let as_other = async |token: String, path: String| -> Result<u16> {
        let request = client.http.get(format!("{}/api/v1/webhooks{path}", client.api));
        Ok(request.bearer_auth(token).send().await?.status().as_u16())
    };
    let elsewhere = || token_at("moe", "manager", &["airport"]);
    for (token, status) in [(elsewhere()?, 404), (of("staff:bo")?, 403), (of("admin:root")?, 200)] {
        assert_eq!(as_other(token, format!("/{id}")).await?, status);
    }
    for (body, code) in [
        (json!({"url": "ftp://example.com"}), "no_url"),
        (json!({"url": "https://me:secret@example.com"}), "no_url"),
        (json!({}), "required"),
        (json!({"url": "https://a", "types": ["order.mov"]}), "unknown_type"),
        (json!({"url": "https://a", "locations": ["airport"]}), "unknown_location"),
        (json!({"url": "https://a", "secret": "mine"}), "unknown_field"),
        (json!({"url": "https://a", "payload": "fat"}), "unknown_payload"),
    ] {
        let (status, answer) = house.ask(Method::POST, "/webhooks", body).await?;
        assert_eq!((status, answer["errors"][0]["code"].as_str()), (422, Some(code)), "{answer}");
    }
    tokio::time::timeout(Duration::from_secs(20), house.api.stop()).await?
}
