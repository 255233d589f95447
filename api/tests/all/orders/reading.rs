//! Lists, pages, history, health and documentation.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::Client;

use crate::api;

fn ids(page: &Value) -> Vec<String> {
    page["orders"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

async fn order_of(client: &Client, customer: &str) -> Result<String> {
    let mut order = Client::an_order();
    order["customer_id"] = json!(customer);
    Ok(client.order(&order).await?.to_string())
}

#[tokio::test]
async fn pages_and_cursors_show_every_order_once_newest_first() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(order_of(client, if n % 5 == 0 { "ann" } else { "bob" }).await?);
    }
    sent.reverse();
    let first = client.get("/api/v1/orders").await?;
    assert_eq!((&first["total"], &first["page"], &first["page_size"]), (&json!(25), &json!(1), &json!(20)));
    assert_eq!(ids(&first), sent[..20]);
    let second = client.get("/api/v1/orders/?page=2").await?;
    assert_eq!(ids(&second), sent[20..]);
    assert_eq!(second["next_cursor"], Value::Null);

    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = client.get(&format!("/api/v1/orders?page_size=7{next}")).await?;
        seen.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, sent);

    let ann = client.get("/api/v1/orders?customer_id=ann&status=pending").await?;
    assert_eq!((ids(&ann).len(), &ann["total"]), (5, &json!(5)));
    assert!(ann["orders"].as_array().unwrap().iter().all(|order| order["customer_id"] == "ann"));
    let none = client.get("/api/v1/orders?status=Delivered").await?;
    assert_eq!((ids(&none).len(), &none["total"]), (0, &json!(0)));
    assert_eq!(none["total_capped"], json!(false));
    assert_eq!(ids(&client.get("/api/v1/orders?page=500").await?), Vec::<String>::new());
    for deep in ["page=501", "page=100000", "page=101&page_size=100", "page=99999999999999999&page_size=100"]
    {
        let refused = client.get(&format!("/api/v1/orders?{deep}")).await?;
        assert_eq!(
            (&refused["status"], &refused["errors"][0]["code"]),
            (&json!(422), &json!("too_deep")),
            "{deep}"
        );
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("next_cursor"), "{refused}");
    }
    pipeline.stop().await
}

/// Case 59: pages by numbers move on with each order that comes; whoever follows a cursor sees each order once.
#[tokio::test]
async fn who_follows_a_cursor_sees_no_order_twice_and_misses_none_while_orders_arrive() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(order_of(client, "ann").await?);
    }
    sent.reverse();
    let first = client.get("/api/v1/orders?page=1&page_size=10").await?;
    for _ in 0..3 {
        order_of(client, "ann").await?;
    }
    let second = client.get("/api/v1/orders?page=2&page_size=10").await?;
    assert_eq!(ids(&second)[..3], ids(&first)[7..], "by its number a page is another one by now");
    let mut newer = ids(&client.get("/api/v1/orders?page=1&page_size=3").await?);
    newer.append(&mut sent);
    sent = newer;
    for filter in ["", "&customer_id=ann", "&status=pending", "&from=2000-01-01T00:00:00Z"] {
        let (mut seen, mut came, mut next) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = client.get(&format!("/api/v1/orders?page_size=7{filter}{next}")).await?;
            seen.extend(ids(&page));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("&cursor={cursor}");
            for _ in 0..2 {
                came.insert(0, order_of(client, "ann").await?);
            }
        }
        assert_eq!(seen, sent, "{filter:?}: those that were there, each once, newest first");
        came.append(&mut sent);
        sent = came;
    }
    pipeline.stop().await
}

#[tokio::test]
async fn history_begins_with_the_order_coming_to_be() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let id = order_of(client, "ann").await?;
    let mut history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    assert!(history["history"][0]["at"].take().is_string());
    assert_eq!(
        history,
        json!({"order_id": id, "history": [
            {"version": 1, "what": "accepted", "from": null, "to": "PENDING", "actor": "api", "reason": null,
             "amount": 30.97, "at": null, "left_at": null, "duration_ms": null}]})
    );
    pipeline.stop().await
}

