//! private files: keys in files that only this service may read, written whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// A key as it stands in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// In seconds since 1970.
    pub made_at: u64,
    /// Base64.
    pub key: String,
}

impl StoredKey {
    /// One that was made just now.
    pub fn new(key: &[u8]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { made_at: now.as_secs(), key: B64.encode(key) }
    }

    /// A new secret.
    pub fn new_secret() -> Result<Self> {
        Ok(Self::new(&random::<32>()?))
    }
}

/// What is said of a file that cannot be read; `make` is the command that makes one.
pub fn cannot_read(path: &Path, make: &str) -> String {
    format!("cannot read the key file {} (make one with `{make} {0}`)", path.display())
}

/// Reads a file that only this service may read.
pub fn read_private(path: &Path, make: &str) -> Result<String> {
    let mode = fs::metadata(path).with_context(|| cannot_read(path, make))?.mode();
    ensure!(mode & 0o007 == 0, "anybody may read the key file {} (chmod 600 it)", path.display());
    fs::read_to_string(path).with_context(|| cannot_read(path, make))
}

/// Random bytes, fit for secrets.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

/// Puts another content into a file, so that whoever reads it meanwhile reads the old one or the new.
pub fn replace(path: &Path, stored: &impl Serialize) -> Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    write_new(&beside, stored)?;
    fs::rename(&beside, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// Makes a file that only this service may read.
pub fn write_new(path: &Path, stored: &impl Serialize) -> Result<()> {
    let told = || format!("cannot make the key file {}", path.display());
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(told)?;
    file.write_all(serde_json::to_string_pretty(stored)?.as_bytes()).with_context(told)?;
    file.sync_all().with_context(told)
}
