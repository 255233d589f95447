//! RabbitMQ: a quorum queue that refuses when full, publisher confirms, manual acknowledgements, a dead-letter
//! queue for poison. Nothing here reconnects: whoever uses a publisher or a consumer drops it at its first error
//! and opens another, because a client's own recovery leaves consumers that hang for ever.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::message::PaymentsDue;
use domain::origin::Headers;
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use runtime::chaos::{crash_point, sabotaged};
use runtime::config::BrokerConfig;
use uuid::Uuid;

use super::{Confirm, Delivery, Depth, Ticket};

/// Most messages in the queue before it refuses. At 256 payments a message this is a backlog of 256 million; at
/// one a message, a million, about 300 MB of disk.
const MAX_QUEUE: i64 = 1_000_000;
/// Deliveries of one message before it is laid aside as poison. Workers die in masses during a bad deploy, not
/// fifty times over one message; what is laid aside is still swept.
const MAX_DELIVERIES: i64 = 50;
/// Longest wait for a connection or a declaration. Brokers on a busy machine take a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the confirms of one batch. An alarm at the broker blocks the connection without an error;
/// after this the connection is dropped, and the messages may still arrive: they are only hints.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers of a message, under the names that HTTP has for them.
const TRACEPARENT: &str = "traceparent";
const REQUEST_ID: &str = "x-request-id";
/// How often an idle publisher looks whether its connection still lives.
const WATCH: Duration = Duration::from_millis(500);

/// Where the broker is and what its queue is called.
#[derive(Debug, Clone)]
pub struct Amqp {
    url: String,
    queue: ShortString,
    dead: ShortString,
    name: String,
    max_queue: i64,
}

impl Amqp {
    /// Reads the settings; `role` names the connections in the broker's own pages.
    pub fn new(config: &BrokerConfig, role: &str) -> Self {
        // Heartbeats every ten seconds, where the URL says nothing: a silent peer is dead after twenty.
        let url = match config.amqp_url.split_once('?') {
            Some(_) => config.amqp_url.clone(),
            None => format!("{}?heartbeat=10", config.amqp_url),
        };
        Self {
            url,
            queue: config.amqp_queue.as_str().into(),
            dead: format!("{}.dead", config.amqp_queue).into(),
            name: format!("comanda-{role}"),
            max_queue: MAX_QUEUE,
        }
    }

    /// The same with room for fewer messages. Only for a queue that is not there yet: RabbitMQ refuses to declare one
    /// again with another bound.
    #[must_use]
    pub fn with_max_queue(self, max_queue: u32) -> Self {
        Self { max_queue: max_queue.into(), ..self }
    }

    async fn connect(&self) -> Result<(Connection, Channel)> {
        let properties =
            ConnectionProperties::default().with_connection_name(LongString::from(self.name.as_str()));
        let connect = async {
            let connection = Connection::connect(&self.url, properties).await?;
            let channel = connection.create_channel().await?;
            self.declare(&channel).await?;
            Ok::<_, lapin::Error>((connection, channel))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .context("no answer from RabbitMQ")?
            .context("cannot use RabbitMQ")
    }

    /// Declares both queues, so that nothing is ever unroutable. The same arguments every time: others are refused.
    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut dead = FieldTable::default();
        dead.insert("x-queue-type".into(), text("quorum"));
        channel.queue_declare(self.dead.clone(), durable, dead).await?;
        let mut live = FieldTable::default();
        // Quorum even on one node: classic queues confirm before their disk has the message.
        live.insert("x-queue-type".into(), text("quorum"));
        // Refuse when full. The default drops the oldest and confirms it; and only with this is dead-lettering
        // at least once.
        live.insert("x-overflow".into(), text("reject-publish"));
        live.insert("x-max-length".into(), AMQPValue::LongLongInt(self.max_queue));
        live.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(MAX_DELIVERIES));
        live.insert("x-dead-letter-exchange".into(), text(""));
        live.insert("x-dead-letter-routing-key".into(), text(self.dead.as_str()));
        live.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        channel.queue_declare(self.queue.clone(), durable, live).await?;
        Ok(())
    }

    pub(super) async fn publisher(&self) -> Result<Publisher> {
        let (connection, channel) = self.connect().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { channel, connection, queue: self.queue.clone() })
    }

    pub(super) async fn consumer(&self, prefetch: u16) -> Result<Consumer> {
        let (connection, channel) = self.connect().await?;
        // First of all: the client's own buffer has no bound.
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let stream = channel
            .basic_consume(
                self.queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Consumer { stream, channel, connection })
    }

    pub(super) async fn depth(&self) -> Result<Depth> {
        let (connection, channel) = self.connect().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let waiting = channel.queue_declare(self.queue.clone(), passive, FieldTable::default()).await?;
        let dead = channel.queue_declare(self.dead.clone(), passive, FieldTable::default()).await?;
        let depth = Depth { waiting: waiting.message_count().into(), dead: dead.message_count().into() };
        close(&connection).await;
        Ok(depth)
    }

    /// Sends anything at all, as a stranger might. For tests.
    pub async fn publish_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.publish_with_headers(bytes, &Headers::default()).await
    }

    /// The same with headers.
    pub async fn publish_with_headers(&self, bytes: &[u8], headers: &Headers) -> Result<()> {
        let (connection, channel) = self.connect().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel
            .basic_publish(
                ShortString::default(),
                self.queue.clone(),
                BasicPublishOptions::default(),
                bytes,
                persistent(headers),
            )
            .await?
            .await?;
        close(&connection).await;
        Ok(())
    }

    /// Removes both queues with all that is in them. For tests, which each have a queue of their own.
    pub async fn delete(&self) -> Result<()> {
        let (connection, channel) = self.connect().await?;
        channel.queue_delete(self.queue.clone(), lapin::options::QueueDeleteOptions::default()).await?;
        channel.queue_delete(self.dead.clone(), lapin::options::QueueDeleteOptions::default()).await?;
        close(&connection).await;
        Ok(())
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn persistent(headers: &Headers) -> BasicProperties {
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    if *headers == Headers::default() {
        return properties;
    }
    let mut table = FieldTable::default();
    for (name, value) in [(TRACEPARENT, &headers.traceparent), (REQUEST_ID, &headers.request_id)] {
        if let Some(value) = value {
            table.insert(name.into(), text(value));
        }
    }
    properties.with_headers(table)
}

/// What a message's headers say; what is no text says nothing.
fn headers(properties: &BasicProperties) -> Headers {
    let Some(table) = properties.headers() else { return Headers::default() };
    let field = |name: &str| match table.inner().get(name)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned),
        _ => None,
    };
    Headers { traceparent: field(TRACEPARENT), request_id: field(REQUEST_ID) }
}

