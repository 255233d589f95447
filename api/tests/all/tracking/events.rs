//! `GET /events`: everything once, each order by its versions, from wherever one stood; and only what is one's business.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::feed::{Ticked, tick};
use testbed::people::{of, of_channel, token_at};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use uuid::Uuid;

use super::{cancel, header, versions};
use crate::api;

async fn ask(client: &Client, query: &str, token: &str) -> Result<Response> {
    let request = client.http.get(format!("{}/api/v1/events?{query}", client.api));
    Ok(request.bearer_auth(token).send().await?)
}

/// What is told behind `after`, and where one stands then.
async fn told(client: &Client, query: &str, token: &str) -> Result<(Vec<Value>, String)> {
    let answer = ask(client, query, token).await?;
    ensure!(answer.status() == 200, "{query}: {}", answer.text().await?);
    ensure!(header(&answer, "content-type")? == "application/cloudevents-batch+json");
    let next = header(&answer, "next-cursor")?;
    ensure!(header(&answer, "link")?.contains(&next));
    Ok((answer.json().await?, next))
}

/// Everything, in answers of `limit` events.
async fn all(client: &Client, query: &str, limit: usize, token: &str) -> Result<Vec<Value>> {
    let (mut events, mut after) = (Vec::new(), "earliest".to_owned());
    loop {
        let (more, next) = told(client, &format!("after={after}&limit={limit}{query}"), token).await?;
        ensure!(more.len() <= limit, "{} events", more.len());
        if more.is_empty() && next == after {
            return Ok(events);
        }
        events.extend(more);
        ensure!(events.len() < 1_000, "the same again and again");
        after = next;
    }
}

#[tokio::test]
async fn everything_is_told_once_in_batches_of_any_size_and_from_every_place() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let (client, service) = (&pipeline.client, of("service:till")?);
    let orders = client.orders(5, 2).await?;
    for id in &orders {
        client.until_status(*id, "CONFIRMED").await?;
    }
    cancel(client, orders[0]).await?;
    let mut conn = database.connect().await?;
    // A worker may be noting one this very moment, from before.
    while tick(&mut conn).await? == Ticked::Taken {}
    let confirmed =
        [(1, "PENDING".to_owned()), (2, "PAYMENT_PROCESSING".to_owned()), (3, "CONFIRMED".to_owned())];
    // One by one: also between the two events of a settlement's row.
    for limit in [1, 2, 500] {
        let events = all(client, "", limit, &service).await?;
        let ids: HashSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
        assert_eq!(ids.len(), events.len(), "nothing twice");
        for id in &orders {
            assert_eq!(versions(&events, *id)[..3], confirmed, "{limit} at once");
        }
        assert_eq!(versions(&events, orders[0])[3], (4, "CANCELLED".to_owned()));
        let (first, rest) = events.split_first().context("no event")?;
        assert_eq!((&first["specversion"], &first["source"]), (&json!("1.0"), &json!("/api/v1/orders")));
        assert!(!events.iter().any(|event| event.to_string().contains("customer_123")), "nobody is named");
        let after = first["cursor"].as_str().context("no cursor")?;
        let behind = told(client, &format!("after={after}&limit=500"), &service).await?.0;
        let ids = |events: &[Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
        // Its money goes back meanwhile, and one more may have come.
        let both = behind.len().min(rest.len());
        assert!(both >= 15, "{both}");
        assert_eq!(ids(&behind)[..both], ids(rest)[..both], "behind the first, in the same order");
    }
    let moves = all(client, "&types=order.moved.CANCELLED,order.refund_owed", 10, &service).await?;
    let types: Vec<&str> = moves.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["order.moved.CANCELLED", "order.refund_owed"]);

    let cursor = told(client, "after=latest", &service).await?.1;
    sqlx::query("UPDATE feed_ticks SET at = at - interval '1 hour'").execute(&mut conn).await?;
    let gone = ask(client, &format!("after={cursor}"), &service).await?;
    assert_eq!(gone.status(), StatusCode::GONE);
    let gone: Value = gone.json().await?;
    assert_eq!(gone["errors"][0]["code"], "cursor_gone");
    let earliest = gone["earliest_cursor"].as_str().context("where to begin again?")?;
    assert!(!told(client, &format!("after={earliest}"), &service).await?.0.is_empty());
    pipeline.stop().await
}

