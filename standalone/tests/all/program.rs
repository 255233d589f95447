//! Starting our programs as their users do, and learning from their logs where they listen.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::Client;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// A running program of ours; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// Lines kept, to be shown when something goes wrong.
const KEPT: usize = 2_000;

impl Program {
    /// Starts the program called `name` with exactly these settings.
    pub(crate) fn start(name: &'static str, settings: &[(&str, &str)]) -> Result<Self> {
        Self::asked(name, &[], settings)
    }

    /// The same with arguments.
    pub(crate) fn asked(name: &'static str, args: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(binary(name));
        command.args(args);
        Self::spawn(name, command, settings)
    }

    /// Starts it where no more files may be open than the shell's `ulimit` says.
    pub(crate) fn limited(name: &'static str, ulimit: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{ulimit} && exec \"$0\"")).arg(binary(name));
        Self::spawn(name, command, settings)
    }

    fn spawn(name: &'static str, mut command: Command, settings: &[(&str, &str)]) -> Result<Self> {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        command.env("LOG_LEVEL", "info").env("METRICS_ADDR", "127.0.0.1:0");
        command.env("ISSUERS_FILE", testbed::people::issuers_file_beside_another()?);
        command.envs(settings.iter().copied());
        // What a test sets to nothing is not set.
        for (name, _) in settings.iter().filter(|(_, value)| value.is_empty()) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        listen(child.stdout.take().context("no stdout")?, Arc::clone(&said));
        listen(child.stderr.take().context("no stderr")?, Arc::clone(&said));
        Ok(Self { name, child, said })
    }

    /// What the program called `name` answers to `--help`.
    pub(crate) async fn help(name: &str) -> Result<String> {
        let output = Command::new(binary(name)).arg("--help").env_clear().output().await?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Everything that it said so far, the last lines of it.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Waits for a line with `marker` and returns what follows it, up to the next space.
    pub(crate) async fn says(&mut self, marker: &str) -> Result<String> {
        for _ in 0..6_000 {
            let line = self.said.lock().unwrap().iter().find_map(|line| {
                let rest = &line[line.find(marker)? + marker.len()..];
                Some(rest.split_whitespace().next().unwrap_or("").to_owned())
            });
            if let Some(line) = line {
                return Ok(line);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} and never said {marker:?}:\n{}", self.name, self.said());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{} never said {marker:?}:\n{}", self.name, self.said())
    }

    /// What the system says of it.
    pub(crate) fn limits(&self) -> Result<String> {
        let pid = self.child.id().context("it has ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{pid}/limits"))?)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    /// Waits for its end, half a minute at most.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .with_context(|| format!("{} does not end:\n{}", self.name, self.said()))?
            .map_err(Into::into)
    }

    /// Ends it as an operator would, and expects it to end well.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ended().await?;
        anyhow::ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.said());
        Ok(())
    }
}

fn listen(stream: impl AsyncRead + Unpin + Send + 'static, said: Arc<Mutex<VecDeque<String>>>) {
    #[expect(clippy::disallowed_methods, reason = "ends with the program that it listens to")]
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut said = said.lock().unwrap();
            if said.len() == KEPT {
                said.pop_front();
            }
            said.push_back(line);
        }
    });
}

/// A manager, as a program of ours knows them: at what it says of its orders' address, and of its gateway's.
pub(crate) fn client(orders: &str, gateway: &str) -> Result<Client> {
    let (api, gateway) = (orders.trim_end_matches("/api/v1/orders"), gateway.trim_end_matches("/v1/ledger"));
    Client::new(api, gateway)?.with_token(&testbed::people::manager()?)
}

/// Our programs lie beside each other.
fn binary(name: &str) -> PathBuf {
    let standalone = PathBuf::from(env!("CARGO_BIN_EXE_standalone"));
    standalone.with_file_name(name)
}
