//! Sends in confirm mode, and sees what became of each message.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::message::PaymentsDue;
use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection};
use runtime::chaos::{crash_point, sabotaged};
use uuid::Uuid;

use super::headers::persistent;
use crate::Confirm;

/// Longest wait for the confirms of one batch. An alarm at the broker blocks the connection without an error;
/// after this the connection is dropped, and the messages may still arrive: they are only hints.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle publisher looks whether its connection still lives.
const WATCH: Duration = Duration::from_millis(500);

/// One connection with one channel in confirm mode. Never shared between tasks.
#[derive(Debug)]
pub struct Publisher {
    pub(super) channel: Channel,
    pub(super) connection: Connection,
    pub(super) queue: ShortString,
}

impl Publisher {
    pub(crate) async fn publish(&mut self, messages: &[PaymentsDue]) -> Result<Vec<Confirm>> {
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

    pub(crate) async fn closed(&mut self) {
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
