//! An issuer of the tests' own, which can also make every kind of bad token.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// Signs whatever it is told to.
pub(super) struct Mint {
    es256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    folder: tempfile::TempDir,
}

/// Its `iss`.
pub(super) const ISSUER: &str = "https://login.example.com/";

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a good token says.
pub(super) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "comanda", "sub": "maria", "exp": now() + 60, "iat": now(), "role": "customer"})
}

impl Mint {
    pub(super) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let fault = |_| anyhow!("no key");
        let es256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(fault)?;
        let es256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, es256.as_ref(), &random)
            .map_err(|_| anyhow!("no key"))?;
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).map_err(fault)?;
        let ed25519 = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).map_err(|_| anyhow!("no key"))?;
        Ok(Self { es256, ed25519, folder: tempfile::tempdir()? })
    }

    /// The ES256 key's point.
    pub(super) fn point(&self) -> &[u8] {
        self.es256.public_key().as_ref()
    }

    /// Its JWK set, with the keys named `es` and `ed`.
    pub(super) fn key_set(&self) -> Value {
        let (x, y) = self.point()[1..].split_at(32);
        let ed = B64.encode(self.ed25519.public_key());
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": B64.encode(x), "y": B64.encode(y), "kid": "es", "use": "sig"},
            {"kty": "OKP", "crv": "Ed25519", "x": ed, "kid": "ed", "alg": "EdDSA"},
            {"kty": "oct", "k": B64.encode("a secret that two sides share"), "kid": "oct", "alg": "HS256"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "enc", "use": "enc"},
            {"kty": "new", "kid": "new"},
        ]})
    }

    pub(super) fn key_file(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// Writes the key set, and the file that names this issuer.
    pub(super) fn write(&self) -> Result<PathBuf> {
        std::fs::write(self.key_file(), self.key_set().to_string())?;
        self.write_issuer(&self.key_file().display().to_string())
    }

    /// Writes the file that names this issuer, with its keys elsewhere.
    pub(super) fn write_issuer(&self, keys: &str) -> Result<PathBuf> {
        let path: &Path = self.folder.path();
        let path = path.join("issuers.json");
        let issuers = json!([{"issuer": ISSUER, "audiences": ["comanda"], "algorithms": ["ES256", "EdDSA"],
            "keys": keys, "prefix": "ex:"}]);
        std::fs::write(&path, issuers.to_string())?;
        Ok(path)
    }

    /// A good token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "kid": "es"}), claims)
    }

    /// A token with this header, signed by the key for its `alg` where there is one: with ES256 where not.
    pub(super) fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
            Some("none") => Vec::new(),
            // The public key as if it were a shared secret.
            Some("HS256") => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.point()), message.as_bytes())
                .as_ref()
                .to_vec(),
            _ => {
                let signed = self.es256.sign(&SystemRandom::new(), message.as_bytes());
                signed.map(|signature| signature.as_ref().to_vec()).unwrap_or_default()
            }
        };
        format!("{message}.{}", B64.encode(signature))
    }
}
