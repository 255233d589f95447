//! The follower's settings.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use runtime::config::{DatabaseConfig, MigrateConfig, TelemetryConfig, seconds};

use crate::mail::MailSettings;

/// Follows what has happened, and tells others.
#[derive(Debug, Parser)]
#[command(name = "follower", version)]
pub struct FollowerConfig {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub settings: FollowerSettings,
    /// The file with the keys that secrets are sealed with, the same as the apis'
    #[arg(long, env = "SECRETS_KEY_FILE", value_name = "FILE")]
    pub secrets_key_file: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub database: DatabaseConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub telemetry: TelemetryConfig,
}

/// What it can do besides following.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply the schema to the database, say what was done, and end
    Migrate(MigrateConfig),
    /// Try again what could not be worked off and was put aside, say what came of it, and end
    Retry(MigrateConfig),
    /// Let mails be sent again that were refused, or tried for long enough, say how many, and end
    Resend(MigrateConfig),
    /// Forget where mail or messages stand that are switched off for good: until then all that has happened since is kept for them
    Forget(ForgetConfig),
    /// Make the numbers anew from the first event on, beside traffic, say of how many, and end
    Rebuild(RebuildConfig),
}

/// What is to be made anew, and where.
#[derive(Debug, Args)]
pub struct RebuildConfig {
    /// Which follower's rows: only those of `roll_up` are made of events alone
    #[arg(value_parser = ["roll_up"])]
    pub follower: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: MigrateConfig,
}

/// Who is forgotten, and where.
#[derive(Debug, Args)]
pub struct ForgetConfig {
    /// Which follower: the others are never switched off
    #[arg(value_parser = ["mail", "messages"])]
    pub follower: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: MigrateConfig,
}

/// What a follower does, whatever it runs in.
#[derive(Debug, Clone, Args)]
pub struct FollowerSettings {
    /// Networks of the house that webhooks may be sent to, such as `10.1.0.0/16`, also over plain HTTP; several with commas between.
    /// Without it, only public addresses, and only over HTTPS: else whoever may set a webhook could have us ask what only we can reach
    #[arg(long, env = "WEBHOOK_NETWORKS", value_delimiter = ',', value_name = "NETWORKS")]
    pub webhook_networks: Vec<IpNet>,
    /// How long an endpoint may take to answer, in seconds
    #[arg(long, env = "WEBHOOK_TIMEOUT_SECONDS", default_value = "15", value_parser = seconds)]
    pub webhook_timeout: Duration,
    /// How long after each failed try the next one comes, in seconds, a fifth longer at most; after the last one it is parked
    #[arg(long, env = "WEBHOOK_RETRY_SECONDS", default_value = "5,300,1800,7200,18000,36000", value_delimiter = ',', value_parser = seconds)]
    pub webhook_retries: Vec<Duration>,
    /// Requests under way at once to one endpoint, of different orders
    #[arg(long, env = "WEBHOOK_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub webhook_concurrency: u16,
    /// RabbitMQ whose exchange is told of what happens, such as `amqps://user:password@host:5671/%2f`. Without it, none is
    #[arg(long, env = "EVENTS_AMQP_URL", hide_env_values = true)]
    pub events_amqp_url: Option<String>,
    /// The topic exchange there
    #[arg(long, env = "EVENTS_EXCHANGE", default_value = "comanda.events")]
    pub events_exchange: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub mail: MailSettings,
    /// How often a follower looks for what has happened and what is due, in seconds; three times as often while something happens
    #[arg(long, env = "FOLLOW_INTERVAL_SECONDS", default_value = "0.05", value_parser = seconds)]
    pub follow_interval: Duration,
}
