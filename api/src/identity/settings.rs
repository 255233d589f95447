//! Whose word is taken, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

/// Whose word is taken.
#[derive(Debug, Clone, Args)]
pub struct IdentitySettings {
    /// A file that lists the issuers whose tokens are taken (docs/operations.md, People)
    #[arg(long, env = "ISSUERS_FILE", value_name = "FILE")]
    pub issuers_file: Option<PathBuf>,
    /// How often the keys of other issuers are looked up, in seconds. Where a token names a key that is not known, or a look
    /// failed: at most ten times as often
    #[arg(long, env = "ISSUER_KEYS_SECONDS", default_value = "300", value_parser = runtime::config::seconds)]
    pub issuer_keys_every: Duration,
    /// The embedded issuer's keys, made by `api keys make FILE`. Without it there is no embedded issuer
    #[arg(long, env = "IDENTITY_KEY_FILE", value_name = "FILE")]
    pub identity_key_file: Option<PathBuf>,
    /// The keys that channels' secrets are sealed with, made by `api secrets make FILE`; the same file for every api. Without
    /// it no channel can have a secret
    #[arg(long, env = "SECRETS_KEY_FILE", value_name = "FILE")]
    pub secrets_key_file: Option<PathBuf>,
    /// The embedded issuer's name: `iss` and `aud` of its tokens
    #[arg(long, env = "IDENTITY_ISSUER", default_value = "comanda")]
    pub identity_issuer: String,
    /// How long an access token of the embedded issuer is good, in seconds
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value = "600", value_parser = runtime::config::seconds)]
    pub access_token_life: Duration,
    /// How long somebody stays logged in at most, in days
    #[arg(long, env = "SESSION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub session_days: u16,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub rate_limits: RateLimitSettings,
    /// Whether somebody without a token may place an order, and read it by its id. For a first look, on loopback: only
    /// `standalone` sets it
    #[arg(skip)]
    pub guests: bool,
}

impl IdentitySettings {
    /// Between looks because of unknown keys, whoever sends what, and between looks that failed.
    pub(crate) fn keys_at_most_every(&self) -> Duration {
        self.issuer_keys_every / 10
    }
}

/// How fast who may ask. 0: as fast as they can.
#[derive(Debug, Clone, Args)]
pub struct RateLimitSettings {
    /// Requests a second of one customer; five seconds' worth may come at once. 0: no limit
    #[arg(long, env = "RATE_LIMIT_CUSTOMER", default_value_t = 20)]
    pub rate_limit_customer: u32,
    /// The same of anybody else who is known: staff, managers, machines
    #[arg(long, env = "RATE_LIMIT_STAFF", default_value_t = 0)]
    pub rate_limit_staff: u32,
    /// Requests a second from one address (IPv6: one /64) that show no token, or one that was not checked before; five
    /// seconds' worth may come at once. 0: no limit
    #[arg(long, env = "RATE_LIMIT_ADDRESS", default_value_t = 200)]
    pub rate_limit_address: u32,
    /// Requests a minute from one address to register, log in, stay logged in, and change a password; a minute's worth may come at once. 0:
    /// no limit
    #[arg(long, env = "RATE_LIMIT_LOG_IN", default_value_t = 60)]
    pub rate_limit_log_in: u32,
    /// Networks of the proxies in front, with commas between (10.0.0.0/8): what they say in X-Forwarded-For is believed.
    /// Without it the proxy's own address counts for all that come through it
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
}
