//! Whose word is taken, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::rate_limits::RateLimitSettings;

/// Whose word is taken.
#[derive(Debug, Clone, Args)]
pub struct IdentitySettings {
    /// A file that lists the issuers whose tokens are taken (docs/operations.md, People)
    #[arg(long, env = "ISSUERS_FILE", value_name = "FILE")]
    pub issuers_file: Option<PathBuf>,
    /// The embedded issuer's keys, made by `api keys make FILE`. Without it there is no embedded issuer
    #[arg(long, env = "IDENTITY_KEY_FILE", value_name = "FILE")]
    pub identity_key_file: Option<PathBuf>,
    /// The embedded issuer's name: `iss` and `aud` of its tokens
    #[arg(long, env = "IDENTITY_ISSUER", default_value = "comanda")]
    pub identity_issuer: String,
    /// How long an access token of the embedded issuer is good, in seconds
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value = "600", value_parser = runtime::config::seconds)]
    pub access_token_life: Duration,
    /// How long somebody stays logged in at most, in days
    #[arg(long, env = "SESSION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub session_days: u16,
    /// Let whoever shows no token do everything with orders, as when somebody in front has let them in: for tests and load
    /// tests. People and service tokens stay for admins
    #[arg(long, env = "LET_EVERYBODY_IN", value_parser = BoolishValueParser::new())]
    pub let_everybody_in: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub rate_limits: RateLimitSettings,
    /// Whether somebody without a token may place an order, and read it by its id. For a first look, on loopback: only
    /// `standalone` sets it
    #[arg(skip)]
    pub guests: bool,
}
