//! followed: what ends before its time, looked for by every api each second: sessions that were ended, and the machines'
//! tokens that are good. So nothing is asked of the database at a request, and what was taken away is gone everywhere within
//! [`LOOK_EVERY`] and a moment.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::person::Role;
use runtime::tasks::Stop;
use sha2::{Digest, Sha256};
use store::accounts::{service_tokens, sessions};
use store::session::Session;
use tokio::sync::{Mutex, Notify, watch};
use uuid::Uuid;

use super::principal::{OWN_MACHINE, Principal, Unproven, now};

/// Between looks. DESIGN allows five seconds until what was taken away is gone everywhere.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At most so often because of a token that nobody knows.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    ended: HashSet<Uuid>,
    services: HashMap<String, Service>,
}

#[derive(Debug)]
struct Service {
    secret_hash: Vec<u8>,
    principal: Arc<Principal>,
    /// Of its token, once that was shown.
    checksum: OnceLock<Checksum>,
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        (&self.secret_hash, &self.principal) == (&other.secret_hash, &other.principal)
    }
}

impl Eq for Service {}

/// What was seen at the last look.
#[derive(Debug)]
pub(crate) struct Followed {
    /// `None`: there was no look yet.
    seen: RwLock<Option<Arc<Looked>>>,
    /// The connection for looks, and when the last one was.
    look: Mutex<(Session, Option<Instant>)>,
    /// Longer than any access token of ours is good: whoever was ended before that has none left.
    memory: Duration,
    /// Somebody of this process has changed something.
    changed: Notify,
    /// Something else was seen than at the look before.
    news: watch::Sender<()>,
}

impl Followed {
    pub(crate) fn new(session: Session, access_life: Duration) -> Self {
        let memory = access_life + Duration::from_secs(60);
        Self {
            seen: RwLock::new(None),
            look: Mutex::new((session, None)),
            memory,
            changed: Notify::new(),
            news: watch::Sender::new(()),
        }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(&self, stop: Stop) -> Result<()> {
        let mut well = true;
        while !stop.is_stopped() {
            match self.run_once().await {
                Ok(()) => well = true,
                Err(error) if std::mem::take(&mut well) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "cannot see who was logged out; those known stay as they are");
                }
                Err(_) => {}
            }
            let next = async {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.changed.notified() => {}
                }
            };
            stop.or_stopped(next).await;
        }
        Ok(())
    }

    /// One look.
    pub(crate) async fn run_once(&self) -> Result<()> {
        let mut look = self.look.lock().await;
        self.see(&mut look).await
    }

    /// Something was changed here: look now.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    async fn see(&self, (session, at): &mut (Session, Option<Instant>)) -> Result<()> {
        let (ended, live) = session
            .run(&self.memory, |conn, memory| {
                Box::pin(async move {
                    Ok((sessions::ended_within(conn, *memory).await?, service_tokens::live(conn).await?))
                })
            })
            .await
            .context("cannot look for ended sessions")?;
        let services = live.into_iter().map(|token| {
            let until =
                token.until.map_or(u64::MAX, |until| u64::try_from(until.unix_timestamp()).unwrap_or(0));
            let principal = Arc::new(Principal {
                id: format!("{OWN_MACHINE}{}", token.name),
                role: token.role,
                locations: token.locations.into(),
                channels: token.channels,
                session: None,
                until,
            });
            (token.id, Service { secret_hash: token.secret_hash, principal, checksum: OnceLock::new() })
        });
        let looked = Looked { ended: ended.into_iter().collect(), services: services.collect() };
        let looked = Some(Arc::new(looked));
        let before = {
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *seen, looked.clone())
        };
        *at = Some(Instant::now());
        if before != looked {
            self.news.send_replace(());
        }
        Ok(())
    }

    /// Changes when something else was seen than before.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn seen(&self) -> Option<Arc<Looked>> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses what was ended.
    pub(crate) fn allows(&self, principal: &Principal) -> Result<(), Unproven> {
        let Some(session) = principal.session else { return Ok(()) };
        match self.seen() {
            None => Err(Unproven::CannotTell),
            Some(looked) if looked.ended.contains(&session) => Err(Unproven::Bad("logged out")),
            Some(_) => Ok(()),
        }
    }

    /// Whose service token it is. `unknown` is asked before one is looked for that was not there at the last look.
    pub(crate) async fn service(
        &self,
        token: &str,
        unknown: impl FnOnce() -> Result<(), Unproven>,
    ) -> Result<Arc<Principal>, Unproven> {
        let shown = ServiceTokenText::parse(token).ok_or(NO_TOKEN)?;
        let seen = self.seen();
        if let Some(seen) = &seen
            && seen.services.contains_key(shown.id)
        {
            return shown.among(seen);
        }
        if !shown.is_whole() {
            return Err(NO_TOKEN);
        }
        unknown()?;
        // It may have been made a moment ago, at another api.
        let mut look = self.look.lock().await;
        if look.1.is_none_or(|at| at.elapsed() >= AT_MOST_EVERY)
            && Box::pin(self.see(&mut look)).await.is_err()
        {
            return Err(Unproven::CannotTell);
        }
        drop(look);
        let seen = self.seen().ok_or(Unproven::CannotTell)?;
        shown.among(&seen)
    }
}

