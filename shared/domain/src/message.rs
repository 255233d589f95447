//! What the broker carries: names of payments, and nothing that could be forged into money. A message is a hint;
//! the worker reads amounts and keys from the database. Beside it, in its headers, goes where the payments came from.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::origin::{Headers, Origins};

/// The shape that is written. A reader takes this one and older ones.
pub const VERSION: u16 = 1;
/// Most payments in one message. What one group commit made durable shares a message, which spreads the broker's
/// cost per message (the dearest part of an order on a small machine); the bound keeps the work that one lost
/// acknowledgement repeats small.
pub const MAX_PAYMENTS: usize = 256;

/// A batch of payments that may be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentsDue {
    v: u16,
    /// The payments' ids, 1 to [`MAX_PAYMENTS`].
    pub payments: Vec<Uuid>,
    /// Where each came from; empty where nobody knows.
    #[serde(skip)]
    pub origins: Origins,
}

/// Why bytes from the broker are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON of this shape.
    #[error("no message of ours: {0}")]
    Unreadable(String),
    /// Written by something newer than this program.
    #[error("message version {0} is newer than this program")]
    Version(u16),
    /// None, or more than a message may name.
    #[error("names {0} payments; 1 to 256 are allowed")]
    Count(usize),
}

impl PaymentsDue {
    /// A message that names `payments`, [`MAX_PAYMENTS`] at most.
    pub fn new(payments: Vec<Uuid>) -> Self {
        debug_assert!((1..=MAX_PAYMENTS).contains(&payments.len()));
        Self { v: VERSION, payments, origins: Origins::new() }
    }

    /// The same, knowing where each came from.
    #[must_use]
    pub fn from_origins(self, origins: Origins) -> Self {
        debug_assert!(origins.is_empty() || origins.len() == self.payments.len());
        Self { origins, ..self }
    }

    /// All that `messages` name in as few messages as can be.
    pub fn gathered(messages: Vec<Self>) -> Vec<Self> {
        if messages.len() == 1 {
            return messages;
        }
        let known = messages.iter().any(|message| !message.origins.is_empty());
        let (mut payments, mut origins) = (Vec::new(), Origins::new());
        for message in messages {
            payments.extend(message.payments);
            if known {
                origins.extend(message.origins);
                origins.resize(payments.len(), None);
            }
        }
        let mut origins = origins.into_iter();
        payments
            .chunks(MAX_PAYMENTS)
            .map(|chunk| Self::new(chunk.to_vec()).from_origins(origins.by_ref().take(chunk.len()).collect()))
            .collect()
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("ids are JSON")
    }

    /// What travels beside it.
    pub fn headers(&self) -> Headers {
        Headers::of(&self.origins)
    }

    /// Reads what came. Wrong headers are no fault of the message's.
    pub fn read(bytes: &[u8], headers: &Headers) -> Result<Self, Malformed> {
        let mut message = Self::from_bytes(bytes)?;
        message.origins = headers.origins(message.payments.len());
        Ok(message)
    }

    /// Reads what came without headers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let message: Self =
            serde_json::from_slice(bytes).map_err(|error| Malformed::Unreadable(error.to_string()))?;
        match message {
            Self { v, .. } if v > VERSION => Err(Malformed::Version(v)),
            Self { payments, .. } if !(1..=MAX_PAYMENTS).contains(&payments.len()) => {
                Err(Malformed::Count(payments.len()))
            }
            message => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Origin, RequestId};

    #[test]
    fn gathered_messages_keep_every_payment_with_its_origin() {
        let ids = |count| std::iter::repeat_with(Uuid::now_v7).take(count).collect::<Vec<_>>();
        let plain = [ids(MAX_PAYMENTS - 4), ids(10)];
        let messages = PaymentsDue::gathered(plain.iter().cloned().map(PaymentsDue::new).collect());
        assert_eq!(
            messages.iter().map(|message| message.payments.len()).collect::<Vec<_>>(),
            [MAX_PAYMENTS, 6]
        );
        assert!(messages.iter().all(|message| message.origins.is_empty()));
        assert_eq!(
            messages.into_iter().flat_map(|message| message.payments).collect::<Vec<_>>(),
            plain.concat()
        );

        let known = |id: &Uuid| Origin::new(None, RequestId::parse(&id.to_string()));
        let [first, second] = plain.clone();
        let origins = second.iter().map(known).collect();
        let messages = vec![PaymentsDue::new(first), PaymentsDue::new(second.clone()).from_origins(origins)];
        for message in PaymentsDue::gathered(messages) {
            for (id, origin) in message.payments.iter().zip(&message.origins) {
                assert_eq!(*origin, second.contains(id).then(|| known(id)).flatten());
            }
            assert_eq!(message.payments.len(), message.origins.len());
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_sent_and_nothing_else_is_one() {
        let message = PaymentsDue::new(vec![Uuid::now_v7(), Uuid::now_v7()]);
        let [one, other] = message.payments[..] else { unreachable!("two") };
        let text = format!(r#"{{"v":1,"payments":["{one}","{other}"]}}"#);
        assert_eq!(String::from_utf8(message.to_bytes()), Ok(text), "names, and no amount");
        assert_eq!(message.headers(), Headers::default(), "as it was before there were any");
        assert_eq!(PaymentsDue::from_bytes(&message.to_bytes()), Ok(message));
        let of = |text: &str| PaymentsDue::from_bytes(text.as_bytes()).unwrap_err();
        assert!(matches!(of("garbage"), Malformed::Unreadable(_)));
        assert_eq!(of(r#"{"v":2,"payments":[]}"#), Malformed::Version(2));
        assert_eq!(of(r#"{"v":1,"payments":[]}"#), Malformed::Count(0));
    }
}
