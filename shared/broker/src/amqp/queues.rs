//! The two queues: the one that carries the payments' names, and the one for its dead letters.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::address::Address;
use super::headers::text;
use super::refusal;

/// What the queues hold at most. RabbitMQ refuses to declare a queue again with other bounds than it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages that wait, before the queue refuses.
    pub waiting: u32,
    /// Returns of one message, before it is laid aside as poison.
    pub returns: u32,
    /// Messages that lie aside. Of more, the oldest go.
    pub dead: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // At 256 payments a message this is a backlog of 256 million; at one a message, a million, about 300 MB of disk.
            waiting: 1_000_000,
            // Workers die in masses during a bad deploy, not fifty times over one message; what is laid aside is still
            // swept.
            returns: 50,
            // Enough to see what is wrong. All that a message named is swept; kept for ever, they would fill the disk.
            dead: 10_000,
        }
    }
}

/// What the queues are called, and their bounds.
#[derive(Debug, Clone)]
pub(super) struct Queues {
    pub(super) live: ShortString,
    pub(super) dead: ShortString,
    pub(super) limits: Limits,
}

impl Queues {
    pub(super) fn named(live: &str) -> Self {
        Self { live: live.into(), dead: format!("{live}.dead").into(), limits: Limits::default() }
    }

    /// Declares both, so that nothing is ever unroutable. The same arguments every time: others are refused.
    pub(super) async fn declare(&self, channel: &Channel, address: &Address) -> Result<()> {
        let mut dead = FieldTable::default();
        dead.insert("x-queue-type".into(), text("quorum"));
        dead.insert("x-max-length".into(), number(self.limits.dead));
        // Refusing would keep the dead letters that come in the live queue, and that full.
        dead.insert("x-overflow".into(), text("drop-head"));
        let mut live = FieldTable::default();
        // Quorum even on one node: classic queues confirm before their disk has the message.
        live.insert("x-queue-type".into(), text("quorum"));
        // Refuse when full. The default drops the oldest and confirms it; and only with this is dead-lettering
        // at least once.
        live.insert("x-overflow".into(), text("reject-publish"));
        live.insert("x-max-length".into(), number(self.limits.waiting));
        live.insert("x-delivery-limit".into(), number(self.limits.returns));
        live.insert("x-dead-letter-exchange".into(), text(""));
        live.insert("x-dead-letter-routing-key".into(), text(self.dead.as_str()));
        live.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        for (queue, arguments) in [(&self.dead, dead), (&self.live, live)] {
            let declared = channel.queue_declare(queue.clone(), durable, arguments).await;
            declared.map_err(|error| refusal::of_queue(error, queue.as_str(), address))?;
        }
        Ok(())
    }
}

fn number(value: u32) -> AMQPValue {
    AMQPValue::LongLongInt(value.into())
}
