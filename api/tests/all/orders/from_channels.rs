//! Orders from channels: one order however often it comes, prices from the list, what came along kept to the letter.

use std::time::Duration;

use anyhow::{Context, Result};
use runtime::tasks::Stop;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::api;

/// An aggregator's document as it is.
pub(crate) fn document() -> Value {
    json!({
        "_id": "65a1f0c2", "created": "2026-01-31T17:02:11.000Z", "account": "acc-7", "brandId": "b-1",
        "channelOrderId": "A-1042",
        "customer": {"name": "Ada Byron", "phoneNumber": "+44 20 7946 0000", "note": "rings twice"},
        "deliveryAddress": {"street": "12 St James's Square", "city": "London", "postalCode": "SW1Y 4JH"},
        "pickupTime": "2026-01-31T18:30:00.250+01:00",
        "items": [{"name": "Burger", "plu": "P-BURG", "quantity": 2, "price": 12.99},
                  {"name": "Fries", "plu": "P-FRI", "quantity": 1, "price": 4.99, "subItems": []}],
        "status": 20,
        "statusHistory": [{"status": 10, "timeStamp": "2026-01-31T17:02:12.000Z"}, {"status": 20.0}],
        "decimalDigits": 2
    })
}

/// `POST /orders` with all that an order may have.
pub(crate) fn an_order() -> Value {
    let mut order = Client::an_order();
    let more = json!({
        "channel": "DishDash", "channel_order_id": "A-1042", "fulfilment": "Delivery",
        "customer": {"name": "Ada Byron", "phone_number": "+44 20 7946 0000"},
        "delivery_address": {"street": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH"},
        "pickup_time": "2026-01-31T18:30:00.250+01:00"
    });
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order["items"][0]["plu"] = json!("P-BURG");
    order
}

pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Result<(u16, Value)> {
    let answer = client.http.post(format!("{}/api/v1{path}", client.api)).json(body).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn count(database: &TestDatabase, table: &'static str) -> Result<i64> {
    let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    Ok(sqlx::query_scalar(statement).fetch_one(&mut database.connect().await?).await?)
}

/// An order without what is not known yet when it is answered.
async fn read(client: &Client, id: &Value) -> Result<Value> {
    let mut order = client.get(&format!("/api/v1/orders/{}", id.as_str().context("an id")?)).await?;
    for later in ["payments", "timestamps"] {
        order.as_object_mut().context("an order")?.remove(later);
    }
    Ok(order)
}

#[tokio::test]
async fn what_an_order_may_have_is_kept_and_shown_and_a_plain_one_shows_none_of_it() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let (status, order) = post(client, "/orders", &an_order()).await?;
    assert_eq!((status, &order["status"]), (202, &json!("PENDING")), "{order}");
    for (field, value) in [
        ("channel", json!("dishdash")),
        ("channel_order_id", json!("A-1042")),
        ("fulfilment", json!("delivery")),
        ("customer", json!({"name": "Ada Byron", "phone_number": "+44 20 7946 0000"})),
        ("delivery_address", an_order()["delivery_address"].clone()),
        ("pickup_time", json!("2026-01-31T18:30:00.250+01:00")),
    ] {
        assert_eq!(order[field], value, "{field}");
    }
    assert_eq!((&order["items"][0]["plu"], order["items"][1].get("plu")), (&json!("P-BURG"), None));
    assert_eq!(read(client, &order["id"]).await?, order, "read back, it is the same");

    // Without a channel, too.
    let mut dine_in = Client::an_order();
    dine_in["fulfilment"] = json!("dine_in");
    let (status, second) = post(client, "/orders", &dine_in).await?;
    assert_eq!((status, &second["fulfilment"], second.get("channel")), (202, &json!("dine_in"), None));
    let (_, plain) = post(client, "/orders", &Client::an_order()).await?;
    let fields: Vec<_> = plain.as_object().context("an order")?.keys().cloned().collect();
    assert!(
        fields.iter().all(|field| !an_order()[field].is_string() || field == "customer_id"),
        "{fields:?}"
    );
    assert_eq!(count(&database, "order_details").await?, 2, "none for a plain order");

    let ids = async |query: &str| -> Result<Vec<Value>> {
        let page = client.get(&format!("/api/v1/orders?{query}")).await?;
        let orders = page["orders"].as_array().with_context(|| page.to_string())?.clone();
        assert_eq!(page["total"], orders.len(), "{query}");
        Ok(orders.iter().map(|order| order["id"].clone()).collect())
    };
    assert_eq!(ids("").await?, [&plain, &second, &order].map(|order| order["id"].clone()));
    for one in
        ["channel=dishdash", "channel=DISHDASH&status=pending", "channel=dishdash&customer_id=customer_123"]
    {
        assert_eq!(ids(one).await?, [order["id"].clone()], "{one}");
    }
    for none in ["channel=other", "channel=dishdash&customer_id=x", "channel=dishdash&status=ready"] {
        assert_eq!(ids(none).await?, Vec::<Value>::new(), "{none}");
    }
    let listed = client.get("/api/v1/orders?channel=DishDash").await?;
    assert_eq!(listed["orders"][0]["customer"], order["customer"]);
    pipeline.stop().await
}

#[tokio::test]
async fn fifty_posts_at_two_apis_at_once_are_one_order_with_one_charge() -> Result<()> {
    let (database, first) = api().await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let second = Pipeline::start(&database, options).await?;
    for (path, body) in [("/orders", an_order()), ("/channels/eats/orders", document())] {
        let mut under_way = tokio::task::JoinSet::new();
        for n in 0..50 {
            let client = if n % 2 == 0 { first.client.clone() } else { second.client.clone() };
            let body = body.clone();
            under_way.spawn(async move { post(&client, path, &body).await });
        }
        let mut answers = Vec::new();
        while let Some(answer) = under_way.join_next().await {
            answers.push(answer??);
        }
        assert_eq!(answers[0].0, 202, "{:?}", answers[0]);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
    for table in ["orders", "shown_payments", "order_details", "order_events"] {
        assert_eq!(count(&database, table).await?, 2, "{table}");
    }
    second.stop().await?;
    first.stop().await
}

#[tokio::test]
async fn the_same_name_with_other_content_is_refused_and_with_the_same_replayed() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let (_, first) = post(client, "/orders", &an_order()).await?;
    let mut other = an_order();
    other["items"][0]["quantity"] = json!(3);
    let (status, refused) = post(client, "/orders", &other).await?;
    assert_eq!(
        (status, &refused["errors"][0]["code"], &refused["current_status"]),
        (409, &json!("duplicate_channel_order_id"), &json!("PENDING")),
    );
    // Spaces, the case of the channel's name and what the aggregator says of its status are not the order.
    let mut same = an_order();
    same["channel"] = json!("DISHDASH");
    assert_eq!(post(client, "/orders", &same).await?, (202, first.clone()));
    let mut elsewhere = an_order();
    elsewhere["channel"] = json!("other");
    assert_ne!(post(client, "/orders", &elsewhere).await?.1["id"], first["id"]);

    database.channel("eats").await?;
    let (_, third) = post(client, "/channels/eats/orders", &document()).await?;
    let mut later = document();
    later["status"] = json!(90);
    later["statusHistory"] = json!([]);
    assert_eq!(post(client, "/channels/EATS/orders", &later).await?, (202, third.clone()));
    let (status, _) = post(client, "/channels/eats/orders?paid=true", &document()).await?;
    assert_eq!(status, 409, "who pays is part of the order");

    // Together with a key of the client's own: whichever is known decides, and nothing is left of what was refused.
    let keyed = async |key: &str, body: &Value| -> Result<(u16, Value)> {
        let request =
            client.http.post(format!("{}/api/v1/orders", client.api)).header("idempotency-key", key);
        let answer = request.json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let mut fourth = an_order();
    fourth["channel_order_id"] = json!("A-4");
    let (status, kept) = keyed("k", &fourth).await?;
    assert_eq!(keyed("k", &fourth).await?, (202, kept));
    fourth["channel_order_id"] = json!("A-5");
    let (again, problem) = keyed("k", &fourth).await?;
    assert_eq!((status, again, &problem["errors"][0]["code"]), (202, 422, &json!("key_reused")));
    assert_eq!(keyed("other", &fourth).await?.0, 202, "A-5 was not taken by the refused one");
    assert_eq!(count(&database, "order_details").await?, count(&database, "orders").await?);
    pipeline.stop().await
}

#[tokio::test]
async fn the_aggregators_document_is_taken_as_it_is() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let url = format!("{}/api/v1/channels/DishDash/orders", client.api);
    // To the letter: what came with its own order of fields, and a number that no parser keeps.
    let body = document().to_string().replace("\"status\":20.0", r#""z":1.50, "a":"\u0000""#);
    let answer = client.http.post(&url).header("content-type", "application/json").body(body).send().await?;
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str()?.to_owned();
    let order: Value = answer.json().await?;
    assert_eq!(order["total"], json!(30.97));
    // Nobody's: the account is the merchant's.
    assert!(order["customer_id"].as_str().is_some_and(|id| id.starts_with("dishdash:nobody:")), "{order}");
    assert_eq!((&order["channel"], &order["channel_order_id"]), (&json!("dishdash"), &json!("A-1042")));
    assert_eq!(
        order["items"][0],
        json!({"item_id": "P-BURG", "item_name": "Burger", "plu": "P-BURG", "quantity": 2, "price": 12.99})
    );
    for field in ["fulfilment", "customer", "delivery_address", "pickup_time"] {
        let ours = match an_order()[field].as_str() {
            Some("Delivery") => json!("delivery"),
            _ => an_order()[field].clone(),
        };
        assert_eq!(order[field], ours, "{field}");
    }
    assert_eq!((&order["status"], order.get("paid_by")), (&json!("PENDING"), None));
    assert_eq!(read(client, &order["id"]).await?, order);

    let history = client.http.get(format!("{}{location}/history", client.api)).send().await?.text().await?;
    assert!(history.contains(r#""z":1.50, "a":"\u0000""#), "{history}");
    let history: Value = serde_json::from_str(&history)?;
    assert_eq!(history["history"].as_array().map(Vec::len), Some(1), "not mixed with ours");
    for kept in ["_id", "created", "account", "brandId", "status"] {
        assert_eq!(history["imported"][kept], document()[kept], "{kept}");
    }
    assert_eq!(history["imported"]["statusHistory"][0], document()["statusHistory"][0]);
    let plain = client.order(&Client::an_order()).await?;
    assert!(client.get(&format!("/api/v1/orders/{plain}/history")).await?.get("imported").is_none());
    // Who may not see the order sees nothing of it.
    for path in [location.clone(), format!("{location}/history")] {
        let request = client.http.get(format!("{}{path}", client.api));
        let request = request.bearer_auth(testbed::people::of("customer:eve")?);
        let answer = request.send().await?;
        assert_eq!(answer.status(), 404);
        assert!(!answer.text().await?.contains("Ada"));
    }
    for who in ["customer:eve", "staff:ann", "service:till"] {
        let post = client.http.post(&url).bearer_auth(testbed::people::of(who)?).json(&document());
        assert_eq!(post.send().await?.status(), 403, "{who}");
    }
    pipeline.stop().await
}

#[tokio::test]
async fn what_the_document_does_not_price_the_channels_list_does() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let list = format!("http://{}/internal/channels/DishDash/prices", listener.local_addr()?);
    let limits = runtime::serve::ServeLimits::default();
    let identity = testbed::people::identity(&database.database())?;
    let internal = api::operations::router(&database.database(), &identity);
    let serve = runtime::serve::serve(listener, internal, limits, Stop::new());
    let look = async {
        let put = async |body: Value| -> Result<(u16, Value)> {
            let answer = client.http.put(&list).json(&body).send().await?;
            Ok((answer.status().as_u16(), answer.json().await?))
        };
        let mut open = document();
        for item in [0, 1] {
            open["items"][item].as_object_mut().context("an item")?.remove("price");
        }
        let (status, problem) = post(client, "/channels/dishdash/orders", &open).await?;
        let places: Vec<_> =
            problem["errors"].as_array().context("errors")?.iter().map(|e| &e["attr"]).collect();
        assert_eq!((status, places), (422, vec![&json!("items[0].price"), &json!("items[1].price")]));
        assert_eq!(problem["errors"][0]["code"], "no_price");
        assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("P-BURG")));

        let prices = json!([{"plu": "P-BURG", "price": 11.50}, {"plu": "P-FRI", "price": 4}]);
        let (status, kept) = put(json!({"currency": "EUR", "prices": prices})).await?;
        assert_eq!(
            (status, &kept["currency"], &kept["prices"][1]["price"]),
            (200, &json!("EUR"), &json!(4.00))
        );
        assert_eq!(client.http.get(&list).send().await?.json::<Value>().await?, kept);
        let (status, order) = post(client, "/channels/dishdash/orders", &open).await?;
        assert_eq!((status, &order["total"], &order["currency"]), (202, &json!(27.00), &json!("EUR")));
        // The document's own price goes first.
        let mut mixed = open.clone();
        mixed["channelOrderId"] = json!("A-2");
        mixed["items"][0]["price"] = json!(1.0);
        assert_eq!(post(client, "/channels/dishdash/orders", &mixed).await?.1["total"], json!(6.00));
        // Another channel has another list.
        assert_eq!(post(client, "/channels/eats/orders", &open).await?.0, 422);

        // A new list is the whole list; an order that came before is that order, whatever it would cost now.
        assert_eq!(put(json!({"prices": [{"plu": "P-FRI", "price": 9}]})).await?.0, 200);
        assert_eq!(post(client, "/channels/dishdash/orders", &open).await?, (202, order));
        open["items"][0]["quantity"] = json!(9);
        assert_eq!(post(client, "/channels/dishdash/orders", &open).await?.0, 409);
        for (body, attr) in [
            (json!({}), "prices"),
            (json!({"prices": 7}), "prices"),
            (json!({"prices": [{"plu": "x"}]}), "prices[0].price"),
            (json!({"prices": [{"plu": "", "price": 1}]}), "prices[0].plu"),
            (json!({"prices": [{"plu": "x", "price": 1}, {"plu": "x", "price": 2}]}), "prices[1].plu"),
            (json!({"currency": "XXXX", "prices": []}), "currency"),
        ] {
            let (status, problem) = put(body.clone()).await?;
            assert_eq!((status, &problem["errors"][0]["attr"]), (422, &json!(attr)), "{body}");
        }
        assert_eq!(put(json!({"prices": []})).await?.1["prices"], json!([]));
        let public =
            client.http.get(format!("{}/internal/channels/dishdash/prices", client.api)).send().await?;
        assert_eq!(public.status(), 404);
        anyhow::Ok(())
    };
    tokio::select! {
        looked = look => looked?,
        () = serve => anyhow::bail!("nobody told it to stop"),
    }
    pipeline.stop().await
}

#[tokio::test]
async fn an_order_that_was_paid_elsewhere_is_confirmed_at_once_and_goes_through_the_kitchen() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    // Without settings it is not believed.
    let (status, refused) = post(client, "/channels/dishdash/orders?paid=TRUE", &document()).await?;
    assert_eq!((status, &refused["errors"][0]["code"]), (422, &json!("not_believed")));
    database.channel("dishdash").await?;
    let (status, order) = post(client, "/channels/dishdash/orders?paid=TRUE", &document()).await?;
    assert_eq!(
        (status, &order["status"], &order["paid_by"], &order["version"]),
        (202, &json!("CONFIRMED"), &json!("channel"), &json!(1))
    );
    assert!(order["accept_by"].is_string(), "{order}");
    assert_eq!(read(client, &order["id"]).await?, order);
    let id: Uuid = order["id"].as_str().context("an id")?.parse()?;
    let payments = &client.read(id).await?["payments"];
    assert_eq!(payments.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&payments[0]["kind"], &payments[0]["status"], &payments[0]["amount"]),
        (&json!("elsewhere"), &json!("succeeded"), &json!(30.97))
    );
    let accepted = post(client, &format!("/orders/{id}/accept"), &json!({})).await?;
    assert_eq!((accepted.0, &accepted.1["status"]), (200, &json!("ACCEPTED")));
    // Again: where it stands today.
    let (status, again) = post(client, "/channels/dishdash/orders?paid=true", &document()).await?;
    assert_eq!((status, &again["id"], &again["status"]), (202, &order["id"], &json!("ACCEPTED")));

    // Called off: nothing of ours to give back, and it says who has to.
    let (status, cancelled) = post(client, &format!("/orders/{id}/cancel"), &json!({})).await?;
    assert_eq!(
        (status, &cancelled["status"], &cancelled["refund_by"]),
        (200, &json!("CANCELLED"), &json!("channel"))
    );
    assert_eq!(cancelled["payments"].as_array().map(Vec::len), Some(1), "no refund");

    // Too late for the kitchen is too late here, too.
    let mut late = document();
    late["channelOrderId"] = json!("A-2");
    late["orderIsAlreadyPaid"] = json!(true);
    let (_, late) = post(client, "/channels/dishdash/orders", &late).await?;
    sqlx::query("UPDATE payments SET answer_by = now() WHERE order_id = $1")
        .bind(late["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()))
        .execute(&mut database.connect().await?)
        .await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let path = format!("/orders/{}/accept", late["id"].as_str().context("an id")?);
    let (status, problem) = post(client, &path, &json!({})).await?;
    assert_eq!((status, &problem["errors"][0]["code"]), (409, &json!("deadline_passed")));
    pipeline.stop().await
}
