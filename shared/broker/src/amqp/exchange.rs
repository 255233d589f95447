//! A topic exchange for whoever wants to hear of what happens: one connection with one channel in confirm mode, apart from that
//! of the payments, so that neither holds up the other.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};

use super::address::{self, Address};
use super::{OPEN_TIMEOUT, refusal};

/// Longest wait for the confirms of a page.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Where the brokers are, and what the exchange is called.
#[derive(Debug, Clone)]
pub struct Exchange {
    addresses: Vec<Address>,
    name: String,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its `message_id`: the same, should it come twice.
    pub id: String,
    /// Its routing key.
    pub key: String,
    /// Its type.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// Tells. Dropped at its first error: another one is opened.
#[derive(Debug)]
pub struct Teller {
    channel: Channel,
    /// Closed when it is dropped.
    _connection: Connection,
    exchange: String,
}

impl Exchange {
    /// Reads the URL; connects nowhere.
    pub fn new(amqp_url: &str, name: &str) -> Result<Self> {
        Ok(Self { addresses: address::addresses(amqp_url)?, name: name.to_owned() })
    }

    /// Connects to the first broker that will have us, and declares the exchange.
    pub async fn open(&self) -> Result<Teller> {
        let mut last = None;
        for address in &self.addresses {
            match tokio::time::timeout(OPEN_TIMEOUT, self.open_at(address)).await {
                Ok(Ok(teller)) => return Ok(teller),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(anyhow::anyhow!("{address}: no answer")),
            }
        }
        Err(last.context("no broker is named")?.context("cannot use RabbitMQ"))
    }

    async fn open_at(&self, address: &Address) -> Result<Teller> {
        let name = LongString::from("comanda-follower");
        let properties = ConnectionProperties::default().with_connection_name(name);
        let refused = |error| refusal::of_connection(error, address);
        let connection = address.open(properties).await.map_err(refused)?;
        let channel = connection.create_channel().await.map_err(refused)?;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(
            self.name.as_str().into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        );
        declared.await.with_context(|| format!("cannot declare the exchange {}", self.name))?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Teller { channel, _connection: connection, exchange: self.name.clone() })
    }
}

impl Teller {
    /// Tells all of these, in their order, and returns when the broker has them. After an error it may have some.
    pub async fn tell(&mut self, messages: &[Message]) -> Result<()> {
        let tell = async {
            let mut confirms = Vec::with_capacity(messages.len());
            for message in messages {
                let properties = BasicProperties::default()
                    .with_message_id(message.id.as_str().into())
                    .with_type(message.kind.into())
                    .with_content_type("application/cloudevents+json".into())
                    .with_delivery_mode(PERSISTENT);
                let sent = self.channel.basic_publish(
                    self.exchange.as_str().into(),
                    message.key.as_str().into(),
                    BasicPublishOptions::default(),
                    &message.body,
                    properties,
                );
                confirms.push(sent.await?);
            }
            join_all(confirms).await.into_iter().collect::<lapin::Result<Vec<_>>>()
        };
        let confirmations = tokio::time::timeout(CONFIRM_TIMEOUT, tell)
            .await
            .context("RabbitMQ did not confirm (an alarm blocks publishers without an error)")?
            .context("RabbitMQ hung up while publishing")?;
        for confirmation in confirmations {
            match confirmation {
                Confirmation::Ack(_) => {}
                Confirmation::Nack(_) => bail!("RabbitMQ refused an event"),
                // Looks like success and says nothing.
                Confirmation::NotRequested => bail!("the channel does not confirm"),
            }
        }
        ensure!(self.channel.status().connected(), "RabbitMQ closed the channel");
        Ok(())
    }
}
