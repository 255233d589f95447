//! The follower as a program of its own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use follower::config::{Command, FollowerConfig, ForgetConfig, RebuildConfig};
use follower::follow::retry;
use follower::mail::Mails;
use follower::rebuild::{CLEARED, Rebuilt, rebuild};
use follower::roll_up::RollUp;
use follower::webhooks::Webhooks;
use follower::{Follower, run};
use runtime::config::{Asked, MigrateConfig};
use runtime::secrets::Secrets;
use runtime::tasks::{Crew, Stop, runtime, stop_on_signal};
use runtime::telemetry;
use store::feed::cursors::{self, Forgotten};
use store::{Database, migrate};

/// Long enough for a database that is started at the same moment.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// More than the follower's own grace.
const GRACE: Duration = Duration::from_secs(60);
/// Whoever has moved within this is not switched off.
const QUIET: Duration = Duration::from_secs(600);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::exit_code(runtime().and_then(|runtime| runtime.block_on(start())))
}

async fn start() -> Result<()> {
    let config: FollowerConfig = match runtime::config::read_asked() {
        Asked::Do(command) => return once(command).await,
        Asked::Run(config) => config,
    };
    let metrics_addr = ([127, 0, 0, 1], 9104).into();
    if config.telemetry.health {
        let addr = telemetry::metrics_addr(&config.telemetry, metrics_addr)?;
        return runtime::health::ask(
            addr.context("with METRICS_ADDR=off a follower cannot be asked")?,
            "/health",
        );
    }
    telemetry::init_logs(&config.telemetry.logs)?;
    let secrets = Secrets::open(config.secrets_key_file.as_deref())?;
    if config.settings.mail.open()?.is_some() {
        ensure!(
            config.secrets_key_file.is_some(),
            "mail is to be sent, and SECRETS_KEY_FILE is not set: the links in it are sealed"
        );
    }
    let metrics = telemetry::open_metrics(&config.telemetry, metrics_addr)?;
    let database = Database::new(&config.database.url()?, "follower")?;

    let stop = Stop::new();
    let mut crew = Crew::new(stop.clone());
    if let Some(metrics) = metrics {
        // From now on it can be asked whether it lives.
        crew.spawn("metrics", telemetry::run_metrics(metrics, None, stop.clone()));
    }
    database.prepare_as(&config.database.schema, DATABASE_PATIENCE).await?;

    let signals = stop_on_signal(stop.clone())?;
    tracing::info!(database_connections = config.settings.connections(), "following");
    crew.spawn("follower", run(Follower { database, secrets, settings: config.settings }, stop));
    crew.spawn("signals", signals);
    crew.run(GRACE).await
}

/// What it does besides following, once.
async fn once(command: Command) -> Result<()> {
    match command {
        Command::Migrate(config) => migrate::run(&config, DATABASE_PATIENCE).await?,
        Command::Retry(config) => {
            let mut conn = open(&config)?.connect().await?;
            let told = [
                retry::<Webhooks>(&mut conn).await?,
                retry::<Mails>(&mut conn).await?,
                retry::<RollUp>(&mut conn).await?,
            ];
            let (done, left) = told.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            println!("{done} orders are done, {left} are still aside");
        }
        Command::Resend(config) => {
            let sent = store::mail::resend(&mut open(&config)?.connect().await?).await?;
            println!("{sent} mails are sent again");
        }
        Command::Rebuild(RebuildConfig { database, .. }) => {
            let Rebuilt { events, cleared } = rebuild(&open(&database)?).await?;
            if cleared {
                println!("{CLEARED}");
            }
            println!("counted anew: {events} events");
        }
        Command::Forget(ForgetConfig { follower, database }) => {
            let mut conn = open(&database)?.connect().await?;
            match cursors::forget(&mut conn, &follower, QUIET).await? {
                Forgotten::Done => println!("{follower} is forgotten"),
                Forgotten::Unknown => println!("{follower} has never followed"),
                Forgotten::Follows => {
                    bail!(
                        "{follower} has followed in the last {} minutes: switch it off first",
                        QUIET.as_secs() / 60
                    )
                }
            }
        }
    }
    Ok(())
}

fn open(config: &MigrateConfig) -> Result<Database> {
    telemetry::init_logs(&config.logs)?;
    Database::new(&config.password.put_into(&config.database_url)?, "follower")
}
