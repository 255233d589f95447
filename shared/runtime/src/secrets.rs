//! secrets: those that must be read again, such as the one that a channel signs with, are sealed before they are stored. The
//! keys stand in a file of their own: the newest seals, all open. So a key is replaced without a moment in which nothing can
//! be opened: `secrets rotate`, then `secrets reseal`.
//!
//! AES-256-GCM of `ring`, which is here for TLS anyhow. What is sealed is bound to what it is for: copied into another
//! channel's row, it opens nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::private_file::{StoredKey, random, read_private, replace, write_new};

/// The first byte of what is sealed: how it is.
const FORM: u8 = 1;
/// How many bytes name a key.
const ID: usize = 4;
/// Keys that a file may have: who rotates more often is to reseal first.
const MAX_KEYS: usize = 8;
/// Keys that are kept when all was sealed anew: the newest, and the one that somebody may just have sealed with.
const KEPT: usize = 2;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Newest first.
    sealing: Vec<StoredKey>,
}

struct Key {
    id: [u8; ID],
    key: LessSafeKey,
}

/// The keys that secrets are sealed with.
pub struct Secrets {
    /// `None`: nothing can be sealed or opened.
    path: Option<PathBuf>,
    /// Newest first, as last read.
    keys: RwLock<Arc<Vec<Key>>>,
}

/// Why a secret can be neither sealed nor opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// There are no keys.
    #[error("there is no key for secrets: set SECRETS_KEY_FILE (make one with `api secrets make FILE`)")]
    NoKeys,
    /// It was sealed with a key that is not in the file.
    #[error("SECRETS_KEY_FILE does not have the key that it was sealed with")]
    OtherKey,
    /// It is not what was sealed, or for something else.
    #[error("what is stored is no secret that was sealed for this")]
    Broken,
    /// The file cannot be read, or there are no random numbers.
    #[error("SECRETS_KEY_FILE cannot be used")]
    NoFile,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secrets").field(&self.path).finish()
    }
}

impl Secrets {
    /// Reads the file, where there is to be one.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let keys = path.map(load).transpose()?.unwrap_or_default();
        Ok(Self { path: path.map(ToOwned::to_owned), keys: RwLock::new(Arc::new(keys)) })
    }

    /// Seals a secret with the newest key. `purpose` is what it is for.
    pub fn seal(&self, purpose: &str, secret: &str) -> Result<Vec<u8>, Unsealed> {
        // Seldom, and the newest key is to be the file's: a key that is replaced must not seal any more.
        let keys = self.read_anew()?;
        let key = keys.first().ok_or(Unsealed::NoKeys)?;
        let nonce = random::<NONCE_LEN>().map_err(|_| Unsealed::NoFile)?;
        let mut sealed = [&[FORM][..], &key.id, &nonce].concat();
        let mut text = secret.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let done = key.key.seal_in_place_append_tag(nonce, Aad::from(purpose), &mut text);
        done.map_err(|_| Unsealed::Broken)?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// The secret that was sealed for `purpose`.
    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<String, Unsealed> {
        let id = key_id(sealed)?;
        let keys = self.known();
        if keys.iter().any(|key| key.id == id) {
            return unseal(&keys, purpose, sealed);
        }
        // Sealed by another api with a key that is newer than what was read here.
        unseal(&self.read_anew()?, purpose, sealed)
    }

    /// Whether it is sealed with the newest key.
    pub fn is_newest(&self, sealed: &[u8]) -> bool {
        let newest = self.known().first().map(|key| key.id);
        newest.is_some() && newest == key_id(sealed).ok()
    }

    fn known(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_anew(&self) -> Result<Arc<Vec<Key>>, Unsealed> {
        let path = self.path.as_deref().ok_or(Unsealed::NoKeys)?;
        let keys = Arc::new(load(path).map_err(|_| Unsealed::NoFile)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }
}

fn key_id(sealed: &[u8]) -> Result<[u8; ID], Unsealed> {
    let (form, rest) = sealed.split_first().ok_or(Unsealed::Broken)?;
    let id = rest.first_chunk().ok_or(Unsealed::Broken)?;
    if *form == FORM { Ok(*id) } else { Err(Unsealed::Broken) }
}

fn unseal(keys: &[Key], purpose: &str, sealed: &[u8]) -> Result<String, Unsealed> {
    let id = key_id(sealed)?;
    let key = keys.iter().find(|key| key.id == id).ok_or(Unsealed::OtherKey)?;
    let (nonce, text) = sealed[1 + ID..].split_at_checked(NONCE_LEN).ok_or(Unsealed::Broken)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealed::Broken)?;
    let mut text = text.to_vec();
    let open = key.key.open_in_place(nonce, Aad::from(purpose), &mut text);
    let open = open.map_err(|_| Unsealed::Broken)?;
    String::from_utf8(open.to_vec()).map_err(|_| Unsealed::Broken)
}

fn load(path: &Path) -> Result<Vec<Key>> {
    let keys: Result<Vec<Key>> = read(path)?.sealing.iter().map(Key::of).collect();
    let keys = keys.with_context(|| format!("in the key file {}", path.display()))?;
    ensure!(!keys.is_empty(), "the key file {} has no key", path.display());
    Ok(keys)
}

fn read(path: &Path) -> Result<Stored> {
    let text = read_private(path, "api secrets make")?;
    let broken = |_| anyhow::anyhow!("{} is no key file for secrets, or a broken one", path.display());
    serde_json::from_str(&text).map_err(broken)
}

impl Key {
    fn of(stored: &StoredKey) -> Result<Self> {
        let bytes = B64.decode(&stored.key).ok().filter(|key| key.len() == AES_256_GCM.key_len());
        let bytes = bytes.context("a key is not 32 bytes in base64")?;
        // Named by a hash of it, cut off: a name tells nothing of the key, and no two of eight have the same.
        let hash = Sha256::digest(&bytes);
        let id = *hash.first_chunk().context("a hash has 32 bytes")?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow::anyhow!("a key is no key"))?;
        Ok(Self { id, key: LessSafeKey::new(key) })
    }
}

