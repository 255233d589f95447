//! Without the database: 503 soon, and service again as soon as it is back.

use std::time::{Duration, Instant};

use anyhow::Result;
use runtime::batch::desk;
use serde_json::json;
use servers::{Postgres, PostgresSettings};
use store::Database;
use testbed::{Client, Options, Pipeline, TestDatabase, Via, until};

use crate::catalogue::stock::counted;

/// What a client may wait for its 503.
const SOON: Duration = Duration::from_secs(3);

async fn is_503_soon(
    response: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
) -> Result<()> {
    let begun = Instant::now();
    let response = response.await?;
    assert_eq!(response.status(), 503);
    assert!(begun.elapsed() < SOON, "only after {:?}", begun.elapsed());
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    Ok(())
}

async fn is_out(client: &Client) -> Result<()> {
    let url = format!("{}/api/v1/orders", client.api);
    is_503_soon(client.http.post(&url).json(&Client::an_order()).send()).await?;
    is_503_soon(client.http.get(&url).send()).await?;
    // Nobody can look, so nobody says that all is well.
    let jobs = format!("{}/api/v1/analytics/jobs/status?job_name=roll_up", client.api);
    is_503_soon(client.http.get(&jobs).send()).await?;
    let ready = client.http.get(format!("{}/ready", client.api)).send().await?;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<serde_json::Value>().await?["database"], "down");
    assert_eq!(client.get("/health").await?, json!({"status": "ok"}), "alive all the same");
    Ok(())
}

async fn comes_back(client: &Client) -> Result<()> {
    until("orders are accepted again", async || {
        Ok((client.post(&Client::an_order()).await?.status() == 202).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_stopped_a_killed_and_a_frozen_database_are_told_and_survived() -> Result<()> {
    let mut server =
        tokio::task::spawn_blocking(|| Postgres::start(&PostgresSettings::temporary())).await??;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    let before = client.order(&Client::an_order()).await?;

    server = tokio::task::spawn_blocking(move || server.stop().map(|()| server)).await??;
    is_out(client).await?;
    server = tokio::task::spawn_blocking(move || server.restart().map(|()| server)).await??;
    comes_back(client).await?;

    server = tokio::task::spawn_blocking(move || server.kill().map(|()| server)).await??;
    is_out(client).await?;
    server = tokio::task::spawn_blocking(move || server.restart().map(|()| server)).await??;
    comes_back(client).await?;

    server.pause();
    is_out(client).await?;
    server.resume();
    comes_back(client).await?;

    // Whoever reads has connections of their own, which may be found dead a moment later than a writer's.
    let read = until("orders are read again", async || {
        let read = client.read(before).await?;
        Ok((read["status"] != 503).then_some(read))
    });
    assert_eq!(read.await?["status"], "PENDING");
    pipeline.stop().await?;
    tokio::task::spawn_blocking(move || server.stop()).await?
}

#[tokio::test]
async fn a_full_backlog_is_refused_at_once() -> Result<()> {
    // Nobody takes anything from this desk.
    let (desk, _lane) = desk::<u8, u8>(1, 1);
    let mut first = Box::pin(desk.offer(1));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(desk.offer(2).await, Err(runtime::batch::NotTaken::Full));
    // And through the door: an api that may let nobody wait answers 503 while its writer waits for the database.
    let mut server =
        tokio::task::spawn_blocking(|| Postgres::start(&PostgresSettings::temporary())).await??;
    let database = TestDatabase::on(&server.url("postgres")).await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.api_backlog = 1;
    options.api.api_writers = 1;
    let pipeline = Pipeline::over(Database::new(database.url(), "test")?, options).await?;
    pipeline.client.order(&Client::an_order()).await?;
    // Orders of what is counted wait by themselves; and before that for a look at the catalogue, a moment.
    let id = counted(&pipeline, "Donut", 100).await?;
    let of_stock = json!({"customer_id": "ann", "items": [{"product_id": id, "quantity": 1}]});
    server.pause();
    let mut all = Vec::new();
    for (order, soon) in [(Client::an_order(), 1), (of_stock, 2)] {
        let begun = Instant::now();
        let mut under_way = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (client, order) = (pipeline.client.clone(), order.clone());
            under_way.spawn(async move { client.post(&order).await.map(|response| response.status()) });
        }
        let first = under_way.join_next().await.unwrap()??;
        assert_eq!(first, 503);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(soon), "shed at once, not after {took:?}: {order}");
        all.push(under_way);
    }
    server.resume();
    for mut under_way in all {
        while under_way.join_next().await.is_some() {}
    }
    pipeline.stop().await?;
    tokio::task::spawn_blocking(move || server.stop()).await?
}
