//! access: tokens checked, whoever issued them: one road for all. What was checked is remembered until it ends; what failed
//! is never remembered, so nobody can fill the memory with rubbish.

use jsonwebtoken::{Algorithm, Validation};
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::issuers::IssuerConfig;
use super::key_set::KeySet;
use super::key_source::Source;
use super::principal::{OWN_MACHINE, Principal, Unproven, now};

/// Longest token that is looked at. Real ones have one or two thousand characters; a header may have 32 KiB.
const MAX_TOKEN: usize = 8 * 1024;
/// Tokens that are remembered, some 300 bytes each.
const REMEMBERED: usize = 50_000;
/// Signatures that are checked at once, beside what serves requests. A check is half as dear as an order: whoever sends thousands of
/// tokens that nobody knows waits for a turn, and nobody else waits for them.
const TURNS: usize = 1;
/// How far clocks may be apart.
const LEEWAY: u64 = 5;
/// Longest id: it is shown in histories and written beside orders.
const MAX_SUBJECT: usize = domain::limits::MAX_ID_CHARS;

/// An issuer and its keys.
#[derive(Debug)]
pub(crate) struct Issuer {
    config: IssuerConfig,
    pub(crate) keys: KeySet,
    /// Our own: its tokens are of one type alone, and name a session.
    own: bool,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, source: Source, at_most_every: std::time::Duration) -> Self {
        let own = matches!(source, Source::Own(_));
        let keys = KeySet::new(&config.issuer, source, at_most_every);
        Self { config, keys, own }
    }
}

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) issuers: Vec<Issuer>,
    checked: Cache<[u8; 32], Arc<Principal>>,
    turns: Arc<Semaphore>,
}

impl Access {
    pub(crate) fn new(issuers: Vec<Issuer>) -> Self {
        Self { issuers, checked: Cache::new(REMEMBERED), turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// Whose token it is. `unknown` is asked before a signature is checked.
    pub(crate) async fn check(
        &self,
        token: &str,
        unknown: impl FnOnce() -> Result<(), Unproven>,
    ) -> Result<Arc<Principal>, Unproven> {
        if token.len() > MAX_TOKEN {
            return Err(Unproven::Bad("the token is too long"));
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.checked.get(&hash) {
            if known.until > now() {
                return Ok(known);
            }
            self.checked.remove(&hash);
            return Err(Unproven::Bad("the token has expired"));
        }
        unknown()?;
        // Seldom, and in a place of its own: no other request has to have room for it.
        let principal = Arc::new(Box::pin(self.check_anew(token)).await?);
        self.checked.insert(hash, Arc::clone(&principal));
        Ok(principal)
    }

    async fn check_anew(&self, token: &str) -> Result<Principal, Unproven> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| BAD)?;
        // Not believed, only looked up: which issuer's keys must have signed it.
        let unproven: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| BAD)?;
        let named = unproven.get("iss").and_then(Value::as_str).ok_or(BAD)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer == named);
        let issuer = issuer.ok_or(Unproven::Bad("nobody here trusts the token's issuer"))?;
        if !issuer.config.algorithms.contains(&header.alg) {
            return Err(Unproven::Bad("the token is signed with an algorithm that is not taken"));
        }
        // `jku`, `x5u` and `jwk` are not looked at; what a token calls critical, we do not know.
        if header.crit.is_some() || !issuer.takes_type(header.typ.as_deref()) {
            return Err(Unproven::Bad("the token is of another kind"));
        }
        let issued_at = unproven.get("iat").and_then(Value::as_u64);
        let key = issuer.keys.find(header.kid.as_deref(), header.alg, issued_at).await?;
        let (token, rules) = (token.to_owned(), issuer.rules(key.algorithm));
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Unproven::CannotTell)?;
        let checked = spawn_blocking(move || {
            let claims = jsonwebtoken::decode::<Value>(&token, &key.key, &rules);
            drop(turn);
            claims
        });
        let claims = checked.await.map_err(|_| Unproven::CannotTell)?.map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            Unproven::Bad(match error.kind() {
                ErrorKind::ExpiredSignature => "the token has expired",
                ErrorKind::ImmatureSignature => "the token is not good yet",
                ErrorKind::InvalidAudience => "the token is for somebody else",
                _ => "the token is not good",
            })
        })?;
        // Whoever shows it would have to prove that they have a key, too (RFC 7800), and nobody asks them here.
        if claims.claims.get("cnf").is_some() {
            return Err(Unproven::Bad("the token is bound to a key; only bearer tokens are taken"));
        }
        issuer.principal(&claims.claims)
    }
}

const BAD: Unproven = Unproven::Bad("that is no token");
const NOBODY: Unproven = Unproven::Bad("the token names nobody");

impl Issuer {
    fn takes_type(&self, named: Option<&str>) -> bool {
        let is = |wanted: &str| named.is_some_and(|named| named.eq_ignore_ascii_case(wanted));
        if self.own {
            is("at+jwt")
        } else {
            named.is_none() || is("jwt") || is("at+jwt") || is("application/at+jwt")
        }
    }

    fn rules(&self, algorithm: Algorithm) -> Validation {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        rules.set_audience(&self.config.audiences);
        rules.set_issuer(&[&self.config.issuer]);
        rules
    }

    fn principal(&self, claims: &Value) -> Result<Principal, Unproven> {
        let rules = &self.config.claims;
        let subject = rules.subject(claims).filter(|subject| !subject.is_empty());
        let id = format!("{}{}", self.config.prefix, subject.ok_or(NOBODY)?);
        // Of two ids that look alike, one is a mask.
        if domain::problems::id_problem(&id, MAX_SUBJECT).is_some() || id.starts_with(OWN_MACHINE) {
            return Err(NOBODY);
        }
        let session = claims.get("sid").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
        if self.own && session.is_none() {
            return Err(BAD);
        }
        Ok(Principal {
            id,
            role: rules.role(claims).ok_or(Unproven::NoRole)?,
            locations: rules.locations(claims).into(),
            channels: rules.channels(claims),
            session: session.filter(|_| self.own),
            until: claims.get("exp").and_then(Value::as_u64).ok_or(BAD)?.saturating_add(LEEWAY),
        })
    }
}
