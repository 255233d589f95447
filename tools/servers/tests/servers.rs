//! The promises of this crate, tried on the real servers: they answer, they come back after a kill, they live beside
//! each other, and nothing of them outlives its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use servers::{Postgres, PostgresSettings, RabbitMq, RabbitMqSettings};

/// How long anything may go on running after its owner was killed.
const NOTHING_LEFT_WITHIN: Duration = Duration::from_secs(10);

/// A server that is paused would have answered many times by now.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn postgres_is_durable_and_comes_back_after_a_kill_and_a_stop() {
    let mut postgres = Postgres::start(&PostgresSettings::temporary()).unwrap();
    let (home, port) = (postgres.dir().to_owned(), postgres.port());
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        assert_eq!(sql(&postgres, &format!("SHOW {setting}")), "on", "{setting}");
    }
    sql(&postgres, "CREATE TABLE t (n int)");
    sql(&postgres, "INSERT INTO t VALUES (1)");

    postgres.kill().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "still listens after a kill");
    postgres.restart().unwrap();
    sql(&postgres, "INSERT INTO t VALUES (2)");

    postgres.stop().unwrap();
    assert_eq!(postgres.pid(), None);
    postgres.restart().unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(sql(&postgres, "SELECT sum(n) FROM t"), "3");

    drop(postgres);
    assert!(!home.exists(), "the temporary home is still there");
}

