//! The worker as a program of its own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use broker::{Broker, amqp::Amqp};
use runtime::config::{Asked, Command};
use runtime::tasks::{Crew, Stop, runtime, stop_on_signal};
use runtime::telemetry;
use runtime::trace::Exporter;
use store::{Database, migrate};
use worker::config::WorkerConfig;
use worker::{Worker, run};

/// Long enough for a database that is started at the same moment.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// More than the worker's own grace.
const GRACE: Duration = Duration::from_secs(60);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::exit_code(runtime().and_then(|runtime| runtime.block_on(start())))
}

async fn start() -> Result<()> {
    let config: WorkerConfig = match runtime::config::read_asked() {
        Asked::Do(Command::Migrate(config)) => return migrate::run(&config, DATABASE_PATIENCE).await,
        Asked::Run(config) => config,
    };
    let metrics_addr = ([127, 0, 0, 1], 9102).into();
    if config.telemetry.health {
        let addr = telemetry::metrics_addr(&config.telemetry, metrics_addr)?;
        return runtime::health::ask(
            addr.context("with METRICS_ADDR=off a worker cannot be asked")?,
            "/health",
        );
    }
    telemetry::init_logs(&config.telemetry.logs)?;
    config.settings.check()?;
    let metrics = telemetry::open_metrics(&config.telemetry, metrics_addr)?;
    let traces = Exporter::start(&config.traces, "worker")?;
    let broker = Broker::Amqp(Amqp::new(&config.broker, "worker")?);
    let database = Database::new(&config.database.url()?, "worker")?;

    let stop = Stop::new();
    let mut crew = Crew::new(stop.clone());
    if let Some(metrics) = metrics {
        // From now on it can be asked whether it lives.
        crew.spawn("metrics", telemetry::run_metrics(metrics, None, stop.clone()));
    }
    database.prepare_as(&config.database.schema, DATABASE_PATIENCE).await?;

    let signals = stop_on_signal(stop.clone())?;
    let connections = config.settings.worker_database_connections;
    tracing::info!(gateway = config.settings.gateway_url, database_connections = connections, "working");
    crew.spawn("worker", run(Worker { database, broker, settings: config.settings }, stop));
    crew.spawn("signals", signals);
    let outcome = crew.run(GRACE).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}
