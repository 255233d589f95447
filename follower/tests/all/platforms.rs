//! Back to the platform: a channel's platform is told what becomes of the orders that it sent, in its own words, by the lanes and rows of
//! webhooks.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use ring::hmac;
use runtime::tasks::Stop;
use serde_json::{Value, json};
use testbed::people::{of, token_at};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::House;
use crate::receiver::Came;

const SECRET: &str = "what the platform knows, too";

impl House {
    /// Asks for a channel's settings, as a manager.
    async fn channel(&self, method: Method, name: &str, settings: &Value) -> Result<(u16, Value)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/internal/channels/{name}", listener.local_addr()?);
        let identity = testbed::people::identity(&self.database.database())?;
        let router = api::operations::router(&self.database.database(), &identity);
        let ask = async {
            let answer = self.api.client.http.request(method, url).json(settings).send().await?;
            let status = answer.status().as_u16();
            anyhow::Ok((status, answer.json().await.unwrap_or_default()))
        };
        tokio::select! {
            asked = ask => asked,
            () = runtime::serve::serve(listener, router, runtime::serve::ServeLimits::default(), Stop::new()) => anyhow::bail!("it stopped"),
        }
    }

    /// Lets a platform that speaks Deliverect's dialect be told at `/status`; its webhook.
    async fn platform(&self, secret: Option<&str>) -> Result<Uuid> {
        let url = format!("{}/status", self.receiver.url);
        let settings =
            json!({"dialect": "deliverect", "currency": "EUR", "status_url": url, "status_secret": secret});
        let (status, set) = self.channel(Method::PUT, "eats", &settings).await?;
        ensure!(status == 200, "{set}");
        Ok(set["status_webhook"].as_str().context("no webhook")?.parse()?)
    }

    /// An order that the platform took the money for.
    async fn sent(&self, channel: &str, number: &str) -> Result<Uuid> {
        let document = json!({"_id": format!("d-{number}"), "channelOrderId": number, "channelLink": "link-1", "orderType": 1,
            "orderIsAlreadyPaid": true, "payment": {"amount": 500, "type": 0}, "customer": {"name": "A. Diner"},
            "items": [{"plu": "P-1", "name": "Wrap", "price": 500, "quantity": 1}]});
        let (status, order) =
            self.ask(Method::POST, &format!("/channels/{channel}/orders"), document).await?;
        ensure!(status == 202 && order["status"] == "CONFIRMED", "{order}");
        Ok(order["id"].as_str().context("no id")?.parse()?)
    }

    async fn move_on(&self, order: Uuid, by: &str, body: Value) -> Result<()> {
        let method = if by == "status" { Method::PUT } else { Method::POST };
        let (status, told) = self.ask(method, &format!("/orders/{order}/{by}"), body).await?;
        ensure!(status == 200, "{told}");
        Ok(())
    }

    /// What the platform was told of an order: numbers of Deliverect's.
    fn heard(&self, number: &str) -> Result<Vec<u64>> {
        let mut heard = Vec::new();
        for came in self.receiver.came("/status") {
            let body: Value = serde_json::from_str(&came.body)?;
            if body["channelOrderId"] == number {
                heard.extend(body["status"].as_u64());
            }
        }
        Ok(heard)
    }
}

fn is_signed(came: &Came, secret: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, came.body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    came.headers.get("x-server-authorization-hmac-sha256").is_some_and(|shown| *shown == *hex)
}

