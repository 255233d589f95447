//! The broker: a hint that a payment may be claimed travels through it, nothing more. Two variants, one
//! conformance suite (`tests/all/conformance.rs`): RabbitMQ between processes, a bounded channel inside `standalone`.
//!
//! Promises of both: what was confirmed is delivered at least once; what was delivered and not acknowledged is
//! delivered again once its consumer is gone; a full queue refuses instead of dropping; poison goes aside.

pub mod amqp;
pub mod in_process;
mod outage;

use anyhow::Result;

use domain::message::{Malformed, PaymentsDue};
pub use outage::{Outage, Refused};

/// Where messages go and come from; opens nothing by itself.
#[derive(Debug, Clone)]
pub enum Broker {
    /// RabbitMQ.
    Amqp(amqp::Amqp),
    /// A channel inside this process.
    InProcess(in_process::InProcess),
}

/// What the broker said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// It has the message, on disk where it has one.
    Taken,
    /// It refused: the queue is full, or there is none. The sweep will find the payments.
    Refused,
}

/// An open way to send. Used by one task alone: confirms are mis-attributed when tasks share a channel.
#[derive(Debug)]
pub enum Publisher {
    /// To RabbitMQ.
    Amqp(Box<amqp::Publisher>),
    /// To the channel.
    InProcess(in_process::InProcess),
}

/// An open way to receive.
#[derive(Debug)]
pub enum Consumer {
    /// From RabbitMQ.
    Amqp(Box<amqp::Consumer>),
    /// From the channel.
    InProcess(in_process::InProcess),
}

/// A message that came, to be acknowledged. Dropped without, it comes again after its consumer is gone.
#[derive(Debug)]
pub struct Delivery {
    /// What it says, or why it says nothing.
    pub message: Result<PaymentsDue, Malformed>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    ticket: Ticket,
}

#[derive(Debug)]
enum Ticket {
    Amqp(Box<lapin::message::Delivery>),
    InProcess(in_process::Ticket),
}

impl Broker {
    /// Opens a way to send: connects, declares, asks for confirms.
    pub async fn publisher(&self) -> Result<Publisher> {
        match self {
            Self::Amqp(amqp) => Ok(Publisher::Amqp(Box::new(amqp.publisher().await?))),
            Self::InProcess(channel) => Ok(Publisher::InProcess(channel.clone())),
        }
    }

    /// Opens a way to receive, with up to `prefetch` messages unacknowledged at once.
    pub async fn consumer(&self, prefetch: u16) -> Result<Consumer> {
        match self {
            Self::Amqp(amqp) => Ok(Consumer::Amqp(Box::new(amqp.consumer(prefetch).await?))),
            Self::InProcess(channel) => Ok(Consumer::InProcess(channel.clone())),
        }
    }

    /// How many messages wait, and how many poisoned ones lie aside.
    pub async fn depth(&self) -> Result<Depth> {
        match self {
            Self::Amqp(amqp) => amqp.depth().await,
            Self::InProcess(channel) => Ok(channel.depth()),
        }
    }
}

/// What lies in the broker, delivered and unacknowledged messages aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// To be delivered.
    pub waiting: u64,
    /// Poisoned.
    pub dead: u64,
}

impl Publisher {
    /// Sends all of `messages` and then awaits what the broker says to each, in their order. An error means that
    /// nothing is known of any; the publisher is then to be dropped and opened anew.
    pub async fn publish(&mut self, messages: &[PaymentsDue]) -> Result<Vec<Confirm>> {
        match self {
            Self::Amqp(publisher) => publisher.publish(messages).await,
            Self::InProcess(channel) => Ok(messages.iter().map(|message| channel.publish(message)).collect()),
        }
    }

    /// Returns when the connection is found dead. Cancel-safe.
    pub async fn closed(&mut self) {
        match self {
            Self::Amqp(publisher) => publisher.closed().await,
            Self::InProcess(_) => std::future::pending().await,
        }
    }
}

impl Consumer {
    /// The next message. An error means that the consumer is dead and to be opened anew. Cancel-safe.
    pub async fn next(&mut self) -> Result<Delivery> {
        match self {
            Self::Amqp(consumer) => consumer.next().await,
            Self::InProcess(channel) => Ok(channel.next().await),
        }
    }

    /// Stops delivery, gives back what was not acknowledged, and closes the connection.
    pub async fn close(self) {
        match self {
            Self::Amqp(consumer) => consumer.close().await,
            Self::InProcess(_) => {}
        }
    }
}

impl Delivery {
    /// The message is dealt with: all its payments are settled, or handed to their `due_at`. An error says that the
    /// connection is gone; the message will come again and be found dealt with.
    pub async fn ack(self) -> Result<()> {
        match self.ticket {
            Ticket::Amqp(delivery) => {
                delivery.ack(lapin::options::BasicAckOptions::default()).await?;
            }
            Ticket::InProcess(ticket) => ticket.ack(),
        }
        Ok(())
    }

    /// The message is poison: it goes aside, to be looked at by a person.
    pub async fn bury(self) -> Result<()> {
        match self.ticket {
            Ticket::Amqp(delivery) => {
                delivery.reject(lapin::options::BasicRejectOptions { requeue: false }).await?;
            }
            Ticket::InProcess(ticket) => ticket.bury(),
        }
        Ok(())
    }
}
