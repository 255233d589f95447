//! Everything in one process, for a first look and for small installations: api, worker and gateway-mock over a private
//! PostgreSQL (or the one that `DATABASE_URL` names) and the in-process broker. Composition only.

mod config;
mod people;
mod postgres;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use api::Api;
use api::door::Door;
use broker::{Broker, in_process::InProcess};
use follower::Follower;
use gateway_mock::GatewayMockConfig;
use runtime::config::Asked;
use runtime::secrets::Secrets;
use runtime::serve;
use runtime::tasks::{Crew, Stop, stop_on_signal};
use runtime::telemetry;
use runtime::trace::Exporter;
use store::{self, Database};
use tokio::net::TcpListener;
use worker::Worker;

use crate::config::{Command, MigrateConfig, StandaloneConfig};
use crate::people::People;

/// How long a server of somebody else's may take to come up.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// More than each part's own grace.
const GRACE: Duration = Duration::from_secs(30);
/// Messages that may wait inside the process: a minute and more of the highest rate at 64 payments each, which is fewer than they name then.
const QUEUE: usize = 16_384;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::exit_code(start())
}

fn start() -> Result<()> {
    let mut config: StandaloneConfig = match runtime::config::read_asked() {
        Asked::Do(Command::Migrate(config)) => return migrate(&config),
        Asked::Run(config) => config,
    };
    if config.telemetry.health {
        let metrics = telemetry::metrics_addr(&config.telemetry, metrics_addr())?;
        return api::operations::ask_health(&config.api, metrics, config.api_addr);
    }
    telemetry::init_logs(&config.telemetry.logs)?;
    // Its gateway is in this process, which a listener on all addresses does not change.
    config.worker.gateway_plain_http = true;
    config.worker.check()?;
    config.api.check()?;
    runtime::files::raise_limit();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let stop = Stop::new();
    let mut crew = Crew::new(stop.clone());
    // Ports first: a taken one should be told at once, and not after a database was made. And whoever comes meanwhile is told
    // to come again.
    let open = {
        let _within = runtime.enter();
        let (listener, open) = Open::bind(&config)?;
        tracing::info!("listening at http://{}, with 503 until the database is there", open.api_addr);
        crew.spawn("http", open.door.clone().serve(listener, config.api.clone(), stop.clone()));
        open
    };
    // Here and not on a thread of the runtime: the server is to end with this thread, whatever ends it.
    let private = postgres::find_or_start(&config.database)?;
    let outcome = runtime.block_on(run(config, open, crew, stop, &private.url));
    drop(private);
    outcome
}

/// Where its metrics are, if nothing else is said.
fn metrics_addr() -> SocketAddr {
    ([127, 0, 0, 1], 9100).into()
}

/// The command `migrate`, on the database that a run would have.
fn migrate(config: &MigrateConfig) -> Result<()> {
    telemetry::init_logs(&config.logs)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let private = postgres::find_or_start(&config.database)?;
    runtime.block_on(store::migrate::run_on(&private.url, DATABASE_PATIENCE))
}

/// What there is before there is a database.
struct Open {
    door: Door,
    api_addr: SocketAddr,
    gateway: TcpListener,
    metrics: Option<telemetry::Metrics>,
    internal: Option<TcpListener>,
}

impl Open {
    /// All of it, and where the door is to be.
    fn bind(config: &StandaloneConfig) -> Result<(TcpListener, Self)> {
        let api = serve::bind(config.api_addr, "API_ADDR")?;
        let open = Self {
            door: Door::default(),
            api_addr: api.local_addr()?,
            gateway: serve::bind(config.gateway.gateway_mock_addr, "GATEWAY_MOCK_ADDR")?,
            metrics: telemetry::open_metrics(&config.telemetry, metrics_addr())?,
            internal: api::operations::bind_own(&config.api)?,
        };
        Ok((api, open))
    }
}