#[tokio::test]
async fn what_the_kitchen_does_with_an_order_is_told_to_its_platform_in_its_own_words() -> Result<()> {
    let mut house = House::new().await?;
    house.webhook("/in", json!({})).await?;
    let platform = house.platform(Some(SECRET)).await?;
    house.channel(Method::PUT, "others", &json!({"dialect": "deliverect", "currency": "EUR"})).await?;
    let made = house.sent("eats", "A-1").await?;
    let [cancelled, rejected] = [house.sent("eats", "A-2").await?, house.sent("eats", "A-3").await?];
    let others = house.sent("others", "B-1").await?;
    house.move_on(others, "accept", json!({})).await?;
    let ours = house.order().await?;
    house.cancel(ours).await?;
    // Begins what nobody has taken yet: two moves.
    house.move_on(made, "status", json!({"status": "PREPARING"})).await?;
    house.move_on(made, "status", json!({"status": "ACCEPTED", "reason": "no oven"})).await?;
    for status in ["PREPARING", "READY", "DELIVERED"] {
        house.move_on(made, "status", json!({"status": status})).await?;
    }
    house.move_on(cancelled, "accept", json!({})).await?;
    house.move_on(cancelled, "cancel", json!({"reason": "out of wraps"})).await?;
    house.move_on(rejected, "reject", json!({"reason": "too busy"})).await?;
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(house.heard("A-1")?, [20, 50, 20, 50, 70, 90]);
    assert_eq!(house.heard("A-2")?, [20, 110]);
    assert_eq!(house.heard("A-3")?, [120]);
    let came = house.receiver.came("/status");
    assert_eq!(came.len(), 9, "of its own orders alone, and of nothing that it has no word for");
    for one in &came {
        assert!(is_signed(one, SECRET) && one.headers["content-type"] == "application/json");
        assert!(one.signature.is_empty() && !one.body.contains("Diner"));
    }
    let of_rejected = came.iter().find(|one| one.body.contains("\"A-3\"")).context("nothing")?;
    let body: Value = serde_json::from_str(&of_rejected.body)?;
    assert_eq!((&body["receiptId"], &body["channelLink"]), (&json!(rejected), &json!("link-1")));
    assert_eq!((&body["orderId"], &body["reason"]), (&json!("d-A-3"), &json!("too busy")));
    // Whoever asked to be told hears of all of them as before.
    assert!(house.receiver.came("/in").iter().all(|one| one.body.contains("specversion")));
    assert_eq!(house.listed(platform, "taken").await?.len(), 9);

    // Another secret, and in the end none.
    assert_eq!(house.platform(Some("another one")).await?, platform, "the same line goes on");
    assert_eq!(house.platform(None).await?, platform);
    let next = house.sent("eats", "A-4").await?;
    house.move_on(next, "accept", json!({})).await?;
    house.follow().await?;
    house.deliver().await?;
    assert!(house.receiver.came("/status").last().is_some_and(|one| is_signed(one, "another one")));
    house.channel(Method::PUT, "eats", &json!({"dialect": "deliverect", "currency": "EUR"})).await?;
    house.move_on(next, "cancel", json!({})).await?;
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(house.heard("A-4")?, [20]);
    house.api.stop().await
}

#[tokio::test]
async fn a_platform_that_fails_is_told_again_in_order_and_in_the_end_when_somebody_says_so() -> Result<()> {
    let mut house = House::new().await?;
    let platform = house.platform(Some(SECRET)).await?;
    let order = house.sent("eats", "A-1").await?;
    house.move_on(order, "status", json!({"status": "PREPARING"})).await?;
    house.receiver.answer("/status", 503);
    house.follow().await?;
    for _ in 0..7 {
        house.deliver().await?;
        house.hurry().await?;
    }
    let (_, order_shown) = house.ask(Method::GET, &format!("/orders/{order}"), json!({})).await?;
    assert_eq!(order_shown["status"], "PREPARING", "the kitchen waits for nobody");
    let parked = house.listed(platform, "parked").await?;
    assert_eq!(parked, [(format!("{order}_2"), vec!["503".to_owned(); 7])], "its next one waits behind it");
    house.receiver.answer("/status", 200);
    house.deliver().await?;
    let replay = format!("/webhooks/{platform}/replay");
    let (_, replayed) = house.ask(Method::POST, &replay, json!({})).await?;
    assert_eq!(replayed["replayed"], 1);
    house.deliver().await?;
    let heard = house.heard("A-1")?;
    assert_eq!(heard[..7], [20; 7]);
    assert_eq!(heard[7..], [50, 50, 20], "sent again when somebody said so");
    house.api.stop().await
}

