//! A private PostgreSQL cluster.
//!
//! It always commits for real: `fsync`, `full_page_writes` and `synchronous_commit` are on and there is no way to say
//! otherwise. PostgreSQL refuses to run as root, so there it runs as `postgres`, or `nobody`.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::find;
use crate::guard::Watched;
use crate::home::{Dir, Home, random_password};
use crate::port;
use crate::process::Process;
use crate::tls::Tls;
use crate::wait;

/// The role that owns the cluster, and the database made with it.
pub(crate) const NAME: &str = "comanda";

/// Half a second usually; minutes only where a crash left gigabytes of log to replay.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A port found free may be taken before we are there; thrice in a row it is not.
const TRIES_FOR_A_PORT: usize = 3;

/// Fast shutdown (ends the sessions, writes a checkpoint), then immediate (the next start recovers), then kill.
const STOP: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_secs(20)), (Signal::SIGQUIT, Duration::from_secs(5))];

/// Given on the command line, where they win over what a configuration file says.
const SETTINGS: &[(&str, &str)] = &[
    // What the product promises. Never off, not even in tests: they are about this.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("listen_addresses", "127.0.0.1"),
    // No socket: its path has a limit of 107 bytes, and /tmp is everyone's.
    ("unix_socket_directories", ""),
    // Several apis and workers of ~20 connections each, and the tests' own pools, side by side.
    ("max_connections", "200"),
    // Holds the hot rows of a load run. Memory that is not touched is not taken, so small clusters stay small.
    ("shared_buffers", "256MB"),
    // At the 1 GB default a load run is in checkpoints without end, and every page changed after one is logged whole.
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    // The server's clock decides about orders; its zone must not depend on the machine.
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %q%d "),
];

/// What a private cluster is made of.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where its data is, and whether it stays.
    pub home: Home,
    /// The directory with `postgres` and `initdb`; looked for if not given.
    pub bin_dir: Option<PathBuf>,
    /// Settings of the server's that are to be other than here.
    pub config: Vec<(&'static str, String)>,
    /// Takes TLS, and shows this certificate.
    pub tls: Option<Tls>,
}

impl PostgresSettings {
    /// A cluster for a test, gone in the end.
    #[must_use]
    pub fn temporary() -> Self {
        Self { home: Home::Temporary, bin_dir: None, config: Vec::new(), tls: None }
    }

    /// A cluster whose data stays in this directory.
    #[must_use]
    pub fn persistent(dir: impl Into<PathBuf>) -> Self {
        Self { home: Home::Persistent(dir.into()), ..Self::temporary() }
    }
}

/// A private PostgreSQL cluster. Stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Before the home, so that the server ends before its directory is removed.
    process: Option<Process>,
    home: Dir,
    bin_dir: PathBuf,
    user: Option<User>,
    password: String,
    port: u16,
    config: Vec<(&'static str, String)>,
}

impl Postgres {
    /// Makes the cluster unless it is there, starts it, and waits until it takes connections.
    ///
    /// # Errors
    /// If there is no server program, no place to write, or the server does not start; in one line, with the remedy.
    pub fn start(settings: &PostgresSettings) -> Result<Self> {
        let user = unprivileged_user()?;
        let home = Dir::open(&settings.home, "postgres", user.as_ref(), &STOP)?;
        let bin_dir = find::postgres(settings.bin_dir.as_deref(), version_of(&home.join("data"))?)?;
        let password = home.remembered("password", random_password)?;
        let port = home.remembered("port", String::new)?.trim().parse().unwrap_or(0);
        let config = settings.config.clone();
        let mut postgres = Self { process: None, home, bin_dir, user, password, port, config };
        if !postgres.data().join("PG_VERSION").exists() {
            postgres.make()?;
        }
        if let Some(tls) = &settings.tls {
            postgres.take_tls(tls)?;
        }
        postgres.start_on_a_free_port()?;
        Ok(postgres)
    }

