//! One script: k6 runs it, while the gateway's books are looked at; then every accepted order is asked for.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reconcile::reconcile;
use runtime::tasks::Stop;
use servers::{Guard, Watched};
use tokio::process::{Child, Command};

use super::K6Arguments;
use super::asked::ask_each;
use super::lines::Lines;
use super::outcome::Outcome;
use super::scenario::Scenario;
use super::series::Decided;
use super::site::Site;
use super::summary::Summary;
use crate::gateway::fetch_ledger;
use crate::progress::Progress;
use crate::settled::until_settled;

/// Between looks at the gateway's books: two points a second are more than a plot shows.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// k6's own word for "a threshold was crossed"; the summary says which.
const CROSSED: i32 = 99;
/// The run has waited for the last order; what it did not order itself may take a moment more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where k6 writes.
struct Files {
    /// What it would show on a terminal.
    told: PathBuf,
    lines: PathBuf,
    summary: PathBuf,
}

impl Files {
    fn of(scenario: Scenario, out: &Path) -> Self {
        let file = |end| out.join(format!("{}.{end}", scenario.name()));
        Self { told: file("k6.txt"), lines: file("lines"), summary: file("summary.json") }
    }
}

/// Runs it.
pub(super) async fn run(
    arguments: &K6Arguments,
    scenario: Scenario,
    seconds: Option<Duration>,
    site: &Site,
    stop: &Stop,
) -> Result<Outcome> {
    let files = Files::of(scenario, &arguments.out);
    // k6 appends to the one and may not come to writing the other.
    for stale in [&files.lines, &files.summary] {
        let _ = fs::remove_file(stale);
    }
    let mut decided = vec![look(site).await?];
    let mut k6 = start(arguments, scenario, seconds, site, &files)?;
    let progress = Progress::new(format!("{}: decided", scenario.name()), None);
    let disturbance = site.disturb(scenario);
    tokio::pin!(disturbance);
    let (mut disturbed, mut told) = (false, false);
    let mut looking = tokio::time::interval(LOOK_EVERY);
    let status = loop {
        tokio::select! {
            status = k6.wait() => break status?,
            result = &mut disturbance, if !disturbed => {
                result?;
                disturbed = true;
            }
            _ = looking.tick() => {
                // One that is missed is one point less.
                if let Ok(now) = look(site).await {
                    progress.draw(now.1.saturating_sub(decided[0].1));
                    decided.push(now);
                }
                if stop.is_stopped() && !told {
                    // It ends in good order: the gateway's switches are put back.
                    interrupt(&k6)?;
                    told = true;
                }
            }
        }
    };
    drop(progress);
    if !disturbed {
        disturbance.await?;
    }
    check(status, &files)?;
    let lines = Lines::read(&fs::read_to_string(&files.lines)?)?;
    let summary = Summary::read(&fs::read_to_string(&files.summary)?)?;
    let ids = lines.sent.iter().filter_map(|sent| sent.id).collect();
    let asked = ask_each(site.api_addr, &site.token, ids).await.context("cannot ask for every order")?;
    let reconciled = match &site.database_url {
        Some(database_url) => {
            until_settled(database_url, PATIENCE, stop).await?;
            Some(reconcile(database_url, &fetch_ledger(&site.gateway_url).await?).await?)
        }
        None => None,
    };
    Outcome::new(scenario, site.what.clone(), &lines, &decided, &summary, asked, reconciled)
}

fn start(
    arguments: &K6Arguments,
    scenario: Scenario,
    seconds: Option<Duration>,
    site: &Site,
    files: &Files,
) -> Result<Guarded> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
    let told = File::create(&files.told)?;
    let mut command = Command::new(&arguments.k6);
    command.args(["run", "--quiet", "--no-color", "--no-usage-report", "--log-format", "raw"]);
    command.args(["--address", &address]).arg("--console-output").arg(&files.lines);
    command.arg("--summary-export").arg(&files.summary);
    command.arg(arguments.scripts.join(format!("{}.js", scenario.name())));
    command.env("K6_ADDRESS", &address).env("API_ADDR", site.api_addr.to_string());
    command.env("GATEWAY_URL", &site.gateway_url).env("TOKEN", &site.token);
    if let Some(seconds) = seconds {
        command.env("DURATION", format!("{}ms", seconds.as_millis()));
    }
    // A group of its own: Ctrl-C reaches us, and k6 through us, once. Twice would make it drop everything.
    command.process_group(0).stdin(Stdio::null()).stdout(told.try_clone()?).stderr(told).kill_on_drop(true);
    let child = command.spawn().with_context(|| {
        format!("cannot start {}: `make loadtest` installs k6 (or name it in K6)", arguments.k6.display())
    })?;
    // In good order, too, should we be killed: it takes its teardown to put the gateway's switches back.
    let if_we_die = Watched { signal: Signal::SIGINT, grace: PATIENCE, directory: None };
    let guard = Guard::over(child.id().context("k6 has ended already")?, &if_we_die)?;
    Ok(Guarded { child, guard: Some(guard) })
}

/// k6, which ends when we do.
struct Guarded {
    child: Child,
    guard: Option<Guard>,
}

impl Guarded {
    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

fn interrupt(k6: &Guarded) -> Result<()> {
    let Some(pid) = k6.child.id() else { return Ok(()) };
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?)
}

fn check(status: ExitStatus, files: &Files) -> Result<()> {
    let told = || {
        let text = fs::read_to_string(&files.told).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    };
    ensure!(status.success() || status.code() == Some(CROSSED), "k6 ended with {status}:\n{}", told());
    ensure!(files.lines.exists() && files.summary.exists(), "k6 wrote nothing:\n{}", told());
    Ok(())
}

/// How many payments the gateway has brought to an end, and when.
async fn look(site: &Site) -> Result<Decided> {
    let ledger = site.ledger().await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok((i64::try_from(since.as_millis())?, ledger.charges + ledger.declined + ledger.voided))
}
