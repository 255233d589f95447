//! passwords: argon2id, a few at a time. A hash takes 20 ms and 19 MiB on purpose, so whoever may ask for any number of them
//! may take the service down: beyond a short queue the answer is 429.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Result, anyhow};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

/// Fewest characters (NIST SP 800-63B, 3.1.1.2), and most: beyond, nobody is safer.
pub(crate) const MIN_CHARS: usize = 8;
pub(crate) const MAX_CHARS: usize = 128;
/// How much of one is judged: judging takes longer with each character.
const JUDGED_CHARS: usize = 64;
/// Passwords that are hashed at once, and that may wait.
const AT_ONCE: usize = 2;
const WAITING: usize = 32;

/// Passwords that were compared with a hash, of all tests in this process.
#[cfg(test)]
static WORKED: AtomicUsize = AtomicUsize::new(0);

/// Too many want to log in.
#[derive(Debug)]
pub(crate) struct Busy;

/// Hashes passwords and checks them.
#[derive(Debug)]
pub(crate) struct Passwords {
    slots: Semaphore,
    inside: AtomicUsize,
    /// Of no password: checked for those who are unknown, so that it takes as long as for those who are known.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self> {
        let nobody = hash(&super::key_file::random::<32>()?)?.into();
        Ok(Self { slots: Semaphore::new(AT_ONCE), inside: AtomicUsize::new(0), nobody })
    }

    /// The hash to keep.
    pub(crate) async fn hash(&self, password: String) -> Result<Result<String, Busy>> {
        self.in_turn(move || hash(password.as_bytes())).await
    }

    /// Whether it is the one; with no hash to compare with, it is not, and takes as long.
    pub(crate) async fn is(&self, password: String, kept: Option<String>) -> Result<Result<bool, Busy>> {
        let nobody = Arc::clone(&self.nobody);
        self.in_turn(move || {
            let parsed =
                PasswordHash::new(kept.as_deref().unwrap_or(&nobody)).map_err(|error| anyhow!("{error}"))?;
            let same = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
            #[cfg(test)]
            WORKED.fetch_add(1, Relaxed);
            Ok(same && kept.is_some())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Result<T, Busy>> {
        let place = Place::take(&self.inside);
        let Some(_place) = place else { return Ok(Err(Busy)) };
        let _slot = self.slots.acquire().await?;
        tokio::task::spawn_blocking(work).await?.map(Ok)
    }
}

/// A place in the queue, given back whatever happens to whoever waits.
struct Place<'p>(&'p AtomicUsize);

impl<'p> Place<'p> {
    fn take(inside: &'p AtomicUsize) -> Option<Self> {
        let place = Self(inside);
        // Given back by `place` where there was none.
        (inside.fetch_add(1, Relaxed) < AT_ONCE + WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn hash(password: &[u8]) -> Result<String> {
    // OWASP's first choice and the crate's default: 19 MiB, two passes, one lane.
    Ok(Argon2::default().hash_password(password).map_err(|error| anyhow!("{error}"))?.to_string())
}

/// What is wrong with a new password, as (code, detail). `about`: what everybody may know of its owner.
pub(crate) fn problem(password: &str, about: &[&str]) -> Option<(&'static str, String)> {
    let chars = password.chars().count();
    if chars < MIN_CHARS {
        return Some(("too_short", format!("must have at least {MIN_CHARS} characters")));
    }
    if chars > MAX_CHARS {
        return Some(("too_long", format!("must have at most {MAX_CHARS} characters")));
    }
    let judged: String = password.chars().take(JUDGED_CHARS).collect();
    let parts: Vec<&str> = about
        .iter()
        .flat_map(|text| text.split(['@', '.', ' ', '-', '_', '+']))
        .chain(about.iter().copied())
        .collect();
    let verdict = zxcvbn::zxcvbn(&judged, &parts);
    if verdict.score() >= zxcvbn::Score::Three {
        return None;
    }
    let why = verdict.feedback().and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
    let why = why.unwrap_or_else(|| "It is one of the first that somebody would try.".to_owned());
    Some((
        "too_easy",
        format!(
            "is too easy to guess. {why} Some words that have nothing to do with each other are a good password"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_would_try_first_is_no_password() {
        let wrong = |password: &str| {
            problem(password, &["maria.lopez@example.com", "Maria Lopez"]).map(|(code, _)| code)
        };
        assert_eq!(wrong("a1!B"), Some("too_short"));
        assert_eq!(wrong(&"correct horse battery ".repeat(7)), Some("too_long"));
        for easy in [
            "password1",
            "qwertyuiop",
            "P@ssw0rd",
            "marialopez1",
            "maria.lopez@example.com",
            "aaaaaaaaaaaaaa",
        ] {
            assert_eq!(wrong(easy), Some("too_easy"), "{easy}");
        }
        assert_eq!(wrong("copper lantern seventy walrus"), None);
        assert_eq!(wrong("7Vq!zR#u2m-Xc"), None);
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_nobody_has_none() {
        let passwords = Passwords::new().unwrap();
        let kept = passwords.hash("copper lantern".to_owned()).await.unwrap().unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(passwords.is("copper lantern".to_owned(), Some(kept.clone())).await.unwrap().unwrap());
        assert!(!passwords.is("copper lanterns".to_owned(), Some(kept)).await.unwrap().unwrap());
        assert!(!passwords.is("copper lantern".to_owned(), None).await.unwrap().unwrap());
    }

    /// How long a hash takes is a matter of its parameters alone.
    #[tokio::test]
    async fn whoever_is_unknown_costs_as_much_as_whoever_is_known() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let passwords = Passwords::new().unwrap();
        let kept = passwords.hash("copper lantern".to_owned()).await.unwrap().unwrap();
        assert_eq!(parameters(&kept).as_deref(), Some("$argon2id$v=19$m=19456,t=2,p=1"));
        assert_eq!(parameters(&passwords.nobody), parameters(&kept));
        let lengths = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(&passwords.nobody), lengths(&kept), "salt and output, too");
        // And it is the work of a hash that is done, whatever is asked: an empty password, one that is far too long.
        let before = WORKED.load(Relaxed);
        for password in ["", "x", &"x".repeat(600)] {
            assert!(!passwords.is(password.to_owned(), None).await.unwrap().unwrap());
        }
        assert!(WORKED.load(Relaxed) >= before + 3, "whoever is unknown is told so at once");
    }

    #[tokio::test]
    async fn beyond_a_short_queue_nobody_waits() {
        let passwords = Arc::new(Passwords::new().unwrap());
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE + WAITING + 10 {
            let passwords = Arc::clone(&passwords);
            all.spawn(async move { passwords.is("x".to_owned(), None).await.unwrap().is_err() });
        }
        let busy = all.join_all().await.into_iter().filter(|busy| *busy).count();
        assert_eq!(busy, 10);
        // And nothing stays taken.
        assert!(passwords.is("x".to_owned(), None).await.unwrap().is_ok());
        assert_eq!(passwords.inside.load(Relaxed), 0);
    }
}
