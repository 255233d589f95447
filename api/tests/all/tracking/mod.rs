//! What has happened, told: in batches, and as it happens.

mod events;
mod streams;

use anyhow::{Context, Result, ensure};
use reqwest::Response;
use serde_json::{Value, json};
use testbed::Client;
use uuid::Uuid;

/// Cancels an order.
async fn cancel(client: &Client, id: Uuid) -> Result<()> {
    let request = client.http.post(format!("{}/api/v1/orders/{id}/cancel", client.api));
    let answer = request.json(&json!({})).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    Ok(())
}

/// Version and status of what was told of an order.
fn versions(events: &[Value], order: Uuid) -> Vec<(i64, String)> {
    let of_it = events.iter().map(|event| event.get("data").unwrap_or(event));
    let of_it = of_it.filter(|data| data["order_id"] == json!(order));
    let told =
        |data: &Value| (data["version"].as_i64().unwrap_or(0), data["to"].as_str().unwrap_or("").to_owned());
    of_it.map(told).collect()
}

fn header(answer: &Response, name: &str) -> Result<String> {
    let value = answer.headers().get(name).with_context(|| format!("no {name}"))?;
    Ok(value.to_str()?.to_owned())
}
