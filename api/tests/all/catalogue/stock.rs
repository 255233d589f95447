//! Selling only what is there, over HTTP: nothing too much and nothing too little, whoever comes at the same moment.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::task::JoinSet;

use super::{by, id_of, manage, product};
use crate::api;
use crate::people::told;

/// A product of which there are so many.
pub(crate) async fn counted(api: &Pipeline, name: &str, quantity: i64) -> Result<String> {
    let made = product(api, json!({"name": name, "price": 2, "tracked": true})).await?;
    let id = made["id"].as_str().context("no id")?.to_owned();
    manage(
        api,
        Method::POST,
        &format!("/products/{id}/stock"),
        json!({"action": "set", "quantity": quantity}),
    )
    .await?;
    Ok(id)
}

/// Available and held.
pub(super) async fn left(api: &Pipeline, id: &str) -> Result<(i64, i64)> {
    let stock = api.client.get(&format!("/api/v1/products/{id}/stock")).await?;
    let one = &stock["stock"][0];
    Ok((one["available"].as_i64().context("no stock")?, one["held"].as_i64().context("no stock")?))
}

fn order(id: &str, quantity: u32) -> Value {
    json!({"customer_id": "ann", "items": [{"product_id": id, "quantity": quantity}]})
}

/// Sends each, all at once, in turn to both, and counts the answers: 202 and 409.
async fn at_once(clients: [&Client; 2], orders: Vec<Value>) -> Result<(usize, usize)> {
    let mut under_way = JoinSet::new();
    let orders = Arc::new(orders);
    for n in 0..orders.len() {
        let (client, orders) = (clients[n % 2].clone(), Arc::clone(&orders));
        under_way.spawn(async move {
            loop {
                let answer = client.post(&orders[n]).await?;
                match answer.status().as_u16() {
                    // Too many at once for this machine: as a client would.
                    503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                    status => return anyhow::Ok((status, answer.json::<Value>().await?)),
                }
            }
        });
    }
    let (mut taken, mut refused) = (0, 0);
    while let Some(done) = under_way.join_next().await {
        match done?? {
            (202, _) => taken += 1,
            (409, body) => {
                ensure!(
                    body["errors"][0]["code"] == "out_of_stock" && body["short"][0]["available"].is_i64(),
                    "{body}"
                );
                refused += 1;
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok((taken, refused))
}

async fn two_apis() -> Result<(TestDatabase, Pipeline, Pipeline)> {
    let database = TestDatabase::new().await?;
    let options = || Options { with_worker: false, ..Options::new(Via::InProcess) };
    let (one, other) =
        (Pipeline::start(&database, options()).await?, Pipeline::start(&database, options()).await?);
    Ok((database, one, other))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_want_one_of_52_at_once_52_get_it_in_each_of_fifty_runs() -> Result<()> {
    let (_database, one, other) = two_apis().await?;
    for run in 0..50 {
        let id = counted(&one, &format!("Donut {run}"), 52).await?;
        let came_to = at_once([&one.client, &other.client], vec![order(&id, 1); 100]).await?;
        assert_eq!((came_to, left(&one, &id).await?), ((52, 48), (0, 52)), "run {run}");
    }
    other.stop().await?;
    one.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_products_an_order_in_any_order_meet_no_deadlock() -> Result<()> {
    let (database, one, other) = two_apis().await?;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(counted(&one, &format!("Dish {n}"), 100).await?);
    }
    let orders = (0..128).map(|n| {
        let lines = (0..20).map(|k| json!({"product_id": ids[(k * 7 + n * 3) % 20], "quantity": 1}));
        json!({"customer_id": "ann", "items": lines.collect::<Vec<_>>()})
    });
    assert_eq!(at_once([&one.client, &other.client], orders.collect()).await?, (100, 28));
    for id in &ids {
        assert_eq!(left(&one, id).await?, (0, 100));
    }
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut database.connect().await?)
            .await?;
    assert_eq!(deadlocks, 0);
    other.stop().await?;
    one.stop().await
}

#[tokio::test]
async fn what_is_sold_out_is_said_so_and_a_repeated_order_gets_its_first_answer() -> Result<()> {
    let (_database, api) = api().await?;
    let shirt = json!({"name": "Shirt", "tracked": true, "variations": [{"name": "S", "price": 9}, {"name": "M", "price": 9}]});
    let shirt = product(&api, shirt).await?;
    let id = shirt["id"].as_str().unwrap();
    let (small, medium) = (id_of(&shirt["variations"], "S"), id_of(&shirt["variations"], "M"));
    assert_eq!((&shirt["sold_out"], &shirt["variations"][0]["sold_out"]), (&json!(true), &json!(true)));
    let path = format!("/products/{id}/stock");
    let put = json!({"action": "add", "quantity": 2, "variation_id": small, "reason": "delivery"});
    let now = manage(&api, Method::POST, &path, put.clone()).await?;
    assert_eq!(now, json!({"variation_id": small, "available": 2, "held": 0, "sold": 0}));
    let shown = async |query: &str| {
        anyhow::Ok(api.client.get(&format!("/api/v1/catalog{query}")).await?["products"].clone())
    };
    let one = &shown("?in_stock=true").await?[0];
    assert_eq!(
        (&one["sold_out"], &one["variations"][0]["sold_out"], &one["variations"][1]["sold_out"]),
        (&json!(false), &json!(false), &json!(true))
    );

    let line = |variation: &str, quantity: u32| json!({"customer_id": "ann", "items": [{"product_id": id, "variation_id": variation, "quantity": quantity}]});
    let keyed = async |body: &Value, key: &str| {
        let post = api.client.http.post(format!("{}/api/v1/orders", api.client.api)).json(body);
        anyhow::Ok(post.header("idempotency-key", key).send().await?)
    };
    let first: Value = keyed(&line(&small, 2), "k").await?.json().await?;
    for (body, key, available) in
        [(line(&small, 1), None, 0), (line(&medium, 1), None, 0), (line(&small, 1), Some("other"), 0)]
    {
        let answer = match key {
            Some(key) => keyed(&body, key).await?,
            None => api.client.post(&body).await?,
        };
        assert_eq!(answer.status(), 409);
        let refused: Value = answer.json().await?;
        assert_eq!(
            (&refused["errors"][0]["code"], &refused["errors"][0]["attr"]),
            (&json!("out_of_stock"), &json!("items[0].quantity"))
        );
        assert_eq!(
            (&refused["short"][0]["wanted"], &refused["short"][0]["available"]),
            (&json!(1), &json!(available))
        );
    }
    let again = keyed(&line(&small, 2), "k").await?;
    assert_eq!((again.status().as_u16(), &again.json::<Value>().await?["id"]), (202, &first["id"]));
    assert_eq!(
        (shown("?in_stock=true").await?, &shown("?in_stock=false").await?[0]["sold_out"]),
        (json!([]), &json!(true))
    );
    manage(&api, Method::POST, &path, put).await?;
    let too_many: Value = api.client.post(&line(&small, 5)).await?.json().await?;
    assert_eq!(
        (&too_many["short"][0]["available"], &too_many["short"][0]["item_id"]),
        (&json!(2), &json!(small))
    );
    assert_eq!(api.client.post(&line(&small, 2)).await?.status(), 202);

    for (body, status, code) in [
        (json!({"action": "ship", "quantity": 1, "variation_id": small}), 409, "out_of_stock"),
        (json!({"action": "add", "quantity": 1}), 409, "not_tracked"),
        (json!({"action": "eat", "quantity": 1, "variation_id": small}), 422, "unknown_action"),
        (json!({"action": "add", "quantity": -1, "variation_id": small}), 422, "out_of_range"),
        (json!({"action": "add", "variation_id": small}), 422, "required"),
    ] {
        let answer = by("manager:max", &api, Method::POST, &path, Some(body)).await?;
        assert_eq!(told(answer).await?, (status, code.to_owned()));
    }
    assert_eq!(by("staff:bo", &api, Method::POST, &path, Some(json!({}))).await?.status(), 403);
    api.stop().await
}

#[tokio::test]
async fn what_is_sold_out_can_be_left_out_of_the_list() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.catalogue_hide_sold_out = true;
    let api = Pipeline::start(&database, options).await?;
    let id = counted(&api, "Tea", 1).await?;
    let shown =
        async || anyhow::Ok(api.client.get("/api/v1/catalog").await?["products"].as_array().map(Vec::len));
    assert_eq!(shown().await?, Some(1));
    assert_eq!(api.client.post(&order(&id, 1)).await?.status(), 202);
    testbed::until("it is hidden", async || Ok((shown().await? == Some(0)).then_some(()))).await?;
    assert_eq!(
        api.client.get(&format!("/api/v1/catalog/{id}")).await?["sold_out"],
        true,
        "by its id it is found"
    );
    api.stop().await
}

#[tokio::test]
async fn whoever_holds_a_products_row_delays_no_plain_order() -> Result<()> {
    let (database, api) = api().await?;
    let id = counted(&api, "Tea", 10).await?;
    let mut holder = database.connect().await?;
    let mut tx = sqlx::Connection::begin(&mut holder).await?;
    sqlx::query("SELECT id FROM stock FOR UPDATE").execute(&mut *tx).await?;
    let mut stocked = JoinSet::new();
    let (client, waits) = (api.client.clone(), order(&id, 1));
    stocked.spawn(async move { anyhow::Ok(client.post(&waits).await?.status().as_u16()) });
    testbed::until("it waits for the row", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('tuple', 'transactionid')",
        )
        .fetch_one(&mut database.connect().await?)
        .await?;
        Ok((waiting > 0).then_some(()))
    })
    .await?;
    assert_eq!(api.client.post(&Client::an_order()).await?.status(), 202);
    assert!(stocked.try_join_next().is_none(), "it waits still");
    tx.rollback().await?;
    let answer = stocked.join_next().await.context("nobody asked")??;
    assert!([202, 503].contains(&answer?));
    api.stop().await
}