#[tokio::test]
async fn health_readiness_and_documentation_answer() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    assert_eq!(client.get("/health").await?, json!({"status": "ok"}));
    testbed::until("the publisher is connected", async || {
        let ready = client.get("/ready").await?;
        Ok((ready == json!({"status": "ok", "database": "up", "broker": "up"})).then_some(()))
    })
    .await?;
    let document = client.get("/openapi.json").await?;
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/",
            "/api/v1/analytics/customers/lifetime-orders",
            "/api/v1/analytics/customers/{customer}/lifetime-orders",
            "/api/v1/analytics/days/{date}",
            "/api/v1/analytics/jobs/status",
            "/api/v1/analytics/order-metrics",
            "/api/v1/analytics/revenue",
            "/api/v1/analytics/status-metrics",
            "/api/v1/auth/jwks.json",
            "/api/v1/auth/login",
            "/api/v1/auth/logout",
            "/api/v1/auth/me",
            "/api/v1/auth/password",
            "/api/v1/auth/refresh",
            "/api/v1/auth/register",
            "/api/v1/auth/token",
            "/api/v1/cart",
            "/api/v1/cart/checkout",
            "/api/v1/catalog",
            "/api/v1/catalog/{id}",
            "/api/v1/categories",
            "/api/v1/categories/{id}",
            "/api/v1/channels/{channel}/orders",
            "/api/v1/channels/{channel}/orders/{channel_order_id}",
            "/api/v1/channels/{channel}/refused/{id}",
            "/api/v1/events",
            "/api/v1/locations",
            "/api/v1/locations/{location}",
            "/api/v1/orders",
            "/api/v1/orders/events",
            "/api/v1/orders/later",
            "/api/v1/orders/me",
            "/api/v1/orders/{id}",
            "/api/v1/orders/{id}/accept",
            "/api/v1/orders/{id}/cancel",
            "/api/v1/orders/{id}/collect",
            "/api/v1/orders/{id}/events",
            "/api/v1/orders/{id}/history",
            "/api/v1/orders/{id}/items",
            "/api/v1/orders/{id}/no-show",
            "/api/v1/orders/{id}/payment",
            "/api/v1/orders/{id}/reject",
            "/api/v1/orders/{id}/status",
            "/api/v1/products",
            "/api/v1/products/{id}",
            "/api/v1/products/{id}/stock",
            "/api/v1/service-tokens",
            "/api/v1/service-tokens/{id}",
            "/api/v1/unsubscribe/{token}",
            "/api/v1/users",
            "/api/v1/users/me",
            "/api/v1/users/me/addresses",
            "/api/v1/users/me/addresses/{address}",
            "/api/v1/users/me/mails",
            "/api/v1/users/me/sale-notices",
            "/api/v1/users/me/sale-notices/{product}",
            "/api/v1/users/{id}",
            "/api/v1/webhooks",
            "/api/v1/webhooks/{id}",
            "/api/v1/webhooks/{id}/deliveries",
            "/api/v1/webhooks/{id}/replay",
            "/api/v1/webhooks/{id}/secrets",
            "/api/v1/webhooks/{id}/test",
            "/health",
            "/ping",
            "/problems",
            "/problems/{name}",
            "/ready",
        ]
    );
    assert!(document["paths"]["/api/v1/orders"]["post"]["responses"]["422"].is_object());
    let docs = client.http.get(format!("{}/docs/", client.api)).send().await?.text().await?;
    assert!(docs.contains("swagger"), "{docs}");
    pipeline.stop().await
}

#[tokio::test]
async fn lists_are_of_what_is_asked_for_and_what_nobody_knows_is_refused_by_name() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let client = &api.client;
    let mut ids = Vec::new();
    for fulfilment in ["pickup", "dine_in", "PICKUP"] {
        let mut order = Client::an_order();
        order["fulfilment"] = json!(fulfilment);
        ids.push(client.order(&order).await?.to_string());
    }
    ids.push(client.order(&Client::an_order()).await?.to_string());
    let listed = async |query: &str| -> Result<Vec<String>> {
        let list = client.get(&format!("/api/v1/orders?{query}")).await?;
        let orders = list["orders"].as_array().with_context(|| format!("{query}: {list}"))?;
        Ok(orders.iter().filter_map(|one| one["id"].as_str()).map(str::to_owned).collect())
    };
    assert_eq!(listed("fulfilment=Pickup").await?, [ids[2].clone(), ids[0].clone()]);
    assert_eq!(listed("fulfilment=dine_in&status=PENDING").await?, [ids[1].clone()]);
    assert!(listed("fulfilment=delivery").await?.is_empty());
    // What a till asks again and again: what has changed since.
    let before = client.read(ids[3].parse()?).await?["updated_at"].as_str().context("a time")?.to_owned();
    assert_eq!(listed(&format!("updated_from={before}")).await?, [ids[3].clone()]);
    let path = format!("{}/api/v1/orders/{}/cancel", client.api, ids[1]);
    assert_eq!(client.http.post(path).send().await?.status(), 200);
    assert_eq!(listed(&format!("updated_from={before}")).await?, [ids[3].clone(), ids[1].clone()]);
    for (query, attr, code) in [
        ("colour=red", "colour", "unknown_field"),
        ("channel_order_id=7", "channel_order_id", "unknown_field"),
        ("fulfilment=drone", "fulfilment", "unknown_fulfilment"),
        ("updated_from=today", "updated_from", "no_time"),
        ("page=1&page=2", "query", "invalid"),
    ] {
        for path in ["orders", "orders/me"] {
            let told = client.get(&format!("/api/v1/{path}?{query}")).await?;
            let first = &told["errors"][0];
            assert_eq!((&first["attr"], &first["code"]), (&json!(attr), &json!(code)), "{told}");
        }
    }
    api.stop().await
}
