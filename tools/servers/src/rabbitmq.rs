//! A private RabbitMQ node, with an Erlang port mapper (epmd) of its own, so that it meets no other node of the machine.
//! Works from 3.10 to 4.x.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::find;
use crate::guard::Watched;
use crate::home::{Dir, Home, random_password};
use crate::port;
use crate::process::Process;
use crate::tls::Tls;
use crate::wait;

/// The node's name need not differ from others': names are unique within an epmd, and ours knows this node only.
const NODE: &str = "comanda@localhost";

/// Five seconds usually, twice that with every core busy.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A broker that has the port answers a greeting at once.
const GREETING_TAKES: Duration = Duration::from_millis(500);

/// As in `postgres`: a port may be taken between finding and using it.
const TRIES_FOR_A_PORT: usize = 3;

/// An orderly stop closes queues first. Losing patience loses nothing: quorum queues fsync before they confirm.
const STOP: [(Signal, Duration); 1] = [(Signal::SIGTERM, Duration::from_secs(20))];

/// The port mapper has nothing to put in order.
const STOP_EPMD: [(Signal, Duration); 1] = [(Signal::SIGTERM, Duration::from_secs(1))];

/// What a private node is made of.
#[derive(Clone, Debug)]
pub struct RabbitMqSettings {
    /// Where its data is, and whether it stays.
    pub home: Home,
    /// The directory with RabbitMQ's own scripts (`sbin`); looked for if not given.
    pub sbin_dir: Option<PathBuf>,
    /// Plugins to run, as `rabbitmq_prometheus`. None by default: each makes the start longer, and those with a web
    /// page want a port, to be given in `config`.
    pub plugins: Vec<String>,
    /// More lines for `rabbitmq.conf`.
    pub config: String,
    /// Takes TLS, too, on a port of its own, and shows this certificate.
    pub tls: Option<Tls>,
}

impl RabbitMqSettings {
    /// A node for a test, gone in the end.
    #[must_use]
    pub fn temporary() -> Self {
        Self { home: Home::Temporary, sbin_dir: None, plugins: Vec::new(), config: String::new(), tls: None }
    }

    /// A node whose data stays in this directory.
    #[must_use]
    pub fn persistent(dir: impl Into<PathBuf>) -> Self {
        Self { home: Home::Persistent(dir.into()), ..Self::temporary() }
    }
}

/// A private RabbitMQ node. Stopped when dropped.
#[derive(Debug)]
pub struct RabbitMq {
    // Before the home, so that both end before their directory is removed.
    broker: Option<Process>,
    epmd: Option<Process>,
    home: Dir,
    script: PathBuf,
    password: String,
    port: u16,
    tls_port: Option<u16>,
}

impl RabbitMq {
    /// Starts a node and waits until it takes connections.
    ///
    /// # Errors
    /// If there is no server program, no place to write, or the server does not start; in one line, with the remedy.
    pub fn start(settings: &RabbitMqSettings) -> Result<Self> {
        let script = find::rabbitmq(settings.sbin_dir.as_deref())?;
        let home = Dir::open(&settings.home, "rabbitmq", None, &STOP)?;
        let password = home.remembered("password", random_password)?;
        let port = home.remembered("port", String::new)?.trim().parse().unwrap_or(0);
        let mut rabbitmq = Self { broker: None, epmd: None, home, script, password, port, tls_port: None };
        rabbitmq.start_on_a_free_port(settings)?;
        Ok(rabbitmq)
    }

