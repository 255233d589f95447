//! The people of the tests: whoever they are to be, by the word of an issuer whose key all tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use api::identity::Identity;
use api::identity::key_file::{self, KeyFile};
use api::identity::secrets;
use serde_json::{Value, json};
use store::Database;

/// Its `iss`.
const ISSUER: &str = "https://people.example.com/";

/// Its keys, made by whichever test comes first.
pub fn keys() -> Result<PathBuf> {
    once("comanda-tests.keys", |path| key_file::make(path).map(drop))
}

/// What its api seals secrets with.
pub fn secrets() -> Result<PathBuf> {
    once("comanda-tests.secrets", |path| secrets::make(path).map(drop))
}

/// The file that names it to an api.
pub fn issuers_file() -> Result<PathBuf> {
    named("comanda-tests.issuers", "")
}

/// The same for an api that has an issuer of its own beside it: there its people are `x-<subject>`.
pub fn issuers_file_beside_another() -> Result<PathBuf> {
    named("comanda-tests-beside.issuers", "x-")
}

fn named(file: &str, prefix: &str) -> Result<PathBuf> {
    let public = KeyFile::open(&keys()?)?.public_keys();
    let set = once("comanda-tests.jwks", |path| Ok(fs::write(path, &public)?))?;
    let issuers = json!([{"issuer": ISSUER, "audiences": ["comanda"], "algorithms": ["ES256"], "keys": set,
        "prefix": prefix}]);
    once(file, |path| Ok(fs::write(path, issuers.to_string())?))
}

/// A token of somebody, good for an hour.
pub fn token(subject: &str, role: &str) -> Result<String> {
    token_at(subject, role, &[])
}

/// The same, for somebody of these locations.
pub fn token_at(subject: &str, role: &str, locations: &[&str]) -> Result<String> {
    sign(json!({"sub": subject, "role": role, "locations": locations}))
}

/// The same, for somebody whose token ends in so many seconds, or did so many ago.
pub fn token_until(subject: &str, role: &str, seconds: i64) -> Result<String> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    sign(json!({"sub": subject, "role": role, "locations": [], "exp": now + seconds}))
}

/// A token of the machine that hands in a channel's orders.
pub fn of_channel(channel: &str) -> Result<String> {
    sign(json!({"sub": channel, "role": "service", "channels": [channel]}))
}

/// The same, of a machine of these locations.
pub fn of_channel_at(channel: &str, locations: &[&str]) -> Result<String> {
    sign(json!({"sub": channel, "role": "service", "channels": [channel], "locations": locations}))
}

fn sign(mut claims: Value) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    claims["iss"] = json!(ISSUER);
    claims["aud"] = json!("comanda");
    claims["iat"] = json!(now);
    if claims["exp"].is_null() {
        claims["exp"] = json!(now + 3600);
    }
    KeyFile::open(&keys()?)?.sign(&claims)
}

/// A manager's.
pub fn manager() -> Result<String> {
    token("max", "manager")
}

/// A file in the system's folder for such, whole or not there: who comes second uses the first one's.
fn once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(name);
    if !path.exists() {
        let own = path.with_extension(format!("{}-{name}", std::process::id()));
        make(&own)?;
        let _ = fs::hard_link(&own, &path);
        fs::remove_file(own)?;
    }
    Ok(path)
}

/// A token of `customer:<id>`, `staff:<name>`, `manager:<name>`, ..
pub fn of(who: &str) -> Result<String> {
    let (role, subject) = who.split_once(':').unwrap_or((who, "somebody"));
    token(subject, role)
}

/// What an api over this database knows of them.
pub fn identity(database: &Database) -> Result<Arc<Identity>> {
    let settings = crate::Options::new(crate::Via::InProcess).api.identity;
    Identity::open(&settings, database)
}
