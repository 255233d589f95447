//! The worker's settings.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, Parser};
use domain::retry::RetryDelays;
use runtime::config::{BrokerConfig, DatabaseConfig, Secret, TelemetryConfig, TraceConfig, seconds};

use crate::gateway::address;

/// Claims, charges, settles and sweeps payments.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
pub struct WorkerConfig {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub settings: WorkerSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub database: DatabaseConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub broker: BrokerConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub telemetry: TelemetryConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub traces: TraceConfig,
}

/// What a worker does with payments, whatever it runs in.
#[derive(Debug, Clone, Args)]
pub struct WorkerSettings {
    /// Where the payment gateway is
    #[arg(long, env = "GATEWAY_URL", hide_env_values = true, default_value = "http://127.0.0.1:9090")]
    pub gateway_url: String,
    /// What the gateway knows us by, sent as `Authorization: Bearer`; better in a file
    #[arg(long, env = "GATEWAY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    #[arg(conflicts_with = "gateway_token_file")]
    pub gateway_token: Option<Secret>,
    /// A file that holds it; read again when the gateway refuses us, so that a new one takes no restart
    #[arg(long, env = "GATEWAY_TOKEN_FILE", value_name = "FILE")]
    pub gateway_token_file: Option<PathBuf>,
    /// Speak plain HTTP to a gateway on another machine: whoever stands in between reads and changes what he likes
    #[arg(long, env = "GATEWAY_PLAIN_HTTP", value_parser = BoolishValueParser::new())]
    pub gateway_plain_http: bool,
    /// How long one request to the gateway may take, in seconds; after it the charge is in doubt
    #[arg(long, env = "GATEWAY_TIMEOUT_SECONDS", default_value = "5", value_parser = seconds)]
    pub gateway_timeout: Duration,
    /// Payments in hand at once from the broker, and as many again from the sweep. At 200 ms a charge, 512 are 2,500 a
    /// second, and about 10 MB
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub worker_concurrency: u16,
    /// Connections to PostgreSQL at most, which the worker's loops take turns with; one that idles has one or two. Five: none
    /// ever waits for another. One is enough for hundreds of payments a second, and for fifty workers on a small server
    #[arg(long, env = "WORKER_DATABASE_CONNECTIONS", default_value_t = LOOPS, value_parser = clap::value_parser!(u8).range(1..=i64::from(LOOPS)))]
    pub worker_database_connections: u8,
    /// How long a claim holds, in seconds: a payment whose worker died is taken up after it. Longer than two gateway
    /// time-outs, so that a living worker never loses one
    #[arg(long, env = "LEASE_SECONDS", default_value = "20", value_parser = seconds)]
    pub lease: Duration,
    /// How often a worker looks for what is due, in seconds
    #[arg(long, env = "SWEEP_INTERVAL_SECONDS", default_value = "0.2", value_parser = seconds)]
    pub sweep_interval: Duration,
    /// Tries of a charge before its key is voided and the payment fails
    #[arg(long, env = "PAYMENT_RETRY_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub payment_retry_attempts: u16,
    /// Delay after the first try, in seconds; each further one is twice as long, a fifth more or less
    #[arg(long, env = "PAYMENT_RETRY_INITIAL_SECONDS", default_value = "1", value_parser = seconds)]
    pub payment_retry_initial: Duration,
    /// Longest delay between tries, in seconds
    #[arg(long, env = "PAYMENT_RETRY_MAX_SECONDS", default_value = "30", value_parser = seconds)]
    pub payment_retry_max: Duration,
    /// Faults of the gateway in a row that open the circuit breaker
    #[arg(long, env = "CIRCUIT_BREAKER_FAILURE_THRESHOLD", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub circuit_breaker_failure_threshold: u32,
    /// How long an open breaker waits before it lets one probe through, in seconds
    #[arg(long, env = "CIRCUIT_BREAKER_RECOVERY_SECONDS", default_value = "60", value_parser = seconds)]
    pub circuit_breaker_recovery: Duration,
    /// How long the kitchen has to take a confirmed order, in seconds
    #[arg(long, env = "ACCEPT_DEADLINE_SECONDS", default_value = "300", value_parser = seconds)]
    pub accept_deadline: Duration,
    /// How long a charge may take from when it may first be made, in seconds, where its order names no time of its own: then it is
    /// called off, and no order hangs for ever
    #[arg(long, env = "PAYMENT_DEADLINE_SECONDS", default_value = "900", value_parser = seconds)]
    pub payment_deadline: Duration,
    /// How long what has happened may be followed from behind, in days: after it `GET /events` says that a cursor is gone. A week
    /// takes up to 300 MB, where something happens all the time
    #[arg(long, env = "EVENTS_KEPT_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub events_kept_days: u16,
    /// How long a refund rests that the gateway refused, in seconds; it is never given up
    #[arg(long, env = "REFUND_RETRY_SECONDS", default_value = "600", value_parser = seconds)]
    pub refund_retry: Duration,
}

impl WorkerSettings {
    /// Refuses settings that do not go together.
    pub fn check(&self) -> Result<()> {
        address::parse(&self.gateway_url, self.gateway_plain_http)?;
        if self.lease < self.gateway_timeout * 2 {
            bail!(
                "LEASE_SECONDS={} must be at least twice GATEWAY_TIMEOUT_SECONDS={}, or living workers lose payments",
                self.lease.as_secs_f64(),
                self.gateway_timeout.as_secs_f64()
            );
        }
        if self.payment_retry_max < self.payment_retry_initial {
            bail!("PAYMENT_RETRY_MAX_SECONDS must not be below PAYMENT_RETRY_INITIAL_SECONDS");
        }
        Ok(())
    }

    /// How long what has happened may be followed from behind.
    pub fn events_kept(&self) -> Duration {
        Duration::from_secs(u64::from(self.events_kept_days) * 24 * 3_600)
    }

    /// How long to wait after each try.
    pub const fn delays(&self) -> RetryDelays {
        RetryDelays { initial: self.payment_retry_initial, max: self.payment_retry_max }
    }
}

/// Loops with statements: consume, sweep, settle, chores, facts.
const LOOPS: u8 = 5;
/// Payments claimed in one statement: two full messages. More would hold row locks longer than a round trip.
pub const MAX_CLAIM: usize = 512;
/// Settlements in one statement.
pub const MAX_SETTLE: usize = 512;
/// Writers of settlements: one fills its batches best.
pub const SETTLE_LANES: usize = 1;
/// How long a settlement is tried while the database is away. Past a lease somebody else has the payment.
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(30);
