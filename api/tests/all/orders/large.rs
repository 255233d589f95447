//! Case 44: orders as long as they may be, to the last character, and documents with much in them that is not for us.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};

use crate::api;
use crate::orders::channel_settings::inside;
use crate::orders::dialects::{document, speaks};
use crate::orders::from_channels::post;

/// Four bytes a character.
const LONGEST_NAME: usize = 500;
const LONGEST_NOTE: usize = 1_000;
const MOST_LINES: usize = 200;

fn emoji(chars: usize) -> String {
    "\u{1f354}".repeat(chars)
}

/// As many lines as may be, each with the longest name, and the longest note where there is one: of `POST /orders` and of a channel.
fn orders(with_notes: bool) -> [(&'static str, Value); 2] {
    let (name, note) = (emoji(LONGEST_NAME), if with_notes { emoji(LONGEST_NOTE) } else { String::new() });
    let ours = json!({"item_id": "i", "item_name": name, "quantity": 1, "price": 1, "note": note});
    let theirs = json!({"name": name, "plu": "i", "quantity": 1, "price": 1, "remark": note});
    let of = |line: Value| std::iter::repeat_n(line, MOST_LINES).collect::<Value>();
    [
        ("/orders", json!({"customer_id": "c", "items": of(ours)})),
        ("/channels/eats/orders", json!({"channelOrderId": "A-1", "items": of(theirs)})),
    ]
}

/// Whether each is taken, and read back as it came.
async fn are_taken(client: &Client, with_notes: bool) -> Result<()> {
    for (path, order) in orders(with_notes) {
        let (status, placed) = post(client, path, &order).await?;
        assert_eq!((status, &placed["total"]), (202, &json!(200.0)), "{path}");
        let read = client.read(placed["id"].as_str().unwrap_or_default().parse()?).await?;
        let lines = read["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(lines.len(), MOST_LINES);
        let note = if with_notes { json!(emoji(LONGEST_NOTE)) } else { Value::Null };
        for line in lines {
            assert_eq!((&line["item_name"], &line["note"]), (&json!(emoji(LONGEST_NAME)), &note), "{path}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_hundred_lines_of_nothing_but_emoji_are_taken_or_too_large_and_told_which() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    are_taken(client, false).await?;
    for (path, order) in orders(true) {
        assert!(order.to_string().len() > 1_048_576, "more than the limit of 1 MiB");
        let (status, told) = post(client, path, &order).await?;
        assert_eq!(status, 413, "{path}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("1048576")), "{told}");
    }
    for (path, field, attr) in
        [("/orders", "item_name", "items[7].item_name"), ("/channels/eats/orders", "name", "items[7].name")]
    {
        let [ours, theirs] = orders(false);
        let (_, mut order) = if path == "/orders" { ours } else { theirs };
        order["items"][7][field] = json!(emoji(LONGEST_NAME + 1));
        let (status, problem) = post(client, path, &order).await?;
        let first = (&problem["errors"][0]["attr"], &problem["errors"][0]["code"]);
        assert_eq!((status, first), (422, (&json!(attr), &json!("too_long"))), "one character more");
    }
    pipeline.stop().await?;

    // Where the operator lets them, they come with all of their notes.
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.api_body_kib = 2_048;
    let pipeline = Pipeline::start(&database, options).await?;
    are_taken(&pipeline.client, true).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_document_of_600_kb_is_taken_and_shown_whole_and_one_over_the_limit_is_413() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({})).await?;
        let of = |bytes: usize| -> Result<Value> {
            let mut order = document("deliverect", "all_charges_cash")?;
            order["more"] = json!("");
            let rest = bytes - order.to_string().len();
            order["more"] = json!("x".repeat(rest));
            assert_eq!(order.to_string().len(), bytes);
            Ok(order)
        };
        let large = of(600_000)?;
        let (status, order) = post(client, "/channels/deliverect/orders", &large).await?;
        assert_eq!((status, &order["total"]), (202, &json!(14.99)), "{order}");
        let id = order["id"].as_str().unwrap_or_default();
        let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
        assert!(history["imported"] == large, "all of it is shown");
        let (status, told) = post(client, "/channels/deliverect/orders", &of(1_048_577)?).await?;
        assert_eq!(status, 413, "{told}");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
