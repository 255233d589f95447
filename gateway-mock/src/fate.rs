//! The draw: what the switches and the dice make of one request. Pure, see [`dice`].

use std::time::Duration;

use axum::http::StatusCode;

use crate::dice;
use crate::faults::Faults;
use crate::name::Name;
use crate::verdict::{DeclineCode, Verdict};

/// Times of one request, and how it is turned away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long the gateway takes for it.
    pub(crate) latency: Duration,
    /// How long it is held if it gets no answer.
    pub(crate) hold: Duration,
    /// What a 429 says in Retry-After.
    pub(crate) retry_after_seconds: u32,
    /// What a merchant is answered who is set up wrongly.
    pub(crate) misconfigured: StatusCode,
}

/// Which dice are thrown: a charge and a refund under one key have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Charge,
    Refund,
    Control,
}

impl Endpoint {
    const fn label(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Control => "control",
        }
    }
}

/// What becomes of one request that wants to move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Plain,
    Misconfigured,
    TooMany,
    ErrorBefore,
    TimeoutBefore,
    ErrorAfter,
    TimeoutAfter,
    Malformed,
    ForeignReceipt,
    Huge,
    Pending,
    Late,
}

impl Fate {
    /// In the order of their declaration.
    pub(crate) const ALL: [Self; 12] = [
        Self::Plain,
        Self::Misconfigured,
        Self::TooMany,
        Self::ErrorBefore,
        Self::TimeoutBefore,
        Self::ErrorAfter,
        Self::TimeoutAfter,
        Self::Malformed,
        Self::ForeignReceipt,
        Self::Huge,
        Self::Pending,
        Self::Late,
    ];

    /// As the metrics call it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Misconfigured => "misconfigured",
            Self::TooMany => "too_many",
            Self::ErrorBefore => "error",
            Self::TimeoutBefore => "timeout_before",
            Self::ErrorAfter => "error_after",
            Self::TimeoutAfter => "timeout_after",
            Self::Malformed => "malformed",
            Self::ForeignReceipt => "foreign_receipt",
            Self::Huge => "huge",
            Self::Pending => "pending",
            Self::Late => "late",
        }
    }
}

impl Faults {
    /// What becomes of try number `try_number` of a charge or refund under `key`.
    pub(crate) fn fate(&self, endpoint: Endpoint, key: &Name, try_number: u32) -> Fate {
        let order = [
            (Fate::Misconfigured, self.misconfigured_rate),
            (Fate::TooMany, self.too_many_rate),
            (Fate::ErrorBefore, self.error_rate),
            (Fate::TimeoutBefore, self.timeout_before_rate),
            (Fate::ErrorAfter, self.error_after_rate),
            (Fate::TimeoutAfter, self.timeout_after_rate),
            (Fate::Malformed, self.malformed_rate),
            (Fate::ForeignReceipt, self.foreign_receipt_rate),
            (Fate::Huge, self.huge_rate),
            (Fate::Pending, self.pending_rate),
            (Fate::Late, self.late_rate),
        ];
        self.first_of(&order, endpoint, key, try_number)
    }

    fn first_of(&self, order: &[(Fate, f64)], endpoint: Endpoint, key: &Name, try_number: u32) -> Fate {
        let strikes = |fate: Fate, rate: f64| {
            rate > 0.0 && dice::within(self.roll(endpoint, fate.label(), key, try_number), rate)
        };
        order.iter().find(|(fate, rate)| strikes(*fate, *rate)).map_or(Fate::Plain, |(fate, _)| *fate)
    }

    /// How long this try takes.
    pub(crate) fn latency(&self, endpoint: Endpoint, key: &Name, try_number: u32) -> Duration {
        if self.latency_max_ms == 0 {
            return Duration::ZERO;
        }
        let roll = self.roll(endpoint, "latency", key, try_number);
        Duration::from_millis(dice::between(roll, self.latency_min_ms, self.latency_max_ms))
    }