async fn run(
    mut config: StandaloneConfig,
    open: Open,
    mut crew: Crew,
    stop: Stop,
    database_url: &str,
) -> Result<()> {
    let traces = Exporter::start(&config.traces, "standalone")?;
    let Open { door, api_addr, gateway: gateway_listener, metrics, internal: own_internal } = open;
    let gateway_addr = gateway_listener.local_addr()?;
    let metrics_addr = metrics.as_ref().map(telemetry::Metrics::local_addr).transpose()?;
    let database = Database::new(database_url, "standalone")?;
    database.prepare_as(&config.schema, DATABASE_PATIENCE).await?;
    let broker = Broker::InProcess(InProcess::new(QUEUE));

    let gateway = GatewayMockConfig {
        // The database outlives this process, so the gateway's memory has to, too.
        gateway_mock_journal: config
            .gateway
            .gateway_mock_journal
            .or(Some(config.database.data_dir.join("gateway.journal"))),
        ..config.gateway
    };
    let worker_settings = worker::config::WorkerSettings {
        gateway_url: format!("http://{gateway_addr}"),
        gateway_token: gateway.gateway_mock_token.clone(),
        gateway_token_file: None,
        ..config.worker
    };
    let (identity, people) =
        people::open(&mut config.api, api_addr, &config.database.data_dir, &database).await?;
    let secrets = Secrets::open(config.api.identity.secrets_key_file.as_deref())?;
    let mails = config.database.data_dir.join("mail");
    config.follower.mail = config.follower.mail.or_into(mails, &format!("http://{api_addr}"));
    let folder = config.follower.mail.mail_folder.as_ref();
    let mail = folder.map_or("to SMTP_URL".to_owned(), |folder| folder.display().to_string());
    let internal = api::operations::router(&database, &identity);
    let connections = config.api.connections()
        + usize::from(worker_settings.worker_database_connections)
        + config.follower.connections();
    tracing::info!(database_connections = connections, "starting");
    let opened = door.clone();
    api::expect_keys(&database, &identity).await?;
    let api = Api {
        door,
        database: database.clone(),
        read_database: database.clone(),
        replica: None,
        broker: broker.clone(),
        settings: config.api,
        accept_deadline: worker_settings.accept_deadline,
        payment_deadline: worker_settings.payment_deadline,
        identity,
    };

    crew.spawn("signals", stop_on_signal(stop.clone())?);
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
    // A stop follows an order's way: first nothing more is accepted, then what is in hand is charged and settled,
    // and only then the gateway goes.
    let (api_done, worker_done) = (Stop::new(), Stop::new());
    crew.spawn("api", then_stop(api::run(api, stop), api_done.clone()));
    let follower = Follower { database: database.clone(), secrets, settings: config.follower };
    let worker = worker::run(Worker { database, broker, settings: worker_settings }, api_done);
    crew.spawn("worker", then_stop(worker, worker_done.clone()));
    crew.spawn("follower", follower::run(follower, worker_done.clone()));
    crew.spawn("gateway-mock", gateway_mock::run(gateway, gateway_listener, worker_done));
    let tell = || greet(api_addr, gateway_addr, metrics_addr, &mail, &people);
    let outcome = opened.once_open(tell, crew.run(GRACE)).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}

/// Runs a part; when it has ended, well or not, the next one may.
async fn then_stop(part: impl Future<Output = Result<()>>, next: Stop) -> Result<()> {
    let outcome = part.await;
    next.stop();
    outcome
}

fn greet(api: SocketAddr, gateway: SocketAddr, metrics: Option<SocketAddr>, mail: &str, people: &People) {
    let (token_file, passwords) = (people.manager_token.display(), people.passwords.display());
    let metrics = metrics.map_or("off".to_owned(), |addr| format!("http://{addr}/metrics"));
    println!(
        r#"
Comanda is up.

  orders    http://{api}/api/v1/orders
  menu      http://{api}/api/v1/catalog
  docs      http://{api}/docs
  gateway   http://{gateway}/v1/ledger      (what was really charged)
  faults    http://{gateway}/v1/faults      (PUT: make it slow, declining, failing, down)
  metrics   {metrics}
  mail      {mail}

Order something:

  curl -i http://{api}/api/v1/orders -H 'Content-Type: application/json' -d '
    {{"customer_id":"customer_123","items":[
      {{"item_id":"item_001","item_name":"Burger","quantity":2,"price":12.99}},
      {{"item_id":"item_002","item_name":"Fries","quantity":1,"price":4.99}}]}}'

and watch it confirm: curl the address in its Location. Then be the kitchen, with a manager's token:

  curl -X POST http://{api}/api/v1/orders/<id>/accept -H "Authorization: Bearer $(cat {token_file})"

People who can log in: manager@example.com, customer@example.com; their passwords are in {passwords}
Ctrl-C stops everything; the data stays.
"#
    );
}
