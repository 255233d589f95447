//! What a channel says later of an order that it sent before (CASES 25 to 28): it is off, it goes at another time or elsewhere, it has
//! got on there.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;
use store::claim::claim;
use testbed::Client;
use uuid::Uuid;

use crate::api;
use crate::orders::channel_settings::{Internal, inside};
use crate::orders::dialects::{document as golden, speaks};
use crate::orders::from_channels::{document, post};

/// `document` with other members.
fn but(document: &Value, members: Value) -> Value {
    let mut other = document.clone();
    for (name, value) in members.as_object().into_iter().flatten() {
        other[name] = value.clone();
    }
    other
}

/// What was told of an order, oldest first.
async fn told(client: &Client, order: &Value) -> Result<Vec<String>> {
    let id = order["id"].as_str().context("an id")?;
    let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
    let events = history["history"].as_array().context("a history")?;
    let told = events.iter().filter(|event| event["what"] == "told");
    Ok(told.map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn put_status(client: &Client, order: &Value, status: &str) -> Result<()> {
    let id = order["id"].as_str().context("an id")?;
    let put = client.http.put(format!("{}/api/v1/orders/{id}/status", client.api));
    let answer = put.json(&json!({"status": status, "reason": "so"})).send().await?;
    anyhow::ensure!(answer.status() == 200, "{}", answer.text().await?);
    Ok(())
}

/// What is wrong with the newest document of a channel that is kept.
async fn kept(internal: &Internal<'_>, channel: &str) -> Result<Value> {
    let (_, list) = internal.ask(Method::GET, &format!("{channel}/refused")).await?;
    Ok(list["refused"][0]["errors"][0]["code"].clone())
}

#[tokio::test]
async fn an_order_goes_at_another_time_and_elsewhere_until_the_kitchen_begins_with_it() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    database.channel("eats").await?;
    let send = async |body: &Value| post(client, "/channels/eats/orders?paid=true", body).await;
    let (_, first) = send(&document()).await?;
    let later = but(&document(), json!({"pickupTime": "2026-01-31T18:50:00+01:00"}));
    let (status, moved) = send(&later).await?;
    assert_eq!((status, &moved["id"], &moved["version"]), (200, &first["id"], &json!(2)), "{moved}");
    assert_eq!(moved["pickup_time"], "2026-01-31T18:50:00+01:00");
    // Numbers as numbers, times as times: nothing new.
    let mut same = but(&later, json!({"pickupTime": "2026-01-31T17:50:00.000Z"}));
    same["items"][0]["price"] = serde_json::from_str("12.990")?;
    same["items"][0]["quantity"] = json!(2.0);
    let (status, again) = send(&same).await?;
    assert_eq!((status, &again["version"], &again["status"]), (202, &json!(2), &json!("CONFIRMED")));
    // Late, a repeat of what was said first.
    let (status, late) = send(&document()).await?;
    assert_eq!((status, &late["pickup_time"]), (202, &moved["pickup_time"]), "{late}");

    put_status(client, &first, "ACCEPTED").await?;
    let mut elsewhere = but(&later, json!({"note": "no nuts"}));
    elsewhere["customer"]["phoneNumber"] = json!("+44 20 7946 0001");
    elsewhere["deliveryAddress"]["street"] = json!("14 St James's Square");
    let (status, moved) = send(&elsewhere).await?;
    assert_eq!((status, &moved["version"], &moved["status"]), (200, &json!(6), &json!("ACCEPTED")));
    assert_eq!(moved["delivery_address"]["street"], "14 St James's Square");
    assert!(moved["note"].as_str().is_some_and(|note| note.contains("no nuts")), "{moved}");
    assert_eq!(told(client, &first).await?, ["pickup_time", "customer", "delivery_address", "note"]);

    put_status(client, &first, "PREPARING").await?;
    inside(&database, client, async |internal| {
        let too_late = but(&elsewhere, json!({"pickupTime": "2026-01-31T19:30:00+01:00"}));
        let (status, problem) = send(&too_late).await?;
        assert_eq!((status, &problem["current_status"]), (409, &json!("PREPARING")), "{problem}");
        assert_eq!(problem["errors"][0]["code"], "kitchen_began");
        assert_eq!(kept(internal, "eats").await?, "kitchen_began", "somebody can see it");
        // What became of it there is shown whatever becomes of it here.
        let history =
            json!({"status": 60, "statusHistory": [{"status": 10}, {"status": 20}, {"status": 60}]});
        let (status, _) = send(&but(&elsewhere, history)).await?;
        assert_eq!(status, 200);
        assert_eq!(told(client, &first).await?.last().map(String::as_str), Some("status_history"));
        let id = first["id"].as_str().context("an id")?;
        let shown = client.get(&format!("/api/v1/orders/{id}/history")).await?;
        assert_eq!(shown["imported"]["statusHistory"].as_array().map(Vec::len), Some(3));
        let (status, _) = send(&but(&elsewhere, json!({"statusHistory": [{"status": 10}]}))).await?;
        assert_eq!(status, 202, "an older one says nothing new");
        // What was ordered is what was ordered.
        let mut more = elsewhere.clone();
        more["items"][0]["quantity"] = json!(3);
        let (status, problem) = send(&more).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (409, &json!("duplicate_channel_order_id")));
        assert_eq!(kept(internal, "eats").await?, "duplicate_channel_order_id");
        // Nor does another document of its number, with another address, send this order's food there.
        let other = but(&document(), json!({"_id": "65a1f0c3", "pickupTime": "2026-01-31T20:30:00+01:00"}));
        let (status, problem) = send(&other).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (409, &json!("duplicate_channel_order_id")));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn an_order_that_was_called_off_says_so_when_it_comes_again() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let send = async |body: &Value| post(client, "/channels/eats/orders", body).await;
    for (n, status) in [json!(100), json!(110.0), json!("Cancelled")].into_iter().enumerate() {
        let order = but(&document(), json!({"channelOrderId": format!("A-{n}"), "_id": format!("d-{n}")}));
        let off = but(&order, json!({"status": status}));
        let (status, problem) = send(&off).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("no_such_order")), "{problem}");
        let (_, first) = send(&order).await?;
        for _ in 0..2 {
            // Whatever else is wrong with it.
            let off = but(&off, json!({"items": "rubbish"}));
            let (status, cancelled) = send(&off).await?;
            assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")), "{cancelled}");
            assert_eq!(cancelled["id"], first["id"]);
        }
        let (status, again) = send(&order).await?;
        assert_eq!((status, &again["status"], &again["id"]), (202, &json!("CANCELLED"), &first["id"]));
    }
    // While its charge is under way, it is a wish.
    let order = but(&document(), json!({"channelOrderId": "B-1"}));
    let (_, first) = send(&order).await?;
    let id: Uuid = first["id"].as_str().context("an id")?.parse()?;
    let mut conn = database.connect().await?;
    assert_eq!(claim(&mut conn, &[id], Duration::from_secs(60)).await?.len(), 1);
    for _ in 0..2 {
        let (status, wished) = send(&but(&order, json!({"status": 100}))).await?;
        assert_eq!((status, &wished["status"]), (200, &json!("PAYMENT_PROCESSING")), "{wished}");
        assert!(wished["cancel_requested"].is_object(), "{wished}");
    }
    let (status, again) = send(&order).await?;
    assert!(status == 202 && again["cancel_requested"].is_object(), "{again}");
    pipeline.stop().await
}

