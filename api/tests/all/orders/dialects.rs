//! Documents of the platforms over HTTP: taken, refused and kept, sent again, called off.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Options, Pipeline, Via};

use crate::api;
use crate::orders::channel_settings::{Internal, hex, inside, sign, signed_as};
use crate::orders::from_channels::{document as plain_document, post};

const SECRET: &str = "a secret of theirs";

/// A golden document.
fn golden(dialect: &str, name: &str) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/domain/testdata");
    Ok(std::fs::read_to_string(format!("{folder}/{dialect}/{name}.json"))?)
}

pub(crate) fn document(dialect: &str, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&golden(dialect, name)?)?)
}

pub(crate) async fn speaks(internal: &Internal<'_>, dialect: &str, more: Value) -> Result<()> {
    let mut settings = json!({"dialect": dialect, "currency": "EUR", "secrets": [SECRET]});
    settings.as_object_mut().context("an object")?.extend(more.as_object().context("an object")?.clone());
    let (status, set) = internal.put(dialect, settings).await?;
    anyhow::ensure!(status == 200, "{set}");
    Ok(())
}

#[tokio::test]
async fn each_platform_signs_in_its_own_way_and_fifty_of_one_document_at_two_apis_are_one_order() -> Result<()>
{
    let (database, first) = api().await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let second = Pipeline::start(&database, options).await?;
    inside(&database, &first.client, async |internal| {
        for (dialect, name, total, status) in [
            ("plain", "", 30.97, "PENDING"),
            ("deliverect", "all_charges_cash", 14.99, "CONFIRMED"),
            ("shopify", "discount_and_shipping", 388.00, "CONFIRMED"),
            ("woocommerce", "shipping_and_tax", 29.35, "CONFIRMED"),
        ] {
            speaks(internal, dialect, json!({})).await?;
            let plain = dialect == "plain";
            let body = if plain { plain_document().to_string() } else { golden(dialect, name)? };
            let bytes = sign(SECRET, &body);
            let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes);
            let (header, good, bad) = match dialect {
                "plain" => ("x-signature-sha256", hex(&bytes), base64),
                "deliverect" => ("x-server-authorization-hmac-sha256", hex(&bytes), base64),
                "shopify" => ("x-shopify-hmac-sha256", base64, hex(&bytes)),
                _ => ("x-wc-webhook-signature", base64, hex(&bytes)),
            };
            assert_eq!(internal.get(dialect).await?.1["signature_header"], header);
            let (refused, _) = signed_as(&first.client, dialect, header, &bad, &body).await?;
            assert_eq!(refused, 401, "{dialect}");
            let mut under_way = tokio::task::JoinSet::new();
            for n in 0..50 {
                let client = if n % 2 == 0 { first.client.clone() } else { second.client.clone() };
                let (body, good) = (body.clone(), good.clone());
                under_way.spawn(async move { signed_as(&client, dialect, header, &good, &body).await });
            }
            let mut answers = Vec::new();
            while let Some(answer) = under_way.join_next().await {
                answers.push(answer??);
            }
            let order = &answers[0].1;
            assert_eq!(
                (answers[0].0, &order["total"], &order["status"]),
                (202, &json!(total), &json!(status)),
                "{order}"
            );
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        }
        Ok(())
    })
    .await?;
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 4);
    second.stop().await?;
    first.stop().await
}