#[tokio::test]
async fn everybody_is_told_of_what_is_their_business_alone() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let mut order = Client::an_order();
    let plain = client.order(&order).await?;
    order["channel"] = json!("dishdash");
    order["channel_order_id"] = json!("A-1");
    let by_channel = client.order(&order).await?;
    let mut conn = database.connect().await?;
    let elsewhere = client.order(&Client::an_order()).await?;
    sqlx::query("UPDATE orders SET location = 'airport' WHERE id = $1")
        .bind(elsewhere)
        .execute(&mut conn)
        .await?;
    tick(&mut conn).await?;
    for (token, theirs) in [
        (of("service:till")?, vec![plain, by_channel]),
        (of("staff:bo")?, vec![plain, by_channel]),
        (of("admin:root")?, vec![plain, by_channel, elsewhere]),
        (token_at("mo", "staff", &["airport"])?, vec![elsewhere]),
        (of_channel("dishdash")?, vec![by_channel]),
        (of_channel("other")?, vec![]),
    ] {
        let events = all(client, "", 100, &token).await?;
        let mut told: Vec<Uuid> =
            events.iter().filter_map(|event| event["subject"].as_str()?.parse().ok()).collect();
        told.sort_unstable();
        assert_eq!(told, theirs);
    }
    let customer = ask(client, "", &of("customer:customer_123")?).await?;
    assert_eq!(customer.status(), StatusCode::FORBIDDEN);
    for (query, code) in [
        ("after=latests", "invalid"),
        ("types=order.moved,order.mov", "unknown_type"),
        ("wait=31", "out_of_range"),
        ("limit=0", "out_of_range"),
    ] {
        let answer = ask(client, query, &of("service:till")?).await?;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.json::<Value>().await?["errors"][0]["code"], code, "{query}");
    }
    pipeline.stop().await
}

#[tokio::test]
async fn who_waits_holds_no_connection_and_is_told_as_it_happens_or_that_the_house_closes() -> Result<()> {
    const WAITING: usize = 30;
    let (_database, pipeline) = api().await?;
    let (client, service) = (pipeline.client.clone(), of("service:till")?);
    let order = client.order(&Client::an_order()).await?;
    let after = told(&client, "after=latest&wait=0", &service).await?.1;
    // More than there are connections for reads.
    let waiting = |after: String| {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let (client, service, after) = (client.clone(), service.clone(), after.clone());
            all.spawn(async move {
                let mut after = after;
                loop {
                    let query = format!("after={after}&types=order.moved.CANCELLED&wait=30");
                    let (events, next) = told(&client, &query, &service).await?;
                    if let Some(event) = events.first() {
                        return anyhow::Ok((event["subject"].clone(), next));
                    }
                    ensure!(next != after, "nothing happened, and the answer came");
                    after = next;
                }
            });
        }
        all
    };
    let mut first = waiting(after);
    let read = client.read(order).await?;
    assert_eq!(read["status"], "PENDING", "others are read beside them");
    cancel(&client, order).await?;
    let mut next = String::new();
    while let Some(told) = first.join_next().await {
        let (subject, cursor) = told??;
        assert_eq!(subject, json!(order));
        next = cursor;
    }
    let query = format!("after={next}&wait=30");
    let at_the_stop = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(told(&client, &query, &service), pipeline.stop())
    });
    let (told, stopped) = at_the_stop.await.context("the stop did not end the wait")?;
    stopped?;
    // Whoever came too late for an answer finds the door closed.
    assert!(told.map_or(true, |(events, _)| events.is_empty()));
    Ok(())
}

#[tokio::test]
async fn products_are_told_of_to_their_locations_and_not_to_those_who_watch_orders() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let manager = of("manager:max")?;
    let send = async |method: Method, path: String, body: Value| -> Result<Value> {
        let request = client.http.request(method, format!("{}/api/v1{path}", client.api));
        Ok(request.bearer_auth(&manager).json(&body).send().await?.error_for_status()?.json().await?)
    };
    let latte = json!({"name": "Latte", "price": 4, "tracked": true});
    let made = send(Method::POST, "/products".to_owned(), latte).await?;
    let product = made["id"].as_str().context("no id")?;
    send(Method::PATCH, format!("/products/{product}"), json!({"price": 1.99})).await?;
    send(Method::POST, format!("/products/{product}/stock"), json!({"action": "set", "quantity": 52}))
        .await?;
    let order = client.order(&Client::an_order()).await?;
    let mut conn = database.connect().await?;
    while tick(&mut conn).await? == Ticked::Taken {}
    let service = of("service:till")?;
    let told_of = all(client, "&types=product", 2, &service).await?;
    let types: Vec<&str> = told_of.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["product.made", "product.price_dropped", "product.stock_set"]);
    for (version, event) in (1..).zip(&told_of) {
        assert_eq!((&event["subject"], &event["data"]["version"]), (&json!(product), &json!(version)));
        assert_eq!(event["data"]["locations"], json!(["main"]));
        assert!(!event.to_string().contains("1.99") && !event.to_string().contains("max"), "{event}");
    }
    let drops = all(client, "&types=product.price_dropped", 10, &service).await?;
    assert_eq!(drops.len(), 1);
    assert_eq!(all(client, "", 10, &service).await?.len(), 4, "who chooses nothing is told of everything");
    for (token, seen) in [
        (of("staff:bo")?, 3),
        (of("admin:root")?, 3),
        (token_at("mo", "staff", &["airport"])?, 0),
        (of_channel("dishdash")?, 0),
    ] {
        assert_eq!(all(client, "&types=product", 10, &token).await?.len(), seen);
    }
    // A screen of orders.
    let stream = format!("{}/api/v1/orders/events?after=earliest", client.api);
    let mut stream = client.http.get(stream).bearer_auth(of("staff:bo")?).send().await?;
    let first = stream.chunk().await?.context("no event")?;
    let first = String::from_utf8(first.to_vec())?;
    assert!(first.contains("order.accepted") && first.contains(&order.to_string()), "{first}");
    assert!(!first.contains("product"), "{first}");
    drop(stream);
    pipeline.stop().await
}
