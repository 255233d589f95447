//! Settings: one documented struct per concern, each setting a flag and an environment variable, read once in
//! `main`. Nothing below a `main` reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Reads the settings of a program, from its arguments and the environment. A wrong value ends the program with
/// exit status 2 and one line that names the setting.
pub fn read<C: Parser>() -> C {
    C::try_parse().unwrap_or_else(|error| exit_with(&error))
}

/// What a program was asked to do.
#[derive(Debug)]
pub enum Asked<R, C> {
    /// To run with these settings.
    Run(R),
    /// With a subcommand: to do that and end.
    Do(C),
}

/// Reads what a program is to do, and the settings for that. A subcommand takes none of what only a run needs.
pub fn read_asked<R: Parser, C: Subcommand>() -> Asked<R, C> {
    let program = C::augment_subcommands(R::command())
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .subcommand_required(false)
        .arg_required_else_help(false);
    let asked = program.try_get_matches().and_then(|matches| match matches.subcommand() {
        Some(_) => C::from_arg_matches(&matches).map(Asked::Do),
        None => R::from_arg_matches(&matches).map(Asked::Run),
    });
    asked.unwrap_or_else(|error| exit_with(&error))
}

/// What a program can do that has no commands of its own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply the schema to the database, say what was done, and end
    Migrate(MigrateConfig),
}

fn exit_with(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        // --help and --version come this way too.
        error.exit();
    }
    // clap's first paragraph names the setting and the value; the usage below it would bury that.
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    eprintln!("{} (each flag has an environment variable; see --help)", first.join(" "));
    std::process::exit(2);
}

/// The database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseConfig {
    /// PostgreSQL 15 or newer, e.g. `postgres://user:password@host:5432/comanda`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// A replica for reads; without it reads go to `DATABASE_URL`
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true)]
    pub database_read_url: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub password: PasswordConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub schema: SchemaConfig,
}

impl DatabaseConfig {
    /// `DATABASE_URL`, with its password.
    pub fn url(&self) -> anyhow::Result<String> {
        self.password.put_into(&self.database_url)
    }

    /// `DATABASE_READ_URL`, with its password.
    pub fn read_url(&self) -> anyhow::Result<Option<String>> {
        self.database_read_url.as_deref().map(|url| self.password.put_into(url)).transpose()
    }
}

/// A password that is not in the URL.
#[derive(Debug, Clone, Args)]
pub struct PasswordConfig {
    /// A file with the password for URLs of the database that name none: `postgres://user@host:5432/comanda`
    #[arg(long, env = "DATABASE_PASSWORD_FILE", value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,
}

impl PasswordConfig {
    /// `url` with it.
    pub fn put_into(&self, url: &str) -> anyhow::Result<String> {
        crate::password::put_into(url, self.database_password_file.as_deref(), "DATABASE_PASSWORD_FILE")
    }
}

/// Who applies the schema.
#[derive(Debug, Clone, Args)]
pub struct SchemaConfig {
    /// Leave the schema alone at the start: somebody else runs `migrate`
    #[arg(long, env = "NO_MIGRATE", value_parser = BoolishValueParser::new())]
    pub no_migrate: bool,
}

/// What it takes to apply the schema.
#[derive(Debug, Clone, Args)]
pub struct MigrateConfig {
    /// The database that is to have the schema, e.g. `postgres://user:password@host:5432/comanda`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub password: PasswordConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub logs: LogConfig,
}

/// The message broker.
#[derive(Debug, Clone, Args)]
pub struct BrokerConfig {
    /// RabbitMQ 3.10 or newer, e.g. `amqps://user:password@host:5671/%2f`, or with several nodes of a cluster,
    /// `host:5671,other:5671`. TLS trusts the system's authorities, or those of `?cacertfile=`; `amqp://` to another
    /// machine needs `?tls=off`
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: String,
    /// The queue that carries the payments' names; its dead letters go to `<queue>.dead`
    #[arg(long, env = "AMQP_QUEUE", default_value = "comanda.payments")]
    pub amqp_queue: String,
}

/// Logs.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a filter such as `info,worker=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// Logs and metrics.
#[derive(Debug, Clone, Args)]
pub struct TelemetryConfig {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub logs: LogConfig,
    /// Where `/metrics` is served, or `off` [default: 127.0.0.1:9101 api, :9102 worker, :9103 gateway-mock, :9100 standalone]
    #[arg(long, env = "METRICS_ADDR")]
    pub metrics_addr: Option<String>,
    /// Ask the program that runs with these settings whether it is well, and end: with exit status 0 if it is
    #[arg(long)]
    pub health: bool,
}

/// Traces. The names are OpenTelemetry's own.
#[derive(Debug, Clone, Args)]
pub struct TraceConfig {
    /// Where traces are sent: an OTLP collector that takes protobuf over HTTP, e.g. `http://127.0.0.1:4318`. Without it
    /// none are made
    #[arg(
        long = "otlp-endpoint",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    pub otlp_endpoint: Option<String>,
    /// Share of new traces that are recorded, from 0 to 1; one that comes with a request is recorded if the request says so
    #[arg(long = "traces-sampled-share", env = "OTEL_TRACES_SAMPLER_ARG", value_name = "SHARE", default_value = "1", value_parser = share)]
    pub sampled_share: f64,
    /// The service's name in traces [default: the program's]
    #[arg(long = "traces-service-name", env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub service_name: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// A setting that is shown to nobody: not in logs, nor where settings are printed whole. Its argument must hide the
/// variable's value, too.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for whoever has to send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether `TOKIO_WORKER_THREADS` is set, which the runtime reads itself.
pub(crate) fn names_worker_threads() -> bool {
    std::env::var_os("TOKIO_WORKER_THREADS").is_some()
}

/// Reads a number of seconds, fractions allowed (`0.5`), above zero and up to a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number of seconds above 0 and up to 86400, such as 5 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if seconds > 0.0 && seconds <= 86_400.0 { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

/// Reads a share from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}