#[tokio::test]
async fn a_document_that_cannot_be_taken_is_kept_and_sent_again_when_the_settings_are_mended() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({"locations": {"their-1": "main"}})).await?;
        let kept = async || -> Result<Vec<Value>> {
            let (status, list) = internal.ask(Method::GET, "deliverect/refused").await?;
            assert_eq!(status, 200, "{list}");
            Ok(list["refused"].as_array().context("a list")?.clone())
        };
        assert_eq!(kept().await?, Vec::<Value>::new());
        let mut elsewhere = document("deliverect", "variant")?;
        elsewhere["location"] = json!("their-7");
        for times in 1..=2 {
            let (status, problem) = post(client, "/channels/deliverect/orders", &elsewhere).await?;
            assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("unknown_location")));
            let all = kept().await?;
            assert_eq!((all.len(), &all[0]["times"]), (1, &json!(times)), "the same again is counted");
            assert_eq!(all[0]["errors"], problem["errors"]);
        }
        let wrong = golden("deliverect", "refused_amount")?;
        for body in [&*wrong, "<order>no JSON</order>"] {
            let url = format!("{}/api/v1/channels/deliverect/orders", client.api);
            let post = client.http.post(url).header("content-type", "application/json").body(body.to_owned());
            assert!(post.send().await?.status().is_client_error());
        }
        let all = kept().await?;
        let codes: Vec<_> = all.iter().map(|one| one["errors"][0]["code"].as_str().unwrap_or("")).collect();
        assert_eq!(codes, ["unreadable", "total_mismatch", "unknown_location"], "newest first");

        let one = |index: usize| all[index]["id"].as_str().unwrap_or_default().to_owned();
        let shown = client.http.get(format!("{}/channels/deliverect/refused/{}", internal.base, one(1)));
        assert_eq!(shown.send().await?.text().await?, wrong, "byte by byte");
        assert_eq!(internal.ask(Method::DELETE, &format!("deliverect/refused/{}", one(0))).await?.0, 204);
        assert_eq!(internal.ask(Method::DELETE, &format!("deliverect/refused/{}", one(0))).await?.0, 404);
        assert_eq!(
            internal.ask(Method::GET, &format!("shopify/refused/{}", one(1))).await?.0,
            404,
            "another channel's"
        );

        let again =
            async |id: String| post(client, &format!("/channels/deliverect/refused/{id}"), &json!({})).await;
        assert_eq!(again(one(2)).await?.0, 422, "nothing was mended");
        speaks(internal, "deliverect", json!({"locations": {"their-7": "main"}})).await?;
        let (status, order) = again(one(2)).await?;
        assert_eq!((status, &order["total"]), (202, &json!(11.00)), "{order}");
        assert_eq!(kept().await?.len(), 1, "what was taken is no longer kept");
        assert_eq!(again(one(2)).await?.0, 404);
        assert_eq!(post(client, "/channels/deliverect/orders", &elsewhere).await?, (202, order));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_platform_that_would_only_send_it_again_is_told_that_what_is_refused_was_received() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        for (dialect, name, answer) in [
            ("shopify", "refused_partly_paid", 204),
            ("woocommerce", "refused_waits_for_a_transfer", 204),
            ("deliverect", "refused_amount", 422),
        ] {
            speaks(internal, dialect, json!({})).await?;
            let body = golden(dialect, name)?;
            let bytes = sign(SECRET, &body);
            let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes);
            let (header, signature) = match dialect {
                "deliverect" => ("x-server-authorization-hmac-sha256", hex(&bytes)),
                "shopify" => ("x-shopify-hmac-sha256", base64),
                _ => ("x-wc-webhook-signature", base64),
            };
            let url = format!("{}/api/v1/channels/{dialect}/orders", client.api);
            let send = async |signature: &str| -> Result<u16> {
                // Nobody's: a token would go before the signature.
                let post = reqwest::Client::new().post(&url).header("content-type", "application/json");
                Ok(post.header(header, signature).body(body.clone()).send().await?.status().as_u16())
            };
            assert_eq!(send(&signature).await?, answer, "{dialect}");
            let kept = async || -> Result<usize> {
                let (_, list) = internal.ask(Method::GET, &format!("{dialect}/refused")).await?;
                Ok(list["refused"].as_array().context("a list")?.len())
            };
            assert_eq!(kept().await?, 1, "{dialect}");
            assert_eq!(send("AAAA").await?, 401, "whoever did not sign it learns no more");
            // Somebody of the house is told what is wrong.
            let document = serde_json::from_str(&body)?;
            assert_eq!(post(client, &format!("/channels/{dialect}/orders"), &document).await?.0, 422);
            assert_eq!(kept().await?, 2, "written otherwise, it is another document");

            let ping = async |body: &'static str| -> Result<u16> {
                let form = reqwest::Client::new()
                    .post(&url)
                    .header("content-type", "application/x-www-form-urlencoded");
                Ok(form.body(body).send().await?.status().as_u16())
            };
            let there = if dialect == "woocommerce" { 200 } else { 401 };
            assert_eq!(ping("webhook_id=7").await?, there, "{dialect}");
            assert_eq!(ping("webhook_id=7&more=1").await?, 401, "{dialect}");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_platform_that_calls_an_order_off_cancels_it_and_says_so_twice_without_harm() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({})).await?;
        let order = document("deliverect", "all_charges_cash")?;
        let mut off = order.clone();
        off["status"] = json!(100);
        let (status, problem) = post(client, "/channels/deliverect/orders", &off).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("no_such_order")));
        let (_, accepted) = post(client, "/channels/deliverect/orders", &order).await?;
        for _ in 0..2 {
            let (status, cancelled) = post(client, "/channels/deliverect/orders", &off).await?;
            assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")), "{cancelled}");
            assert_eq!(cancelled["id"], accepted["id"]);
        }
        let looked_up = client.get("/api/v1/channels/Deliverect/orders/C-900").await?;
        assert_eq!((&looked_up["id"], &looked_up["status"]), (&accepted["id"], &json!("CANCELLED")));
        assert_eq!(client.get("/api/v1/channels/deliverect/orders/C-902").await?["status"], 404);
        let id = accepted["id"].as_str().context("an id")?;
        let history = client.get(&format!("/api/v1/orders/{id}/history")).await?;
        let last = history["history"].as_array().and_then(|all| all.last()).context("a history")?;
        assert_eq!(
            (&last["to"], &last["reason"]),
            (&json!("CANCELLED"), &json!("the channel called it off"))
        );

        // Too late: the food is ready. It is told, and kept to be seen.
        let mut late = order.clone();
        late["channelOrderId"] = json!("C-901");
        let (_, accepted) = post(client, "/channels/deliverect/orders", &late).await?;
        let id = accepted["id"].as_str().context("an id")?;
        for status in ["PREPARING", "READY"] {
            let put = client.http.put(format!("{}/api/v1/orders/{id}/status", client.api));
            assert_eq!(put.json(&json!({"status": status})).send().await?.status(), 200);
        }
        late["status"] = json!(110);
        let (status, problem) = post(client, "/channels/deliverect/orders", &late).await?;
        assert_eq!((status, &problem["current_status"]), (409, &json!("READY")), "{problem}");
        let (_, list) = internal.ask(Method::GET, "deliverect/refused").await?;
        assert_eq!(list["refused"][0]["errors"][0]["code"], "illegal_move");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn a_channels_strangers_are_nobodys_and_nobody_can_list_them_together() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({})).await?;
        let mut customers = Vec::new();
        for number in ["1", "2"] {
            let mut order = document("deliverect", "all_charges_cash")?;
            order["channelOrderId"] = json!(number);
            let (status, order) = post(client, "/channels/deliverect/orders", &order).await?;
            assert_eq!(status, 202);
            customers.push(order["customer_id"].as_str().context("a customer")?.to_owned());
        }
        assert_ne!(customers[0], customers[1]);
        // The merchant's account, and the channel, are nobody's name.
        for name in ["deliverect", "deliverect:m-1", "m-1"] {
            let token = testbed::people::of(&format!("customer:{name}"))?;
            let list = client.http.get(format!("{}/api/v1/orders", client.api)).bearer_auth(token);
            assert_eq!(list.send().await?.json::<Value>().await?["orders"], json!([]), "{name}");
        }
        Ok(())
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn each_location_has_numbers_of_its_own() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let soho = json!({"id": "soho", "name": "Soho", "time_zone": "UTC", "currency": "EUR"});
    let admin = testbed::people::of("admin:root")?;
    let made = client.http.post(format!("{}/api/v1/locations", client.api)).bearer_auth(&admin).json(&soho);
    assert_eq!(made.send().await?.status(), 201);
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({"locations": {"their-1": "main", "their-2": "soho"}})).await?;
        let at = |location: &str, id: &str| -> Result<Value> {
            let mut order = document("deliverect", "all_charges_cash")?;
            (order["_id"], order["location"]) = (json!(id), json!(location));
            Ok(order)
        };
        let place = async |body: &Value| -> Result<(u16, Value)> {
            let sent = client.http.post(format!("{}/api/v1/channels/deliverect/orders", client.api));
            let answer = sent.bearer_auth(&admin).json(body).send().await?;
            Ok((answer.status().as_u16(), answer.json().await?))
        };
        let mut off = at("their-1", "d-1")?;
        off["status"] = json!(100);
        assert_eq!(place(&off).await?.0, 422, "it came before its order");
        let (status, second) = place(&at("their-2", "d-2")?).await?;
        assert_eq!(
            (status, &second["status"]),
            (202, &json!("CONFIRMED")),
            "what is off is another's: {second}"
        );
        let (status, first) = place(&at("their-1", "d-1")?).await?;
        assert_eq!((status, &first["status"]), (200, &json!("CANCELLED")), "{first}");
        assert_ne!(first["id"], second["id"], "the same number and food, at another location");
        assert_eq!(place(&at("their-2", "d-2")?).await?.1["id"], second["id"], "and again");
        let look = format!("{}/api/v1/channels/deliverect/orders/C-900", client.api);
        let looked_up: Value = client.http.get(look).bearer_auth(&admin).send().await?.json().await?;
        assert_eq!(looked_up["id"], first["id"], "the newest");
        for (location, order) in [("their-1", &first), ("their-2", &second)] {
            let (mut off, id) = (at(location, "")?, &order["id"]);
            off["status"] = json!(100);
            let (status, now) = place(&off).await?;
            assert_eq!((status, &now["id"], &now["status"]), (200, id, &json!("CANCELLED")), "{now}");
        }

        // Where numbers come again, a document is known by its own name, and goes to no other location.
        let map = json!({"unique_days": 2, "locations": {"their-1": "main", "their-2": "soho"}});
        speaks(internal, "deliverect", map).await?;
        let mut third = at("their-1", "d-3")?;
        third["channelOrderId"] = json!("C-901");
        assert_eq!(place(&third).await?.0, 202);
        third["location"] = json!("their-2");
        let (status, problem) = place(&third).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("another_location")), "{problem}");
        Ok(())
    })
    .await?;
    let report = reconcile::reconcile(database.url(), &client.ledger().await?).await?;
    assert!(report.is_clean(), "{report}");
    pipeline.stop().await
}