    /// What becomes of a void or look-up: none but these two.
    pub(crate) fn control_fate(&self, key: &Name, try_number: u32) -> Fate {
        let order =
            [(Fate::Misconfigured, self.misconfigured_rate), (Fate::ErrorBefore, self.control_error_rate)];
        self.first_of(&order, Endpoint::Control, key, try_number)
    }

    /// What the bank says to a charge: of the key alone, so that every try of it hears the same.
    pub(crate) fn verdict(&self, key: &Name) -> Verdict {
        if dice::within(self.roll(Endpoint::Charge, "success", key, 0), self.success_rate) {
            return Verdict::Approved;
        }
        let roll = self.roll(Endpoint::Charge, "decline", key, 0);
        let last = DeclineCode::ALL.len() as u64 - 1;
        Verdict::Declined(DeclineCode::ALL[dice::between(roll, 0, last) as usize])
    }

    /// What a request with this latency is played with.
    pub(crate) fn pace(&self, latency: Duration) -> Pace {
        Pace {
            latency,
            hold: Duration::from_millis(self.timeout_ms),
            retry_after_seconds: self.retry_after_seconds,
            misconfigured: StatusCode::from_u16(self.misconfigured_status)
                .unwrap_or(StatusCode::UNAUTHORIZED),
        }
    }

    fn roll(&self, endpoint: Endpoint, purpose: &str, key: &Name, try_number: u32) -> u64 {
        let seed = self.seed.unwrap_or_default();
        dice::roll(seed, (endpoint.label(), purpose), key.bytes(), try_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Faults = Faults { seed: Some(7), ..Faults::none() };

    fn fates(faults: &Faults) -> Vec<Fate> {
        (0..2_000)
            .map(|key| faults.fate(Endpoint::Charge, &Name::from(key.to_string().as_str()), 1))
            .collect()
    }

    #[test]
    fn without_faults_nothing_strikes_and_with_all_each_does() {
        assert!(fates(&CALM).iter().all(|fate| *fate == Fate::Plain));
        let all = Faults {
            misconfigured_rate: 0.2,
            too_many_rate: 0.2,
            error_rate: 0.2,
            timeout_before_rate: 0.2,
            error_after_rate: 0.2,
            timeout_after_rate: 0.2,
            malformed_rate: 0.2,
            foreign_receipt_rate: 0.2,
            huge_rate: 0.2,
            pending_rate: 0.2,
            late_rate: 0.2,
            ..CALM
        };
        let drawn = fates(&all);
        for fate in Fate::ALL {
            // Rarest is the last in the order: 0.8^10 x 0.2 = 2 % of 2,000.
            assert!(drawn.iter().filter(|one| **one == fate).count() > 20, "{fate:?}");
        }
    }

    #[test]
    fn raising_one_rate_leaves_what_the_others_strike() {
        let few = fates(&Faults { error_rate: 0.1, ..CALM });
        let more = fates(&Faults { error_rate: 0.1, malformed_rate: 0.5, ..CALM });
        for (few, more) in few.iter().zip(&more).filter(|(few, _)| **few == Fate::ErrorBefore) {
            assert_eq!(few, more);
        }
    }

    #[test]
    fn a_verdict_is_of_the_key_and_a_fate_of_the_try() {
        let faults = Faults { success_rate: 0.5, error_rate: 0.5, ..CALM };
        let key = Name::from("one key");
        let tries: Vec<Fate> = (1..=64).map(|number| faults.fate(Endpoint::Charge, &key, number)).collect();
        assert!(tries.contains(&Fate::Plain) && tries.contains(&Fate::ErrorBefore));
        let verdicts: Vec<Verdict> =
            (0..1_000).map(|key| faults.verdict(&Name::from(key.to_string().as_str()))).collect();
        for code in DeclineCode::ALL {
            assert!(verdicts.contains(&Verdict::Declined(code)), "{code:?}");
        }
        let approved = verdicts.iter().filter(|verdict| **verdict == Verdict::Approved).count();
        assert!((430..=570).contains(&approved), "{approved}");
    }
}
