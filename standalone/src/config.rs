//! The settings of all parts together, and the one that is standalone's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use api::config::ApiSettings;
use clap::{Args, Parser, Subcommand};
use follower::config::FollowerSettings;
use gateway_mock::GatewayMockConfig;
use runtime::config::{LogConfig, PasswordConfig, SchemaConfig, TelemetryConfig, TraceConfig};
use worker::config::WorkerSettings;

/// Comanda in one process: api, worker, follower and gateway-mock over a private PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "standalone", version, about = "Comanda in one process, over a private PostgreSQL")]
pub(crate) struct StandaloneConfig {
    /// Where orders are taken
    #[arg(long, env = "API_ADDR", default_value = "127.0.0.1:8080")]
    pub api_addr: SocketAddr,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Who applies the schema.
    #[command(flatten)]
    pub schema: SchemaConfig,
    /// The api.
    #[command(flatten)]
    pub api: ApiSettings,
    /// The worker; its `GATEWAY_URL` is the gateway in this process.
    #[command(flatten)]
    pub worker: WorkerSettings,
    /// The follower.
    #[command(flatten)]
    pub follower: FollowerSettings,
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayMockConfig,
    /// Logs and metrics.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// Traces.
    #[command(flatten)]
    pub traces: TraceConfig,
}

/// The database: one that there is, or a private one.
#[derive(Debug, Args)]
pub(crate) struct DatabaseConfig {
    /// A PostgreSQL to use instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Its password.
    #[command(flatten)]
    pub password: PasswordConfig,
    /// Where the private PostgreSQL and the gateway's memory are kept
    #[arg(long, env = "COMANDA_DATA_DIR", default_value = ".local", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The directory with PostgreSQL's server programs; looked for if not given
    #[arg(long, env = "PG_BINDIR", value_name = "DIR")]
    pub pg_bindir: Option<PathBuf>,
}

/// What it can do besides running.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Apply the schema to the database, say what was done, and end
    Migrate(MigrateConfig),
}

/// What it takes to apply the schema.
#[derive(Debug, Args)]
pub(crate) struct MigrateConfig {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Logs.
    #[command(flatten)]
    pub logs: LogConfig,
}
