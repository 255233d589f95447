//! What the gateway's answers come to, whichever gateway it is.

use std::time::Duration;

/// What an answer, or its absence, means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The money moved, now or earlier under the same key.
    Done {
        /// The gateway's id.
        gateway_id: String,
    },
    /// The gateway said no.
    Declined(Reason),
    /// The key is void: it took nothing and never will.
    Voided,
    /// The gateway has the request, and is still at it.
    Pending {
        /// In its words.
        reason: Reason,
        /// When to come again, where the gateway said so.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether the money moved.
    InDoubt(Reason),
    /// The gateway finds this request wrong, and did nothing about it. Whether it would find others wrong, nobody knows.
    Refused(Reason),
    /// The request was not looked at.
    Unavailable {
        /// Why.
        reason: Reason,
        /// When to come again, where the gateway said so.
        retry_after: Option<Duration>,
    },
    /// Nor was it, because too many came.
    TooMany {
        /// In the gateway's words.
        reason: Reason,
        /// When to come again, where the gateway said so.
        retry_after: Option<Duration>,
    },
    /// Nor was it, because we are set up wrongly: no request like it will be, before somebody has mended that.
    Misconfigured {
        /// In the gateway's words.
        reason: Reason,
        /// A charge was refused so: then no other is worth trying.
        stops_charges: bool,
    },
}

/// A machine code and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Such as `timeout` or the gateway's own `card_declined`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Reason {
    pub(super) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: clean(code.into(), MAX_CODE), message: clean(message.into(), MAX_MESSAGE) }
    }
}

/// `Ok`: the gateway works, whatever it said. `Err`: an outage, which the breaker counts.
pub type Asked = std::result::Result<Answer, Answer>;

/// Longest code or id that is kept of what a gateway says; real ones have 30 characters.
pub(super) const MAX_CODE: usize = 200;
/// Longest message that is kept.
const MAX_MESSAGE: usize = 1_000;

/// What a third party says, fit to be stored: PostgreSQL takes no NUL, and no row should grow because a gateway talks.
pub(super) fn clean(text: String, max_chars: usize) -> String {
    if text.len() <= max_chars && !text.contains(char::is_control) {
        return text;
    }
    text.chars().filter(|c| !c.is_control()).take(max_chars).collect()
}