/// A machine's token as it is shown: `cmd_<id>_<secret><checksum>`, all of it hexadecimal. The checksum tells a mistyped
/// token from a wrong one, and a scanner of repositories a token from other text.
struct ServiceTokenText<'t> {
    id: &'t str,
    secret: &'t str,
    checksum: Checksum,
}

const NO_TOKEN: Unproven = Unproven::Bad("that is no token");

/// What a service token begins with.
pub(crate) const SERVICE_PREFIX: &str = "cmd_";
const SECRET: usize = 64;
const CHECKSUM: usize = 8;
type Checksum = [u8; CHECKSUM];

impl<'t> ServiceTokenText<'t> {
    /// By its form alone.
    fn parse(token: &'t str) -> Option<Self> {
        let (id, rest) = token.strip_prefix(SERVICE_PREFIX)?.split_once('_')?;
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != 16 || rest.len() != SECRET + CHECKSUM || !is_hex(id) || !is_hex(rest) {
            return None;
        }
        let (secret, checksum) = rest.split_at(SECRET);
        Some(Self { id, secret, checksum: checksum.as_bytes().try_into().ok()? })
    }

    /// Whether nothing of it was mistyped.
    fn is_whole(&self) -> bool {
        checksum(self.id, self.secret).as_bytes() == self.checksum
    }

    fn among(&self, looked: &Looked) -> Result<Arc<Principal>, Unproven> {
        let service =
            looked.services.get(self.id).ok_or(Unproven::Bad("there is no such token, or no longer"))?;
        // Hashes are compared, so how long that takes tells nothing about the secret.
        if service.secret_hash[..] != Sha256::digest(self.secret)[..] {
            return Err(NO_TOKEN);
        }
        // It is made of what is known to be right, and so it is made once.
        let is_whole = match service.checksum.get() {
            Some(right) => *right == self.checksum,
            None => self.is_whole(),
        };
        if is_whole {
            let _ = service.checksum.set(self.checksum);
        } else {
            return Err(NO_TOKEN);
        }
        if service.principal.until <= now() {
            return Err(Unproven::Bad("the token has expired"));
        }
        Ok(Arc::clone(&service.principal))
    }
}

/// In lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn checksum(id: &str, secret: &str) -> String {
    let digest = Sha256::new().chain_update(id).chain_update("_").chain_update(secret).finalize();
    hex(&digest[..CHECKSUM / 2])
}

fn secret_hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

/// A new service token: its id, itself, and the hash of its secret.
pub(crate) fn new_service_token() -> Result<(String, String, Vec<u8>)> {
    let id = hex(&super::key_file::random::<8>()?);
    let secret = hex(&super::key_file::random::<32>()?);
    let token = format!("{SERVICE_PREFIX}{id}_{secret}{}", checksum(&id, &secret));
    let hash = secret_hash(&secret);
    Ok((id, token, hash))
}

/// What a machine may be.
pub(crate) fn service_role(name: &str) -> Option<Role> {
    Role::parse(name).filter(|role| *role != Role::Customer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_a_mistyped_one_is_not() {
        let (id, token, hash) = new_service_token().unwrap();
        let shown = ServiceTokenText::parse(&token).unwrap();
        assert_eq!((shown.id, secret_hash(shown.secret)), (id.as_str(), hash.clone()));
        let principal = Arc::new(Principal {
            id: "service:shop".to_owned(),
            role: Role::Service,
            locations: Arc::from([]),
            channels: Vec::new(),
            session: None,
            until: u64::MAX,
        });
        let service = Service { secret_hash: hash, principal, checksum: OnceLock::new() };
        let looked = Looked { services: HashMap::from([(id, service)]), ..Looked::default() };
        let mistyped = |place: usize| {
            let other = if token.as_bytes()[place] == b'0' { "1" } else { "0" };
            let mut mistyped = token.clone();
            mistyped.replace_range(place..=place, other);
            mistyped
        };
        // As long as it was not shown, and then once more.
        for _ in 0..2 {
            for mistyped in (0..token.len()).map(mistyped) {
                let shown = ServiceTokenText::parse(&mistyped);
                assert!(shown.as_ref().is_none_or(|shown| !shown.is_whole()), "{mistyped}");
                assert!(shown.is_none_or(|shown| shown.among(&looked).is_err()), "{mistyped}");
            }
            assert!(shown.is_whole() && shown.among(&looked).is_ok());
        }
    }
}
