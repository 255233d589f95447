//! The api as a program of its own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use api::commands::Command;
use api::config::ApiConfig;
use api::door::Door;
use api::identity::Identity;
use api::{Api, run};
use broker::{Broker, amqp::Amqp};
use runtime::config::Asked;
use runtime::serve;
use runtime::tasks::{Crew, Stop, runtime, stop_on_signal};
use runtime::telemetry;
use runtime::trace::Exporter;
use store::Database;

/// Long enough for a database that is started at the same moment.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// The api's own grace and a little more.
const GRACE: Duration = Duration::from_secs(20);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::exit_code(runtime().and_then(|runtime| runtime.block_on(start())))
}

async fn start() -> Result<()> {
    let config: ApiConfig = match runtime::config::read_asked::<_, Command>() {
        Asked::Do(command) => return command.run(DATABASE_PATIENCE).await,
        Asked::Run(config) => config,
    };
    let metrics_addr = ([127, 0, 0, 1], 9101).into();
    if config.telemetry.health {
        let metrics = telemetry::metrics_addr(&config.telemetry, metrics_addr)?;
        return api::operations::ask_health(&config.settings, metrics, config.api_addr);
    }
    telemetry::init_logs(&config.telemetry.logs)?;
    config.settings.check()?;
    let metrics = telemetry::open_metrics(&config.telemetry, metrics_addr)?;
    let traces = Exporter::start(&config.traces, "api")?;
    let own_internal = api::operations::bind_own(&config.settings)?;
    let listener = serve::bind(config.api_addr, "API_ADDR")?;
    let addr = listener.local_addr()?;
    let broker = Broker::Amqp(Amqp::new(&config.broker, "api")?);
    let database = Database::new(&config.database.url()?, "api")?;
    let read_database = database.named("api-read");
    let replica = config.database.read_url()?;
    let replica = replica.map(|url| Database::replica(&url, "api-read")).transpose()?;
    let identity = Identity::open(&config.settings.identity, &database)?;

    // Whoever comes from now on is answered.
    let stop = Stop::new();
    let mut crew = Crew::new(stop.clone());
    let door = Door::default();
    tracing::info!("listening at http://{addr}, with 503 until the database is there");
    crew.spawn("http", door.clone().serve(listener, config.settings.clone(), stop.clone()));
    let internal = api::operations::router(&database, &identity);
    let internal = match own_internal {
        Some(own) => {
            crew.spawn("internal", api::operations::run(own, internal, stop.clone()));
            None
        }
        None => api::operations::beside(metrics.as_ref(), internal),
    };
    if let Some(metrics) = metrics {
        crew.spawn("metrics", telemetry::run_metrics(metrics, internal, stop.clone()));
    }
    database.prepare_as(&config.database.schema, DATABASE_PATIENCE).await?;
    api::expect_keys(&database, &identity).await?;

    let signals = stop_on_signal(stop.clone())?;
    let connections = config.settings.connections();
    let opened = door.clone();
    let api = Api {
        door,
        database,
        read_database,
        replica,
        broker,
        settings: config.settings,
        accept_deadline: config.accept_deadline,
        payment_deadline: config.payment_deadline,
        identity,
    };
    crew.spawn("api", run(api, stop));
    crew.spawn("signals", signals);
    let tell = || {
        tracing::info!(database_connections = connections, "accepting orders at http://{addr}/api/v1/orders");
    };
    let outcome = opened.once_open(tell, crew.run(GRACE)).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}