    /// Makes a standby of it, in a temporary home of its own, and waits until it takes connections. Whether a commit waits for it
    /// is a setting of this cluster: `ALTER SYSTEM SET synchronous_standby_names = '*'`.
    ///
    /// # Errors
    /// As at [`start`](Self::start), or if this cluster does not let itself be copied.
    pub fn standby(&self) -> Result<Self> {
        let home = Dir::open(&Home::Temporary, "postgres", self.user.as_ref(), &STOP)?;
        let (bin_dir, user, password) = (self.bin_dir.clone(), self.user.clone(), self.password.clone());
        let config = self.config.clone();
        let mut standby = Self { process: None, home, bin_dir, user, password, port: 0, config };
        standby.follow(self)?;
        Ok(standby)
    }

    /// Forgets all that it has and becomes a standby of `primary`, at the address that it had. For one that was the primary
    /// before: what it alone committed is lost.
    ///
    /// # Errors
    /// As at [`standby`](Self::standby).
    pub fn follow(&mut self, primary: &Self) -> Result<()> {
        self.kill()?;
        let _ = fs::remove_dir_all(self.data());
        self.copy(primary)?;
        self.start_on_a_free_port()
    }

    /// Makes a standby the primary, and waits until it is.
    ///
    /// # Errors
    /// If it is none, or takes more than a minute.
    pub fn promote(&self) -> Result<()> {
        self.finish(self.command("pg_ctl").args(["promote", "--wait", "--silent", "-D"]).arg(self.data()), "")
    }

