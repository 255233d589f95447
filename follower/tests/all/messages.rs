//! The exchange: everything reaches whoever has bound a queue, by its routing key, whatever the broker and those who tell go through.

use std::sync::Arc;

use anyhow::{Context, Result};
use broker::amqp::exchange::Exchange;
use follower::follow::Step;
use follower::messages::Messages;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::TestQueue;
use uuid::Uuid;

use crate::House;

/// A queue of its own that is bound to an exchange.
struct Listener {
    _connection: Arc<Connection>,
    channel: Channel,
    consumer: Consumer,
}

impl Listener {
    async fn start(url: &str, exchange: &str, key: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.clone(), exchange.into(), key.into(), bind, FieldTable::default()).await?;
        let acked = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue, "".into(), acked, FieldTable::default()).await?;
        Ok(Self { _connection: Arc::new(connection), channel, consumer })
    }

    /// The next one: routing key, id, order and version.
    async fn next(&mut self) -> Result<(String, String, Value)> {
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), self.consumer.next()).await?;
        let delivery = waited.context("the broker hung up")??;
        let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        Ok((delivery.routing_key.to_string(), id, serde_json::from_slice(&delivery.data)?))
    }
}

async fn catch_up(messages: &mut Messages) -> Result<usize> {
    let mut told = 0;
    loop {
        match messages.run_once().await? {
            Step::Followed(events) => told += events,
            Step::UpToDate => return Ok(told),
            other => anyhow::bail!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_binds_a_queue_hears_of_everything_in_order_and_one_at_a_time_tells() -> Result<()> {
    let house = House::new().await?;
    let url = TestQueue::new()?.config().amqp_url.clone();
    let name = format!("test.{}", Uuid::new_v4().simple());
    let told = |name: &str| -> Result<Messages> {
        Ok(Messages::new(house.database.database().session(), Exchange::new(&url, name)?))
    };
    let (mut one, mut other) = (told(&name)?, told(&name)?);
    assert_eq!(one.run_once().await?, Step::UpToDate, "it begins with what happens from now on");
    let mut all = Listener::start(&url, &name, "#").await?;
    let mut moves = Listener::start(&url, &name, "order.moved.*.main").await?;

    let orders = house.api.client.orders(300, 16).await?;
    house.cancel(orders[0]).await?;
    assert_eq!(other.run_once().await?, Step::Taken, "another one holds it");
    assert_eq!(catch_up(&mut one).await?, 301);
    let mut versions = std::collections::HashMap::new();
    for _ in 0..301 {
        let (key, id, event) = all.next().await?;
        let (order, version) = (event["subject"].as_str().unwrap_or(""), event["data"]["version"].as_i64());
        assert_eq!(id, format!("{order}_{}", version.context("no version")?));
        let last = versions.insert(order.to_owned(), version).flatten().unwrap_or(0);
        assert_eq!(version, Some(last + 1), "each once, in order");
        assert!(key == "order.accepted.PENDING.main" || key == "order.moved.CANCELLED.main", "{key}");
    }
    let (key, id, _) = moves.next().await?;
    assert_eq!((key.as_str(), id), ("order.moved.CANCELLED.main", format!("{}_2", orders[0])));

    let (_, made) = house.ask(Method::POST, "/products", json!({"name": "Latte", "price": 4})).await?;
    assert_eq!(catch_up(&mut one).await?, 1);
    let (key, id, event) = all.next().await?;
    let product = made["id"].as_str().context("no id")?;
    assert_eq!((key.as_str(), id), ("product.made.-.-", format!("{product}_1")));
    assert_eq!(event["data"]["product_id"], product);

    // Its process ended without a word: when the hold is over, another one goes on where it stood; and where that one cannot
    // reach the broker, nothing is lost and nothing moves on.
    let last = house.order().await?;
    drop(one);
    assert_eq!(other.run_once().await?, Step::Taken);
    let expire = async || -> Result<()> {
        sqlx::query("UPDATE feed_cursors SET held_until = now() - interval '1 s'")
            .execute(&mut house.database.connect().await?)
            .await?;
        Ok(())
    };
    expire().await?;
    let nowhere = Exchange::new("amqp://127.0.0.1:1", &name)?;
    let mut cut_off = Messages::new(house.database.database().session(), nowhere);
    assert!(cut_off.run_once().await.is_err());
    expire().await?;
    assert_eq!(catch_up(&mut other).await?, 1);
    assert_eq!(all.next().await?.1, format!("{last}_1"));
    all.channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await?;
    house.api.stop().await
}
