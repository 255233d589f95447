//! The programs' settings during a run: short times, so that in two minutes much can expire; or the production
//! defaults, to measure recovery with them.
#![expect(clippy::float_arithmetic, reason = "seconds and shares for the programs' settings; no money")]

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

/// What the programs are told through their environment.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// `LEASE_SECONDS`
    pub lease: Duration,
    /// `GATEWAY_TIMEOUT_SECONDS`
    pub gateway_timeout: Duration,
    /// `CIRCUIT_BREAKER_RECOVERY_SECONDS`
    pub breaker_recovery: Duration,
    /// `CIRCUIT_BREAKER_FAILURE_THRESHOLD`
    pub breaker_threshold: u32,
    /// `PAYMENT_RETRY_ATTEMPTS`
    pub retry_attempts: u16,
    /// `PAYMENT_RETRY_INITIAL_SECONDS`
    pub retry_initial: Duration,
    /// `PAYMENT_RETRY_MAX_SECONDS`
    pub retry_max: Duration,
    /// `PUBLISH_GRACE_SECONDS`
    pub publish_grace: Duration,
    /// `ACCEPT_DEADLINE_SECONDS`
    pub accept_deadline: Duration,
    /// `WEBHOOK_TIMEOUT_SECONDS`, and the same of mail.
    pub webhook_timeout: Duration,
    /// `WEBHOOK_RETRY_SECONDS`, and the same of mail: between tries; so many that none is parked here.
    pub webhook_retry: Duration,
    /// `CART_HOLD_SECONDS`
    pub cart_hold: Duration,
    /// What is wrong with the gateway all the time.
    pub gateway: Gateway,
}

/// Tries of a webhook before it is parked.
const WEBHOOK_TRIES: usize = 100;

/// The gateway's everyday faults, as shares of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gateway {
    /// Shortest time for a request, in milliseconds.
    pub latency_min_ms: u64,
    /// Longest.
    pub latency_max_ms: u64,
    /// Charges that are not declined.
    pub success: f64,
    /// 500 with nothing done.
    pub error: f64,
    /// Charged, then 500.
    pub error_after: f64,
    /// Charged, and no answer.
    pub timeout_after: f64,
    /// Charged, and an answer that nobody can read.
    pub malformed: f64,
}

impl Gateway {
    /// One request in eleven meets a fault, three in a hundred are charged and then time out. None is turned away with 429: that slows
    /// a worker down for seconds, and is a fault of its own.
    pub const EVERYDAY: Self = Self {
        latency_min_ms: 20,
        latency_max_ms: 120,
        success: 0.95,
        error: 0.03,
        error_after: 0.02,
        timeout_after: 0.03,
        malformed: 0.01,
    };

    /// Nothing is wrong with it.
    pub const WELL: Self = Self {
        success: 1.0,
        error: 0.0,
        error_after: 0.0,
        timeout_after: 0.0,
        malformed: 0.0,
        ..Self::EVERYDAY
    };

    /// As `PUT /v1/faults` takes it: every switch, so that it ends whatever was set before.
    pub fn switches(&self) -> Value {
        json!({
            "latency_min_ms": self.latency_min_ms, "latency_max_ms": self.latency_max_ms,
            "success_rate": self.success, "error_rate": self.error, "error_after_rate": self.error_after,
            "timeout_before_rate": 0.0, "timeout_after_rate": self.timeout_after,
            "malformed_rate": self.malformed, "late_rate": 0.0, "too_many_rate": 0.0,
            "control_error_rate": 0.0, "misconfigured_rate": 0.0, "pending_rate": 0.0, "foreign_receipt_rate": 0.0,
            "down": false,
        })
    }
}

impl Settings {
    /// Short times: a lease of three seconds expires many times in a run of two minutes.
    pub fn quick() -> Self {
        Self {
            lease: Duration::from_secs(3),
            gateway_timeout: Duration::from_secs(1),
            breaker_recovery: Duration::from_secs(1),
            breaker_threshold: 5,
            retry_attempts: 3,
            retry_initial: Duration::from_millis(300),
            retry_max: Duration::from_secs(2),
            publish_grace: Duration::from_secs(1),
            // The kitchen here answers within two seconds or when it is too late; a database or an api that is away for
            // four, and all that waited meanwhile, must not make it late with everything.
            accept_deadline: Duration::from_secs(10),
            webhook_timeout: Duration::from_secs(1),
            webhook_retry: Duration::from_secs(1),
            cart_hold: Duration::from_secs(2),
            gateway: Gateway::EVERYDAY,
        }
    }