#[tokio::test]
async fn an_order_that_was_called_off_before_it_came_is_never_made() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        for (dialect, order, days) in [
            ("plain", document(), json!(null)),
            ("deliverect", golden("deliverect", "all_charges_cash")?, json!(2)),
        ] {
            let unique = if days.is_null() { json!({}) } else { json!({"unique_days": days}) };
            speaks(internal, dialect, unique).await?;
            let path = format!("/channels/{dialect}/orders");
            let send = async |body: &Value| post(client, &path, body).await;
            // Of another document of the number: not this one's.
            let other = but(&order, json!({"_id": "d-0", "status": 100}));
            assert_eq!(send(&other).await?.0, 422);
            assert_eq!(send(&but(&order, json!({"status": 100}))).await?.0, 422);
            let (status, off) = send(&order).await?;
            assert_eq!((status, &off["status"]), (200, &json!("CANCELLED")), "{off}");
            let (_, list) = internal.ask(Method::GET, &format!("{dialect}/refused")).await?;
            assert_eq!(
                list["refused"].as_array().map(Vec::len),
                Some(1),
                "what was seen to is no longer kept"
            );
            let (status, again) = send(&order).await?;
            assert_eq!((status, &again["id"], &again["status"]), (202, &off["id"], &json!("CANCELLED")));
            // The next one of another number is.
            let (status, next) = send(&but(&order, json!({"channelOrderId": "N-2", "_id": "d-9"}))).await?;
            assert!(status == 202 && next["status"] != "CANCELLED", "{next}");
        }
        Ok(())
    })
    .await?;
    // Both at once, at one api: whichever is first, the order is off in the end.
    for n in 0..40 {
        let order = but(&document(), json!({"channelOrderId": format!("R-{n}"), "_id": format!("r-{n}")}));
        let off = but(&order, json!({"status": 100}));
        let path = "/channels/plain/orders";
        let (came, called) = tokio::join!(post(client, path, &order), post(client, path, &off));
        let (came, called) = (came?, called?);
        let id = came.1["id"].as_str().context("an id")?.parse()?;
        let now = client.read(id).await?;
        assert_eq!(now["status"], "CANCELLED", "came {}, called off {}: {}", came.0, called.0, called.1);
    }
    pipeline.stop().await
}

/// As if the days for which a channel's numbers stay unique were over.
async fn numbers_end(conn: &mut PgConnection) -> Result<()> {
    for table in [
        "UPDATE names SET until = now() - interval '1 s' WHERE kind = 'channel_order'",
        "UPDATE order_details SET named_until = now() - interval '1 s'",
    ] {
        sqlx::query(table).execute(&mut *conn).await?;
    }
    assert!(store::names::forget(conn, None, None, 100).await?.count > 0);
    Ok(())
}

