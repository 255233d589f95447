//! How much of an order an event carries, and whom it names.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::versions;
use crate::House;

#[tokio::test]
async fn with_the_order_each_event_says_how_it_was_then_and_people_are_named_to_who_asked_alone() -> Result<()>
{
    let mut house = House::new().await?;
    let mut hooks = Vec::new();
    for payload in ["thin", "order", "full"] {
        let path = format!("/{payload}");
        hooks.push(house.webhook(&path, json!({"payload": payload})).await?.0);
        house.receiver.answer(&path, 500);
    }
    assert_eq!(house.shown(hooks[0]).await?["payload"], "thin");
    let placed = json!({"customer_id": "customer_123", "fulfilment": "pickup", "customer": {"name": "Ada L."},
        "adjustments": [{"kind": "tip", "amount": 1.10}], "payment": {"method": "on_delivery"},
        "items": [{"item_id": "i-1", "item_name": "Soup", "quantity": 2, "price": 12.99, "note": "no nuts"}]});
    let (status, placed) = house.ask(Method::POST, "/orders", placed).await?;
    ensure!(status == 202, "{placed}");
    let order: Uuid = placed["id"].as_str().context("no id")?.parse()?;
    let more = json!({"payment_reference": "more", "items": [{"item_id": "i-2", "item_name": "Tea", "quantity": 1, "price": 3.10}]});
    let (status, added) = house.ask(Method::POST, &format!("/orders/{order}/items"), more).await?;
    ensure!(status < 300, "{added}");
    house.cancel(order).await?;
    // All of it has happened before anything is written down, let alone sent.
    house.follow().await?;
    house.deliver().await?;
    for path in ["/thin", "/order", "/full"] {
        house.receiver.answer(path, 200);
    }
    house.try_again().await?;

    let (_, history) = house.ask(Method::GET, &format!("/orders/{order}/history"), json!({})).await?;
    let expected: Vec<i64> = history["history"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["version"].as_i64())
        .collect();
    let (thin, with_order, full) =
        (house.receiver.came("/thin"), house.receiver.came("/order"), house.receiver.came("/full"));
    for came in [&thin, &with_order, &full] {
        assert_eq!(versions(&came[1..], order)?, expected, "{history}");
    }
    assert_eq!(with_order[0].body, with_order[1].body, "each try sends the same");
    let mut status = None;
    let mut total = "27.08";
    for (nth, one) in with_order.iter().skip(1).enumerate() {
        let body: Value = serde_json::from_str(&one.body)?;
        let (data, then) = (&body["data"], &body["data"]["order"]);
        if data["to"].is_string() {
            status = Some(data["to"].clone());
        }
        match data["what"].as_str() {
            Some("added") => total = "30.18",
            Some("addition_dropped") => total = "27.08",
            _ => {}
        }
        assert_eq!(Some(&then["status"]), status.as_ref(), "{body}");
        assert!(one.body.contains(&format!("\"total\":{total},\"currency\":\"USD\"")), "{body}");
        assert_eq!(then["items"].as_array().map(Vec::len), Some(if total == "30.18" { 2 } else { 1 }));
        assert_eq!(then["adjustments"][0]["kind"], "tip");
        for text in [&thin[nth + 1].body, &one.body] {
            assert!(!text.contains("Ada") && !text.contains("customer_123") && !text.contains("nuts"));
        }
        assert!(!thin[nth + 1].body.contains("27.08"));
        for text in [&thin[nth + 1].body, &one.body] {
            assert!(!text.contains("handover"), "{text}");
        }
        let people: Value = serde_json::from_str(&full[nth + 1].body)?;
        assert_eq!(people["data"]["order"], *then);
        let handover = &people["data"]["handover"];
        assert_eq!(
            (&handover["customer"]["name"], &handover["customer_id"]),
            (&json!("Ada L."), &json!("customer_123"))
        );
    }
    // What is forgotten is told to nobody, though it be sent again.
    let mut conn = house.database.connect().await?;
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM deliveries WHERE body LIKE '%Ada%' OR body LIKE '%customer_123%'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(kept, 0, "nobody is named in what is kept");
    sqlx::query("UPDATE order_details SET forgotten = true WHERE order_id = $1")
        .bind(order)
        .execute(&mut conn)
        .await?;
    sqlx::query("UPDATE deliveries SET status = 'parked', ended_at = now(), due_at = NULL WHERE webhook = $1 AND version = 1")
        .bind(hooks[2])
        .execute(&mut conn)
        .await?;
    house.ask(Method::POST, &format!("/webhooks/{}/replay", hooks[2]), json!({})).await?;
    house.deliver().await?;
    let again = house.receiver.came("/full").last().map(|one| one.body.clone()).context("nothing")?;
    assert!(again.ends_with("\"handover\":null}}") && !again.contains("Ada"), "{again}");
    house.api.stop().await
}
