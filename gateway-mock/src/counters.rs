//! What is counted for `/metrics`. Handles are made once: a look-up by name costs more than the charge itself.

use metrics::{Counter, counter};

use crate::fate::Fate;
use crate::ledger::Answer;

/// How a request ended, as the metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Money moved, or a key was voided.
    Done,
    /// An earlier request's answer was given again.
    Replayed,
    /// The bank said no.
    Declined,
    /// An earlier request was still being worked on.
    InProgress,
    /// Asked of a voided key.
    Voided,
    /// Refused: malformed, key reused, unknown charge, more than was charged.
    Refused,
    /// A void that came too late.
    AlreadyCharged,
    /// A fault: nothing was done.
    Fault,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::Replayed,
        Self::Declined,
        Self::InProgress,
        Self::Voided,
        Self::Refused,
        Self::AlreadyCharged,
        Self::Fault,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Replayed => "replayed",
            Self::Declined => "declined",
            Self::InProgress => "in_progress",
            Self::Voided => "voided",
            Self::Refused => "refused",
            Self::AlreadyCharged => "already_charged",
            Self::Fault => "fault",
        }
    }

    /// Of a charge or a refund.
    pub(crate) const fn of<R>(answer: &Answer<R>) -> Self {
        match answer {
            Answer::Done { replayed: true, .. } | Answer::Declined { replayed: true, .. } => Self::Replayed,
            Answer::Done { .. } => Self::Done,
            Answer::Declined { .. } => Self::Declined,
            Answer::InProgress => Self::InProgress,
            Answer::Voided => Self::Voided,
            Answer::KeyReused | Answer::NotFound | Answer::ExceedsCharge { .. } | Answer::OtherCurrency => {
                Self::Refused
            }
        }
    }
}

/// All handles.
pub(crate) struct Counters {
    charges: [Counter; Outcome::ALL.len()],
    voids: [Counter; Outcome::ALL.len()],
    refunds: [Counter; Outcome::ALL.len()],
    faults: [Counter; Fate::ALL.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        let by_outcome =
            |name: &'static str| Outcome::ALL.map(|outcome| counter!(name, "outcome" => outcome.label()));
        Self {
            charges: by_outcome("gateway_charges_total"),
            voids: by_outcome("gateway_voids_total"),
            refunds: by_outcome("gateway_refunds_total"),
            faults: Fate::ALL.map(|fate| counter!("gateway_faults_total", "fault" => fate.label())),
        }
    }

    pub(crate) fn charge(&self, outcome: Outcome) {
        self.charges[outcome as usize].increment(1);
    }

    pub(crate) fn void(&self, outcome: Outcome) {
        self.voids[outcome as usize].increment(1);
    }

    pub(crate) fn refund(&self, outcome: Outcome) {
        self.refunds[outcome as usize].increment(1);
    }

    pub(crate) fn fault(&self, fate: Fate) {
        self.faults[fate as usize].increment(1);
    }
}
