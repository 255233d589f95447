//! Where a private server keeps everything it writes: data, log, passwords and the list of its processes.
//!
//! A home is held by a lock on a file in it, and the kernel drops that lock with its owner, however it ended. So a
//! temporary home that nobody holds is litter, and whoever makes the next one clears it away, with what still runs there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::process::Identity;
use crate::wait;

/// Whether a server's data is to stay.
#[derive(Clone, Debug)]
pub enum Home {
    /// A fresh directory, removed in the end. For tests.
    Temporary,
    /// This directory, made if missing and found again at the next start. For `make run`.
    Persistent(PathBuf),
}

/// On a disk, unlike /tmp, which may be memory: there fsync costs nothing, and every figure measured would be too good.
const TEMPORARY_HOMES: &str = "/var/tmp";

/// For the data of a clone that the server's user cannot reach, as below root's home. Not /var/tmp: many systems
/// remove what was not used there for 30 days, file by file.
const HOMES_OUT_OF_REACH: &str = "/var/lib/comanda";

/// An owner that was asked to end stops its server first; that takes a second or two.
const OTHER_OWNER_ENDS: Duration = Duration::from_secs(15);

/// For the owner alone; or for the server's user, too, to pass through to its data.
const PRIVATE: u32 = 0o700;
const PASSABLE: u32 = 0o711;

#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    temporary: bool,
    _lock: File,
}

impl Dir {
    /// Opens a home for a server of this kind (part of the directory's name) that runs as `user`. What still runs in it
    /// from an owner that was killed is ended as `signals` say.
    pub(crate) fn open(
        home: &Home,
        kind: &str,
        user: Option<&User>,
        signals: &[(Signal, Duration)],
    ) -> Result<Self> {
        match home {
            Home::Temporary => Self::temporary(kind, user, signals),
            Home::Persistent(path) => Self::persistent(path, user, signals),
        }
    }

    fn temporary(kind: &str, user: Option<&User>, signals: &[(Signal, Duration)]) -> Result<Self> {
        let root = Path::new(TEMPORARY_HOMES);
        let prefix = format!("comanda-{kind}-");
        clear_litter(root, &prefix, signals);
        // Locked under a name that nobody clears, and only then given the one that is looked for.
        let suffix = format!("{:08x}", rand::random::<u32>());
        let new = root.join(format!(".{prefix}{suffix}"));
        make(&new, if user.is_some() { PASSABLE } else { PRIVATE })?;
        let lock = lock(&new)?.context("somebody else holds a home just made")?;
        let path = root.join(format!("{prefix}{suffix}"));
        fs::rename(&new, &path).with_context(|| format!("cannot rename {}", new.display()))?;
        Ok(Self { path, temporary: true, _lock: lock })
    }

    fn persistent(wanted: &Path, user: Option<&User>, signals: &[(Signal, Duration)]) -> Result<Self> {
        make(wanted, if user.is_some() { PASSABLE } else { PRIVATE })?;
        let wanted = wanted.canonicalize()?;
        let path = match user {
            Some(user) if !can_enter(user, &wanted) => out_of_reach(&wanted, user)?,
            _ => wanted,
        };
        let mut held = lock(&path)?;
        if held.is_none() {
            eprintln!("comanda: waiting for the one that uses {} to end", path.display());
        }
        wait::until(OTHER_OWNER_ENDS, || {
            if held.is_none() {
                held = lock(&path).ok().flatten();
            }
            held.is_some()
        });
        let Some(lock) = held else {
            bail!("another Comanda uses {}: stop that one first", path.display());
        };
        end_leftovers(&path, signals);
        Ok(Self { path, temporary: false, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What the guard removes if we die.
    pub(crate) fn if_temporary(&self) -> Option<PathBuf> {
        self.temporary.then(|| self.path.clone())
    }

    /// Keeps a process in mind for `end_leftovers`.
    pub(crate) fn note(&self, pid: u32) -> Result<()> {
        let Some(identity) = Identity::of(pid) else {
            return Ok(());
        };
        let path = self.join("processes");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(file, "{identity}").with_context(|| format!("cannot write {}", path.display()))
    }

    /// The content of a small file, made up at first and the same ever after; for the owner's eyes alone.
    pub(crate) fn remembered(&self, name: &str, first: impl FnOnce() -> String) -> Result<String> {
        let path = self.join(name);
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok(text);
        }
        let text = first();
        self.write(name, &text)?;
        Ok(text)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.join(name);
        let _ = fs::remove_file(&path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A log that a server's output is appended to.
    pub(crate) fn log(&self) -> Result<(PathBuf, File)> {
        let path = self.join("log");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok((path, file))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.temporary {
            remove(&self.path);
        }
    }
}

/// 128 random bits in hexadecimal. No server of ours has a password that somebody could know beforehand: every user of
/// the machine can reach 127.0.0.1.
pub(crate) fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn make(path: &Path, mode: u32) -> Result<()> {
    let is_new = !path.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    if fs::symlink_metadata(path)?.uid() != geteuid().as_raw() {
        bail!("{} belongs to another user: remove it, or run as that user", path.display());
    }
    if is_new {
        // A strict umask may have taken the passage away.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The lock, or nothing if somebody holds it.
fn lock(home: &Path) -> Result<Option<File>> {
    let path = home.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

fn can_enter(user: &User, path: &Path) -> bool {
    let entered = Command::new("/bin/sh")
        .args(["-c", r#"cd "$0" 2>/dev/null"#])
        .arg(path)
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .status();
    entered.is_ok_and(|status| status.success())
}

fn out_of_reach(wanted: &Path, user: &User) -> Result<PathBuf> {
    let name = wanted.to_string_lossy().replace('/', "%");
    let path = Path::new(HOMES_OUT_OF_REACH).join(name);
    make(&path, PASSABLE)?;
    fs::set_permissions(HOMES_OUT_OF_REACH, Permissions::from_mode(PASSABLE))?;
    eprintln!(
        "comanda: user {} cannot enter {}: the data is kept in {}",
        user.name,
        wanted.display(),
        path.display()
    );
    Ok(path)
}

fn clear_litter(root: &Path, prefix: &str, signals: &[(Signal, Duration)]) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let homes = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    for path in homes.map(|entry| entry.path()) {
        // Whatever goes wrong here (another user's home, another cleaner) is not ours to report.
        if path.join("lock").exists()
            && let Ok(Some(_lock)) = lock(&path)
        {
            end_leftovers(&path, signals);
            remove(&path);
        }
    }
}

fn end_leftovers(home: &Path, signals: &[(Signal, Duration)]) {
    let list = home.join("processes");
    for line in fs::read_to_string(&list).unwrap_or_default().lines() {
        if let Some(process) = Identity::parse(line) {
            process.end(signals);
        }
    }
    let _ = fs::remove_file(list);
}

fn remove(home: &Path) {
    free_shared_memory(home);
    let _ = fs::remove_dir_all(home);
}

/// A PostgreSQL that was killed leaves a System V segment of 56 bytes, freed at its next start; here there is none,
/// and the kernel only has some thousands. Its number is the last word in the seventh line of postmaster.pid.
fn free_shared_memory(home: &Path) {
    let pid_file = fs::read_to_string(home.join("data/postmaster.pid")).unwrap_or_default();
    if let Some(id) = pid_file.lines().nth(6).and_then(|line| line.split_whitespace().last()) {
        let _ = Command::new("ipcrm").args(["-m", id]).output();
    }
}
