//! Wrong input about channels, customers, addresses and times: each with its place, as its sender calls it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::api;
use crate::orders::from_channels::{an_order, document, post};

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body
}

#[tokio::test]
async fn every_wrong_detail_of_an_order_is_refused_with_its_place_and_code() -> Result<()> {
    let (_database, pipeline) = api().await?;
    for (pointer, value, attr, code) in [
        ("/channel", Value::Null, "channel", "required"),
        ("/channel", json!(""), "channel", "empty"),
        ("/channel", json!("x".repeat(51)), "channel", "too_long"),
        ("/channel", json!("a\u{0}"), "channel", "control_character"),
        ("/channel", json!(7), "channel", "not_text"),
        ("/channel_order_id", Value::Null, "channel_order_id", "required"),
        ("/channel_order_id", json!("x".repeat(201)), "channel_order_id", "too_long"),
        ("/fulfilment", json!("drone"), "fulfilment", "unknown_fulfilment"),
        ("/fulfilment", json!(1), "fulfilment", "unknown_fulfilment"),
        ("/delivery_address", Value::Null, "delivery_address", "required"),
        ("/delivery_address", json!("London"), "delivery_address", "not_an_object"),
        ("/delivery_address/street", Value::Null, "delivery_address.street", "required"),
        ("/delivery_address/street", json!(" "), "delivery_address.street", "empty"),
        ("/delivery_address/street", json!("x".repeat(501)), "delivery_address.street", "too_long"),
        ("/delivery_address/city", json!("a\nb"), "delivery_address.city", "control_character"),
        ("/delivery_address/postal_code", json!(12345), "delivery_address.postal_code", "not_text"),
        ("/customer", json!([]), "customer", "not_an_object"),
        ("/customer/name", json!("\u{0}"), "customer.name", "control_character"),
        ("/customer/name", json!("x".repeat(501)), "customer.name", "too_long"),
        ("/customer/phone_number", json!("call me"), "customer.phone_number", "no_phone_number"),
        ("/customer/phone_number", json!("no 7"), "customer.phone_number", "no_phone_number"),
        ("/customer/phone_number", json!(4420), "customer.phone_number", "not_text"),
        ("/pickup_time", json!("tomorrow"), "pickup_time", "no_time"),
        ("/pickup_time", json!("2026-02-30T18:30:00Z"), "pickup_time", "no_time"),
        ("/pickup_time", json!("2026-01-31T18:30:00"), "pickup_time", "no_time"),
        ("/pickup_time", json!(1_769_880_600), "pickup_time", "not_text"),
        ("/items/0/plu", json!(""), "items[0].plu", "empty"),
        ("/items/0/plu", json!(12), "items[0].plu", "not_text"),
    ] {
        let body = with(an_order(), pointer, value);
        let (status, problem) = post(&pipeline.client, "/orders", &body).await?;
        let first = (&problem["errors"][0]["attr"], &problem["errors"][0]["code"]);
        assert_eq!((status, first), (422, (&json!(attr), &json!(code))), "{pointer}: {problem}");
    }
    // Null is as good as nothing, and so is an empty customer.
    let mut order = an_order();
    for field in ["channel", "channel_order_id", "fulfilment", "delivery_address", "pickup_time"] {
        order[field] = Value::Null;
    }
    order["customer"] = json!({"name": null});
    let (status, accepted) = post(&pipeline.client, "/orders", &order).await?;
    assert_eq!((status, accepted.get("customer"), accepted.get("channel")), (202, None, None));
    pipeline.stop().await
}

