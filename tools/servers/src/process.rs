//! Processes: started in a group of their own, watched by a guard, signalled with everything they started.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guard::{Guard, Watched};
use crate::wait;

/// What SIGKILL takes at most; longer means that the kernel holds the process in a write.
const KILL_TAKES: Duration = Duration::from_secs(10);

/// How often a process that keeps forking is asked again for its children before we take the answer.
const LOOKS_FOR_CHILDREN: usize = 10;

/// A server process that is our child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    guard: Guard,
}

impl Process {
    /// Starts it in a process group of its own: the Ctrl-C at the terminal is for the tests, not for their database.
    pub(crate) fn spawn(command: &mut Command, if_we_die: &Watched) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let guard = Guard::over(child.id(), if_we_die)?;
        Ok(Self { child, guard })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends each signal in turn and waits as long as said; whatever is left is killed.
    pub(crate) fn end(mut self, signals: &[(Signal, Duration)]) -> Result<()> {
        for (signal, grace) in signals {
            send(self.pid(), *signal);
            if wait::until(*grace, || self.exited().is_some()) {
                self.guard.dismiss();
                return Ok(());
            }
        }
        self.kill()
    }

    /// Kills it and its children at once, as a power cut would.
    pub(crate) fn kill(mut self) -> Result<()> {
        let family = family(self.pid());
        family.iter().for_each(|&pid| send(pid, Signal::SIGKILL));
        if !wait::until(KILL_TAKES, || self.exited().is_some() && !family.iter().any(|&pid| is_alive(pid))) {
            bail!("process {} did not end within {KILL_TAKES:?} of SIGKILL", self.pid());
        }
        self.guard.dismiss();
        Ok(())
    }

    /// Stops the clock for it and its children.
    pub(crate) fn pause(&self) {
        // The parent first, then whoever it had started up to then.
        send(self.pid(), Signal::SIGSTOP);
        for _ in 0..LOOKS_FOR_CHILDREN {
            let running: Vec<u32> =
                family(self.pid()).into_iter().filter(|&pid| state(pid) != Some('T')).collect();
            if running.is_empty() {
                return;
            }
            running.into_iter().for_each(|pid| send(pid, Signal::SIGSTOP));
        }
    }

    pub(crate) fn resume(&self) {
        family(self.pid()).into_iter().for_each(|pid| send(pid, Signal::SIGCONT));
    }
}

/// A process that is not our child any more, told from a later one with the same number by the time it started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pid: u32,
    started: String,
}

impl Identity {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: started(pid)? })
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (pid, started) = line.split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.to_owned() })
    }

    fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Ends it as gently as `signals` say, and what it started with it.
    pub(crate) fn end(&self, signals: &[(Signal, Duration)]) {
        if !self.is_alive() {
            return;
        }
        let family = family(self.pid);
        family.iter().for_each(|&pid| send(pid, Signal::SIGCONT));
        for (signal, grace) in signals {
            send(self.pid, *signal);
            if wait::until(*grace, || !self.is_alive()) {
                return;
            }
        }
        family.iter().for_each(|&pid| send(pid, Signal::SIGKILL));
        wait::until(KILL_TAKES, || !family.iter().any(|&pid| is_alive(pid)));
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

/// A process that has ended since is no error: that is what nearly all signals here ask for.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let parents = parents();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn is_alive(pid: u32) -> bool {
    // A zombie is dead: it only waits for its parent to hear of it.
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Linux answers from /proc, which is there where `ps` is not (small containers); elsewhere `ps` always is.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc").map(|entries| entries.flatten()) else {
        return ps(&["-A", "-o", "pid=,ppid="]).lines().filter_map(pid_and_parent).collect();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?.get(1)?.parse().ok()?))
        })
        .collect()
}

fn pid_and_parent(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn state(pid: u32) -> Option<char> {
    if Path::new("/proc/self").exists() {
        return stat(pid)?.first()?.chars().next();
    }
    ps(&["-o", "state=", "-p", &pid.to_string()]).trim().chars().next()
}

/// In clock ticks since the boot (Linux), or as a date: only ever compared.
fn started(pid: u32) -> Option<String> {
    if Path::new("/proc/self").exists() {
        let stat = stat(pid)?;
        return (!stat.first()?.starts_with(['Z', 'X'])).then(|| stat.get(19).cloned())?;
    }
    let started = ps(&["-o", "lstart=", "-p", &pid.to_string()]).trim().to_owned();
    (!started.is_empty()).then_some(started)
}

/// /proc/PID/stat from its third field, the state, on: the second is the name, in parentheses, and may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

fn ps(args: &[&str]) -> String {
    let output = Command::new("ps").args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
