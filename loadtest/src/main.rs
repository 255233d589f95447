//! `loadtest load`: orders for a running pipeline. `loadtest reconcile`: was it right? `loadtest bench`: how fast is it?
//! `loadtest k6`: how does it bear all kinds of load?

mod command;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use loadtest::bench::echo::echo;
use loadtest::bench::tokens::bad::send;
use loadtest::bench::{BenchArguments, bench};
use loadtest::k6::{K6Arguments, k6};
use runtime::tasks::{Stop, stop_on_signal};
use runtime::telemetry::exit_code;

#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about = "Load, percentiles, reconciliation and the benchmark")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send orders to a running api; wait for the last, and reconcile, where told of the database and the gateway
    Load(command::LoadArguments),
    /// Compare a database with its gateway's ledger; exit status 1 where anything is wrong
    Reconcile(command::ReconcileArguments),
    /// Measure how fast it is: starts servers and programs of its own; run it by `make bench`
    Bench(BenchArguments),
    /// Run the k6 scripts, verify every order, and write the report; run it by `make loadtest`
    K6(K6Arguments),
    /// Bad tokens for an api on this machine, for the benchmark
    #[command(hide = true)]
    BadTokens {
        /// The api
        api: SocketAddr,
        /// How long
        seconds: u64,
        /// From so many addresses
        addresses: u32,
        /// A file with a token a line
        tokens: PathBuf,
    },
    /// A server that hands bodies back, for the benchmark
    #[command(hide = true)]
    Echo {
        /// Where it listens
        addr: SocketAddr,
    },
}

fn main() -> ExitCode {
    let arguments: Arguments = runtime::config::read();
    exit_code(match arguments.command {
        Command::Echo { addr } => echo(addr),
        command => run_alone(command),
    })
}

/// One thread: sending and reading for 64 connections leaves it half idle, and a second one would cost wake-ups.
fn run_alone(command: Command) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(command))
}

async fn run(command: Command) -> Result<()> {
    let stop = Stop::new();
    let work = async {
        match command {
            Command::Load(arguments) => command::load(arguments, &stop).await,
            Command::Reconcile(arguments) => command::reconcile(arguments).await,
            // Half a measurement is none: nothing is finished, but all that was started ends.
            Command::Bench(arguments) => stop.or_stopped(bench(&arguments)).await.unwrap_or(Ok(())),
            Command::K6(arguments) => k6(&arguments, &stop).await,
            Command::BadTokens { api, seconds, addresses, tokens } => {
                send(api, seconds, addresses, &tokens).await
            }
            Command::Echo { .. } => Ok(()),
        }
    };
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => return outcome,
        signal = stop_on_signal(stop.clone())? => signal?,
    }
    // What is under way is still answered and reported; whoever asks twice does not want that.
    tokio::select! {
        outcome = &mut work => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped half-way"),
    }
}
