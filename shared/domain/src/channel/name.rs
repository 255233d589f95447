//! Channels: delivery platforms and aggregators, and what they call their orders. No I/O.

use std::fmt;

use serde::Serialize;

use crate::content::content_hash;
use crate::problems::id_problem;

/// Longest name of a channel. With the account behind it, it names a customer, whose name has 200 characters.
pub const MAX_CHANNEL_CHARS: usize = 50;

/// A channel's name, in small letters: in whichever case it is written, it is the same channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ChannelName(String);

impl ChannelName {
    /// Reads a name in any case; what is wrong with it, as (code, detail).
    pub fn parse(text: &str) -> Result<Self, (&'static str, String)> {
        let small = text.trim().to_lowercase();
        id_problem(&small, MAX_CHANNEL_CHARS).map_or(Ok(Self(small)), Err)
    }

    /// As it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A channel's name for an order, and what was ordered under it: the same twice is one order.
#[derive(Clone)]
pub struct ChannelKey {
    /// Which channel.
    pub channel: ChannelName,
    /// What it calls the order.
    pub order_id: String,
    /// SHA-256 of what was ordered, however the request was written.
    pub content: [u8; 32],
}

/// Without the hash, from which a short telephone number could be guessed.
impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel.0, self.order_id)
    }
}

impl ChannelKey {
    pub(crate) fn new(channel: ChannelName, order_id: String, content: &impl Serialize) -> Self {
        let content = serde_json::to_vec(content).expect("strings, numbers and decimals are JSON");
        Self { channel, order_id, content: content_hash(&content) }
    }
}
