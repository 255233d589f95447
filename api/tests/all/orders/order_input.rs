//! Wrong input gets a clear answer in one shape, and never a 5xx.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Client;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api;

/// Sends a body as it is, and returns status and body of the answer after checking its shape.
async fn post_raw(
    client: &Client,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Result<(u16, Value)> {
    let request =
        client.http.post(format!("{}/api/v1/orders", client.api)).header("content-type", content_type);
    problem(request.body(body).send().await?).await
}

async fn problem(response: reqwest::Response) -> Result<(u16, Value)> {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let request_id = response.headers()["x-request-id"].to_str()?.to_owned();
    let text = response.text().await?;
    let lower = text.to_lowercase();
    for leak in ["sqlx", "select ", "insert ", "postgres", "i64", "u32", "serde", "::", ".rs", "struct"] {
        assert!(!lower.contains(leak), "{leak:?} leaks in {text}");
    }
    let body: Value = serde_json::from_str(&text)?;
    assert_eq!(body["status"], status);
    assert_eq!(body["instance"], format!("urn:request:{request_id}"));
    for field in ["type", "title", "detail"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {body}");
    }
    assert!(body["errors"].is_array());
    Ok((status, body))
}

/// The README's order with one thing changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut order = Client::an_order();
    *order.pointer_mut(pointer).unwrap() = value;
    order
}

fn with_currency(code: &str) -> Value {
    let mut order = Client::an_order();
    order["currency"] = json!(code);
    order
}

fn expiring(at: &str) -> Value {
    let mut order = Client::an_order();
    order["expires_at"] = json!(at);
    order
}

/// Where an order names no time, its charge has a quarter of an hour; and what was asked is answered the same when it has passed.
#[tokio::test]
async fn an_order_says_when_its_charge_is_called_off() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let time = |value: &Value| OffsetDateTime::parse(value.as_str().unwrap_or_default(), &Rfc3339);
    let order: Value = client.post(&Client::an_order()).await?.json().await?;
    assert_eq!(time(&order["expires_at"])?, time(&order["created_at"])? + Duration::from_secs(900));
    let id = order["id"].as_str().unwrap_or_default();
    assert_eq!(client.get(&format!("/api/v1/orders/{id}")).await?["expires_at"], order["expires_at"]);

    let at = OffsetDateTime::now_utc() + Duration::from_secs(1);
    let body = expiring(&at.format(&Rfc3339)?).to_string();
    let post = async |key: &str| -> Result<(u16, Value)> {
        let request =
            client.http.post(format!("{}/api/v1/orders", client.api)).header("idempotency-key", key);
        let answer = request.header("content-type", "application/json").body(body.clone()).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let (status, first) = post("k").await?;
    assert_eq!(
        (status, time(&first["expires_at"])?.unix_timestamp_nanos() / 1_000),
        (202, at.unix_timestamp_nanos() / 1_000)
    );
    testbed::until("it has passed", async || Ok((OffsetDateTime::now_utc() > at).then_some(()))).await?;
    assert_eq!(post("k").await?, (202, first), "the same answer");
    let (status, late) = post("another").await?;
    assert_eq!((status, &late["errors"][0]["code"]), (422, &json!("in_the_past")));
    pipeline.stop().await
}

#[tokio::test]
async fn every_wrong_order_is_refused_with_its_place_and_code() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let long = "x".repeat(501);
    let cases = [
        (with("/items", json!([])), "items", "empty"),
        (with("/items/0/quantity", json!(0)), "items[0].quantity", "out_of_range"),
        (with("/items/0/quantity", json!(-5)), "items[0].quantity", "out_of_range"),
        (with("/items/0/quantity", json!(3_000_000_000_i64)), "items[0].quantity", "out_of_range"),
        (with("/items/1/quantity", json!("2")), "items[1].quantity", "not_whole"),
        (with("/items/0/price", json!(12.999)), "items[0].price", "too_precise"),
        (with("/items/0/price", json!(-1)), "items[0].price", "negative"),
        (with("/items/0/price", json!("12.99")), "items[0].price", "not_decimal"),
        (with("/customer_id", json!("")), "customer_id", "empty"),
        (with("/customer_id", json!(7)), "customer_id", "not_text"),
        (with("/items/0/item_name", json!("a\u{0}b")), "items[0].item_name", "control_character"),
        (with("/items/0/item_name", json!(long)), "items[0].item_name", "too_long"),
        (json!({"items": [], "customer_id": "c", "currency": "XXXX"}), "currency", "unknown_currency"),
        (with_currency("XXX"), "currency", "unknown_currency"),
        (with_currency("XTS"), "currency", "unknown_currency"),
        (with_currency("XAU"), "currency", "unknown_currency"),
        (with_currency("CLF"), "currency", "unknown_currency"),
        (expiring("soon"), "expires_at", "no_time"),
        (expiring("2000-01-01T00:00:00Z"), "expires_at", "in_the_past"),
        (expiring("9999-01-01T00:00:00Z"), "expires_at", "too_far"),
        (json!([1, 2]), "body", "not_an_order"),
        (json!("an order"), "body", "not_an_order"),
    ];
    for (order, attr, code) in cases {
        let (status, body) = post_raw(client, "application/json", order.to_string()).await?;
        assert_eq!(status, 422, "{order}: {body}");
        assert_eq!(
            (&body["errors"][0]["attr"], &body["errors"][0]["code"]),
            (&json!(attr), &json!(code)),
            "{order}"
        );
    }
    pipeline.stop().await
}