/// One that takes what there is, says what it leaves.
#[tokio::test]
async fn an_order_may_take_what_there_is_and_pays_for_that_alone() -> Result<()> {
    let (database, api) = api().await?;
    let (donut, tart) = (counted(&api, "Donut", 3).await?, counted(&api, "Tart", 0).await?);
    let tea = product(&api, json!({"name": "Tea", "price": 1.5})).await?;
    let post = async |body: &Value, key: &str| {
        let post = api.client.http.post(format!("{}/api/v1/orders", api.client.api)).json(body);
        let answer = post.header("idempotency-key", key).send().await?;
        let again = answer.headers().contains_key("idempotency-replayed");
        anyhow::Ok((answer.status().as_u16(), again, answer.json::<Value>().await?))
    };
    let line = |id: &Value, quantity: u32| json!({"product_id": id, "quantity": quantity});
    let (donut_id, tart_id) = (json!(donut), json!(tart));
    let asked = json!({"customer_id": "ann", "allow_partial": true,
        "adjustments": [{"kind": "tip", "amount": 1}],
        "items": [line(&donut_id, 2), line(&tart_id, 1), line(&tea["id"], 2), line(&donut_id, 4)]});
    let mut whole = asked.clone();
    whole["allow_partial"] = json!(false);
    assert_eq!(post(&whole, "whole").await?.0, 409, "all lines or none");
    let (status, again, first) = post(&asked, "k").await?;
    assert_eq!((status, again), (202, false), "{first}");
    let left_out = json!([
        {"line": 1, "item_id": tart, "item_name": "Tart", "asked": 1, "taken": 0},
        {"line": 3, "item_id": donut, "item_name": "Donut", "asked": 4, "taken": 1}]);
    assert_eq!(first["left_out"], left_out);
    let quantities = |body: &Value| -> Vec<Value> {
        body["items"].as_array().into_iter().flatten().map(|item| item["quantity"].clone()).collect()
    };
    // 3 x 2.00 + 2 x 1.50 + 1.00
    assert_eq!((quantities(&first), &first["total"]), (vec![json!(2), json!(2), json!(1)], &json!(10.0)));
    assert_eq!(left(&api, &donut).await?, (0, 3));
    let id = first["id"].as_str().context("no id")?;
    let read = api.client.get(&format!("/api/v1/orders/{id}")).await?;
    assert_eq!(
        (&read["left_out"], &read["total"], quantities(&read)),
        (&left_out, &first["total"], quantities(&first))
    );
    let charged: i64 = sqlx::query_scalar("SELECT amount_minor FROM open_charges WHERE id = $1::text::uuid")
        .bind(id)
        .fetch_one(&mut database.connect().await?)
        .await?;
    assert_eq!(charged, 1_000, "money is of what was taken");
    // The same again is answered the same, though there is more by now; and takes nothing.
    manage(&api, Method::POST, &format!("/products/{tart}/stock"), json!({"action": "add", "quantity": 5}))
        .await?;
    let (status, again, same) = post(&asked, "k").await?;
    assert_eq!((status, again, &same), (202, true, &first));
    assert_eq!((left(&api, &donut).await?, left(&api, &tart).await?), ((0, 3), (5, 0)));

    // Of what was left out alone nothing is there; where enough is there nothing is left out; what is free is confirmed at once.
    let none = json!({"customer_id": "ann", "allow_partial": true, "items": [line(&donut_id, 2)]});
    let (status, _, refused) = post(&none, "none").await?;
    assert_eq!(
        (status, &refused["errors"][0]["code"], &refused["short"][0]["available"]),
        (409, &json!("out_of_stock"), &json!(0))
    );
    let enough = json!({"customer_id": "ann", "allow_partial": true, "items": [line(&tart_id, 2)]});
    let (status, _, all) = post(&enough, "enough").await?;
    assert_eq!((status, all.get("left_out"), &all["total"]), (202, None, &json!(4.0)));
    // Asked for again when nothing is left of it: it has its own.
    assert_eq!(api.client.post(&order(&tart, 3)).await?.status(), 202);
    assert_eq!(post(&enough, "enough").await?, (202, true, all));
    let water = product(&api, json!({"name": "Water", "price": 0})).await?;
    let free = json!({"customer_id": "ann", "allow_partial": true, "items": [line(&donut_id, 1), line(&water["id"], 1)]});
    let (status, _, free) = post(&free, "free").await?;
    assert_eq!((status, &free["status"], &free["total"]), (202, &json!("CONFIRMED"), &json!(0.0)));

    for (field, value, attr) in [
        ("total", json!(4), "total"),
        ("adjustments", json!([{"kind": "discount", "amount": -1}]), "adjustments"),
        ("channel", json!("eats"), "channel"),
        ("allow_partial", json!("yes"), "allow_partial"),
    ] {
        let mut body = enough.clone();
        body["channel_order_id"] = if field == "channel" { json!("A-1") } else { Value::Null };
        body[field] = value;
        let refused: Value = api.client.post(&body).await?.json().await?;
        assert_eq!(
            (&refused["status"], &refused["errors"][0]["attr"]),
            (&json!(422), &json!(attr)),
            "{refused}"
        );
    }
    api.stop().await
}

/// However many come at once, all that is there is taken, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_take_what_there_is_leave_nothing_and_take_nothing_twice() -> Result<()> {
    let (_database, one, other) = two_apis().await?;
    for run in 0..5 {
        let id = counted(&one, &format!("Tart {run}"), 52).await?;
        let mut under_way = JoinSet::new();
        for n in 0..40 {
            let (client, mut body) = ([&one, &other][n % 2].client.clone(), order(&id, 1 + n as u32 % 5));
            // Some of them want all or nothing.
            body["allow_partial"] = json!(n % 3 > 0);
            under_way.spawn(async move {
                let answer = client.post(&body).await?;
                let status = answer.status().as_u16();
                let body: Value = answer.json().await?;
                ensure!(status == 202 || body["errors"][0]["code"] == "out_of_stock", "{body}");
                Ok(body["items"][0]["quantity"].as_i64().filter(|_| status == 202).unwrap_or_default())
            });
        }
        let mut taken = 0;
        while let Some(done) = under_way.join_next().await {
            taken += done??;
        }
        assert_eq!((taken, left(&one, &id).await?), (52, (0, 52)), "run {run}");
    }
    other.stop().await?;
    one.stop().await
}
