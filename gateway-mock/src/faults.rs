//! What can be made to go wrong, and how often: the settings, from flags, the environment or `PUT /v1/faults`, as
//! one set of values that is always within its ranges.

use clap::Args;
use clap::builder::BoolishValueParser;
use runtime::config::share;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest latency or hold: ten minutes, more than any client waits.
const MAX_MILLIS: u64 = 600_000;
/// Between a nearby and a distant card network.
const LATENCY_MIN_MS: u64 = 50;
const LATENCY_MAX_MS: u64 = 200;
/// One card in twenty is declined: what shops commonly see.
const SUCCESS_RATE: f64 = 0.95;
/// How long a request without an answer is held: longer than sensible clients wait.
const TIMEOUT_MS: u64 = 30_000;
/// What a merchant whose key is no longer good is answered.
const MISCONFIGURED_STATUS: u16 = 401;
/// What a wrong key, a wrong address or a wrong version of a contract may be answered.
const MISCONFIGURED_STATUSES: [u16; 8] = [301, 302, 307, 308, 400, 401, 403, 404];
/// What a client that is turned away is told to wait, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The switches. Rates are shares of requests from 0 to 1; where several faults strike one request, the first in
/// the order below is played.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Shortest time that the gateway takes for a request, in milliseconds
    #[arg(
        id = "payment_mock_latency_min",
        long = "payment-mock-latency-min",
        env = "PAYMENT_MOCK_LATENCY_MIN"
    )]
    #[arg(value_name = "MS", default_value_t = LATENCY_MIN_MS)]
    pub latency_min_ms: u64,
    /// Longest time that the gateway takes for a request, in milliseconds
    #[arg(
        id = "payment_mock_latency_max",
        long = "payment-mock-latency-max",
        env = "PAYMENT_MOCK_LATENCY_MAX"
    )]
    #[arg(value_name = "MS", default_value_t = LATENCY_MAX_MS)]
    pub latency_max_ms: u64,
    /// Share of keys whose charge succeeds; the others are declined
    #[arg(
        id = "payment_mock_success_rate",
        long = "payment-mock-success-rate",
        env = "PAYMENT_MOCK_SUCCESS_RATE"
    )]
    #[arg(value_name = "SHARE", default_value_t = SUCCESS_RATE, value_parser = share)]
    pub success_rate: f64,
    /// Share of requests that are refused as if the merchant were set up wrongly, voids and look-ups, too; nothing is done
    #[arg(id = "payment_mock_misconfigured_rate", long = "payment-mock-misconfigured-rate")]
    #[arg(env = "PAYMENT_MOCK_MISCONFIGURED_RATE", value_name = "SHARE", default_value_t = 0.0)]
    #[arg(value_parser = share)]
    pub misconfigured_rate: f64,
    /// What these are answered: 301, 302, 307, 308, 400, 401, 403 or 404
    #[arg(id = "payment_mock_misconfigured_status", long = "payment-mock-misconfigured-status")]
    #[arg(env = "PAYMENT_MOCK_MISCONFIGURED_STATUS", value_name = "STATUS", default_value_t = MISCONFIGURED_STATUS)]
    pub misconfigured_status: u16,
    /// Charges and refunds that are looked at in one second, together; those beyond are turned away with 429. 0: any number
    #[arg(id = "payment_mock_limit_per_second", long = "payment-mock-limit-per-second")]
    #[arg(env = "PAYMENT_MOCK_LIMIT_PER_SECOND", value_name = "NUMBER", default_value_t = 0)]
    pub limit_per_second: u32,
    /// What a 429 says in Retry-After, in seconds; 0: it says nothing
    #[arg(id = "payment_mock_retry_after_seconds", long = "payment-mock-retry-after-seconds")]
    #[arg(env = "PAYMENT_MOCK_RETRY_AFTER_SECONDS", value_name = "SECONDS", default_value_t = RETRY_AFTER_SECONDS)]
    pub retry_after_seconds: u32,
    /// Share of charges and refunds turned away with 429 before anything is done
    #[arg(id = "payment_mock_too_many_rate", long = "payment-mock-too-many-rate")]
    #[arg(env = "PAYMENT_MOCK_TOO_MANY_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub too_many_rate: f64,
    /// Share of charges and refunds answered 500 with nothing done
    #[arg(id = "payment_mock_error_rate", long = "payment-mock-error-rate", env = "PAYMENT_MOCK_ERROR_RATE")]
    #[arg(value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub error_rate: f64,
    /// Share of charges and refunds that are held without an answer, nothing done
    #[arg(id = "payment_mock_timeout_before_rate", long = "payment-mock-timeout-before-rate")]
    #[arg(env = "PAYMENT_MOCK_TIMEOUT_BEFORE_RATE", value_name = "SHARE", default_value_t = 0.0)]
    #[arg(value_parser = share)]
    pub timeout_before_rate: f64,
    /// Share of charges and refunds that are done, and answered 500
    #[arg(id = "payment_mock_error_after_rate", long = "payment-mock-error-after-rate")]
    #[arg(env = "PAYMENT_MOCK_ERROR_AFTER_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub error_after_rate: f64,
    /// Share of charges and refunds that are done, then held without an answer
    #[arg(id = "payment_mock_timeout_after_rate", long = "payment-mock-timeout-after-rate")]
    #[arg(env = "PAYMENT_MOCK_TIMEOUT_AFTER_RATE", value_name = "SHARE", default_value_t = 0.0)]
    #[arg(value_parser = share)]
    pub timeout_after_rate: f64,
    /// Share of charges and refunds that are done, with an answer that nobody can read
    #[arg(id = "payment_mock_malformed_rate", long = "payment-mock-malformed-rate")]
    #[arg(env = "PAYMENT_MOCK_MALFORMED_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub malformed_rate: f64,
    /// Share of charges and refunds that are done, with a receipt of another amount
    #[arg(id = "payment_mock_foreign_receipt_rate", long = "payment-mock-foreign-receipt-rate")]
    #[arg(env = "PAYMENT_MOCK_FOREIGN_RECEIPT_RATE", value_name = "SHARE", default_value_t = 0.0)]
    #[arg(value_parser = share)]
    pub foreign_receipt_rate: f64,
    /// Share of charges and refunds that are done, with an answer of 1 MiB
    #[arg(id = "payment_mock_huge_rate", long = "payment-mock-huge-rate", env = "PAYMENT_MOCK_HUGE_RATE")]
    #[arg(value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub huge_rate: f64,
    /// Share of charges and refunds answered 202 at once, and done after the hold
    #[arg(id = "payment_mock_pending_rate", long = "payment-mock-pending-rate")]
    #[arg(env = "PAYMENT_MOCK_PENDING_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub pending_rate: f64,
    /// Share of charges and refunds that are done only after the hold, whether or not the client still waits
    #[arg(id = "payment_mock_late_rate", long = "payment-mock-late-rate", env = "PAYMENT_MOCK_LATE_RATE")]
    #[arg(value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub late_rate: f64,
    /// Share of voids and look-ups answered 500 with nothing done
    #[arg(id = "payment_mock_control_error_rate", long = "payment-mock-control-error-rate")]
    #[arg(env = "PAYMENT_MOCK_CONTROL_ERROR_RATE", value_name = "SHARE", default_value_t = 0.0)]
    #[arg(value_parser = share)]
    pub control_error_rate: f64,
    /// How long a request without an answer is held, in milliseconds, should the client wait
    #[arg(id = "payment_mock_timeout_ms", long = "payment-mock-timeout-ms", env = "PAYMENT_MOCK_TIMEOUT_MS")]
    #[arg(value_name = "MS", default_value_t = TIMEOUT_MS)]
    pub timeout_ms: u64,
    /// Answers 503 to everything but /health, /v1/faults and /v1/ledger
    #[arg(id = "payment_mock_down", long = "payment-mock-down", env = "PAYMENT_MOCK_DOWN")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub down: bool,
    /// Repeats a run: the same seed decides the same for the same keys [default: drawn and logged at start]
    #[arg(
        id = "payment_mock_seed",
        long = "payment-mock-seed",
        env = "PAYMENT_MOCK_SEED",
        value_name = "NUMBER"
    )]
    pub seed: Option<u64>,
}

