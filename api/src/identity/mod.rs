//! identity: who asks, and what they may do. Tokens of every issuer take one road (`access`); the embedded issuer is one of
//! them, with people of its own (`sign_in`, `users`). Machines have opaque tokens (`followed`, `machines`).

mod access;
mod account;
pub mod bootstrap;
pub(crate) mod caller;
mod crypto;
mod embedded;
pub(crate) mod followed;
mod guests;
mod issuers;
pub mod key_file;
mod key_set;
mod key_source;
pub(crate) mod lasting;
pub(crate) mod machines;
pub(crate) mod mail;
pub(crate) mod own;
mod passwords;
mod principal;
mod rate_limits;
pub(crate) mod sale_notices;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod signature;
pub(crate) mod users;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::request::Parts;
use runtime::secrets::Secrets;
use runtime::tasks::{Crew, Stop};
use store::Database;

use self::access::{Access, Issuer};
use self::embedded::Embedded;
use self::followed::{Followed, SERVICE_PREFIX};
use self::key_file::KeyFile;
use self::key_source::Source;
pub(crate) use self::principal::{Principal, Unproven};
use self::rate_limits::{RateLimits, TooFast};
pub use runtime::secrets;

pub use self::settings::{IdentitySettings, RateLimitSettings};
use crate::http::error::ApiError;

/// Everything that knows people.
#[derive(Debug)]
pub struct Identity {
    access: Access,
    followed: Followed,
    embedded: Option<Embedded>,
    /// Whoever shows no token may order, and read an order whose id they know.
    guests: bool,
    limits: RateLimits,
    secrets: Secrets,
    /// Between looks at the issuers' keys, and between those that failed.
    look_every: (Duration, Duration),
}

impl Identity {
    /// Reads the files. Where nobody's word would be taken, nobody could be let in: that is refused.
    pub fn open(settings: &IdentitySettings, database: &Database) -> Result<Arc<Self>> {
        crypto::install();
        let mut known = Vec::new();
        for config in settings.issuers_file.iter().map(issuers::read).collect::<Result<Vec<_>>>()?.concat() {
            let name = &config.issuer;
            ensure!(
                settings.identity_key_file.is_none() || !config.prefix.is_empty(),
                "ISSUERS_FILE: {name} needs a prefix, or its people could be taken for those of the embedded issuer"
            );
            ensure!(
                *name != settings.identity_issuer,
                "ISSUERS_FILE: {name} is the embedded issuer's own name"
            );
            let source = Source::parse(name, config.keys.as_deref());
            let source = source.with_context(|| format!("ISSUERS_FILE: issuer {name}"))?;
            known.push(Issuer::new(config, source, settings.keys_at_most_every()));
        }
        let embedded = match &settings.identity_key_file {
            None => None,
            Some(path) => {
                let keys = Arc::new(KeyFile::open(path)?);
                let embedded = Embedded::new(Arc::clone(&keys), settings, database)?;
                // A moment between looks at a file of our own is no burden.
                known.push(Issuer::new(embedded.as_issuer(), Source::Own(keys), Duration::from_secs(1)));
                Some(embedded)
            }
        };
        ensure!(
            !known.is_empty(),
            "nobody could log in: set IDENTITY_KEY_FILE (make one with `api keys make FILE`), or ISSUERS_FILE, or both"
        );
        let followed = Followed::new(database.session(), settings.access_token_life);
        let limits = RateLimits::new(&settings.rate_limits);
        let guests = settings.guests;
        let secrets = Secrets::open(settings.secrets_key_file.as_deref())?;
        let look_every = (settings.issuer_keys_every, settings.keys_at_most_every());
        Ok(Arc::new(Self {
            access: Access::new(known),
            followed,
            embedded,
            guests,
            limits,
            secrets,
            look_every,
        }))
    }

    /// Whether whoever shows no token is let in as a guest.
    pub(crate) fn lets_in_guests(&self, parts: &Parts) -> bool {
        self.guests && guests::meant_for_this_machine(parts)
    }

    /// That whoever shows no token does not ask too often.
    pub(crate) fn expect_patience(&self, parts: &Parts) -> Result<(), ApiError> {
        Ok(self.limits.unknown(&parts.headers, &parts.extensions)?)
    }

    /// What secrets are sealed with.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What runs beside the requests.
    pub(crate) fn start(self: &Arc<Self>, crew: &mut Crew, stop: &Stop) {
        // From the start, so that the first one is seen as one.
        metrics::counter!("identity_stolen_sessions_total").increment(0);
        for limit in rate_limits::NAMES {
            metrics::counter!("identity_too_fast_total", "limit" => limit).increment(0);
        }
        for outcome in ["well", "failed"] {
            metrics::counter!("identity_key_looks_total", "outcome" => outcome).increment(0);
        }
        let (this, until) = (Arc::clone(self), stop.clone());
        crew.spawn("identity", async move { this.followed.run(until).await });
        let (this, until) = (Arc::clone(self), stop.clone());
        crew.spawn("issuers' keys", async move { this.look_up_keys(until).await });
        let (this, until) = (Arc::clone(self), stop.clone());
        crew.spawn("rate limits", async move { this.limits.run(until).await });
        let (this, until) = (Arc::clone(self), stop.clone());
        crew.spawn("own keys", async move { this.watch_key_file(until).await });
    }

    /// The keys of every issuer, looked up again and again: often while there are none.
    async fn look_up_keys(&self, stop: Stop) -> Result<()> {
        while !stop.is_stopped() {
            let mut well = true;
            for issuer in &self.access.issuers {
                well &= issuer.keys.look_again().await;
            }
            let (when_well, when_not) = self.look_every;
            let pause = if well { when_well } else { when_not };
            stop.or_stopped(tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    async fn watch_key_file(&self, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            match self.embedded.as_ref().map_or(Ok(false), Embedded::look_at_keys) {
                Ok(false) => well = true,
                Ok(true) => {
                    well = true;
                    tracing::info!("the key file was read anew");
                    for issuer in &self.access.issuers {
                        issuer.keys.look_again().await;
                    }
                }
                Err(error) if std::mem::take(&mut well) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "cannot read the key file; the keys known stay good"
                    );
                }
                Err(_) => {}
            }
            stop.or_stopped(tokio::time::sleep(Duration::from_secs(1))).await;
        }
        Ok(())
    }

    /// Whose token it is. Before one is looked at that nobody has shown lately, `unknown` is asked: that is dear.
    pub(crate) async fn who(
        &self,
        token: &str,
        unknown: impl FnOnce() -> Result<(), TooFast>,
    ) -> Result<Arc<Principal>, Unproven> {
        let unknown = || unknown().map_err(Unproven::TooFast);
        if token.starts_with(SERVICE_PREFIX) {
            return self.followed.service(token, unknown).await;
        }
        let principal = self.access.check(token, unknown).await?;
        self.followed.allows(&principal)?;
        Ok(principal)
    }
}