/// What a secret of this webhook is sealed for; of a channel's platform, if it is one.
pub fn webhook(id: &str, platform: Option<&str>) -> String {
    platform.map_or_else(|| format!("webhook:{id}"), |channel| format!("platform:{channel}"))
}

/// What a secret of this channel is sealed for.
pub fn purpose_of(channel: &str) -> String {
    format!("channel:{channel}")
}

/// Makes a key file, and says whether it did; one that is there stays.
pub fn make(path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    write_new(path, &Stored { sealing: vec![StoredKey::new_secret()?] }).map(|()| true)
}

/// Puts a new key into a key file: what is sealed from now on is sealed with it.
pub fn rotate(path: &Path) -> Result<()> {
    let mut stored = read(path)?;
    ensure!(
        stored.sealing.len() < MAX_KEYS,
        "{} has {MAX_KEYS} keys: seal everything anew first (`api secrets reseal`)",
        path.display()
    );
    stored.sealing.insert(0, StoredKey::new_secret()?);
    replace(path, &stored)
}

/// Takes those keys out of a key file that nothing is sealed with any more, now that everything was sealed anew.
pub fn forget_old(path: &Path) -> Result<()> {
    let mut stored = read(path)?;
    stored.sealing.truncate(KEPT);
    replace(path, &stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_for_what_it_was_sealed_for_and_by_every_key_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.keys");
        assert!(make(&path).unwrap() && !make(&path).unwrap(), "one that is there stays");
        let (secrets, other) = (Secrets::open(Some(&path)).unwrap(), Secrets::open(Some(&path)).unwrap());
        let sealed = secrets.seal("channel:a", "shh").unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("shh"));
        assert_ne!(sealed, secrets.seal("channel:a", "shh").unwrap(), "no two are alike");
        assert_eq!(secrets.unseal("channel:a", &sealed).as_deref(), Ok("shh"));
        assert_eq!(secrets.unseal("channel:b", &sealed), Err(Unsealed::Broken));
        for place in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[place] ^= 1;
            assert!(secrets.unseal("channel:a", &forged).is_err(), "byte {place}");
            assert!(secrets.unseal("channel:a", &sealed[..place]).is_err(), "{place} bytes");
        }

        rotate(&path).unwrap();
        let newer = secrets.seal("channel:a", "shh").unwrap();
        assert!(secrets.is_newest(&newer) && !secrets.is_newest(&sealed));
        assert_eq!(secrets.unseal("channel:a", &sealed).as_deref(), Ok("shh"), "older keys open");
        assert_eq!(
            other.unseal("channel:a", &newer).as_deref(),
            Ok("shh"),
            "whoever has read it before looks again"
        );
        rotate(&path).unwrap();
        forget_old(&path).unwrap();
        assert_eq!(Secrets::open(Some(&path)).unwrap().unseal("channel:a", &sealed), Err(Unsealed::OtherKey));
        assert_eq!(Secrets::open(Some(&path)).unwrap().unseal("channel:a", &newer).as_deref(), Ok("shh"));
        for _ in KEPT..MAX_KEYS {
            rotate(&path).unwrap();
        }
        assert!(rotate(&path).is_err(), "nothing is forgotten by rotating");
    }

    #[test]
    fn without_a_file_nothing_is_sealed_and_a_file_that_all_may_read_is_none() {
        let none = Secrets::open(None).unwrap();
        assert_eq!(none.seal("channel:a", "shh"), Err(Unsealed::NoKeys));
        assert_eq!(none.unseal("channel:a", &[FORM; 40]), Err(Unsealed::NoKeys));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.keys");
        assert!(Secrets::open(Some(&path)).unwrap_err().to_string().contains("api secrets make"));
        make(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
        assert!(Secrets::open(Some(&path)).unwrap_err().to_string().contains("anybody may read"));
    }
}
