//! What a bank says to a charge. Draw, ledger, books, keys and journal all speak of it, so it knows none of them.

use serde::{Deserialize, Serialize};

/// What the bank says to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approved,
    Declined(DeclineCode),
}

/// Why a bank says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeclineCode {
    CardDeclined,
    InsufficientFunds,
    ExpiredCard,
    SuspectedFraud,
}

impl DeclineCode {
    pub(crate) const ALL: [Self; 4] =
        [Self::CardDeclined, Self::InsufficientFunds, Self::ExpiredCard, Self::SuspectedFraud];

    /// Machine code and a sentence for people.
    pub(crate) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::CardDeclined => ("card_declined", "The bank declined the card."),
            Self::InsufficientFunds => ("insufficient_funds", "The card has not enough funds."),
            Self::ExpiredCard => ("expired_card", "The card has expired."),
            Self::SuspectedFraud => ("suspected_fraud", "The bank suspects fraud."),
        }
    }
}
