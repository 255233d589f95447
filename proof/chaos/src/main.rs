//! `chaos run`: break everything while orders arrive, then check. `chaos crash-points`: die at every named place.
//! `chaos sabotage`: would it be noticed?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chaos::armed::ensure_armed;
use chaos::crash_points::{Aim, crash_points};
use chaos::fault::{Kind, Wanted};
use chaos::fleet::FOLLOWERS;
use chaos::ground::Servers;
use chaos::hear::Audience;
use chaos::run::run;
use chaos::sabotage::sabotage;
use chaos::scenario::{Places, Scenario};
use chaos::settings::{Gateway, Settings};
use chaos::shop::Shares;
use clap::{Args, Parser, Subcommand};
use runtime::tasks::{Stop, stop_on_signal};

#[derive(Debug, Parser)]
#[command(
    name = "chaos",
    version,
    about = "Breaks everything, then checks that nothing was lost or charged twice"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Where the programs are [default: beside this one]
    #[arg(long, global = true, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Where reports and, of a run that went wrong, logs are kept
    #[arg(long, global = true, value_name = "DIR", default_value = "target/chaos")]
    report_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Break everything that can break while orders arrive, then check every invariant; exit status 1 if one is broken
    Run(RunArguments),
    /// Let a process die at every named place, and check every invariant; needs programs with the feature `chaos`
    CrashPoints {
        /// Only these
        #[arg(long, value_delimiter = ',', value_name = "PLACE,..")]
        points: Vec<String>,
        /// At which of their passes; five times as late from the twentieth on, where each payment passes
        #[arg(long, value_delimiter = ',', value_name = "PASS,..", default_values_t = [1, 20])]
        hits: Vec<u32>,
        /// What happens to the orders in hand meanwhile
        #[arg(long, value_delimiter = ',', value_enum, value_name = "AIM,..", default_values_t = [Aim::Cancel, Aim::Reject, Aim::Deadline])]
        aims: Vec<Aim>,
    },
    /// Give the programs one bug after another, and expect each to be found; needs programs with the feature `chaos`
    Sabotage {
        /// Only these
        #[arg(long, value_delimiter = ',', value_name = "BUG,..")]
        bugs: Vec<String>,
        /// Run every bug's schedule without the bug, too, and expect nothing to be found
        #[arg(long)]
        controls: bool,
    },
}

impl Command {
    fn wants_a_standby(&self) -> bool {
        matches!(self, Self::Run(run) if run.faults.iter().any(|wanted| wanted.kind == Kind::Failover))
    }
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Repeats a run [default: drawn]
    #[arg(long)]
    seed: Option<u64>,
    /// Orders to send
    #[arg(long, default_value_t = 20_000)]
    orders: u64,
    /// SIGKILLs of apis and workers; of everything else in proportion
    #[arg(long, default_value_t = 60)]
    kills: u32,
    /// Orders a second
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Spread the orders over so many minutes, instead of --rate
    #[arg(long, conflicts_with = "rate")]
    minutes: Option<u32>,
    /// Only faults of these kinds; with `=` and a number so many, whatever --kills says
    #[arg(long, value_delimiter = ',', value_name = "FAULT[=COUNT],..")]
    faults: Vec<Wanted>,
    /// Settings of the programs, over all others
    #[arg(long, value_delimiter = ',', value_name = "NAME=VALUE,..", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Keep the logs though nothing is wrong
    #[arg(long)]
    keep_logs: bool,
    /// The programs' production settings instead of short times
    #[arg(long)]
    defaults: bool,
    /// A gateway without its everyday faults
    #[arg(long)]
    gateway_well: bool,
    /// Endpoints of webhooks, their manners by turns
    #[arg(long, default_value_t = Audience::EVERYDAY.endpoints, value_parser = within(1, 100))]
    endpoints: usize,
    /// Orders that somebody watches at once, with a stream each; more than the default: of each order, while there is room
    #[arg(long, default_value_t = Audience::EVERYDAY.streams, value_parser = within(0, 2_000))]
    streams: usize,
    /// Orders of what is counted and no others: a short run, of which many can be had
    #[arg(long)]
    only_stock: bool,
    /// So many runs, one after the other, each with the next seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
}

/// What strikes whoever sells what is counted.
const OF_STOCK: [Kind; 7] = [
    Kind::KillApi,
    Kind::KillWorker,
    Kind::StopApi,
    Kind::StopWorker,
    Kind::KillPostgres,
    Kind::Cut,
    Kind::Deaf,
];

