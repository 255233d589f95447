//! `with-servers -- COMMAND`: runs a command with a PostgreSQL and a RabbitMQ of its own, whose URLs it finds in
//! `DATABASE_URL` and `AMQP_URL`, and ends with the command's status. The servers end with it, whatever happens.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::{Guard, Home, Postgres, PostgresSettings, RabbitMq, RabbitMqSettings, Watched};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Run a command with a temporary PostgreSQL (and RabbitMQ) of its own.
#[derive(Parser)]
struct Args {
    /// Start PostgreSQL only.
    #[arg(long)]
    no_rabbitmq: bool,
    /// The directory with PostgreSQL's server programs; looked for if not given.
    #[arg(long, env = "PG_BINDIR", value_name = "DIR")]
    pg_bindir: Option<PathBuf>,
    /// Keep PostgreSQL's data in this directory, for the next time.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The database that `DATABASE_URL` names; `comanda` and `postgres` exist.
    #[arg(long, default_value = "comanda", value_name = "NAME")]
    database: String,
    /// What to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// If we are killed, the command is told, and killed this much later.
const COMMAND_ENDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-servers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<u8> {
    // From here on they do not end us: the command hears of them, and we end when it does.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;

    // Side by side: RabbitMQ takes longer to start, and most of that is waiting for one core.
    let rabbitmq = (!args.no_rabbitmq).then(|| thread::spawn(start_rabbitmq));
    let postgres = start_postgres(args);
    let rabbitmq = rabbitmq.map(|thread| thread.join().expect("no panic in start_rabbitmq")).transpose()?;
    let postgres = postgres?;

    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).env("DATABASE_URL", postgres.url(&args.database));
    // psql and the like are beside the server's programs, and often nowhere else.
    command.env("PG_BINDIR", postgres.bin_dir());
    if let Some(rabbitmq) = &rabbitmq {
        command.env("AMQP_URL", rabbitmq.url());
    }
    let child = command.spawn().with_context(|| format!("cannot start {}", args.command[0].display()))?;
    let status = wait_for(child, signals)?;
    Ok(code(status))
}

fn start_postgres(args: &Args) -> Result<Postgres> {
    let begun = Instant::now();
    let home = args.keep.clone().map_or(Home::Temporary, Home::Persistent);
    let settings =
        PostgresSettings { home, bin_dir: args.pg_bindir.clone(), ..PostgresSettings::temporary() };
    let postgres = Postgres::start(&settings)?;
    say("PostgreSQL", postgres.port(), begun);
    Ok(postgres)
}

fn start_rabbitmq() -> Result<RabbitMq> {
    let begun = Instant::now();
    let rabbitmq = RabbitMq::start(&RabbitMqSettings::temporary())?;
    say("RabbitMQ", rabbitmq.port(), begun);
    Ok(rabbitmq)
}

fn say(server: &str, port: u16, begun: Instant) {
    eprintln!("with-servers: {server} on 127.0.0.1:{port} after {} ms", begun.elapsed().as_millis());
}

fn wait_for(mut child: Child, mut signals: Signals) -> Result<ExitStatus> {
    let pid = child.id();
    let guard = Guard::over(pid, &Watched { signal: Signal::SIGTERM, grace: COMMAND_ENDS, directory: None })?;
    let from_terminal = std::io::stdin().is_terminal();
    thread::spawn(move || {
        for signal in signals.forever() {
            // The terminal has sent its Ctrl-C to the command, too; a second one tells many to drop everything.
            if signal != SIGINT || !from_terminal {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::try_from(signal).ok());
            }
        }
    });
    let status = child.wait()?;
    guard.dismiss();
    Ok(status)
}

/// As a shell counts: 128 and the signal for a command that a signal ended.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
