//! A queue behind the exchange that is told of what happens: what was confirmed is in it, however often the broker died.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties, ExchangeKind};

use super::Of;
use crate::ground::Ground;

/// Nothing has come for so long: that was all.
const SILENCE: Duration = Duration::from_secs(5);

/// It and its exchange.
#[derive(Debug)]
pub(super) struct Queue {
    url: String,
    /// Both are called so.
    name: String,
}

impl Queue {
    /// Makes both. A quorum queue: what it confirms it has on disk.
    pub(super) async fn open(ground: &Ground, exchange: &str) -> Result<Self> {
        let queue = Self { url: ground.broker.amqp_url.clone(), name: exchange.to_owned() };
        let connection = queue.connect().await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let topic = ExchangeKind::Topic;
        channel.exchange_declare(exchange.into(), topic, durable, FieldTable::default()).await?;
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(exchange.into(), durable, quorum).await?;
        let bind = QueueBindOptions::default();
        // Products are made while the followers begin: which of that is still told is no matter here.
        let orders = "order.#";
        channel
            .queue_bind(exchange.into(), exchange.into(), orders.into(), bind, FieldTable::default())
            .await?;
        connection.close(200, "done".into()).await?;
        Ok(queue)
    }

    async fn connect(&self) -> Result<Connection> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await;
        connection.context("cannot reach RabbitMQ")
    }

    /// All that is in it, in its order; then it is no more, and its exchange neither.
    pub(super) async fn drain(self) -> Result<Vec<Of>> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let taken = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let name = self.name.as_str();
        let mut consumer =
            channel.basic_consume(name.into(), "".into(), taken, FieldTable::default()).await?;
        let mut all = Vec::new();
        while let Ok(Some(delivery)) = tokio::time::timeout(SILENCE, consumer.next()).await {
            let delivery = delivery?;
            let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
            let (order, version) = id.split_once('_').with_context(|| format!("a message called {id:?}"))?;
            all.push((order.parse()?, version.parse()?));
        }
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
        channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(all)
    }
}