/// Reads a number in these bounds.
fn within(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("must be {least} to {most}"))
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl RunArguments {
    /// Each run.
    fn scenarios(&self) -> Vec<Scenario> {
        let first = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        (first..first + self.seeds).map(|seed| self.scenario(seed)).collect()
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let mut settings = if self.defaults { Settings::production() } else { Settings::quick() };
        if self.gateway_well {
            settings.gateway = Gateway::WELL;
        }
        if self.only_stock {
            // What is not paid comes back, and how much is sold in the end cannot be foretold.
            settings.gateway.success = 1.0;
        }
        let kinds: Vec<Kind> = if self.only_stock { OF_STOCK.to_vec() } else { Kind::everyday().collect() };
        let all = || kinds.iter().map(|kind| Wanted { kind: *kind, count: None }).collect();
        let faults = if self.faults.is_empty() { all() } else { self.faults.clone() };
        let count = |one: &Wanted| (one.kind, one.count.unwrap_or_else(|| one.kind.count(self.kills)));
        let rate = self.minutes.map_or(self.rate, |minutes| {
            u32::try_from(self.orders / (u64::from(minutes.max(1)) * 60)).unwrap_or(u32::MAX).max(1)
        });
        Scenario {
            name: format!("run-{seed}"),
            seed,
            orders: self.orders,
            rate,
            followers: if self.only_stock { 0 } else { FOLLOWERS },
            audience: Audience { endpoints: self.endpoints, streams: self.streams },
            shares: if self.only_stock { Shares::ONLY } else { Shares::EVERYDAY },
            counts: faults.iter().map(count).collect(),
            sabotage: None,
            set: self.set.clone(),
            // Only its own patience ends the wait.
            stuck_after: Duration::MAX,
            watched: true,
            keep_evidence: true,
            keep_logs: self.keep_logs,
            settings,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match until_done(runtime::config::read()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Works until all is done; a signal ends it early, with all that was started.
async fn until_done(arguments: Arguments) -> Result<bool> {
    let stop = Stop::new();
    let signals = stop_on_signal(stop.clone())?;
    let work = start(arguments, &stop);
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => outcome,
        _ = signals => work.await,
    }
}

async fn start(arguments: Arguments, stop: &Stop) -> Result<bool> {
    let beside = std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned();
    let places = Places {
        bin_dir: arguments.bin_dir.unwrap_or(beside),
        report_dir: std::path::absolute(arguments.report_dir)?,
    };
    for program in ["api", "worker", "follower", "gateway-mock"] {
        let path = places.bin_dir.join(program);
        ensure!(path.exists(), "{} is not there: use `make chaos`, or name --bin-dir", path.display());
    }
    std::fs::create_dir_all(&places.report_dir)?;
    if !matches!(arguments.command, Command::Run(_)) {
        ensure_armed(&places.bin_dir).await?;
    }
    let servers = tokio::select! {
        servers = Servers::start(arguments.command.wants_a_standby()) => servers?,
        () = stop.stopped() => anyhow::bail!("stopped half-way"),
    };
    let outcome = match arguments.command {
        Command::Run(arguments) => each(&arguments.scenarios(), &servers, &places, stop).await,
        Command::CrashPoints { points, hits, aims } => {
            crash_points(&points, &hits, &aims, &servers, &places, stop).await
        }
        Command::Sabotage { bugs, controls } => sabotage(&bugs, controls, &servers, &places, stop).await,
    };
    // Their ends block.
    tokio::task::spawn_blocking(|| drop(servers)).await?;
    outcome
}

async fn each(scenarios: &[Scenario], servers: &Servers, places: &Places, stop: &Stop) -> Result<bool> {
    let mut red = Vec::new();
    for scenario in scenarios {
        if !once(scenario, servers, places, stop).await? {
            red.push(scenario.seed.to_string());
        }
    }
    if scenarios.len() > 1 {
        let verdict =
            if red.is_empty() { "all green".to_owned() } else { format!("RED: {}", red.join(", ")) };
        println!("{} runs: {verdict}", scenarios.len());
    }
    Ok(red.is_empty())
}

async fn once(scenario: &Scenario, servers: &Servers, places: &Places, stop: &Stop) -> Result<bool> {
    eprintln!("seed {}: {} orders at {}/s", scenario.seed, scenario.orders, scenario.rate);
    let report = run(scenario, servers, places, stop).await?;
    report.write(&places.report_dir)?;
    println!("{report}");
    if !report.green {
        println!("The logs of all programs are in {}", places.report_dir.join("logs").display());
    }
    Ok(report.green)
}