    /// The URL of the default virtual host, with a user that may do everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://comanda:{}@127.0.0.1:{}/%2f", self.password, self.port)
    }

    /// The same by TLS, with the host under one of the names in its certificate; none if it takes none.
    #[must_use]
    pub fn tls_url(&self, host: &str) -> Option<String> {
        self.tls_port.map(|port| format!("amqps://comanda:{}@{host}:{port}/%2f", self.password))
    }

    /// The port on 127.0.0.1; the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker's process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.broker.as_ref().map(Process::pid)
    }

    /// Where everything is kept; the broker's log is the file `log` in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Stops it in good order, or kills it if that takes too long.
    ///
    /// # Errors
    /// If a process survives even SIGKILL.
    pub fn stop(&mut self) -> Result<()> {
        self.broker.take().map_or(Ok(()), |broker| broker.end(&STOP))?;
        self.epmd.take().map_or(Ok(()), |epmd| epmd.end(&STOP_EPMD))
    }

    /// Kills it, as a power cut would. What it confirmed for quorum queues is there after [`restart`](Self::restart).
    ///
    /// # Errors
    /// If a process survives SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.broker.take().map_or(Ok(()), Process::kill)?;
        self.epmd.take().map_or(Ok(()), Process::kill)
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
        self.broker.iter().for_each(Process::pause);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.broker.iter().for_each(Process::resume);
    }

    fn start_on_a_free_port(&mut self, settings: &RabbitMqSettings) -> Result<()> {
        for tries_left in (0..TRIES_FOR_A_PORT).rev() {
            if self.port == 0 || !port::is_free(self.port) {
                self.port = port::free()?;
                self.home.write("port", &self.port.to_string())?;
            }
            self.tls_port = settings.tls.as_ref().map(|_| port::free()).transpose()?;
            self.configure(settings)?;
            match self.run() {
                Err(_) if tries_left > 0 && self.ports().any(|port| !port::is_free(port)) => {}
                result => return result,
            }
        }
        unreachable!("the last try returns")
    }

    fn ports(&self) -> impl Iterator<Item = u16> {
        [self.port].into_iter().chain(self.tls_port)
    }

    fn configure(&self, settings: &RabbitMqSettings) -> Result<()> {
        let Self { port, password, .. } = self;
        self.home.write("enabled_plugins", &format!("[{}].\n", settings.plugins.join(",")))?;
        // Sourced by RabbitMQ's scripts instead of the one in /etc.
        self.home.write("rabbitmq-env.conf", "")?;
        self.home.write("advanced.config", "[].\n")?;
        self.home.write(
            "rabbitmq.conf",
            &format!(
                "listeners.tcp.local = 127.0.0.1:{port}\n\
                 # Not guest/guest, though it may only log in from this machine: so may everybody on it.\n\
                 default_user = comanda\n\
                 default_pass = {password}\n\
                 # The default is a share of the whole machine's memory, as if the broker had it to itself.\n\
                 vm_memory_high_watermark.absolute = 1GB\n\
                 # Quorum queues keep up to this much in memory before they write segments; the default is 512 MB.\n\
                 raft.wal_max_size_bytes = 67108864\n\
                 {}\n\
                 {}\n",
                self.listen_by_tls(settings)?,
                settings.config
            ),
        )?;
        Ok(())
    }

    fn listen_by_tls(&self, settings: &RabbitMqSettings) -> Result<String> {
        let (Some(tls), Some(port)) = (&settings.tls, self.tls_port) else { return Ok(String::new()) };
        let certificate = self.home.write("server.crt", &tls.certificate)?;
        let key = self.home.write("server.key", &tls.key)?;
        Ok(format!(
            "listeners.ssl.local = 127.0.0.1:{port}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}",
            certificate.display(),
            key.display()
        ))
    }

    fn run(&mut self) -> Result<()> {
        let epmd_port = port::free()?;
        let (log_path, log) = self.home.log()?;
        let mut epmd = Command::new(find::epmd()?);
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?);
        let end_epmd = Watched { signal: Signal::SIGTERM, grace: STOP_EPMD[0].1, directory: None };
        let epmd = Process::spawn(&mut epmd, &end_epmd)?;
        self.home.note(epmd.pid())?;
        self.epmd = Some(epmd);

        let mut broker = self.broker_command(epmd_port, port::free()?);
        broker.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut broker = Process::spawn(&mut broker, &self.if_we_die())?;
        self.home.note(broker.pid())?;
        let mut ended = None;
        let is_ready = wait::until(READY_WITHIN, || {
            ended = broker.exited();
            ended.is_some() || greets(self.port)
        });
        if ended.is_none() && is_ready {
            self.broker = Some(broker);
            return Ok(());
        }
        broker.end(&STOP)?;
        self.stop()?;
        bail!("RabbitMQ does not start: {}; see {}", last_complaint(&log_path), log_path.display())
    }

    fn if_we_die(&self) -> Watched {
        match self.home.if_temporary() {
            Some(directory) => {
                Watched { signal: Signal::SIGKILL, grace: Duration::ZERO, directory: Some(directory) }
            }
            None => Watched { signal: STOP[0].0, grace: STOP[0].1, directory: None },
        }
    }

    /// With nothing of the caller's environment but the PATH, on which RabbitMQ's scripts look for Erlang.
    fn broker_command(&self, epmd_port: u16, distribution_port: u16) -> Command {
        let file = |name| self.home.join(name);
        let mut command = Command::new(&self.script);
        command
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            // Erlang keeps the cookie here, with which nodes know each other.
            .env("HOME", self.home.path())
            .env("ERL_EPMD_PORT", epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution_port.to_string())
            // Idle schedulers sleep at once instead of spinning for a while, which would take from the neighbours what
            // it saves the broker.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
            )
            // With input "allowed" the script becomes the broker instead of waiting for it as a child, so that our
            // signals reach the broker itself; the second makes it leave the input alone all the same.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_PLUGINS_EXPAND_DIR", file("plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_MNESIA_DIR", file("data/node"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", file("feature_flags"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env("RABBITMQ_LOG_BASE", self.home.path())
            .env("RABBITMQ_LOGS", "-");
        command
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Nobody wants a temporary node's queues in good order.
        let _ = if self.home.if_temporary().is_some() { self.kill() } else { self.stop() };
    }
}

/// Whether a broker answers AMQP 0-9-1's greeting with a method frame (type 1), which is its Connection.Start.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, GREETING_TAKES) else {
        return false;
    };
    let mut answer = [0];
    stream.set_read_timeout(Some(GREETING_TAKES)).is_ok()
        && stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == [1]
}

fn last_complaint(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let complaint = text
        .lines()
        .rfind(|line| line.contains("[error]") && line.trim_end().len() > "[error] <0.0.0>".len() + 40);
    complaint.or(text.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("it says nothing").to_owned()
}
