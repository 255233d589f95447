//! `loadtest load`: orders for a running pipeline. `loadtest reconcile`: was it right? `loadtest bench`: how fast is it?

mod command;

use anyhow::Result;
use clap::{Parser, Subcommand};
use shared::tasks::{Stop, stop_on_signal};

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
}

// One thread: sending and reading for 64 connections leaves it half idle, and a second one would cost wake-ups.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Arguments = shared::config::read();
    let stop = Stop::new();
    let work = async {
        match arguments.command {
            Command::Load(arguments) => command::load(arguments, &stop).await,
            Command::Reconcile(arguments) => command::reconcile(arguments).await,
        }
    };
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => return outcome,
        signal = stop_on_signal(stop.clone()) => signal?,
    }
    // What is under way is still answered and reported; whoever asks twice does not want that.
    tokio::select! {
        outcome = &mut work => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped half-way"),
    }
}
