//! Who can log in to a first look, and what they can order: a manager and a customer with passwords made at the first start, a manager's token for the
//! kitchen's commands; and guests, as long as only this machine can reach the api.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use api::config::ApiSettings;
use api::identity::bootstrap::{NewToken, make_token_once, make_user_once};
use api::identity::{Identity, key_file, secrets};
use api::seed::seed;
use domain::person::Role;
use store::Database;

/// Where what they need was written.
pub(crate) struct People {
    pub(crate) manager_token: PathBuf,
    pub(crate) passwords: PathBuf,
}

/// Makes keys and people where there are none yet.
pub(crate) async fn open(
    settings: &mut ApiSettings,
    api_addr: SocketAddr,
    data_dir: &Path,
    database: &Database,
) -> Result<(Arc<Identity>, People)> {
    fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let keys = settings.identity.identity_key_file.get_or_insert_with(|| data_dir.join("identity.keys"));
    key_file::make(keys)?;
    let sealing = settings.identity.secrets_key_file.get_or_insert_with(|| data_dir.join("secrets.keys"));
    secrets::make(sealing)?;
    settings.identity.guests = api_addr.ip().is_loopback();
    let people =
        People { manager_token: data_dir.join("manager.token"), passwords: data_dir.join("passwords") };
    let mut new_database = false;
    for (email, role) in [("manager@example.com", Role::Manager), ("customer@example.com", Role::Customer)] {
        if let Some(password) = make_user_once(database, email, role).await? {
            write_below(&people.passwords, &format!("{email} {password}"))?;
            new_database = true;
        }
    }
    // Another database than the last time does not know the last one's token.
    if new_database && people.manager_token.exists() {
        fs::remove_file(&people.manager_token)?;
    }
    if new_database {
        for (email, password) in seed(database).await?.into_iter().flatten() {
            write_below(&people.passwords, &format!("{email} {password}"))?;
        }
    }
    let (name, role) = ("first-look".to_owned(), Role::Manager);
    let new = NewToken { name, role, channels: Vec::new(), locations: Vec::new() };
    make_token_once(database, new, &people.manager_token).await?;
    Ok((Identity::open(&settings.identity, database)?, people))
}

/// Writes a line to a file that nobody else may read, below what stands there.
fn write_below(path: &Path, line: &str) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.with_context(|| format!("cannot write {}", path.display()))
}