impl Default for Faults {
    /// A believable day: some latency, some declines, no outage.
    fn default() -> Self {
        Self {
            latency_min_ms: LATENCY_MIN_MS,
            latency_max_ms: LATENCY_MAX_MS,
            success_rate: SUCCESS_RATE,
            ..Self::none()
        }
    }
}

impl Faults {
    /// Answers at once and charges everything: for tests and benchmarks, which switch on what they are about.
    pub const fn none() -> Self {
        Self {
            latency_min_ms: 0,
            latency_max_ms: 0,
            success_rate: 1.0,
            misconfigured_rate: 0.0,
            misconfigured_status: MISCONFIGURED_STATUS,
            limit_per_second: 0,
            retry_after_seconds: RETRY_AFTER_SECONDS,
            too_many_rate: 0.0,
            error_rate: 0.0,
            timeout_before_rate: 0.0,
            error_after_rate: 0.0,
            timeout_after_rate: 0.0,
            malformed_rate: 0.0,
            foreign_receipt_rate: 0.0,
            huge_rate: 0.0,
            pending_rate: 0.0,
            late_rate: 0.0,
            control_error_rate: 0.0,
            timeout_ms: TIMEOUT_MS,
            down: false,
            seed: None,
        }
    }

    /// These switches with those named in `patch` set anew; the error names the one that is wrong.
    pub(crate) fn merged(self, patch: Map<String, Value>) -> Result<Self, String> {
        let mut merged = self;
        for (name, value) in patch {
            let Ok(Value::Object(mut all)) = serde_json::to_value(merged) else {
                return Err("the switches are no JSON object".to_owned());
            };
            all.insert(name.clone(), value);
            merged =
                serde_json::from_value(Value::Object(all)).map_err(|error| format!("{name}: {error}"))?;
        }
        // Only when all are set: a new minimum may need the new maximum that came with it.
        merged.checked()
    }

