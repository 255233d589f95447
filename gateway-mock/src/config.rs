//! The gateway's settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser};
use runtime::config::{Secret, TelemetryConfig};

use crate::faults::Faults;

/// Beside the api's 8080, and not a port that PostgreSQL, RabbitMQ or Grafana want.
const PORT: u16 = 9090;

/// Where the gateway listens, what it remembers, and what goes wrong in it.
#[derive(Debug, Clone, Args)]
pub struct GatewayMockConfig {
    /// Where the payment gateway listens
    #[arg(long, env = "GATEWAY_MOCK_ADDR", default_value_t = default_addr())]
    pub gateway_mock_addr: SocketAddr,
    /// A file that keeps the ledger over a restart, even after a kill -9; without it a restart forgets all charges
    #[arg(long, env = "GATEWAY_MOCK_JOURNAL", value_name = "FILE")]
    pub gateway_mock_journal: Option<PathBuf>,
    /// A file with a line for every request to charge, refund or void: microseconds since 1970, what, which key
    #[arg(long, env = "GATEWAY_MOCK_ACCESS_LOG", value_name = "FILE")]
    pub gateway_mock_access_log: Option<PathBuf>,
    /// What merchants have to send as `Authorization: Bearer`; without it everybody is served
    #[arg(long, env = "GATEWAY_MOCK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub gateway_mock_token: Option<Secret>,
    /// What goes wrong at the start; `PUT /v1/faults` changes it later.
    #[command(flatten)]
    pub faults: Faults,
}

impl Default for GatewayMockConfig {
    fn default() -> Self {
        Self {
            gateway_mock_addr: default_addr(),
            gateway_mock_journal: None,
            gateway_mock_access_log: None,
            gateway_mock_token: None,
            faults: Faults::default(),
        }
    }
}

/// Settings of the program `gateway-mock`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "gateway-mock",
    version,
    about = "A believable payment gateway with a ledger and switchable faults"
)]
pub struct Settings {
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayMockConfig,
    /// Logs and metrics.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

const fn default_addr() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)
}
