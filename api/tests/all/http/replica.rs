//! With a replica that lags: nobody misses their order, nothing is decided by what it shows, and `/ready` tells.

use std::time::Duration;

use anyhow::Result;
use domain::channel::name::ChannelName;
use domain::channel::price_list::{PriceList, PriceListRequest};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Database, prices};
use testbed::people::of;
use testbed::{Client, Commits, Options, Pair, Pipeline, TestDatabase, Via, until};

/// An api whose reads may go to a standby, while that is no more than `may_lag` behind.
async fn over(pair: &Pair, may_lag: Duration) -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::on(&pair.url("postgres").await?).await?;
    pair.until_equal().await?;
    let (_, name) = database.url().rsplit_once('/').unwrap();
    let replica = Some(Database::replica(&pair.standby_url(name).await?, "test")?);
    let mut options = Options { with_worker: false, replica, ..Options::new(Via::InProcess) };
    options.api.api_replica_lag = may_lag;
    let pipeline = Pipeline::over(database.database(), options).await?;
    until_replica(&pipeline, "up", 200).await?;
    Ok((database, pipeline))
}

/// Waits until `/ready` says so of the replica, and looks what it answers then.
async fn until_replica(pipeline: &Pipeline, standing: &str, status: u16) -> Result<Value> {
    let client = &pipeline.client;
    until(&format!("the replica is {standing}"), async || {
        let ready = client.http.get(format!("{}/ready", client.api)).send().await?;
        let (seen, body) = (ready.status(), ready.json::<Value>().await?);
        // The publisher connects meanwhile.
        Ok((body["replica"] == standing && body["broker"] == "up" && seen == status).then_some(body))
    })
    .await
}

async fn asked(
    pipeline: &Pipeline,
    method: Method,
    path: &str,
    who: &str,
    body: Option<Value>,
) -> Result<(u16, Value)> {
    let url = format!("{}/api/v1{path}", pipeline.client.api);
    let mut request = pipeline.client.http.request(method, url).bearer_auth(of(who)?);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_just_accepted_is_found_and_nothing_is_decided_by_a_replica_that_lags() -> Result<()> {
    let pair = Pair::start(Commits::WaitForNobody).await?;
    let (database, api) = over(&pair, Duration::from_secs(3_600)).await?;
    let ada = "customer:customer_123";
    let order = || Some(Client::an_order());
    let (_, before) = asked(&api, Method::POST, "/orders", ada, order()).await?;
    pair.until_equal().await?;
    pair.hold_back().await?;
    let (status, placed) = asked(&api, Method::POST, "/orders", ada, order()).await?;
    assert_eq!(status, 202);
    let path = format!("/orders/{}", placed["id"].as_str().unwrap());
    for path in [path.clone(), format!("{path}/history")] {
        assert_eq!(asked(&api, Method::GET, &path, ada, None).await?.0, 200, "{path}: it was accepted");
        assert_eq!(asked(&api, Method::GET, &path, "customer:eve", None).await?.0, 404, "{path} of others");
    }
    let nothing = format!("/orders/{}", uuid::Uuid::now_v7());
    assert_eq!(asked(&api, Method::GET, &nothing, ada, None).await?.0, 404);
    let (_, list) = asked(&api, Method::GET, "/orders", ada, None).await?;
    assert_eq!((&list["total"], &list["orders"][0]["id"]), (&json!(1), &before["id"]), "a list may lag");

    let more = json!({"items": Client::an_order()["items"], "payment_reference": "more"});
    let (status, added) = asked(&api, Method::POST, &format!("{path}/items"), ada, Some(more)).await?;
    assert_eq!(status, 200, "{added}");
    let list: PriceListRequest<'_> = serde_json::from_str(r#"{"prices":[{"plu":"P-1","price":5}]}"#)?;
    let (channel, list) = (ChannelName::parse("dish").unwrap(), PriceList::parse(&list).unwrap());
    let mut conn = database.connect().await?;
    prices::replace(&mut conn, &channel, &list).await?;
    let document = json!({"channelOrderId": "A-1", "items": [{"name": "n", "plu": "P-1", "quantity": 1}]});
    let channels = "/channels/dish/orders";
    let (status, first) = asked(&api, Method::POST, channels, "manager:max", Some(document.clone())).await?;
    assert_eq!(status, 202, "priced by the list as it is now: {first}");
    prices::replace(&mut conn, &channel, &PriceList::default()).await?;
    let (status, again) = asked(&api, Method::POST, channels, "manager:max", Some(document)).await?;
    assert_eq!((status, &again["id"]), (202, &first["id"]), "the same again is a replay");

    pair.catch_up().await?;
    let (_, list) = asked(&api, Method::GET, "/orders", ada, None).await?;
    assert_eq!(list["total"], json!(2));
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_or_is_gone_is_shown_and_not_read_and_only_the_primary_decides() -> Result<()> {
    let pair = Pair::start(Commits::WaitForNobody).await?;
    let (_database, api) = over(&pair, Duration::from_millis(500)).await?;
    pair.hold_back().await?;
    let id = api.client.order(&Client::an_order()).await?;
    let total = async || Ok::<_, anyhow::Error>(api.client.get("/api/v1/orders").await?["total"].clone());
    let lags = until_replica(&api, "lags", 200).await?;
    assert_eq!(lags, json!({"status": "degraded", "database": "up", "replica": "lags", "broker": "up"}));
    assert_eq!(total().await?, json!(1), "the primary is read instead");
    pair.catch_up().await?;
    assert_eq!(until_replica(&api, "up", 200).await?["status"], "ok");

    pair.lose_standby().await?;
    assert_eq!(total().await?, json!(1), "before anybody saw that it is gone");
    assert_eq!(until_replica(&api, "down", 200).await?["status"], "degraded");
    assert_eq!(total().await?, json!(1));
    pair.restore_standby().await?;
    until_replica(&api, "up", 200).await?;

    pair.lose_primary().await?;
    let ready = until_replica(&api, "up", 503).await?;
    assert_eq!((&ready["status"], &ready["database"]), (&json!("unavailable"), &json!("down")));
    assert_eq!(api.client.read(id).await?["status"], "PENDING", "what the replica has is shown");
    let refused = api.client.post(&Client::an_order()).await?;
    assert_eq!(refused.status(), 503);
    api.stop().await
}