#[tokio::test]
async fn a_platform_is_told_at_no_address_that_only_the_house_can_reach() -> Result<()> {
    let mut house = House::with(|settings| settings.webhook_networks.clear()).await?;
    let platform = house.platform(Some(SECRET)).await?;
    let order = house.sent("eats", "A-1").await?;
    house.move_on(order, "accept", json!({})).await?;
    house.follow().await?;
    house.deliver().await?;
    assert!(house.receiver.came("/status").is_empty());
    assert_eq!(house.listed(platform, "waiting").await?[0].1, ["not_allowed"]);
    house.api.stop().await
}

#[tokio::test]
async fn where_a_platform_is_told_is_set_with_its_channel_alone_and_its_secret_is_never_shown() -> Result<()>
{
    let house = House::new().await?;
    for (settings, attr, code) in [
        (
            json!({"dialect": "shopify", "status_url": "https://a", "status_secret": SECRET}),
            "status_url",
            "not_told",
        ),
        (json!({"dialect": "deliverect", "status_url": "https://a"}), "status_secret", "required"),
        (json!({"dialect": "deliverect", "status_secret": SECRET}), "status_url", "required"),
        (
            json!({"dialect": "deliverect", "status_url": "https://me:too@a", "status_secret": SECRET}),
            "status_url",
            "no_url",
        ),
        (
            json!({"dialect": "deliverect", "status_url": "https://a", "status_secret": "short"}),
            "status_secret",
            "too_short",
        ),
    ] {
        let (status, answer) = house.channel(Method::PUT, "eats", &settings).await?;
        let error = &answer["errors"][0];
        assert_eq!((status, &error["attr"], &error["code"]), (422, &json!(attr), &json!(code)), "{answer}");
    }
    assert_eq!(house.channel(Method::GET, "eats", &json!({})).await?.0, 404, "nothing of it was set");

    let platform = house.platform(Some(SECRET)).await?;
    let (_, shown) = house.channel(Method::GET, "eats", &json!({})).await?;
    assert_eq!(shown["status_url"], format!("{}/status", house.receiver.url));
    let path = format!("/webhooks/{platform}");
    let (_, webhook) = house.ask(Method::GET, &path, json!({})).await?;
    assert_eq!((&webhook["platform"], &webhook["types"]), (&json!("eats"), &json!([])));
    for shown in [shown, webhook] {
        assert!(!shown.to_string().contains(SECRET));
    }
    for (method, below, body) in [
        (Method::PATCH, "", json!({"url": "https://b"})),
        (Method::PATCH, "", json!({"types": ["order.moved"], "disabled": true})),
        (Method::DELETE, "", json!({})),
        (Method::POST, "/secrets", json!({})),
        (Method::POST, "/test", json!({})),
    ] {
        let (status, answer) = house.ask(method, &format!("{path}{below}"), body).await?;
        assert_eq!((status, &answer["errors"][0]["code"]), (409, &json!("set_with_channel")), "{answer}");
    }
    let (status, disabled) = house.ask(Method::PATCH, &path, json!({"disabled": true})).await?;
    assert_eq!((status, &disabled["disabled_because"]), (200, &json!("told")));
    let url = format!("{}/api/v1{path}", house.api.client.api);
    for (token, status) in [(token_at("moe", "manager", &["airport"])?, 404), (of("admin:root")?, 200)] {
        let asked = house.api.client.http.get(&url).bearer_auth(token).send().await?;
        assert_eq!(asked.status().as_u16(), status);
    }
    assert_eq!(house.channel(Method::DELETE, "eats", &json!({})).await?.0, 204);
    assert_eq!(house.ask(Method::GET, &path, json!({})).await?.0, 404, "gone with its channel");
    house.api.stop().await
}
