//! embedded: the issuer of our own. It signs access tokens that are good for minutes, and marks refresh tokens that name a
//! session and its generation (`store::accounts::sessions`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jsonwebtoken::Algorithm;
use serde::Serialize;
use serde_json::json;
use store::Database;
use store::accounts::sessions;
use store::session::Session;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::issuers::{ClaimRules, IssuerConfig};
use super::key_file::KeyFile;
use super::passwords::Passwords;
use super::principal::now;
use super::settings::IdentitySettings;
use crate::http::error::ApiError;

/// The embedded issuer.
#[derive(Debug)]
pub(crate) struct Embedded {
    keys: Arc<KeyFile>,
    name: String,
    access_life: Duration,
    session_life: Duration,
    pub(super) passwords: Passwords,
    /// What people ask of their accounts, one after the other: it is rare beside orders.
    pub(super) session: Mutex<Session>,
}

/// What a login gives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Tokens {
    /// To be shown with each request: `Authorization: Bearer <access_token>`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    #[schema(example = 600)]
    expires_in: u64,
    /// Gets the next pair of tokens, once. The one before still gets the same pair for ten seconds, in case the answer was
    /// lost; any older one ends the session.
    refresh_token: String,
}

const REFRESH_PREFIX: &str = "cmr";

impl Embedded {
    pub(super) fn new(keys: Arc<KeyFile>, settings: &IdentitySettings, database: &Database) -> Result<Self> {
        Ok(Self {
            keys,
            name: settings.identity_issuer.clone(),
            access_life: settings.access_token_life,
            session_life: Duration::from_secs(u64::from(settings.session_days) * 86_400),
            passwords: Passwords::new()?,
            session: Mutex::new(database.session()),
        })
    }

    pub(super) fn as_issuer(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.name.clone(),
            audiences: vec![self.name.clone()],
            algorithms: vec![Algorithm::ES256],
            keys: None,
            prefix: String::new(),
            claims: ClaimRules::default(),
        }
    }

    pub(super) fn look_at_keys(&self) -> Result<bool> {
        self.keys.look_again()
    }

    pub(super) fn public_keys(&self) -> String {
        self.keys.public_keys()
    }

    /// Begins a session for who knew the password of this hash; `None`: that is no longer theirs.
    pub(super) async fn log_in(&self, user_id: Uuid, hash: String) -> Result<Option<Tokens>, ApiError> {
        let input = (Uuid::now_v7(), user_id, hash, self.session_life);
        let begun = self
            .session
            .lock()
            .await
            .run(&input, |conn, (id, user_id, hash, life)| {
                Box::pin(sessions::begin(conn, *id, *user_id, hash, *life))
            })
            .await?;
        begun.map(|session| self.tokens(&session)).transpose()
    }

    /// The tokens of this generation of a session: the same refresh token each time.
    pub(super) fn tokens(&self, session: &sessions::Session) -> Result<Tokens, ApiError> {
        let issued = now();
        let claims = json!({
            "iss": self.name, "aud": self.name, "sub": session.user_id, "sid": session.id, "jti": Uuid::new_v4(),
            "iat": issued, "nbf": issued, "exp": issued + self.access_life.as_secs().max(1),
            "role": session.role.as_str(), "locations": session.locations,
        });
        let access_token =
            self.keys.sign(&claims).map_err(|error| ApiError::internal(&format!("{error:#}")))?;
        let named = format!("{REFRESH_PREFIX}_{}_{}", session.id.simple(), session.generation);
        Ok(Tokens {
            access_token,
            token_type: "Bearer",
            expires_in: self.access_life.as_secs().max(1),
            refresh_token: format!("{named}_{}", self.keys.mark(&named)),
        })
    }

    /// The session and the generation that a refresh token names; `None`: we never made it.
    pub(super) fn read_refresh_token(&self, token: &str) -> Option<(Uuid, i32)> {
        // Prefix, session, generation, mark; a mark may have a `_` of its own.
        let mut parts = token.splitn(4, '_');
        let (prefix, id, generation, mark) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let named = token.get(..token.len().checked_sub(mark.len() + 1)?)?;
        if prefix != REFRESH_PREFIX || !self.keys.is_marked(named, mark) {
            return None;
        }
        Some((Uuid::try_parse(id).ok()?, generation.parse().ok()?))
    }
}
