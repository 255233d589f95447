//! The draw: what the switches and the dice make of one request. Pure, see [`dice`].

use std::time::Duration;

use crate::dice;
use crate::faults::Faults;
use crate::name::Name;
use crate::verdict::{DeclineCode, Verdict};

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
    TooMany,
    ErrorBefore,
    TimeoutBefore,
    ErrorAfter,
    TimeoutAfter,
    Malformed,
    Late,
}

impl Fate {
    /// In the order of their declaration.
    pub(crate) const ALL: [Self; 8] = [
        Self::Plain,
        Self::TooMany,
        Self::ErrorBefore,
        Self::TimeoutBefore,
        Self::ErrorAfter,
        Self::TimeoutAfter,
        Self::Malformed,
        Self::Late,
    ];

    /// As the metrics call it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::TooMany => "too_many",
            Self::ErrorBefore => "error",
            Self::TimeoutBefore => "timeout_before",
            Self::ErrorAfter => "error_after",
            Self::TimeoutAfter => "timeout_after",
            Self::Malformed => "malformed",
            Self::Late => "late",
        }
    }
}

impl Faults {
    /// What becomes of try number `try_number` of a charge or refund under `key`.
    pub(crate) fn fate(&self, endpoint: Endpoint, key: &Name, try_number: u32) -> Fate {
        let order = [
            (Fate::TooMany, self.too_many_rate),
            (Fate::ErrorBefore, self.error_rate),
            (Fate::TimeoutBefore, self.timeout_before_rate),
            (Fate::ErrorAfter, self.error_after_rate),
            (Fate::TimeoutAfter, self.timeout_after_rate),
            (Fate::Malformed, self.malformed_rate),
            (Fate::Late, self.late_rate),
        ];
        let strikes = |fate: Fate, rate: f64| {
            rate > 0.0 && dice::within(self.roll(endpoint, fate.label(), key, try_number), rate)
        };
        order.into_iter().find(|(fate, rate)| strikes(*fate, *rate)).map_or(Fate::Plain, |(fate, _)| fate)
    }

    /// How long this try takes.
    pub(crate) fn latency(&self, endpoint: Endpoint, key: &Name, try_number: u32) -> Duration {
        if self.latency_max_ms == 0 {
            return Duration::ZERO;
        }
        let roll = self.roll(endpoint, "latency", key, try_number);
        Duration::from_millis(dice::between(roll, self.latency_min_ms, self.latency_max_ms))
    }

    /// Whether a void or look-up fails.
    pub(crate) fn control_fails(&self, key: &Name, try_number: u32) -> bool {
        dice::within(self.roll(Endpoint::Control, "error", key, try_number), self.control_error_rate)
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

    /// How long a request without an answer is held.
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
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
            too_many_rate: 0.2,
            error_rate: 0.2,
            timeout_before_rate: 0.2,
            error_after_rate: 0.2,
            timeout_after_rate: 0.2,
            malformed_rate: 0.2,
            late_rate: 0.2,
            ..CALM
        };
        let drawn = fates(&all);
        for fate in Fate::ALL {
            // Rarest is the last in the order: 0.8^6 x 0.2 = 5 % of 2,000.
            assert!(drawn.iter().filter(|one| **one == fate).count() > 50, "{fate:?}");
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
