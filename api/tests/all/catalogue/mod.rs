mod articles;
mod by_plu;
mod carts;
mod ordering;
mod public;
pub(crate) mod stock;

use anyhow::{Result, ensure};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use testbed::{Pipeline, people};

use crate::people::ask;

/// Asks as somebody.
pub(crate) async fn by(
    who: &str,
    api: &Pipeline,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Response> {
    ask(api, method, path, &people::of(who)?, body).await
}

/// Asks as a manager for what is to be done.
pub(crate) async fn manage(api: &Pipeline, method: Method, path: &str, body: Value) -> Result<Value> {
    let answer = by("manager:max", api, method, path, Some(body)).await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{path}: {status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// Makes a product.
pub(crate) async fn product(api: &Pipeline, product: Value) -> Result<Value> {
    manage(api, Method::POST, "/products", product).await
}

/// What is in its variations, by their names.
pub(crate) fn latte() -> Value {
    json!({"name": "Latte", "variations": [{"name": "Small", "price": 3.00}, {"name": "Large", "price": 4.50}],
        "option_groups": [{"name": "Syrups", "max": 2, "options": [
            {"name": "Pumpkin Spice", "price": 0.75}, {"name": "Vanilla", "price": 0.50}, {"name": "Hazelnut", "price": 0.50}]},
            {"name": "Milk", "min": 1, "max": 1, "options": [{"name": "Whole"}, {"name": "Oat", "price": 0.60}]}]})
}

/// The id of what is called so in a list.
pub(crate) fn id_of(list: &Value, name: &str) -> String {
    let found = list.as_array().and_then(|list| list.iter().find(|one| one["name"] == name));
    found.and_then(|one| one["id"].as_str()).unwrap_or_default().to_owned()
}