async fn close(connection: &Connection) {
    // Best effort: a connection that does not answer is dropped, which closes its socket.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
}

/// One connection with one channel in confirm mode. Never shared between tasks.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
    connection: Connection,
    queue: ShortString,
}

impl Publisher {
    pub(super) async fn publish(&mut self, messages: &[PaymentsDue]) -> Result<Vec<Confirm>> {
        let ids: Vec<String> = messages.iter().map(|_| Uuid::now_v7().to_string()).collect();
        let publish = async {
            let mut confirms = Vec::with_capacity(messages.len());
            for (message, id) in messages.iter().zip(&ids) {
                let properties = persistent(&message.headers()).with_message_id(id.as_str().into());
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let sent = self
                    .channel
                    .basic_publish(
                        ShortString::default(),
                        self.queue.clone(),
                        options,
                        &message.to_bytes(),
                        properties,
                    )
                    .await?;
                confirms.push(sent);
            }
            crash_point("api.before_confirm");
            if sabotaged("no_confirms_no_sweep") {
                return Ok(ids.iter().map(|_| Confirmation::Ack(None)).collect());
            }
            join_all(confirms).await.into_iter().collect::<lapin::Result<Vec<_>>>()
        };
        let confirmations = tokio::time::timeout(CONFIRM_TIMEOUT, publish)
            .await
            .context("RabbitMQ did not confirm (an alarm blocks publishers without an error)")?
            .context("RabbitMQ hung up while publishing")?;
        judge(&ids, confirmations)
    }

    pub(super) async fn closed(&mut self) {
        while self.connection.status().connected() && self.channel.status().connected() {
            tokio::time::sleep(WATCH).await;
        }
    }
}

/// What each message met. A message that came back as unroutable is named by its id, because the client hands
/// returned messages to whichever confirm is at hand.
fn judge(ids: &[String], confirmations: Vec<Confirmation>) -> Result<Vec<Confirm>> {
    let mut returned = Vec::new();
    let mut confirms = Vec::with_capacity(confirmations.len());
    for confirmation in confirmations {
        let (confirm, message) = match confirmation {
            Confirmation::Ack(message) => (Confirm::Taken, message),
            Confirmation::Nack(message) => (Confirm::Refused, message),
            // Looks like success and says nothing: the channel is not in confirm mode.
            Confirmation::NotRequested => bail!("the channel does not confirm"),
        };
        confirms.push(confirm);
        returned.extend(
            message.and_then(|m| m.delivery.properties.message_id().as_ref().map(ToString::to_string)),
        );
    }
    for id in returned {
        if let Some(place) = ids.iter().position(|sent| *sent == id) {
            confirms[place] = Confirm::Refused;
        }
    }
    Ok(confirms)
}

/// One connection with one channel that receives.
#[derive(Debug)]
pub struct Consumer {
    stream: lapin::Consumer,
    channel: Channel,
    connection: Connection,
}

impl Consumer {
    pub(super) async fn next(&mut self) -> Result<Delivery> {
        let delivery =
            self.stream.next().await.context("RabbitMQ ended the delivery")?.context("RabbitMQ hung up")?;
        Ok(Delivery {
            message: PaymentsDue::read(&delivery.data, &headers(&delivery.properties)),
            redelivered: delivery.redelivered,
            ticket: Ticket::Amqp(Box::new(delivery)),
        })
    }

    pub(super) async fn close(self) {
        // Closing the channel gives back all that was delivered and not acknowledged.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.channel.close(200, "done".into())).await;
        close(&self.connection).await;
    }
}
