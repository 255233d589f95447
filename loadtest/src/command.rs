//! The commands that work on a pipeline which somebody else has started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use loadtest::gateway::fetch_ledger;
use loadtest::latency::per_second;
use loadtest::load::{Load, OnFault, Pace, Plan, Tokens};
use loadtest::settled::{post_to_confirmed, until_settled};
use runtime::config::seconds;
use runtime::tasks::Stop;

/// Orders where neither a number nor a time is given: a few seconds' worth.
const ORDERS: u64 = 20_000;
/// Longest wait for the last settlement: a run of faults with all its retries and leases fits.
const PATIENCE: Duration = Duration::from_secs(600);

/// Of `loadtest load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Where orders are taken
    #[arg(long, env = "API_ADDR", default_value = "127.0.0.1:8080")]
    api_addr: SocketAddr,
    /// A token of somebody who may order for everybody, where what runs lets in nobody without
    #[arg(long, env = "COMANDA_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Requests under way at once, each on a connection of its own
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Orders a second, sent at fixed times whatever the answers (open loop); as fast as they are answered where left out
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// End after so many orders [default: 20000, without --seconds]
    #[arg(long)]
    orders: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Send an Idempotency-Key of its own with each order
    #[arg(long)]
    keys: bool,
    /// Count answers that are no 202 and carry on, instead of ending with an error; with --keys repeat those orders
    #[arg(long)]
    carry_on: bool,
    /// Append the id of each accepted order to this file, fsynced
    #[arg(long, value_name = "FILE")]
    accepted_log: Option<PathBuf>,
    /// Wait for the last order to be settled in this database, and measure POST to CONFIRMED
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Reconcile with this gateway in the end; needs the database
    #[arg(long, env = "GATEWAY_URL")]
    gateway_url: Option<String>,
}

/// Of `loadtest reconcile`.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArguments {
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The gateway
    #[arg(long, env = "GATEWAY_URL", default_value = "http://127.0.0.1:9090")]
    gateway_url: String,
    /// Ids that must exist and have ended, as `load --accepted-log` wrote them
    #[arg(long, value_name = "FILE")]
    accepted_log: Option<PathBuf>,
}

/// Sends orders and says what came of it.
pub(crate) async fn load(arguments: LoadArguments, stop: &Stop) -> Result<()> {
    let bounded = arguments.orders.is_some() || arguments.seconds.is_some();
    let plan = Plan {
        addr: arguments.api_addr,
        connections: arguments.connections,
        tokens: arguments.token.as_deref().map(Tokens::one).unwrap_or_default(),
        pace: arguments.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        count: if bounded { arguments.orders } else { Some(ORDERS) },
        time: arguments.seconds,
        with_keys: arguments.keys,
        on_fault: if arguments.carry_on { OnFault::CarryOn } else { OnFault::Stop },
        accepted_log: arguments.accepted_log,
    };
    let load = loadtest::load(&plan, stop).await?;
    print(&load);
    let Some(database_url) = arguments.database_url else { return Ok(()) };
    let waited = until_settled(&database_url, PATIENCE, &Stop::new()).await?;
    let whole = load.elapsed + waited;
    let confirmed = post_to_confirmed(&database_url, &load.accepted).await?.summary();
    println!(
        "settled    all, {waited:.2?} after the last answer: {:.0}/s end to end",
        per_second(load.accepted.len() as u64, whole)
    );
    println!("confirmed  {}; {confirmed}", confirmed.count);
    let accepted = load.accepted.iter().map(|accepted| accepted.id);
    let missing = reconcile::accepted_missing(&database_url, accepted).await?;
    ensure!(missing.is_empty(), "{} accepted orders are not there or not ended: {missing:?}", missing.len());
    match arguments.gateway_url {
        Some(gateway_url) => judge(&database_url, &gateway_url).await,
        None => Ok(()),
    }
}

/// Compares a database with its gateway.
pub(crate) async fn reconcile(arguments: ReconcileArguments) -> Result<()> {
    if let Some(path) = arguments.accepted_log {
        let ids = loadtest::load::read_accepted_log(&path)?;
        let count = ids.len();
        let missing = reconcile::accepted_missing(&arguments.database_url, ids).await?;
        ensure!(missing.is_empty(), "of {count} accepted orders are not there or not ended: {missing:?}");
        println!("all {count} accepted orders of {} are there and have ended\n", path.display());
    }
    judge(&arguments.database_url, &arguments.gateway_url).await
}

async fn judge(database_url: &str, gateway_url: &str) -> Result<()> {
    let started = Instant::now();
    let report = reconcile::reconcile(database_url, &fetch_ledger(gateway_url).await?).await?;
    println!("\n{report}\n{} orders reconciled in {:.1?}", report.orders(), started.elapsed());
    ensure!(report.is_clean(), "the books do not agree");
    Ok(())
}

fn print(load: &Load) {
    let count = load.accepted.len() as u64;
    println!(
        "accepted   {count} in {:.2?}: {:.0}/s; {}",
        load.elapsed,
        per_second(count, load.elapsed),
        load.latencies.summary()
    );
    for (status, count) in &load.refused {
        println!("refused    {count} with {status}");
    }
    if load.unanswered > 0 {
        println!("unanswered {}", load.unanswered);
    }
}
