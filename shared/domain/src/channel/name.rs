//! Channels: delivery platforms and aggregators, and what they call their orders. No I/O.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::content::content_hash;
use crate::limits::MAX_ID_CHARS;
use crate::problems::{id_problem, too_long};

/// Longest name of a channel. With the account behind it, it names a customer, whose name has 200 characters.
pub const MAX_CHANNEL_CHARS: usize = 50;

/// A channel's name in its normal form: in small letters, and each letter written in one way. However it is written, it is the
/// same channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ChannelName(String);

impl ChannelName {
    /// Reads a name in any case; what is wrong with it, as (code, detail).
    pub fn parse(text: &str) -> Result<Self, (&'static str, String)> {
        if let Some(long) = too_long(text, MAX_CHANNEL_CHARS) {
            return Err(long);
        }
        // Small letters may have to be composed again.
        let small: String = text.nfkc().collect::<String>().to_lowercase();
        let name: String = small.trim().nfkc().collect();
        id_problem(&name, MAX_CHANNEL_CHARS).map_or(Ok(Self(name)), Err)
    }

    /// As it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Within which a number of its orders is given once: the channel at a location; `None`: at the first.
    pub fn scope(&self, location: Option<&str>) -> String {
        // No name has a control character.
        location.map_or_else(|| self.0.clone(), |location| format!("{}\u{1f}{location}", self.0))
    }
}

/// Who ordered, where a channel knows: the channel's own name for the diner. Where it does not, nobody: a name that no other
/// order has, so that nobody can ask for the orders of all its strangers.
pub(crate) fn customer_of(channel: &ChannelName, diner: Option<&str>) -> String {
    // Colons part the name, so those within are written otherwise.
    let plain = |text: &str| text.replace('%', "%25").replace(':', "%3A");
    let channel = plain(channel.as_str());
    let Some(diner) = diner else { return format!("{channel}:nobody:{}", Uuid::now_v7().simple()) };
    let named = format!("{channel}:diner:{}", plain(diner));
    if named.chars().count() <= MAX_ID_CHARS {
        return named;
    }
    let hash = Sha256::digest(diner);
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{channel}:hash:{hash}")
}

/// A channel's name for an order, and what was ordered under it: the same twice is one order.
#[derive(Clone)]
pub struct ChannelKey {
    /// Which channel.
    pub channel: ChannelName,
    /// Where the order is to be made: each location has numbers of its own. `None`: at the first.
    pub location: Option<String>,
    /// What it calls the order.
    pub order_id: String,
    /// SHA-256 of what was ordered, however the request was written.
    pub content: [u8; 32],
    /// For how long no other order of the channel is called so; `None`: for good.
    pub keep: Option<Duration>,
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
        Self { channel, location: None, order_id, content: content_hash(&content), keep: None }
    }

    /// Within which no other order is called so.
    pub fn scope(&self) -> String {
        self.channel.scope(self.location.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_one_name_however_it_is_written() {
        for (one, other) in [
            ("café", "cafe\u{301}"),
            ("Café ", "CAFÉ"),
            ("ﬁsh", "FISH"),
            ("ＵＢＥＲ", "uber"),
            ("İstanbul", "i̇stanbul"),
        ] {
            assert_eq!(ChannelName::parse(one), ChannelName::parse(other), "{one}");
            let name = ChannelName::parse(one).unwrap();
            assert_eq!(ChannelName::parse(name.as_str()).unwrap(), name, "its normal form is its own");
        }
        for unseen in ["u\u{200b}ber", "uber\u{feff}", "\u{202e}rebu", "a\u{ad}b", "ub\u{2028}er", "\u{3164}"]
        {
            assert!(ChannelName::parse(unseen).is_err(), "{unseen:?}");
        }
    }

    #[test]
    fn no_two_diners_are_one_customer_however_they_and_their_channels_are_called() {
        let channels = ["a", "a:diner", "a%3Adiner", "a:hash"].map(|name| ChannelName::parse(name).unwrap());
        let long = "x".repeat(MAX_ID_CHARS);
        let diners = ["b", "diner:b", "diner%3Ab", "%", "%25", ":", long.as_str(), &long[1..]];
        let names = channels.iter().flat_map(|channel| diners.map(|diner| customer_of(channel, Some(diner))));
        let mut names: Vec<String> = names.collect();
        assert!(names.iter().all(|name| name.chars().count() <= MAX_ID_CHARS), "{names:?}");
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
        let [a, ..] = &channels;
        assert_eq!(customer_of(a, Some(&long)), customer_of(a, Some(&long)), "the same diner is the same");
    }
}
