//! key file: what the embedded issuer signs with, and what secrets are made with, in one file that only this service may
//! read. The newest key signs once every api has had time to read the file; older ones stay to check what they signed. So
//! `keys rotate` logs nobody out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use jsonwebtoken::EncodingKey;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
pub(crate) use runtime::private_file::random;
use runtime::private_file::{StoredKey, cannot_read, read_private, replace, write_new};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::principal::now;

/// How long a new key is only published before it signs: every api looks at the file each second or so.
const PUBLISHED_FIRST: u64 = 10;
/// Keys that are kept: the newest, and two that checked what is still about.
const KEPT: usize = 3;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Newest first.
    signing: Vec<StoredKey>,
    /// Newest first: the first makes, all check.
    secrets: Vec<StoredKey>,
}

/// What is known of it.
struct Keys {
    signing: Vec<SigningKey>,
    secrets: Vec<hmac::Key>,
    /// The JWK set.
    public: String,
}

/// A key that can sign.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) key: EncodingKey,
    made_at: u64,
}

/// The file, and what was last read of it.
pub struct KeyFile {
    path: PathBuf,
    keys: RwLock<(Stamp, Arc<Keys>)>,
}

/// Which state of the file was read.
type Stamp = (Option<SystemTime>, u64, u64);

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyFile").field(&self.path).finish()
    }
}

impl KeyFile {
    /// Reads it.
    pub fn open(path: &Path) -> Result<Self> {
        super::crypto::install();
        let read = load(path)?;
        Ok(Self { path: path.to_owned(), keys: RwLock::new(read) })
    }

    /// Reads it again where it is another by now. Says whether it was.
    pub(crate) fn look_again(&self) -> Result<bool> {
        let stamp = stamp(&self.path)?;
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).0 == stamp {
            return Ok(false);
        }
        let read = load(&self.path)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(true)
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Signs with the newest key that everybody knows.
    pub fn sign<C: Serialize>(&self, claims: &C) -> Result<String> {
        let keys = self.keys();
        let known = keys.signing.iter().find(|key| key.made_at.saturating_add(PUBLISHED_FIRST) <= now());
        let key = known.or(keys.signing.last()).context("the key file has no key")?;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(key.id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &key.key)?)
    }

    /// The public halves, as a JWK set.
    pub fn public_keys(&self) -> String {
        self.keys().public.clone()
    }

    /// A mark under a text that only this file's holders can make.
    pub(crate) fn mark(&self, text: &str) -> String {
        let keys = self.keys();
        B64.encode(hmac::sign(&keys.secrets[0], text.as_bytes()).as_ref())
    }

    /// Whether a mark is one.
    pub(crate) fn is_marked(&self, text: &str, mark: &str) -> bool {
        let Ok(mark) = B64.decode(mark) else { return false };
        self.keys().secrets.iter().any(|secret| hmac::verify(secret, text.as_bytes(), &mark).is_ok())
    }
}

fn stamp(path: &Path) -> Result<Stamp> {
    let meta = fs::metadata(path).with_context(|| cannot_read(path, MAKE))?;
    Ok((meta.modified().ok(), meta.len(), meta.ino()))
}

/// The command that makes this file.
const MAKE: &str = "api keys make";

fn load(path: &Path) -> Result<(Stamp, Arc<Keys>)> {
    let stamp = stamp(path)?;
    let text = read_private(path, MAKE)?;
    let stored: Stored = serde_json::from_str(&text)
        .map_err(|_| anyhow::anyhow!("{} is no key file, or a broken one", path.display()))?;
    Ok((stamp, Arc::new(Keys::of(&stored).with_context(|| format!("in the key file {}", path.display()))?)))
}

impl Keys {
    fn of(stored: &Stored) -> Result<Self> {
        let mut signing = Vec::new();
        let mut public = Vec::new();
        for one in &stored.signing {
            let pkcs8 = B64.decode(&one.key).context("a key is not base64")?;
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new());
            let Ok(pair) = pair else { bail!("a key is no P-256 key") };
            // 4, x, y.
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            let (x, y) = (B64.encode(x), B64.encode(y));
            // RFC 7638: the members that make the key, in this order.
            let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
            let id = B64.encode(Sha256::digest(members));
            public.push(
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "use": "sig", "alg": "ES256"}),
            );
            signing.push(SigningKey { id, key: EncodingKey::from_ec_der(&pkcs8), made_at: one.made_at });
        }
        let mut secrets = Vec::new();
        for one in &stored.secrets {
            let key = B64.decode(&one.key).ok().filter(|key| key.len() == 32);
            secrets
                .push(hmac::Key::new(hmac::HMAC_SHA256, &key.context("a secret is not 32 bytes in base64")?));
        }
        ensure!(!signing.is_empty() && !secrets.is_empty(), "there must be a key and a secret");
        Ok(Self { signing, secrets, public: json!({"keys": public}).to_string() })
    }
}

fn new_key() -> Result<StoredKey> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pkcs8 = pkcs8.map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(StoredKey::new(pkcs8.as_ref()))
}

/// Makes a key file, and says whether it did; one that is there stays.
pub fn make(path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    let stored = Stored { signing: vec![new_key()?], secrets: vec![StoredKey::new_secret()?] };
    write_new(path, &stored).map(|()| true)
}

/// Puts a new key and a new secret into a key file; they are used within seconds, and nobody is logged out.
pub fn rotate(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| cannot_read(path, MAKE))?;
    let mut stored: Stored = serde_json::from_str(&text)
        .map_err(|_| anyhow::anyhow!("{} is no key file, or a broken one", path.display()))?;
    stored.signing.insert(0, new_key()?);
    stored.signing.truncate(KEPT);
    stored.secrets.insert(0, StoredKey::new_secret()?);
    stored.secrets.truncate(KEPT);
    replace(path, &stored)
}