    /// Itself if every value is within its range, with a seed drawn where none was given.
    pub(crate) fn checked(mut self) -> Result<Self, String> {
        let rates = [
            ("success_rate", self.success_rate),
            ("misconfigured_rate", self.misconfigured_rate),
            ("too_many_rate", self.too_many_rate),
            ("error_rate", self.error_rate),
            ("timeout_before_rate", self.timeout_before_rate),
            ("error_after_rate", self.error_after_rate),
            ("timeout_after_rate", self.timeout_after_rate),
            ("malformed_rate", self.malformed_rate),
            ("foreign_receipt_rate", self.foreign_receipt_rate),
            ("huge_rate", self.huge_rate),
            ("pending_rate", self.pending_rate),
            ("late_rate", self.late_rate),
            ("control_error_rate", self.control_error_rate),
        ];
        if let Some((name, rate)) = rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(format!("{name}: must be from 0 to 1, not {rate}"));
        }
        for (name, millis) in [("latency_max_ms", self.latency_max_ms), ("timeout_ms", self.timeout_ms)] {
            if millis > MAX_MILLIS {
                return Err(format!("{name}: must be at most {MAX_MILLIS}, not {millis}"));
            }
        }
        if !MISCONFIGURED_STATUSES.contains(&self.misconfigured_status) {
            let status = self.misconfigured_status;
            return Err(format!(
                "misconfigured_status: must be one of {MISCONFIGURED_STATUSES:?}, not {status}"
            ));
        }
        if self.latency_min_ms > self.latency_max_ms {
            let (min, max) = (self.latency_min_ms, self.latency_max_ms);
            return Err(format!("latency_min_ms: must not be above latency_max_ms ({max}), not {min}"));
        }
        // 32 bits: short enough to be typed, and exact in every JSON reader.
        self.seed.get_or_insert_with(|| rand::random::<u32>().into());
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merge(patch: Value) -> Result<Faults, String> {
        let Value::Object(patch) = patch else { panic!("a patch is an object") };
        Faults { seed: Some(7), ..Faults::none() }.merged(patch)
    }

    #[test]
    fn a_patch_sets_what_it_names_and_nothing_else() {
        let merged =
            merge(json!({ "error_rate": 0.5, "down": true, "latency_min_ms": 10, "latency_max_ms": 20 }));
        let expected = Faults {
            error_rate: 0.5,
            down: true,
            latency_min_ms: 10,
            latency_max_ms: 20,
            seed: Some(7),
            ..Faults::none()
        };
        assert_eq!(merged, Ok(expected));
        assert_eq!(merge(json!({})), Ok(Faults { seed: Some(7), ..Faults::none() }));
        assert!(merge(json!({ "seed": null })).unwrap().seed.is_some(), "a seed taken away is drawn anew");
    }

    #[test]
    fn what_is_wrong_with_a_patch_is_named() {
        for (patch, says) in [
            (json!({ "eror_rate": 0.5 }), "eror_rate: unknown field"),
            (json!({ "error_rate": 1.5 }), "error_rate: must be from 0 to 1, not 1.5"),
            (json!({ "success_rate": -0.1 }), "success_rate: must be from 0 to 1"),
            (json!({ "late_rate": "often" }), "late_rate: invalid type"),
            (json!({ "latency_max_ms": -1 }), "latency_max_ms: invalid value"),
            (json!({ "latency_min_ms": 5 }), "latency_min_ms: must not be above latency_max_ms (0), not 5"),
            (json!({ "misconfigured_status": 200 }), "misconfigured_status: must be one of [301, 302,"),
            (json!({ "timeout_ms": 600_001 }), "timeout_ms: must be at most 600000, not 600001"),
        ] {
            let error = merge(patch).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