#[tokio::test]
async fn a_number_that_comes_again_after_its_time_is_a_new_order_and_a_late_repeat_stays_the_old_one()
-> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({"unique_days": 2})).await?;
        let old = document("deliverect", "all_charges_cash")?;
        let mut new = old.clone();
        new["_id"] = json!("d-2");
        new["_created"] = json!("2026-03-20T17:20:05.000000Z");
        let place = async |body: &Value| post(client, "/channels/deliverect/orders", body).await;
        let (_, first) = place(&old).await?;
        assert_eq!(place(&old).await?, (202, first.clone()));
        // Within the number's time nobody can say whose food that is. It is not taken for the old order: somebody looks.
        let (status, problem) = place(&new).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (409, &json!("duplicate_channel_order_id")));
        let (_, kept) = internal.ask(Method::GET, "deliverect/refused").await?;
        assert_eq!(kept["refused"].as_array().map(Vec::len), Some(1), "{kept}");

        let mut conn = database.connect().await?;
        for until in [
            "SELECT until FROM names WHERE kind = 'channel_order'",
            "SELECT named_until FROM order_details WHERE channel_order_id IS NOT NULL",
        ] {
            let until: time::OffsetDateTime = sqlx::query_scalar(until).fetch_one(&mut conn).await?;
            let left = until - time::OffsetDateTime::now_utc();
            assert_eq!(left.whole_hours(), 47, "as many days as are set");
        }
        for table in [
            "UPDATE names SET until = now() - interval '1 s' WHERE kind = 'channel_order'",
            "UPDATE order_details SET named_until = now() - interval '1 s'",
        ] {
            sqlx::query(table).execute(&mut conn).await?;
        }
        assert_eq!(store::names::forget(&mut conn, None, None, 100).await?.count, 1);
        let (status, second) = place(&new).await?;
        assert_eq!(status, 202);
        assert_ne!(second["id"], first["id"]);
        assert_eq!(place(&old).await?, (202, first.clone()), "a late repeat");
        assert_eq!(place(&new).await?, (202, second.clone()));
        let looked_up = client.get("/api/v1/channels/deliverect/orders/C-900").await?;
        assert_eq!(looked_up["id"], second["id"]);
        let mut other = new.clone();
        other["items"][0]["quantity"] = json!(2);
        other["payment"]["amount"] = json!(2499);
        let (status, problem) = place(&other).await?;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("duplicate_channel_order_id")));
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
