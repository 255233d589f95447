//! What a document is called, where the platform gives each a name that no other one ever has.

use std::time::Duration;

use domain::channel::document::Document;
use domain::channel::name::ChannelName;
use store::accept::IdempotencyKey;

use crate::identity::secrets::purpose_of;

/// The document's own name, which stands for its order where the channel's numbers come again: so a late repeat of an old document
/// stays the old order, though its number is another's by now.
pub(super) fn named(channel: &ChannelName, document: &Document, content: [u8; 32]) -> Option<IdempotencyKey> {
    // Nobody who asks is called so: they all have a kind before their name.
    let principal = purpose_of(channel.as_str());
    Some(IdempotencyKey { principal, key: document.name()?, request_hash: content, keep: REPEATED })
}

/// How long after its number was given away a document is still known.
const REPEATED: Duration = Duration::from_secs(400 * 86_400);