#[tokio::test]
async fn every_wrong_document_is_refused_with_its_place_and_code() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut deep = json!(1);
    for _ in 0..126 {
        deep = json!([deep]);
    }
    for (pointer, value, attr, code) in [
        ("/channelOrderId", Value::Null, "channelOrderId", "required"),
        ("/channelOrderId", json!([7]), "channelOrderId", "not_text"),
        ("/channelOrderId", json!("x".repeat(201)), "channelOrderId", "too_long"),
        ("/items", Value::Null, "items", "required"),
        ("/items", json!([]), "items", "empty"),
        ("/items/0/quantity", json!(0), "items[0].quantity", "out_of_range"),
        ("/items/0/quantity", json!(1.5), "items[0].quantity", "not_whole"),
        ("/items/0/price", json!(12.999), "items[0].price", "too_precise"),
        ("/items/0/price", json!(-1), "items[0].price", "negative"),
        ("/items/0/price", json!("a dozen"), "items[0].price", "not_decimal"),
        ("/discounts", json!([{"amount": 1}]), "discounts", "not_plain"),
        ("/payment", json!({"amount": 30.97}), "payment", "not_plain"),
        ("/currency", json!("XXXX"), "currency", "unknown_currency"),
        ("/currency", json!("XAU"), "currency", "unknown_currency"),
        ("/orderIsAlreadyPaid", json!("yes"), "orderIsAlreadyPaid", "not_true_or_false"),
        ("/customer/phoneNumber", json!("\u{1}"), "customer.phoneNumber", "control_character"),
        ("/deliveryAddress/postalCode", json!("\u{1}"), "deliveryAddress.postalCode", "control_character"),
        ("/pickupTime", json!("noon"), "pickupTime", "no_time"),
        ("/pickupTime", json!("9999-12-31T23:59:59Z"), "pickupTime", "no_time"),
        ("/statusHistory", deep, "statusHistory", "unreadable"),
    ] {
        let body = with(document(), pointer, value);
        let (status, problem) = post(client, "/channels/dishdash/orders", &body).await?;
        let first = (&problem["errors"][0]["attr"], &problem["errors"][0]["code"]);
        assert_eq!((status, first), (422, (&json!(attr), &json!(code))), "{pointer}: {problem}");
    }
    for (path, attr) in [
        ("/channels/dishdash/orders?paid=perhaps", "paid"),
        ("/channels/dishdash/orders?paid=true&paid=false", "paid"),
        ("/channels/a%00b/orders", "channel"),
        ("/channels/%20/orders", "channel"),
    ] {
        let (status, problem) = post(client, path, &document()).await?;
        assert_eq!((status, &problem["errors"][0]["attr"]), (422, &json!(attr)), "{path}: {problem}");
    }
    let conflict = with(document(), "/orderIsAlreadyPaid", json!(true));
    let (status, problem) = post(client, "/channels/dishdash/orders?paid=false", &conflict).await?;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("conflict")));
    let url = format!("{}/api/v1/channels/dishdash/orders", client.api);
    for (body, status) in [("{", 400), ("[]", 422), ("\"\"", 422), (r#"{"items":1,"items":2}"#, 422)] {
        let request = client.http.post(&url).header("content-type", "application/json").body(body);
        assert_eq!(request.send().await?.status(), status, "{body}");
    }
    // A number and a character that there are not, and 250 KB of brackets.
    for history in [
        "1e999999".to_owned(),
        r#""\ud800""#.to_owned(),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let body =
            document().to_string().replace("\"statusHistory\":[", &format!("\"statusHistory\":[{history},"));
        let request = client.http.post(&url).header("content-type", "application/json").body(body);
        let answer = request.send().await?;
        assert_eq!(answer.status(), 422);
        assert_eq!(answer.json::<Value>().await?["errors"][0]["attr"], "statusHistory");
    }
    assert_eq!(client.http.get(&url).send().await?.status(), 405);
    assert_eq!(client.get("/api/v1/orders?channel=%00").await?["errors"][0]["attr"], "channel");
    pipeline.stop().await
}

/// What real senders write and mean well: one order each, and what it says is kept.
#[tokio::test]
async fn what_is_written_otherwise_and_meant_well_is_taken() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    for (number, (pointer, value, shown, expected)) in [
        ("/customer/phoneNumber", json!(""), "/customer/phone_number", Value::Null),
        ("/deliveryAddress", json!({}), "/delivery_address", Value::Null),
        ("/pickupTime", json!(""), "/pickup_time", Value::Null),
        ("/account", json!(""), "/channel", json!("dishdash")),
        ("/currency", json!(""), "/currency", json!("USD")),
        ("/currency", json!("eur"), "/currency", json!("EUR")),
        ("/deliveryAddress/city", Value::Null, "/delivery_address/street", json!("12 St James's Square")),
        ("/deliveryAddress/street", Value::Null, "/delivery_address/city", json!("London")),
        (
            "/deliveryAddress/street",
            json!("12 Main St\nApt 4"),
            "/delivery_address/street",
            json!("12 Main St, Apt 4"),
        ),
        (
            "/deliveryAddress/streetNumber",
            json!("12b"),
            "/delivery_address/street",
            json!("12 St James's Square 12b"),
        ),
        (
            "/customer/phoneNumber",
            json!("+1 (555) 010-0123 ext. 89"),
            "/customer/phone_number",
            json!("+1 (555) 010-0123 ext. 89"),
        ),
        (
            "/customer/phoneNumber",
            json!("\u{660}\u{661}\u{662}\u{663}"),
            "/customer/phone_number",
            json!("\u{660}\u{661}\u{662}\u{663}"),
        ),
        ("/customer/phoneNumber", json!("+52155****90"), "/customer/phone_number", json!("+52155****90")),
        ("/items/0/quantity", json!(2.0), "/items/0/quantity", json!(2)),
        ("/items/0/plu", Value::Null, "/items/0/item_name", json!("Burger")),
        ("/items/0/plu", json!(4711), "/items/0/plu", json!("4711")),
        ("/pickupTime", json!("2026-01-31 18:30:00+0100"), "/pickup_time", json!("2026-01-31 18:30:00+0100")),
        ("/note", json!("no nuts"), "/note", json!("no nuts\nrings twice")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = with(document(), pointer, value);
        body["channelOrderId"] = json!(number);
        let (status, order) = post(client, "/channels/dishdash/orders", &body).await?;
        assert_eq!(status, 202, "{pointer}: {order}");
        assert_eq!(order.pointer(shown).unwrap_or(&Value::Null), &expected, "{pointer}: {order}");
        assert_eq!(order["channel_order_id"], json!(number.to_string()));
    }
    pipeline.stop().await
}