#[tokio::test]
async fn a_late_cancel_of_an_old_document_never_calls_off_the_order_that_has_its_number_now() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut conn = database.connect().await?;
    inside(&database, client, async |internal| {
        for (dialect, old, path) in [
            ("deliverect", golden("deliverect", "all_charges_cash")?, "/channels/deliverect/orders"),
            ("plain", document(), "/channels/plain/orders"),
        ] {
            speaks(internal, dialect, json!({"unique_days": 2})).await?;
            let send = async |body: &Value| post(client, path, body).await;
            let created =
                json!({"_id": "d-2", "created": "2026-03-20T17:20:05Z", "_created": "2026-03-20T17:20:05Z"});
            let (new, off) = (but(&old, created), |document: &Value| but(document, json!({"status": 100})));
            let (_, first) = send(&old).await?;
            numbers_end(&mut conn).await?;
            let (_, second) = send(&new).await?;
            assert_ne!(second["id"], first["id"], "{second}");
            let (status, cancelled) = send(&off(&old)).await?;
            assert_eq!((status, &cancelled["id"]), (200, &first["id"]), "{dialect}");
            let (_, again) = send(&new).await?;
            assert_ne!(again["status"], "CANCELLED", "{dialect}");
            // Nor when nothing is known of the old document any more.
            sqlx::query("DELETE FROM names WHERE kind = 'idempotency_key'").execute(&mut conn).await?;
            let (status, problem) = send(&off(&old)).await?;
            assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("no_such_order")), "{dialect}");
            assert_eq!(kept(internal, dialect).await?, "no_such_order", "somebody can see it");
            let (status, cancelled) = send(&off(&new)).await?;
            assert_eq!((status, &cancelled["id"]), (200, &second["id"]), "{dialect}");
            assert_eq!(cancelled["status"], "CANCELLED");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn what_a_platform_updates_is_taken_by_its_own_time_and_a_sum_that_is_wrong_stops_no_cancel()
-> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        for (dialect, name, place, changed, off) in [
            ("shopify", "discount_and_shipping", "/shipping_address/address1", "updated_at", "cancelled_at"),
            ("woocommerce", "shipping_and_tax", "/shipping/address_1", "date_modified_gmt", "status"),
        ] {
            speaks(internal, dialect, json!({})).await?;
            let path = format!("/channels/{dialect}/orders");
            let at = |second: u8, street: &str| -> Result<Value> {
                let mut order =
                    but(&golden(dialect, name)?, json!({changed: format!("2026-03-20T17:20:{second:02}")}));
                *order.pointer_mut(place).context("a street")? = json!(street);
                Ok(order)
            };
            let (_, first) = post(client, &path, &at(10, "1 Mill Lane")?).await?;
            let street = async |second, street: &str| -> Result<(u16, String)> {
                let (status, order) = post(client, &path, &at(second, street)?).await?;
                assert_eq!(order["id"], first["id"], "{order}");
                Ok((status, order["delivery_address"]["street"].as_str().unwrap_or_default().to_owned()))
            };
            assert!(street(20, "2 Mill Lane").await?.1.starts_with("2 Mill Lane"), "{dialect}");
            assert!(street(15, "3 Mill Lane").await?.1.starts_with("2 Mill Lane"), "late, and older");
            let (status, back) = street(30, "1 Mill Lane").await?;
            assert!(
                status == 200 && back.starts_with("1 Mill Lane"),
                "back to where it was: {status} {back}"
            );
            assert_eq!(told(client, &first).await?, ["delivery_address", "delivery_address"]);
            let when = if off == "status" { "cancelled" } else { "2026-03-20T18:00:00Z" };
            let wrong =
                but(&at(40, "1 Mill Lane")?, json!({off: when, "total_price": "1.00", "total": "1.00"}));
            let (status, cancelled) = post(client, &path, &wrong).await?;
            assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")), "{cancelled}");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn what_was_told_under_a_key_is_told_once_however_often_it_is_sent() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    database.channel("eats").await?;
    let (_, first) = post(client, "/channels/eats/orders?paid=true", &document()).await?;
    let send = async |body: &Value| {
        let request = client.http.post(format!("{}/api/v1/channels/eats/orders?paid=true", client.api));
        let answer = request.header("idempotency-key", "moved").json(body).send().await?;
        let replayed = answer.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
        anyhow::Ok((answer.status().as_u16(), replayed, answer.json::<Value>().await?))
    };
    let later = but(&document(), json!({"pickupTime": "2026-01-31T18:50:00+01:00"}));
    let (status, replayed, moved) = send(&later).await?;
    assert_eq!((status, replayed, &moved["id"]), (200, false, &first["id"]), "{moved}");
    let (status, replayed, again) = send(&later).await?;
    assert_eq!((status, replayed, &again["version"]), (202, true, &moved["version"]), "{again}");
    assert_eq!(told(client, &first).await?, ["pickup_time"]);
    let (status, _, other) = send(&but(&document(), json!({"channelOrderId": "another"}))).await?;
    assert_eq!((status, &other["errors"][0]["code"]), (422, &json!("key_reused")), "{other}");
    pipeline.stop().await
}
