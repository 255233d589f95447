//! An issuer of the benchmark's own: keys of both common kinds, and any number of tokens made beforehand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as B64};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde_json::json;

/// Its `iss`.
const ISSUER: &str = "https://bench.example.com/";
/// Longer than all runs take.
const GOOD_FOR: u64 = 24 * 3600;
/// Checks that are timed.
const TIMED: u32 = 2_000;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    Es256,
    Rs256,
}

impl Signed {
    const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

pub(super) struct Mint {
    es256: EcdsaKeyPair,
    rs256: RsaKeyPair,
    random: SystemRandom,
}

impl Mint {
    pub(super) fn new() -> Result<Self> {
        let (random, fault) = (SystemRandom::new(), |_| anyhow!("no key"));
        let es256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(fault)?;
        let es256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, es256.as_ref(), &random)
            .map_err(|_| anyhow!("no key"))?;
        // ring makes none.
        let made = Command::new("openssl")
            .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .output()
            .context("openssl makes the RSA key: install it")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let text = String::from_utf8(made.stdout)?;
        let lines: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let rs256 = RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(lines)?)
            .map_err(|error| anyhow!("openssl's key: {error}"))?;
        Ok(Self { es256, rs256, random })
    }

    /// Writes its keys and the file that names it to an api; returns that.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let (keys, issuers) = (folder.join("bench.jwks"), folder.join("bench.issuers"));
        let (x, y) = self.es256.public_key().as_ref()[1..].split_at(32);
        let rsa: PublicKeyComponents<Vec<u8>> = self.rs256.public().into();
        let (n, e) = (B64.encode(rsa.n), B64.encode(rsa.e));
        let set = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": B64.encode(x), "y": B64.encode(y), "kid": "ES256", "use": "sig"},
            {"kty": "RSA", "n": n, "e": e, "kid": "RS256", "use": "sig"},
        ]});
        std::fs::write(&keys, set.to_string())?;
        let named = json!([{"issuer": ISSUER, "audiences": ["comanda"], "algorithms": ["ES256", "RS256"],
            "keys": keys.display().to_string(), "prefix": "bench:"}]);
        std::fs::write(&issuers, named.to_string())?;
        Ok(issuers)
    }

    /// So many tokens of as many services, all of one length.
    pub(super) fn tokens(&self, signed: Signed, count: u64) -> Result<Vec<String>> {
        (0..count)
            .map(|number| {
                let message = message(signed, number)?;
                Ok(format!("{message}.{}", B64.encode(self.sign(signed, message.as_bytes())?)))
            })
            .collect()
    }

    /// The same with signatures that nobody made.
    pub(super) fn forged(&self, count: u64) -> Result<Vec<String>> {
        (0..count)
            .map(|number| {
                let mut signature = [0; 64];
                self.random.fill(&mut signature).map_err(|_| anyhow!("no randomness"))?;
                Ok(format!("{}.{}", message(Signed::Es256, number)?, B64.encode(signature)))
            })
            .collect()
    }

    fn sign(&self, signed: Signed, message: &[u8]) -> Result<Vec<u8>> {
        let fault = |_| anyhow!("cannot sign");
        match signed {
            Signed::Es256 => Ok(self.es256.sign(&self.random, message).map_err(fault)?.as_ref().to_vec()),
            Signed::Rs256 => {
                let mut signature = vec![0; self.rs256.public().modulus_len()];
                self.rs256.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(fault)?;
                Ok(signature)
            }
        }
    }

    /// What one check of such a signature takes here, by the library that the api has.
    pub(super) fn time_of_check(&self, signed: Signed) -> Result<Duration> {
        let message = message(signed, 0)?;
        let signature = self.sign(signed, message.as_bytes())?;
        let (es256, rs256) = (self.es256.public_key().as_ref(), self.rs256.public().as_ref());
        let begun = Instant::now();
        for _ in 0..TIMED {
            match signed {
                Signed::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, es256)
                    .verify(message.as_bytes(), &signature),
                Signed::Rs256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rs256)
                    .verify(message.as_bytes(), &signature),
            }
            .map_err(|_| anyhow!("a signature of our own is not good"))?;
        }
        Ok(begun.elapsed() / TIMED)
    }
}

fn message(signed: Signed, number: u64) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = json!({"alg": signed.name(), "kid": signed.name(), "typ": "JWT"});
    let claims = json!({"iss": ISSUER, "aud": "comanda", "sub": format!("service_{number:07}"), "iat": now,
        "exp": now + GOOD_FOR, "role": "service"});
    Ok(format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Tokens;

    #[test]
    fn every_token_is_another_of_one_length() {
        let mint = Mint::new().unwrap();
        for signed in [Signed::Es256, Signed::Rs256] {
            let tokens = mint.tokens(signed, 12).unwrap();
            assert!(tokens.windows(2).all(|two| two[0] != two[1]));
            Tokens::new(tokens).unwrap();
            assert!(mint.time_of_check(signed).unwrap() > Duration::ZERO);
        }
        Tokens::new(mint.forged(12).unwrap()).unwrap();
    }
}
