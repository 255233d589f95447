//! A private PgBouncer in front of a PostgreSQL, to find out what its pools do to us.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::User;

use crate::find;
use crate::guard::Watched;
use crate::home::{Dir, Home};
use crate::port;
use crate::postgres::{NAME, Postgres, chown_to, unprivileged_user};
use crate::process::Process;
use crate::wait;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// As in `postgres`: a port may be taken between finding and using it.
const TRIES_FOR_A_PORT: usize = 3;

/// At once; it keeps nothing.
const STOP: [(Signal, Duration); 1] = [(Signal::SIGTERM, Duration::from_secs(3))];

/// For how long a client is lent a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// Until it goes.
    Session,
    /// Until its transaction ends.
    Transaction,
    /// Until its statement ends.
    Statement,
}

/// A pooler. Stopped when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    // Before the home, so that it ends before its directory is removed.
    process: Option<Process>,
    home: Dir,
    user: Option<User>,
    port: u16,
    /// Of the server behind it.
    url: String,
}

impl PgBouncer {
    /// Starts one in front of `postgres` and waits until it takes connections. `config`: more lines for its section
    /// `[pgbouncer]`.
    ///
    /// # Errors
    /// If there is no such program, no place to write, or it does not start; in one line, with the remedy.
    pub fn start(postgres: &Postgres, mode: PoolMode, config: &str) -> Result<Self> {
        let user = unprivileged_user()?;
        let home = Dir::open(&Home::Temporary, "pgbouncer", user.as_ref(), &STOP)?;
        let mut pooler = Self { process: None, home, user, port: 0, url: postgres.url("") };
        for tries_left in (0..TRIES_FOR_A_PORT).rev() {
            pooler.port = port::free()?;
            pooler.configure(postgres, mode, config)?;
            match pooler.run() {
                Err(_) if tries_left > 0 && !port::is_free(pooler.port) => {}
                result => return result.map(|()| pooler),
            }
        }
        unreachable!("the last try returns")
    }

    /// The URL of a database behind it, for the role that owns it all.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let (before, _) = self.url.rsplit_once(':').unwrap_or((&self.url, ""));
        format!("{before}:{}/{database}", self.port)
    }

    fn configure(&self, postgres: &Postgres, mode: PoolMode, config: &str) -> Result<()> {
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        };
        let password = postgres.password();
        let users = self.home.write("users", &format!("\"{NAME}\" \"{password}\"\n"))?;
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\n{config}\n",
            postgres.port(),
            self.port,
            users.display(),
        );
        let settings = self.home.write("pgbouncer.ini", &text)?;
        for path in [users, settings] {
            chown_to(self.user.as_ref(), &path)?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let (log_path, log) = self.home.log()?;
        let mut command = Command::new(find::pgbouncer()?);
        command.env_clear().current_dir(self.home.path()).arg(self.home.join("pgbouncer.ini"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let directory = self.home.if_temporary();
        let end = Watched { signal: Signal::SIGKILL, grace: Duration::ZERO, directory };
        let mut process = Process::spawn(&mut command, &end)?;
        self.home.note(process.pid())?;
        let mut ended = None;
        let is_ready = wait::until(READY_WITHIN, || {
            ended = process.exited();
            ended.is_some() || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
        if ended.is_none() && is_ready {
            self.process = Some(process);
            return Ok(());
        }
        process.end(&STOP)?;
        let said = fs::read_to_string(&log_path).context("it wrote no log")?;
        bail!("PgBouncer does not start: {}", said.lines().next_back().unwrap_or("it says nothing"))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.take().map(|process| process.end(&STOP));
    }
}
