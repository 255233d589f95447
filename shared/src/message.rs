//! What the broker carries: names of payments, and nothing that could be forged into money. A message is a hint;
//! the worker reads amounts and keys from the database.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The shape that is written. A reader takes this one and older ones.
pub const VERSION: u16 = 1;
/// Most payments in one message. What one group commit made durable shares a message, which spreads the broker's
/// cost per message (the dearest part of an order on a small machine); the bound keeps the work that one lost
/// acknowledgement repeats small.
pub const MAX_PAYMENTS: usize = 64;

/// A batch of payments that may be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentsDue {
    v: u16,
    /// The payments' ids, 1 to [`MAX_PAYMENTS`].
    pub payments: Vec<Uuid>,
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
    #[error("names {0} payments; 1 to 64 are allowed")]
    Count(usize),
}

impl PaymentsDue {
    /// A message that names `payments`, [`MAX_PAYMENTS`] at most.
    pub fn new(payments: Vec<Uuid>) -> Self {
        debug_assert!((1..=MAX_PAYMENTS).contains(&payments.len()));
        Self { v: VERSION, payments }
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("ids are JSON")
    }

    /// Reads what came.
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

    #[test]
    fn a_message_comes_back_as_it_was_sent_and_nothing_else_is_one() {
        let message = PaymentsDue::new(vec![Uuid::now_v7(), Uuid::now_v7()]);
        assert_eq!(PaymentsDue::from_bytes(&message.to_bytes()), Ok(message));
        let of = |text: &str| PaymentsDue::from_bytes(text.as_bytes()).unwrap_err();
        assert!(matches!(of("garbage"), Malformed::Unreadable(_)));
        assert_eq!(of(r#"{"v":2,"payments":[]}"#), Malformed::Version(2));
        assert_eq!(of(r#"{"v":1,"payments":[]}"#), Malformed::Count(0));
    }
}
