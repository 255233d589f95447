//! A program of the project as a child process: started with an environment of its own, ended with us.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::{Guard, Watched};

use crate::load::Connection;

/// Between looks whether it has started or ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A release binary with its database in place starts in tens of milliseconds; a busy machine takes longer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// It finishes what is in hand, and then it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running program. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    child: Child,
    guard: Option<Guard>,
}

impl Program {
    /// Starts `program` with these variables and arguments, and nothing else of our environment. It writes to
    /// `logs/NAME.log`.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        logs: &Path,
    ) -> Result<Self> {
        let log = File::create(logs.join(format!("{name}.log")))?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!("cannot start {}: run `make bench`, which builds it", program.display())
            })?;
        let if_we_die = Watched { signal: Signal::SIGKILL, grace: Duration::from_secs(1), directory: None };
        let guard = Some(Guard::over(child.id(), &if_we_die)?);
        Ok(Self { name, child, guard })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `GET /ready` is answered with 200 there: `/health` says that it lives, from its first moment.
    pub(crate) async fn until_ready(&mut self, addr: SocketAddr) -> Result<()> {
        let request = format!("GET /ready HTTP/1.1\r\nhost: {addr}\r\n\r\n");
        let started = Instant::now();
        while !is_ready(addr, &request).await {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; see its log", self.name);
            }
            if started.elapsed() > READY_WITHIN {
                bail!("{} is not ready after {READY_WITHIN:?}; see its log", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until it has ended by itself, and well.
    pub(crate) async fn until_ended(mut self, within: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{} ended with {status}; see its log", self.name);
                return Ok(());
            }
            ensure!(started.elapsed() < within, "{} does not end within {within:?}", self.name);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks it to end and waits.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), Signal::SIGTERM)?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > STOP_WITHIN {
                bail!("{} does not end within {STOP_WITHIN:?} of SIGTERM", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of one that has ended, neither does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

async fn is_ready(addr: SocketAddr, request: &str) -> bool {
    let Ok(mut connection) = Connection::open(addr).await else { return false };
    connection.ask(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200)
}

/// A port that is free now, on 127.0.0.1.
pub(crate) fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
