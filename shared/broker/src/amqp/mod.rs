//! RabbitMQ: a quorum queue that refuses when full, publisher confirms, manual acknowledgements, a dead-letter
//! queue for poison. Nothing here reconnects: whoever uses a publisher or a consumer drops it at its first error
//! and opens another, because a client's own recovery leaves consumers that hang for ever.

mod address;
mod consumer;
pub mod exchange;
mod headers;
mod publisher;
mod queues;
mod refusal;

use std::time::Duration;

use anyhow::{Context, Result};
use domain::origin::Headers;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use runtime::config::BrokerConfig;

use self::address::Address;
pub use self::consumer::Consumer;
use self::headers::persistent;
pub use self::publisher::Publisher;
pub use self::queues::Limits;
use self::queues::Queues;
use super::{Depth, Refused};

/// Longest wait for a broker's connection and declarations. On a busy machine they take a second.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the brokers are and what their queue is called.
#[derive(Debug, Clone)]
pub struct Amqp {
    addresses: Vec<Address>,
    queues: Queues,
    name: String,
}

impl Amqp {
    /// Reads the settings; `role` names the connections in the broker's own pages. Connects nowhere.
    pub fn new(config: &BrokerConfig, role: &str) -> Result<Self> {
        Ok(Self {
            addresses: address::addresses(&config.amqp_url)?,
            queues: Queues::named(&config.amqp_queue),
            name: format!("comanda-{role}"),
        })
    }

    /// The same with other bounds. Only for queues that are not there yet.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { queues: Queues { limits, ..self.queues }, ..self }
    }

    /// Connects to the first broker that will have us.
    async fn connect(&self) -> Result<(Connection, Channel)> {
        let mut failures = Vec::new();
        for address in &self.addresses {
            match self.connect_to(address).await {
                Ok(open) => return Ok(open),
                Err(error) => failures.push((address, error)),
            }
        }
        let is_refused = failures.iter().any(|(_, error)| error.is::<Refused>());
        let said: Vec<String> =
            failures.iter().map(|(address, error)| format!("{address}: {error:#}")).collect();
        let said = said.join("; ");
        let error = if is_refused { Refused(said).into() } else { anyhow::anyhow!(said) };
        Err(error.context("cannot use RabbitMQ"))
    }

    async fn connect_to(&self, address: &Address) -> Result<(Connection, Channel)> {
        let name = LongString::from(self.name.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name);
        let connect = async {
            let refused = |error| refusal::of_connection(error, address);
            let connection = address.open(properties).await.map_err(refused)?;
            let channel = connection.create_channel().await.map_err(refused)?;
            self.queues.declare(&channel, address).await?;
            Ok((connection, channel))
        };
        tokio::time::timeout(OPEN_TIMEOUT, connect).await.context("no answer")?
    }

    pub(super) async fn publisher(&self) -> Result<Publisher> {
        let (connection, channel) = self.connect().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { channel, connection, queue: self.queues.live.clone() })
    }

    pub(super) async fn consumer(&self, prefetch: u16) -> Result<Consumer> {
        let (connection, channel) = self.connect().await?;
        // First of all: the client's own buffer has no bound.
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let stream = channel
            .basic_consume(
                self.queues.live.clone(),
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
        let waiting = channel.queue_declare(self.queues.live.clone(), passive, FieldTable::default()).await?;
        let dead = channel.queue_declare(self.queues.dead.clone(), passive, FieldTable::default()).await?;
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
                self.queues.live.clone(),
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
        channel.queue_delete(self.queues.live.clone(), lapin::options::QueueDeleteOptions::default()).await?;
        channel.queue_delete(self.queues.dead.clone(), lapin::options::QueueDeleteOptions::default()).await?;
        close(&connection).await;
        Ok(())
    }
}

async fn close(connection: &Connection) {
    // Best effort: a connection that does not answer is dropped, which closes its socket.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
}
