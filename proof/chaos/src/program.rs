//! A program of the project as a process that is killed, stopped and started again, with its log in a file.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::{Guard, Watched};
use tokio::process::{Child, Command};

/// How long a program may take to end after SIGTERM: its own grace is up to a minute, but with a gateway that
/// answers within seconds it has nothing to wait for.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// A program that starts looks at its log this often, and this long, for one of these.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const UP_WITHIN: Duration = Duration::from_secs(10);
const UP: [&str; 3] = ["accepting orders at", "working gateway=", "following database"];
/// Lines of a log that are shown.
const LAST_LINES: usize = 12;

/// What to run, and the process if it runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    path: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    guard: Guard,
    since: Instant,
    /// Bytes in its log from earlier starts.
    log_before: usize,
}

/// A program that ended though nobody had asked it to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// How long it had run.
    pub after: Duration,
}

impl Program {
    /// A program that does not run yet; of our environment it sees nothing.
    pub fn new(name: &str, path: &Path, environment: &[(&str, String)], logs: &Path) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            environment: environment.collect(),
            log: logs.join(format!("{name}.log")),
            running: None,
        }
    }

    /// `api-1` and the like.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sets a variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable out for the next start.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let log_before = log.metadata()?.len();
        let child = Command::new(&self.path)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for us; whoever dies of it beside us would spoil the end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child.id().context("it ended at once")?;
        let log_before = usize::try_from(log_before).unwrap_or(0);
        let watched = Watched { signal: Signal::SIGKILL, grace: Duration::ZERO, directory: None };
        self.running =
            Some(Running { child, guard: Guard::over(pid, &watched)?, since: Instant::now(), log_before });
        Ok(())
    }

    /// Waits until it says that it works, for some seconds at most: a database may be out.
    pub async fn until_up(&self) {
        let since = self.running.as_ref().map_or(0, |running| running.log_before);
        let started = Instant::now();
        while started.elapsed() < UP_WITHIN {
            let log = std::fs::read(&self.log).unwrap_or_default();
            let said = String::from_utf8_lossy(log.get(since..).unwrap_or_default()).into_owned();
            if UP.iter().any(|word| said.contains(word)) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it, as a power cut would.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.child.kill().await?;
        running.guard.dismiss();
        Ok(())
    }

    /// Stops its clock, or lets it run on.
    pub fn pause(&self, paused: bool) {
        self.signal(if paused { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    fn signal(&self, signal: Signal) {
        let pid = self.running.as_ref().and_then(|running| running.child.id());
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
            // Of one that has just ended by itself we hear soon enough.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Asks it to end. What it says, if it ended badly or had to be killed.
    pub async fn stop(&mut self) -> Result<Option<String>> {
        self.signal(Signal::SIGTERM);
        let Some(mut running) = self.running.take() else { return Ok(None) };
        let ended = tokio::time::timeout(STOP_WITHIN, running.child.wait()).await;
        if ended.is_err() {
            running.child.kill().await?;
        }
        running.guard.dismiss();
        let how = match ended {
            Ok(Ok(status)) if status.success() => return Ok(None),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no end within {STOP_WITHIN:?}"),
        };
        Ok(Some(format!("{} was asked to end: {how}", self.name)))
    }

    /// Whether it ended by itself since it was started; told once.
    pub fn ended(&mut self) -> Result<Option<Ended>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let Some(status) = running.child.try_wait()? else { return Ok(None) };
        let after = running.since.elapsed();
        if let Some(running) = self.running.take() {
            running.guard.dismiss();
        }
        Ok(Some(Ended { status, after }))
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.start_kill();
            running.guard.dismiss();
        }
    }
}
