//! k6: runs the scripts of `loadtest/*.js` with the real k6, watches the gateway's books meanwhile, asks for every
//! accepted order by its id afterwards, and writes what came of it: a page with plots, Markdown, `report.json`.
//!
//! Most scripts run against whatever is started already. The one that kills RabbitMQ cannot: it gets servers and programs
//! of its own.

mod asked;
mod html;
mod lines;
mod markdown;
mod outcome;
mod pages;
mod plot;
mod plots;
mod run;
mod scenario;
mod series;
mod site;
mod summary;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use runtime::config::seconds;
use runtime::tasks::Stop;

use self::outcome::{Outcome, Report};
use self::run::run;
pub use self::scenario::Scenario;
use self::site::Site;

/// The owner's rate is shown for a minute where nobody asks for all of it.
const SHORT: Duration = Duration::from_secs(60);

/// Of `loadtest k6`.
#[derive(Debug, Clone, Args)]
pub struct K6Arguments {
    /// Run these, each at its full length [default: the short ones, and a minute of load]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SCRIPT,..")]
    pub only: Vec<Scenario>,
    /// How long load and soak take instead of ten minutes and an hour
    #[arg(long, value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// Start servers and programs for every script, on free ports, instead of using what runs
    #[arg(long)]
    pub own: bool,
    /// Where orders are taken
    #[arg(long, env = "API_ADDR", default_value = "127.0.0.1:8080")]
    pub api_addr: SocketAddr,
    /// A token of somebody who may order for everybody and list it, such as a service's
    #[arg(long, env = "COMANDA_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The gateway that is made to misbehave, and whose books are compared
    #[arg(long, env = "GATEWAY_URL", default_value = "http://127.0.0.1:9090")]
    pub gateway_url: String,
    /// The database of what runs, where it can be reached: to reconcile all of it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// k6 1.0 or newer; scripts/install-k6 says where it put one
    #[arg(long, env = "K6", default_value = "k6", value_name = "FILE")]
    pub k6: PathBuf,
    /// The directory with the scripts
    #[arg(long, default_value = "loadtest", value_name = "DIR")]
    pub scripts: PathBuf,
    /// Where the report and what k6 wrote go
    #[arg(long, default_value = "target/loadtest", value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs the scripts and writes the report; an error where a threshold was crossed or a promise broken.
pub async fn k6(arguments: &K6Arguments, stop: &Stop) -> Result<()> {
    let scenarios = if arguments.only.is_empty() { Scenario::SHORT.to_vec() } else { arguments.only.clone() };
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let existing = Site::existing(arguments)?;
    if scenarios.iter().any(|scenario| !arguments.own && !scenario.needs_own_servers()) {
        existing.reachable().await?;
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in scenarios {
        if stop.is_stopped() {
            break;
        }
        eprintln!("{}: {}", scenario.name(), scenario.says());
        let seconds = arguments.seconds.or((arguments.only.is_empty()).then_some(SHORT));
        let outcome = if arguments.own || scenario.needs_own_servers() {
            let own = Site::start(scenario, &arguments.out).await?;
            let outcome = run(arguments, scenario, seconds, &own, stop).await;
            own.stop().await?;
            outcome
        } else {
            run(arguments, scenario, seconds, &existing, stop).await
        };
        let outcome = outcome.with_context(|| {
            format!("{}; what k6 said is in {}", scenario.name(), arguments.out.display())
        })?;
        eprintln!("  {}\n", outcome.line());
        outcomes.push(outcome);
    }
    let report = Report::new(outcomes)?;
    pages::write(&report, &arguments.out)?;
    println!("{}", markdown::table(&report));
    println!("{}", arguments.out.join("index.html").display());
    ensure!(report.green, "not all is green: see the report");
    Ok(())
}
