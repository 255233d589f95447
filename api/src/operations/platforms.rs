//! What a channel's settings say of telling its platform what becomes of its orders: where, and the secret that it is signed with,
//! which can be set and never read. It is an endpoint like any other (`/webhooks`), set together with its channel.

use domain::channel::dialect::Dialect;
use domain::channel::name::ChannelName;
use domain::channel::settings::{ChannelSettings, SECRET_CHARS};
use sqlx::{Connection, PgConnection};
use store::channels::{self, Channel};
use store::webhooks::{self, Webhook};

use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::identity::secrets::{Secrets, Unsealed, webhook as purpose_of};
use crate::webhooks::{MAX_URL, address};

/// Where a platform is told, and in what.
#[derive(Debug)]
pub(super) struct Back<S = String> {
    url: String,
    dialect: Dialect,
    /// `None`: as it was.
    secret: Option<S>,
}

/// The same as it is kept.
pub(super) type Sealed = Back<Vec<u8>>;

impl Back {
    /// What the settings say of it; `None`: it is told nothing.
    pub(super) fn read(fields: &mut Fields, dialect: Option<Dialect>) -> Option<Self> {
        let url = fields.optional_text("status_url", MAX_URL);
        let secret = fields.optional_text("status_secret", *SECRET_CHARS.end());
        if secret.as_ref().is_some_and(|secret| secret.chars().count() < *SECRET_CHARS.start()) {
            let detail = format!("must have {} characters or more", SECRET_CHARS.start());
            fields.add("status_secret", "too_short", detail);
        }
        let Some(url) = url else {
            if secret.is_some() {
                fields.add("status_url", "required", "is required together with a secret");
            }
            return None;
        };
        let url = address(fields, "status_url", url);
        let dialect = dialect?;
        if !dialect.tells_back() {
            fields.add("status_url", "not_told", format!("nothing can be told in the dialect {dialect}"));
        }
        Some(Self { url, dialect, secret })
    }

    /// The same with its secret sealed.
    pub(super) fn seal(self, secrets: &Secrets, channel: &ChannelName) -> Result<Sealed, ApiError> {
        let purpose = purpose_of("", Some(channel.as_str()));
        let secret = self.secret.map(|secret| secrets.seal(&purpose, &secret)).transpose();
        let secret = secret.map_err(|why| match why {
            Unsealed::NoKeys => ApiError::invalid_one("status_secret", "no_key", why.to_string()),
            _ => ApiError::internal(&why),
        })?;
        Ok(Back { url: self.url, dialect: self.dialect, secret })
    }
}

/// What is set for a channel, as it is kept: how it speaks, what it signs with, and where its platform is told.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) channel: ChannelName,
    pub(super) settings: ChannelSettings,
    /// `None`: as they were.
    pub(super) secrets: Option<Vec<Vec<u8>>>,
    pub(super) back: Option<Sealed>,
    pub(super) by: String,
}

/// Sets all of it at once; `None`: there is no secret that the platform could be told with.
pub(super) async fn set(
    conn: &mut PgConnection,
    set: &Set,
) -> sqlx::Result<Option<(Channel, Option<Webhook>)>> {
    let Set { channel, settings, secrets, back, by } = set;
    let mut tx = conn.begin().await?;
    // First, for it locks the channel's row.
    let row = channels::replace(&mut tx, channel, settings, secrets.as_deref(), by).await?;
    if let Some(Back { url, dialect, secret }) = back {
        if !webhooks::set_platform(&mut tx, channel, (url, *dialect), secret.as_deref(), by).await? {
            tx.rollback().await?;
            return Ok(None);
        }
    } else {
        webhooks::remove_platform(&mut tx, channel).await?;
    }
    let platform = webhooks::platform(&mut tx, channel).await?;
    tx.commit().await?;
    Ok(Some((row, platform)))
}

/// Nothing is set for it any more. Says whether something was.
pub(super) async fn remove(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let gone = channels::remove(&mut tx, channel).await?;
    webhooks::remove_platform(&mut tx, channel).await?;
    tx.commit().await?;
    Ok(gone)
}