#[test]
fn a_standby_takes_over_and_the_old_primary_follows_it() {
    let mut old = Postgres::start(&PostgresSettings::temporary()).unwrap();
    sql(&old, "CREATE TABLE t (n int)");
    let new = old.standby().unwrap();
    sql(&old, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    sql(&old, "SELECT pg_reload_conf()");
    assert_eq!(sql(&new, "SELECT pg_is_in_recovery()"), "t");
    sql(&old, "INSERT INTO t VALUES (1)");
    old.kill().unwrap();
    new.promote().unwrap();
    assert_eq!(sql(&new, "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(sql(&new, "SELECT sum(n) FROM t"), "1", "a commit that waited for the standby is there");

    let port = old.port();
    old.follow(&new).unwrap();
    assert_eq!(old.port(), port, "at the address that it had");
    assert_eq!(sql(&old, "SELECT pg_is_in_recovery()"), "t");
    // What waited for nobody before, waits for the one that follows now.
    sql(&new, "INSERT INTO t VALUES (2)");
    drop(new);
    old.promote().unwrap();
    assert_eq!(sql(&old, "SELECT sum(n) FROM t"), "3");
}

#[test]
fn a_paused_postgres_is_silent_until_resumed() {
    let postgres = Postgres::start(&PostgresSettings::temporary()).unwrap();
    postgres.pause();
    let mut stream = TcpStream::connect(("127.0.0.1", postgres.port())).unwrap();
    // "Do you speak TLS?" (80877103), to which the answer is one byte, N.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut answer = [0];
    assert!(stream.read_exact(&mut answer).is_err(), "answers though paused");
    postgres.resume();
    stream.set_read_timeout(Some(NOTHING_LEFT_WITHIN)).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
}

#[test]
fn two_of_each_live_side_by_side_and_a_broker_comes_back_after_a_kill() {
    let other_postgres = Postgres::start(&PostgresSettings::temporary()).unwrap();
    let postgres = Postgres::start(&PostgresSettings::temporary()).unwrap();
    assert_ne!(postgres.port(), other_postgres.port());
    assert_eq!(sql(&postgres, "SELECT 1"), sql(&other_postgres, "SELECT 1"));

    let other = thread::spawn(|| RabbitMq::start(&RabbitMqSettings::temporary()).unwrap());
    let mut rabbitmq = RabbitMq::start(&RabbitMqSettings::temporary()).unwrap();
    let other = other.join().unwrap();
    assert_ne!(rabbitmq.port(), other.port());
    assert!(greets(rabbitmq.port()) && greets(other.port()));

    rabbitmq.pause();
    assert!(!greets(rabbitmq.port()), "answers though paused");
    rabbitmq.resume();
    assert!(greets(rabbitmq.port()));

    let (home, port) = (rabbitmq.dir().to_owned(), rabbitmq.port());
    rabbitmq.kill().unwrap();
    assert!(!greets(port), "still answers after a kill");
    rabbitmq.restart().unwrap();
    assert_eq!(rabbitmq.port(), port);
    assert!(greets(port));
    drop(rabbitmq);
    assert!(!home.exists(), "the temporary home is still there");
}

#[test]
fn kept_data_survives_a_kill_of_the_owner_even_while_the_server_still_runs() {
    let home = Scratch::new();
    let keep = home.0.join("postgres");
    let keep = keep.to_str().unwrap();
    let settings = PostgresSettings::persistent(keep);

    let mut owner = Owner::start(&["--no-rabbitmq", "--keep", keep]);
    owner.kill();
    let postgres = Postgres::start(&settings).unwrap();
    sql(&postgres, "CREATE TABLE t (n int)");
    drop(postgres);

    // PostgreSQL's guard is killed as well, so that nobody ends the old server before the new owner comes.
    let mut owner = Owner::start(&["--no-rabbitmq", "--keep", keep]);
    let mut guards = children(owner.child.id());
    guards.retain(|&pid| {
        let line = command_line(pid);
        line.split_once("comanda-guard").is_some_and(|(_script, args)| args.contains(" INT "))
    });
    assert_eq!(guards.len(), 1);
    Command::new("kill").args(["-KILL", &guards[0].to_string()]).status().unwrap();
    owner.kill();
    let postgres = Postgres::start(&settings).unwrap();
    assert_eq!(sql(&postgres, "SELECT count(*) FROM t"), "0");
}

#[test]
fn nothing_is_left_after_a_kill_of_with_servers() {
    let mut owner = Owner::start(&[]);
    let mut processes = vec![owner.child.id()];
    while let Some(more) =
        processes.iter().flat_map(|&pid| children(pid)).find(|pid| !processes.contains(pid))
    {
        processes.push(more);
    }
    assert!(processes.len() > 10, "PostgreSQL, RabbitMQ, epmd, their children and guards: {processes:?}");
    let homes: Vec<PathBuf> = processes.iter().filter_map(|&pid| home_of(pid)).collect();
    assert!(homes.len() >= 2, "{homes:?}");

    owner.kill();
    let end = Instant::now() + NOTHING_LEFT_WITHIN;
    while processes.iter().any(|&pid| is_alive(pid)) || homes.iter().any(|home| home.exists()) {
        let left: Vec<String> =
            processes.iter().filter(|&&pid| is_alive(pid)).map(|&pid| command_line(pid)).collect();
        assert!(Instant::now() < end, "still there: {left:?}, {homes:?}");
        nap();
    }
}

#[test]
fn with_servers_forwards_signals_and_ends_as_its_command_does() {
    let with_servers = || Command::new(env!("CARGO_BIN_EXE_with-servers"));
    let status = with_servers().args(["--no-rabbitmq", "--", "sh", "-c", "exit 7"]).status().unwrap();
    assert_eq!(status.code(), Some(7));

    let mut owner = Owner::start(&["--no-rabbitmq"]);
    Command::new("kill").args(["-TERM", &owner.child.id().to_string()]).status().unwrap();
    assert_eq!(owner.child.wait().unwrap().code(), Some(128 + 15));
    assert!(!greets(owner.postgres_port), "PostgreSQL still listens");
}

#[test]
fn a_missing_server_is_one_line_with_the_remedy() {
    let settings = PostgresSettings { bin_dir: Some("/nowhere".into()), ..PostgresSettings::temporary() };
    let error = format!("{:#}", Postgres::start(&settings).unwrap_err());
    assert_eq!(error, "/nowhere holds no PostgreSQL server (postgres and initdb)");
}

/// A `with-servers` whose command only waits.
struct Owner {
    child: Child,
    postgres_port: u16,
}

impl Owner {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_with-servers"))
            .args(args)
            .args(["--", "sh", "-c", "echo $DATABASE_URL; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).unwrap().0;
        Self { child, postgres_port: port.parse().unwrap() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A directory that PostgreSQL's user may enter, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = PathBuf::from(format!("/var/tmp/servers-test-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a statement with the `psql` beside the server's programs.
fn sql(postgres: &Postgres, statement: &str) -> String {
    let output = Command::new(postgres.bin_dir().join("psql"))
        .args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement, &postgres.url("comanda")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether a broker answers AMQP's greeting.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.set_read_timeout(Some(SILENCE * 5)).unwrap();
    stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

fn children(pid: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(0));
            let child = numbers.next()?;
            (numbers.next()? == pid).then_some(child)
        })
        .collect()
}

fn command_line(pid: u32) -> String {
    let output = Command::new("ps").args(["-o", "stat=,args=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_alive(pid: u32) -> bool {
    let line = command_line(pid);
    !line.is_empty() && !line.starts_with('Z')
}

/// The private directory that a guard was told to remove.
fn home_of(pid: u32) -> Option<PathBuf> {
    let line = command_line(pid);
    let home = Path::new(line.split_whitespace().next_back()?);
    (line.contains("comanda-guard") && home.is_absolute()).then(|| home.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the processes looked at are not our children")]
fn nap() {
    thread::sleep(Duration::from_millis(50));
}
