//! Finding the servers' programs: a directory that is named, the PATH, then the places where packages put them.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// 15 is what Debian 12 has, 18 the newest that exists.
pub(crate) const POSTGRES_VERSIONS: std::ops::RangeInclusive<u32> = 15..=18;

/// Where packages put PostgreSQL's server programs; `*` is its major version.
const POSTGRES_PLACES: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
    "/usr/pgsql-*/bin",                                   // PostgreSQL's own RPMs
    "/usr/bin",                                           // Fedora, Arch
    "/usr/libexec/postgresql*",                           // Alpine
    "/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew, Apple processors
    "/usr/local/opt/postgresql@*/bin",                    // Homebrew, Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew, Linux
    "/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
    "/usr/local/pgsql/bin",                               // built by hand
];

/// Where packages put RabbitMQ's own scripts; `*` is its version. The `rabbitmq-server` on a Debian or Red Hat PATH is
/// none of them but a wrapper that changes the user, so the PATH comes last.
const RABBITMQ_PLACES: [&str; 6] = [
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", // Debian, Ubuntu, RPMs
    "/opt/rabbitmq/sbin",                           // the official container image
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
    "/usr/lib/rabbitmq/sbin", // Arch
];

/// The directory with `postgres` and `initdb`, of exactly this major version if data of it is there already.
pub(crate) fn postgres(named: Option<&Path>, version: Option<u32>) -> Result<PathBuf> {
    let accepted = |found: u32| version.map_or(POSTGRES_VERSIONS.contains(&found), |wanted| wanted == found);
    if let Some(dir) = named {
        return match postgres_in(dir) {
            Some((found, dir)) if accepted(found) => Ok(dir),
            Some((found, _)) => {
                bail!("{} holds PostgreSQL {found}, not {}", dir.display(), wanted_postgres(version))
            }
            None => bail!("{} holds no PostgreSQL server (postgres and initdb)", dir.display()),
        };
    }
    let places = path().into_iter().chain(POSTGRES_PLACES.iter().flat_map(|place| matching(place)));
    match places.filter_map(|dir| postgres_in(&dir)).find(|(found, _)| accepted(*found)) {
        Some((_, dir)) => Ok(dir),
        None => bail!(
            "no {} on this machine: run scripts/install-postgres, or name its programs in PG_BINDIR",
            wanted_postgres(version)
        ),
    }
}

/// RabbitMQ's `rabbitmq-server` script.
pub(crate) fn rabbitmq(named: Option<&Path>) -> Result<PathBuf> {
    let script = |dir: PathBuf| Some(dir.join("rabbitmq-server")).filter(|script| script.is_file());
    if let Some(dir) = named {
        let Some(script) = script(dir.to_owned()) else {
            bail!("{} holds no rabbitmq-server", dir.display());
        };
        return Ok(script);
    }
    let places = RABBITMQ_PLACES.iter().flat_map(|place| matching(place)).chain(path());
    match places.into_iter().find_map(script) {
        Some(script) => Ok(script),
        None => bail!("no RabbitMQ server on this machine: run scripts/install-rabbitmq"),
    }
}

/// Erlang's port mapper: on the PATH, or below the Erlang that the PATH leads to.
pub(crate) fn epmd() -> Result<PathBuf> {
    let on_path = path().into_iter().map(|dir| dir.join("epmd"));
    let below_erlang =
        ["/usr/lib/erlang/bin/epmd", "/usr/lib64/erlang/bin/epmd", "/usr/local/lib/erlang/bin/epmd"];
    match on_path.chain(below_erlang.map(PathBuf::from)).find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => bail!("no epmd on this machine (it is part of Erlang): run scripts/install-rabbitmq"),
    }
}

/// PgBouncer, on the PATH or where Debian puts it, which is on root's PATH alone.
pub(crate) fn pgbouncer() -> Result<PathBuf> {
    let places = path().into_iter().chain(["/usr/sbin".into(), "/usr/bin".into()]);
    match places.map(|dir| dir.join("pgbouncer")).find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => bail!("no PgBouncer on this machine: run scripts/install-pgbouncer"),
    }
}

fn wanted_postgres(version: Option<u32>) -> String {
    let (oldest, newest) = (POSTGRES_VERSIONS.start(), POSTGRES_VERSIONS.end());
    version.map_or(format!("PostgreSQL server {oldest} to {newest}"), |version| {
        format!("PostgreSQL server {version} (which made the data that is there)")
    })
}

/// The major version of the server in a directory, if there is one, and where its programs really are: on the PATH
/// there may be links to some of them only.
fn postgres_in(dir: &Path) -> Option<(u32, PathBuf)> {
    let dir = dir.join("postgres").canonicalize().ok()?.parent()?.to_owned();
    if !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some((leading_number(text.strip_prefix("postgres (PostgreSQL) ")?)?, dir))
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// PATH is no setting of ours but the machine's word on where its programs are.
fn path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// The directories that a place with at most one `*` stands for, the highest version first.
fn matching(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![PathBuf::from(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let mut found: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(parent)
        .map(|entries| entries.flatten().collect())
        .unwrap_or_else(|_| Vec::new())
        .into_iter()
        .filter_map(|entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.split('.').filter_map(leading_number).collect();
            Some((version, PathBuf::from(format!("{before}{}{after}", name.strip_prefix(prefix)?))))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(version.clone()));
    found.into_iter().map(|(_, dir)| dir).collect()
}
