//! Lanes: how much is sent at once to whom, and that nobody waits for an endpoint but its own orders' deliveries.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};

use crate::House;
use crate::receiver::Receiver;

#[tokio::test]
async fn for_one_that_answers_quickly_more_is_claimed_than_is_sent_at_once_until_it_fails() -> Result<()> {
    let mut house = House::with(|settings| settings.webhook_concurrency = 2).await?;
    house.webhook("/in", json!({})).await?;
    let most_begun = async |house: &mut House| -> Result<usize> {
        house.follow().await?;
        house.delivery.look().await?;
        let mut most = 0;
        loop {
            let begun = house.delivery.run_once().await?.begun;
            house.delivery.finish().await?;
            most = most.max(begun);
            if begun == 0 {
                return Ok(most);
            }
        }
    };
    house.api.client.orders(60, 8).await?;
    assert!((3..=16).contains(&most_begun(&mut house).await?), "more and more");
    assert_eq!(house.receiver.came("/in").len(), 60);
    house.receiver.answer("/in", 500);
    house.api.client.orders(60, 8).await?;
    most_begun(&mut house).await?;
    house.api.client.orders(10, 8).await?;
    assert_eq!(most_begun(&mut house).await?, 1, "one after the other, once it fails");
    house.api.stop().await
}

#[tokio::test]
async fn nine_endpoints_that_never_answer_do_not_slow_the_tenth() -> Result<()> {
    const ORDERS: usize = 40;
    let mut house = House::with(|settings| settings.webhook_concurrency = 4).await?;
    for dead in 0..9 {
        let path = format!("/dead/{dead}");
        house.receiver.answer(&path, 0);
        house.webhook(&path, json!({})).await?;
    }
    house.webhook("/alive", json!({})).await?;
    house.api.client.orders(ORDERS, 8).await?;
    house.follow().await?;
    house.delivery.look().await?;
    let receiver = house.receiver.clone();
    until("the tenth has everything", async || {
        house.delivery.run_once().await?;
        Ok((receiver.came("/alive").len() == ORDERS).then_some(()))
    })
    .await?;
    for dead in 0..9 {
        let came = house.receiver.came(&format!("/dead/{dead}"));
        assert_eq!(came.len(), 4, "a lane has room for so many, and none of them has ended");
    }
    house.receiver.release();
    house.delivery.finish().await?;
    house.api.stop().await
}

/// Told later, whatever those who are told do: by the time the order has moved nobody has answered, and all there is are rows.
#[tokio::test]
async fn an_order_is_moved_while_no_receiver_answers_and_no_broker_is_there() -> Result<()> {
    let (database, receiver) = (TestDatabase::new().await?, Receiver::start().await?);
    let no_broker = "amqp://127.0.0.1:1/%2f";
    let mut options = Options {
        with_worker: false,
        with_follower: true,
        ..Options::new(Via::RabbitMq(TestQueue::on(no_broker)?))
    };
    options.follower.webhook_networks = vec!["127.0.0.0/8".parse()?];
    options.follower.events_amqp_url = Some(no_broker.to_owned());
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    let ask = async |method: Method, path: &str, body: Value| -> Result<()> {
        let request = client.http.request(method, format!("{}/api/v1{path}", client.api)).json(&body);
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.text().await?);
        Ok(())
    };
    let mut conn = database.connect().await?;
    until("somebody follows", async || {
        let begun = "SELECT count(*) FROM feed_cursors WHERE follower IN ('webhooks', 'messages')";
        let begun: i64 = sqlx::query_scalar(begun).fetch_one(&mut conn).await?;
        Ok((begun == 2).then_some(()))
    })
    .await?;
    let paths = ["/one", "/other"];
    for path in paths {
        receiver.answer(path, 0);
        ask(Method::POST, "/webhooks", json!({"url": format!("{}{path}", receiver.url)})).await?;
    }
    let mut order = Client::an_order();
    order["payment"] = json!({"method": "on_delivery"});
    let order = client.order(&order).await?;
    until("each is asked", async || {
        Ok(paths.iter().all(|path| receiver.came(path).len() == 1).then_some(()))
    })
    .await?;
    for status in ["ACCEPTED", "PREPARING", "READY", "DELIVERED"] {
        ask(Method::PUT, &format!("/orders/{order}/status"), json!({"status": status})).await?;
    }
    let stands = until("the moves are rows", async || {
        let rows = "SELECT version, status::text FROM deliveries ORDER BY version, webhook";
        let rows: Vec<(i32, String)> = sqlx::query_as(rows).fetch_all(&mut conn).await?;
        Ok((rows.len() == 10).then_some(rows))
    })
    .await?;
    for (version, status) in stands {
        assert_eq!(status, if version == 1 { "waiting" } else { "behind" });
    }
    assert!(paths.iter().all(|path| receiver.came(path).len() == 1), "nobody has answered");
    for path in paths {
        receiver.answer(path, 204);
    }
    receiver.release();
    pipeline.stop().await
}
