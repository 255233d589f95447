//! The guard: a small shell process beside each server that ends it when we are gone, however we went.
//!
//! It holds the reading end of a pipe whose writing end only we hold, so the kernel tells it of our death, kill -9
//! included. A parent-death signal would do less: Linux knows it alone, it is bound to the thread that started the
//! child, it is lost where the child changes its user, and it removes no directory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

/// `$1` the process, `$2` the first signal, `$3` tenths of a second until SIGKILL, `$4` a directory to remove or ''.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
# A line means that the owner has ended the process itself. The end of the pipe means that the owner is dead.
read -r _ && exit 0

children() {
    if [ -d /proc/self ]; then
        for stat in /proc/[0-9]*/stat; do
            read -r pid _ _ parent _ <"$stat" && [ "$parent" = "$1" ] && echo "$pid"
        done
    else
        pgrep -P "$1"
    fi
}
family() {
    echo "$1"
    for child in $(children "$1"); do (family "$child"); done
}

# A zombie is dead, and where process 1 reaps nobody (some containers) it stays for ever.
alive() {
    for pid in $all; do
        if [ -d /proc/self ]; then
            read -r _ _ state _ <"/proc/$pid/stat" && [ "$state" != Z ] && return 0
        else
            kill -0 "$pid" && return 0
        fi
    done
    return 1
}

all=$(family "$1")
# Somebody may have stopped it with SIGSTOP, and then it would not hear anything else.
kill -CONT $all
kill -"$2" "$1"
for _ in $(seq "$3"); do
    alive || break
    sleep 0.1
done
kill -KILL $all
[ -n "$4" ] && sleep 0.1 && rm -rf "$4"
"#;

/// What happens to a process when its owner is gone.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Asks it to end.
    pub signal: Signal,
    /// After this long it is killed, and what it started with it.
    pub grace: Duration,
    /// Removed in the end.
    pub directory: Option<PathBuf>,
}

/// Ends a process when the owner of this value is gone.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
}

impl Guard {
    /// Watches over the process with this number.
    ///
    /// # Errors
    /// If no shell can be started.
    pub fn over(pid: u32, watched: &Watched) -> Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "comanda-guard", &pid.to_string()])
            .arg(watched.signal.as_str().trim_start_matches("SIG"))
            .arg((watched.grace.as_millis() / 100).to_string())
            .arg(watched.directory.clone().unwrap_or_default())
            .stdin(Stdio::piped())
            // Neither the terminal's nor a test runner's: who waits for the end of a pipe must not wait for the guard.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // What is sent to our whole group, SIGKILL first of all, is not for the guard.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { shell })
    }

    /// The process has ended, or will be ended, by its owner.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
