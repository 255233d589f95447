//! key set: the public keys of one issuer. Looked up in the background, again at once when a token names a key that is not
//! there (but not more often than every half minute, whoever sends what), and kept while the issuer is away.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;

use super::key_source::Source;
use super::principal::{Unproven, now};

/// Most keys of a set that are read: real ones have two or three.
const MAX_KEYS: usize = 100;

/// A key and the one algorithm that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, Key>,
    /// Keys without an id.
    nameless: Vec<Key>,
    /// When they were read, in seconds since 1970; 0: never.
    read_at: u64,
}

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) struct KeySet {
    issuer: String,
    source: Source,
    keys: RwLock<Arc<Keys>>,
    /// Held by whoever looks; when somebody last did because of an unknown key. Looks in the background do not count: a key
    /// that comes right after one is found at once.
    looked: Mutex<Option<Instant>>,
    at_most_every: Duration,
}

impl KeySet {
    pub(crate) fn new(issuer: &str, source: Source, at_most_every: Duration) -> Self {
        Self {
            issuer: issuer.to_owned(),
            source,
            keys: RwLock::default(),
            looked: Mutex::new(None),
            at_most_every,
        }
    }

    /// The key that a token names, or the one there is where it names none. `issued_at`: the token's own word for when it was
    /// made. If that is after our last look, its key may be newer than what we have, and nobody can tell for now.
    pub(crate) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        issued_at: Option<u64>,
    ) -> Result<Key, Unproven> {
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        if id.is_some_and(|id| self.keys().by_id.contains_key(id)) {
            return Err(Unproven::Bad("the token's key is for another algorithm"));
        }
        let well = self.look(|set| set.known(id, algorithm).is_some()).await;
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        let read_at = self.keys().read_at;
        let newer = issued_at.is_some_and(|at| at.saturating_add(1) >= read_at);
        if read_at == 0 || newer && !well {
            Err(Unproven::CannotTell)
        } else {
            Err(Unproven::Bad("no key of its issuer's made it"))
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let keys = self.keys();
        let found = match id {
            Some(id) => keys.by_id.get(id),
            None => {
                let mut all =
                    keys.by_id.values().chain(&keys.nameless).filter(|key| key.algorithm == algorithm);
                all.next().filter(|_| all.next().is_none())
            }
        };
        // The algorithm is the key's, never the token's choice.
        found.filter(|key| key.algorithm == algorithm).cloned()
    }

    /// Looks the keys up, if nobody does and nobody just did, and `found` does not say that it is there by now. Who comes
    /// meanwhile waits for that look. Says whether the set is fresh.
    async fn look(&self, found: impl Fn(&Self) -> bool) -> bool {
        let mut looked = self.looked.lock().await;
        if found(self) {
            return true;
        }
        if looked.is_some_and(|at| at.elapsed() < self.at_most_every) {
            return false;
        }
        let well = self.read().await;
        *looked = Some(Instant::now());
        well
    }

    /// The look in the background. Says whether it went well.
    pub(crate) async fn look_again(&self) -> bool {
        let _alone = self.looked.lock().await;
        self.read().await
    }

    async fn read(&self) -> bool {
        let outcome = match self.source.read().await {
            Ok(body) => parse(&body),
            Err(error) => Err(error),
        };
        let label = if outcome.is_ok() { "well" } else { "failed" };
        metrics::counter!("identity_key_looks_total", "outcome" => label).increment(1);
        match outcome {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                true
            }
            Err(error) => {
                let (issuer, error) = (&self.issuer, format!("{error:#}"));
                tracing::warn!(issuer, error, "cannot look up the keys of an issuer; those known stay good");
                false
            }
        }
    }
}

/// Reads a JWK set. What in it is not for us (another use, a type that we do not know, a secret that two sides share) is
/// passed over; a set in which nothing is for us is refused, for it would make every token bad.
fn parse(body: &[u8]) -> Result<Keys> {
    let set: Value = serde_json::from_slice(body).context("no JSON")?;
    let Some(list) = set.get("keys").and_then(Value::as_array) else { bail!("no JWK set: it has no keys") };
    ensure!(list.len() <= MAX_KEYS, "more than {MAX_KEYS} keys");
    let mut keys = Keys { read_at: now(), ..Keys::default() };
    for one in list {
        let Ok(jwk) = serde_json::from_value::<Jwk>(one.clone()) else { continue };
        let Some(key) = for_us(&jwk) else { continue };
        match jwk.common.key_id {
            Some(id) => {
                keys.by_id.insert(id, key);
            }
            None => keys.nameless.push(key),
        }
    }
    ensure!(!keys.by_id.is_empty() || !keys.nameless.is_empty(), "no key in it that we can use");
    Ok(keys)
}

fn for_us(jwk: &Jwk) -> Option<Key> {
    if matches!(jwk.common.public_key_use, Some(ref other) if *other != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(ok) if ok.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let named = match jwk.common.key_algorithm {
        None => Some(algorithm),
        Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(_) => None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (named == Some(algorithm)).then_some(Key { algorithm, key })
}