    /// What the programs do when nothing is said.
    pub fn production() -> Self {
        Self {
            lease: Duration::from_secs(20),
            gateway_timeout: Duration::from_secs(5),
            breaker_recovery: Duration::from_secs(60),
            breaker_threshold: 5,
            retry_attempts: 3,
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            publish_grace: Duration::from_secs(3),
            accept_deadline: Duration::from_secs(300),
            webhook_timeout: Duration::from_secs(15),
            webhook_retry: Duration::from_secs(5),
            // Fifteen minutes by default, and nothing happens in them.
            cart_hold: Duration::from_secs(30),
            gateway: Gateway::EVERYDAY,
        }
    }

    /// How long a request to the gateway without an answer is held there: longer than a worker waits.
    pub fn gateway_hold(&self) -> Duration {
        self.gateway_timeout * 2
    }

    /// The longest that anything may lie untouched before a worker looks at it.
    pub fn longest_rest(&self) -> Duration {
        // A retry's delay is up to a fifth longer than its setting.
        self.lease.max(self.breaker_recovery + self.retry_max * 6 / 5).max(self.accept_deadline)
    }

    /// How long after the last fault everything may take to come to rest: a minute, or what the settings need.
    pub fn quiet_within(&self) -> Duration {
        (Duration::from_secs(60) + self.taken_up_within()).max(self.longest_rest() * 2)
    }

    /// Of an api.
    pub fn of_api(&self) -> Vec<(&'static str, String)> {
        // The clients here look every 0.1 s whether an api is leaving, and the machine may be busy.
        vec![
            ("PUBLISH_GRACE_SECONDS", seconds(self.publish_grace)),
            ("API_LINGER_SECONDS", "0.5".to_owned()),
            // Of what nobody is charged for, the kitchen is asked from its 202 on.
            ("ACCEPT_DEADLINE_SECONDS", seconds(self.accept_deadline)),
            ("CART_HOLD_SECONDS", seconds(self.cart_hold)),
        ]
    }

    /// Of a worker.
    pub fn of_worker(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LEASE_SECONDS", seconds(self.lease)),
            ("GATEWAY_TIMEOUT_SECONDS", seconds(self.gateway_timeout)),
            ("CIRCUIT_BREAKER_RECOVERY_SECONDS", seconds(self.breaker_recovery)),
            ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", self.breaker_threshold.to_string()),
            ("PAYMENT_RETRY_ATTEMPTS", self.retry_attempts.to_string()),
            ("PAYMENT_RETRY_INITIAL_SECONDS", seconds(self.retry_initial)),
            ("PAYMENT_RETRY_MAX_SECONDS", seconds(self.retry_max)),
            ("ACCEPT_DEADLINE_SECONDS", seconds(self.accept_deadline)),
        ]
    }

    /// Of a follower.
    pub fn of_follower(&self) -> Vec<(&'static str, String)> {
        let retries = vec![seconds(self.webhook_retry); WEBHOOK_TRIES].join(",");
        vec![
            // All that listens here does so on this machine.
            ("WEBHOOK_NETWORKS", "127.0.0.0/8".to_owned()),
            ("WEBHOOK_TIMEOUT_SECONDS", seconds(self.webhook_timeout)),
            ("WEBHOOK_RETRY_SECONDS", retries.clone()),
            ("MAIL_TIMEOUT_SECONDS", seconds(self.webhook_timeout)),
            ("MAIL_RETRY_SECONDS", retries),
        ]
    }

    /// What a follower that died has in hand, another one takes up after this: what it was sending, and the exchange.
    pub fn taken_up_within(&self) -> Duration {
        (self.webhook_timeout * 2 + Duration::from_secs(15)).max(Duration::from_secs(30))
    }

    /// Of the gateway.
    pub fn of_gateway(&self) -> Vec<(&'static str, String)> {
        let Gateway { latency_min_ms, latency_max_ms, .. } = self.gateway;
        vec![
            ("PAYMENT_MOCK_LATENCY_MIN", latency_min_ms.to_string()),
            ("PAYMENT_MOCK_LATENCY_MAX", latency_max_ms.to_string()),
            ("PAYMENT_MOCK_SUCCESS_RATE", self.gateway.success.to_string()),
            ("PAYMENT_MOCK_ERROR_RATE", self.gateway.error.to_string()),
            ("PAYMENT_MOCK_ERROR_AFTER_RATE", self.gateway.error_after.to_string()),
            ("PAYMENT_MOCK_TIMEOUT_AFTER_RATE", self.gateway.timeout_after.to_string()),
            ("PAYMENT_MOCK_MALFORMED_RATE", self.gateway.malformed.to_string()),
            ("PAYMENT_MOCK_TIMEOUT_MS", self.gateway_hold().as_millis().to_string()),
        ]
    }

    /// All of it, as `NAME=value`, for reports.
    pub fn list(&self) -> Vec<String> {
        let all = [self.of_api(), self.of_worker(), self.of_follower(), self.of_gateway()].concat();
        let mut lines: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}

fn seconds(length: Duration) -> String {
    (length.as_millis() as f64 / 1_000.0).to_string()
}
