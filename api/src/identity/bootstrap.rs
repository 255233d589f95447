//! bootstrap: what somebody with the database in their hands makes before anybody can log in.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use domain::person::Role;
use sqlx::PgConnection;
use store::Database;
use store::accounts::service_tokens::{self, ServiceToken};
use store::accounts::users::{self, By, Change, Changed, NewUser};
use time::OffsetDateTime;
use uuid::Uuid;

use super::followed::new_service_token;
use super::key_file::random;
use super::passwords::Passwords;

/// A machine that is to have a token.
#[derive(Debug)]
pub struct NewToken {
    /// The service's name.
    pub name: String,
    /// What it may do; no customer.
    pub role: Role,
    /// Through which channels it may order.
    pub channels: Vec<String>,
    /// At which locations it may act.
    pub locations: Vec<String>,
}

/// Makes a service token, and returns it.
pub async fn make_token(database: &Database, new: NewToken) -> Result<String> {
    let good = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    ensure!(
        (1..=50).contains(&new.name.len()) && new.name.bytes().all(good),
        "{}: a service's name has lower-case letters, digits, - and _",
        new.name
    );
    ensure!(new.role != Role::Customer, "a customer is no machine");
    let (id, token, secret_hash) = new_service_token()?;
    let NewToken { name, role, channels, locations } = new;
    let row = ServiceToken {
        id,
        name,
        role,
        channels: channels.iter().map(|channel| channel.to_lowercase()).collect(),
        locations,
        secret_hash,
        created_by: "command line".to_owned(),
        created_at: OffsetDateTime::UNIX_EPOCH,
        until: None,
        ended_at: None,
    };
    let mut conn = connect(database).await?;
    ensure!(service_tokens::insert(&mut conn, &row).await?, "too many service tokens are good: end some");
    Ok(token)
}

/// Makes a service token for whoever may read the file `path`: its owner alone. One that is there stays; says whether it made one.
pub async fn make_token_once(database: &Database, new: NewToken, path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    let told = || format!("cannot write {}", path.display());
    // Before the token is made: one that nobody could be told would be good for ever. And whole or not there.
    let beside = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let mut file = file.with_context(told)?;
    writeln!(file, "{}", make_token(database, new).await?).with_context(told)?;
    file.sync_all().with_context(told)?;
    fs::rename(&beside, path).with_context(told)?;
    Ok(true)
}

/// Makes somebody an administrator, and returns their new password.
pub async fn make_admin(database: &Database, email: &str) -> Result<String> {
    let mut conn = connect(database).await?;
    let email = email.trim().to_lowercase();
    if let Some((user, _)) = users::find(&mut conn, &By::Email(email.clone())).await? {
        let change = Change { role: Some(Role::Admin), active: Some(true), locations: None };
        let Changed::Done(_) = users::change(&mut conn, user.id, &change).await? else {
            bail!("{email} cannot be made an administrator")
        };
        let (password, hash) = new_password().await?;
        users::set_password(&mut conn, user.id, &hash, None).await?;
        return Ok(password);
    }
    let made = make_user(&mut conn, &email, Role::Admin).await?;
    made.with_context(|| format!("{email} is no e-mail address, or somebody was quicker"))
}

/// Makes somebody who is not there yet; `None`: they are. Returns their password.
pub async fn make_user_once(database: &Database, email: &str, role: Role) -> Result<Option<String>> {
    make_user(&mut connect(database).await?, email, role).await
}

async fn make_user(conn: &mut PgConnection, email: &str, role: Role) -> Result<Option<String>> {
    ensure!(email.contains('@') && !email.contains(char::is_whitespace), "{email} is no e-mail address");
    if users::find(conn, &By::Email(email.to_owned())).await?.is_some() {
        return Ok(None);
    }
    let (password, password_hash) = new_password().await?;
    let (id, email) = (Uuid::now_v7(), email.to_owned());
    let locations = vec!["main".to_owned()];
    let new = NewUser { id, email, name: None, phone: None, role, locations, password_hash };
    Ok(matches!(users::insert(conn, &new).await?, Changed::Done(_)).then_some(password))
}

async fn new_password() -> Result<(String, String)> {
    let password = B64.encode(random::<15>()?);
    let hash = Passwords::new()?.hash(password.clone()).await?;
    hash.ok().map(|hash| (password, hash)).context("a queue that nobody else is in is full")
}

async fn connect(database: &Database) -> Result<PgConnection> {
    database.connect().await.context("cannot reach the database")
}