    /// The URL of a database in this cluster, with the role that owns it all. `comanda` and `postgres` exist.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The port on 127.0.0.1; the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where everything is kept; the server's log is the file `log` in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// The server's programs; usually `psql` is beside them.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Stops it: fast, and if that takes long, immediately.
    ///
    /// # Errors
    /// If the process survives even SIGKILL.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |process| process.end(&STOP))
    }

    /// Kills it with all its sessions, as a power cut would. What was committed is there after [`restart`](Self::restart).
    ///
    /// # Errors
    /// If a process survives SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    /// Starts it again on the same port and data, after a stop, a kill, or a crash of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    /// Stops the clock for it: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.iter().for_each(Process::pause);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.process.iter().for_each(Process::resume);
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// All of `primary`, with the word that it is a standby.
    fn copy(&self, primary: &Self) -> Result<()> {
        let unfinished = self.empty("data.new")?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o700))?;
        self.finish(
            self.command("pg_basebackup")
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-password"])
                .args(["--host=127.0.0.1", "--username", NAME, "--port", &primary.port.to_string()])
                .env("PGPASSWORD", &self.password)
                .arg("--pgdata")
                .arg(&unfinished),
            "",
        )?;
        fs::rename(unfinished, self.data())?;
        Ok(())
    }

    /// Lets clients speak TLS, if they wish.
    fn take_tls(&mut self, tls: &Tls) -> Result<()> {
        for (setting, name, text) in
            [("ssl_cert_file", "server.crt", &tls.certificate), ("ssl_key_file", "server.key", &tls.key)]
        {
            let path = self.home.write(name, text)?;
            chown_to(self.user.as_ref(), &path)?;
            self.config.push((setting, path.display().to_string()));
        }
        self.config.push(("ssl", "on".to_owned()));
        Ok(())
    }

    /// A directory with nothing in it, which the server's user owns.
    fn empty(&self, name: &str) -> Result<PathBuf> {
        let directory = self.home.join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        chown_to(self.user.as_ref(), &directory)?;
        Ok(directory)
    }

    /// initdb into a directory beside, renamed when complete: one killed half-way is not taken for a cluster.
    fn make(&self) -> Result<()> {
        let unfinished = self.empty("data.new")?;
        let password_file = self.home.write("password.initdb", &self.password)?;
        chown_to(self.user.as_ref(), &password_file)?;
        self.finish(
            self.command("initdb")
                .args([
                    "--encoding=UTF8",
                    "--locale=C",
                    "--auth=scram-sha-256",
                    "--username",
                    NAME,
                    "--pwfile",
                ])
                .arg(&password_file)
                .arg("--pgdata")
                .arg(&unfinished)
                // The rename below is no more durable than this; committed orders are the business of `fsync`.
                .arg("--no-sync"),
            "",
        )?;
        fs::remove_file(password_file)?;
        self.finish(
            self.command("postgres").args(["--single", "-D"]).arg(&unfinished).arg("postgres"),
            &format!("CREATE DATABASE {NAME};\n"),
        )?;
        fs::rename(unfinished, self.data())?;
        Ok(())
    }

    fn start_on_a_free_port(&mut self) -> Result<()> {
        for tries_left in (0..TRIES_FOR_A_PORT).rev() {
            if self.port == 0 || !port::is_free(self.port) {
                self.port = port::free()?;
                self.home.write("port", &self.port.to_string())?;
            }
            match self.run() {
                Err(_) if tries_left > 0 && !port::is_free(self.port) => {}
                result => return result,
            }
        }
        unreachable!("the last try returns")
    }

    fn run(&mut self) -> Result<()> {
        let (log_path, log) = self.home.log()?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        for (name, value) in &self.config {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Whoever had the cluster before us is gone (we hold its lock), but its number may be somebody else's by
        // now, and PostgreSQL would then take that process for its own.
        let pid_file = self.data().join("postmaster.pid");
        let _ = fs::remove_file(&pid_file);

        let mut process = Process::spawn(&mut command, &self.if_we_die())?;
        self.home.note(process.pid())?;
        let is_ready = |pid: u32| fs::read_to_string(&pid_file).is_ok_and(|text| says_ready(&text, pid));
        let mut ended = None;
        wait::until(READY_WITHIN, || {
            ended = process.exited();
            ended.is_some() || is_ready(process.pid())
        });
        if ended.is_none() && is_ready(process.pid()) {
            self.process = Some(process);
            return Ok(());
        }
        process.end(&STOP)?;
        bail!("PostgreSQL does not start: {}; see {}", last_complaint(&log_path), log_path.display())
    }

    fn if_we_die(&self) -> Watched {
        match self.home.if_temporary() {
            // Immediate: nobody wants the data, but unlike a kill it frees the shared memory.
            Some(directory) => {
                Watched { signal: Signal::SIGQUIT, grace: Duration::from_secs(3), directory: Some(directory) }
            }
            None => Watched { signal: STOP[0].0, grace: STOP[0].1, directory: None },
        }
    }

    /// One of the server's programs, as the right user, with nothing in its environment: PGDATA, PGPORT, PGOPTIONS and
    /// the like of whoever calls us are about another cluster.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin_dir.join(program));
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir(self.home.path());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Runs a program to its end.
    fn finish(&self, command: &mut Command, input: &str) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        // In single-user mode even a failed statement ends well.
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint
            .lines()
            .find(|line| line.contains("ERROR:") || line.contains("FATAL:") || line.contains("error:"));
        if !output.status.success() || complaint.is_some() {
            bail!("{program} failed: {}", complaint.unwrap_or("no word why"));
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nobody wants a checkpoint of a temporary cluster.
        let signals = if self.home.if_temporary().is_some() { &STOP[1..] } else { &STOP[..] };
        let _ = self.process.take().map(|process| process.end(signals));
    }
}

/// Gives a file to the user that the server runs as.
pub(crate) fn chown_to(user: Option<&User>, path: &Path) -> Result<()> {
    if let Some(user) = user {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

/// Whom to run as: nobody else, unless we are root.
pub(crate) fn unprivileged_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as: useradd -r postgres"
    )
}

/// The version that made the data, if there is any.
fn version_of(data: &Path) -> Result<Option<u32>> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => {
            Ok(Some(text.trim().parse().with_context(|| format!("{} holds no version", path.display()))?))
        }
        Err(_) => Ok(None),
    }
}

/// The first line of postmaster.pid is the process, the eighth its state, as `pg_ctl --wait` reads them.
fn says_ready(pid_file: &str, pid: u32) -> bool {
    let mut lines = pid_file.lines();
    lines.next() == Some(&pid.to_string())
        && lines.nth(6).is_some_and(|state| matches!(state.trim(), "ready" | "standby"))
}

fn last_complaint(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let complaint = text.lines().rfind(|line| line.contains("FATAL:") || line.contains("PANIC:"));
    complaint.or(text.lines().next_back()).unwrap_or("it says nothing").to_owned()
}