#[tokio::test]
async fn what_is_no_order_at_all_is_told_apart() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    for broken in ["", "{", "{\"customer_id\":", "nonsense", "{\"a\":1}}"] {
        let (status, body) = post_raw(client, "application/json", broken).await?;
        assert_eq!(status, 400, "{broken:?}: {body}");
    }
    let not_utf8 = vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'];
    assert_eq!(post_raw(client, "application/json", not_utf8).await?.0, 400);
    let good = Client::an_order().to_string();
    for wrong in ["text/plain", "application/xml", "application/jsonp", ""] {
        assert_eq!(post_raw(client, wrong, good.clone()).await?.0, 415, "{wrong:?}");
    }
    let megabyte = " ".repeat(1024 * 1024 + 1);
    assert_eq!(post_raw(client, "application/json", megabyte.clone()).await?.0, 413);
    // The same without a length announced.
    let chunks = reqwest::Body::wrap(reqwest::Body::from(megabyte));
    assert_eq!(post_raw(client, "application/json", chunks).await?.0, 413);
    pipeline.stop().await
}

#[tokio::test]
async fn unknown_places_and_methods_have_the_same_shape() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let get =
        async |path: &str| problem(client.http.get(format!("{}{path}", client.api)).send().await?).await;
    assert_eq!(get("/nowhere").await?.0, 404);
    assert_eq!(get("/api/v1/orders/not-a-uuid").await?.0, 404);
    assert_eq!(get("/api/v1/orders/not-a-uuid/history").await?.0, 404);
    assert_eq!(get("/api/v1/orders/01a1fd07-dc79-723f-84c4-757c17a7226a").await?.0, 404);
    assert_eq!(get("/api/v1/orders/01a1fd07-dc79-723f-84c4-757c17a7226a/history/").await?.0, 404);
    for (query, attr) in [
        ("status=nonsense", "status"),
        ("page_size=101", "page_size"),
        ("page_size=0", "page_size"),
        ("page_size=x", "page_size"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=99999999999999999999", "page"),
        ("cursor=x", "cursor"),
        ("customer_id=", "customer_id"),
        ("customer_id=a%00b", "customer_id"),
        ("status=a%00b", "status"),
        ("status=pending&status=ready", "query"),
    ] {
        let (status, body) = get(&format!("/api/v1/orders?{query}")).await?;
        assert_eq!((status, &body["errors"][0]["attr"]), (422, &json!(attr)), "{query}: {body}");
    }
    let delete = client.http.delete(format!("{}/api/v1/orders", client.api)).send().await?;
    assert_eq!(problem(delete).await?.0, 405);
    pipeline.stop().await
}

#[tokio::test]
async fn a_good_order_is_accepted_with_its_location_and_exact_total() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    for slash in ["", "/"] {
        let request = client.http.post(format!("{}/api/v1/orders{slash}", client.api));
        let response = request
            .header("content-type", "application/json; charset=utf-8")
            .header("x-request-id", "my-own-id")
            .body(Client::an_order().to_string())
            .send()
            .await?;
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["x-request-id"], "my-own-id");
        let location = response.headers()["location"].to_str()?.to_owned();
        let text = response.text().await?;
        assert!(text.contains(r#""total":30.97,"#), "{text}");
        let accepted: Value = serde_json::from_str(&text)?;
        assert_eq!(accepted["status"], "PENDING");
        assert_eq!(location, format!("/api/v1/orders/{}", accepted["id"].as_str().unwrap()));
        let mut read = client.get(&format!("{location}{slash}")).await?;
        // What was not yet known when it was answered, or of no use.
        for more in ["payments", "timestamps"] {
            assert!(read.as_object_mut().unwrap().remove(more).is_some(), "{more}");
        }
        assert_eq!(read, accepted, "read back, it is the same");
    }
    pipeline.stop().await
}
