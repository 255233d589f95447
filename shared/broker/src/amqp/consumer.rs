//! Receives, each message to be acknowledged by itself.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::message::PaymentsDue;
use futures_util::StreamExt;
use lapin::{Channel, Connection};

use super::close;
use super::headers::headers;
use crate::{Delivery, Ticket};

/// One connection with one channel that receives.
#[derive(Debug)]
pub struct Consumer {
    pub(super) stream: lapin::Consumer,
    pub(super) channel: Channel,
    pub(super) connection: Connection,
}

impl Consumer {
    pub(crate) async fn next(&mut self) -> Result<Delivery> {
        let delivery =
            self.stream.next().await.context("RabbitMQ ended the delivery")?.context("RabbitMQ hung up")?;
        Ok(Delivery {
            message: PaymentsDue::read(&delivery.data, &headers(&delivery.properties)),
            redelivered: delivery.redelivered,
            ticket: Ticket::Amqp(Box::new(delivery)),
        })
    }

    pub(crate) async fn close(self) {
        // Closing the channel gives back all that was delivered and not acknowledged.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.channel.close(200, "done".into())).await;
        close(&self.connection).await;
    }
}
