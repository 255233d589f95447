//! Idempotency keys and where each stands. A key is worked on by one request at a time: whoever begins holds a
//! [`Seat`], and giving the seat up in any way (an answer, an error, a client that hung up) frees the key.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dice;
use crate::name::Name;
use crate::verdict::DeclineCode;

/// Locks that share the keys out. 32: many more than cores, so that two requests seldom meet, and growing one
/// shard's table under a million keys stalls its lock for about a millisecond, not for fifty.
pub(crate) const SHARDS: usize = 32;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Asked for, but nothing was done, or what was begun was given up.
    Idle,
    /// A request is working on it; its seat ends this.
    InProgress,
    /// Money moved: the row of the books. Final.
    Done(u32),
    /// The bank said no. Only a void changes this.
    Declined(DeclineCode),
    /// Nothing will ever be done under it. Final.
    Voided,
}

/// All that is known of one key. There is one for every charge, so its size counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyState {
    /// Of the body that the key first came with.
    fingerprint: Option<NonZeroU64>,
    pub(crate) standing: Standing,
    /// Requests that want to move money.
    pub(crate) tries: u32,
    /// Voids and look-ups; counted only while those can fail.
    controls: u32,
}

const _: () = assert!(size_of::<KeyState>() == 24);

impl Default for KeyState {
    fn default() -> Self {
        Self { fingerprint: None, standing: Standing::Idle, tries: 0, controls: 0 }
    }
}

/// The keys of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    shards: [Mutex<HashMap<Name, KeyState>>; SHARDS],
}

/// What a request finds that wants to begin.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The key is this request's to work on.
    Seat(Seat),
    /// The key came with another body before.
    KeyReused,
    /// The key stands elsewhere already; never [`Standing::Idle`].
    Standing(Standing),
}

impl Keys {
    /// Counts a request that wants to move money: its number, from 1.
    pub(crate) fn count_try(&self, key: &Name) -> u32 {
        let mut shard = self.shard(key);
        // Looked up first: `entry` would copy the key of every replay.
        if let Some(state) = shard.get_mut(key) {
            state.tries = state.tries.saturating_add(1);
            return state.tries;
        }
        shard.insert(key.clone(), KeyState { tries: 1, ..KeyState::default() });
        1
    }

    /// Counts a void or look-up: its number, from 1.
    pub(crate) fn count_control(&self, key: &Name) -> u32 {
        let mut shard = self.shard(key);
        let state = shard.entry(key.clone()).or_default();
        state.controls = state.controls.saturating_add(1);
        state.controls
    }

    /// Where the key stands now.
    pub(crate) fn standing(&self, key: &Name) -> Standing {
        self.shard(key).get(key).map_or(Standing::Idle, |state| state.standing)
    }

    /// Takes the key for a request whose body has this fingerprint.
    pub(crate) fn begin(self: &Arc<Self>, key: &Name, fingerprint: u64) -> Begun {
        let fingerprint = NonZeroU64::new(fingerprint);
        let mut shard = self.shard(key);
        let state = shard.entry(key.clone()).or_default();
        // A void needs no body, so it comes before the comparison.
        if state.standing == Standing::Voided {
            return Begun::Standing(Standing::Voided);
        }
        if state.fingerprint.is_some() && state.fingerprint != fingerprint {
            return Begun::KeyReused;
        }
        if state.standing != Standing::Idle {
            return Begun::Standing(state.standing);
        }
        *state = KeyState { fingerprint, standing: Standing::InProgress, ..*state };
        Begun::Seat(Seat { keys: Arc::clone(self), key: key.clone() })
    }

    /// Moves the key by `decide`, which sees where it stands, in one critical section.
    pub(crate) fn change<E>(
        &self,
        key: &Name,
        decide: impl FnOnce(Standing) -> Result<Standing, E>,
    ) -> Result<Standing, E> {
        let mut shard = self.shard(key);
        let state = shard.entry(key.clone()).or_default();
        state.standing = decide(state.standing)?;
        Ok(state.standing)
    }

    /// Puts a key where the journal says that it stood.
    pub(crate) fn restore(&self, key: &Name, fingerprint: Option<u64>, standing: Standing) {
        let mut shard = self.shard(key);
        let state = shard.entry(key.clone()).or_default();
        state.fingerprint = fingerprint.and_then(NonZeroU64::new).or(state.fingerprint);
        state.standing = standing;
    }

    /// Every key of one shard that was asked for more than once, with how often.
    pub(crate) fn asked_again(&self, shard: usize) -> Vec<(Name, u32)> {
        let shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        shard
            .iter()
            .filter(|(_, state)| state.tries > 1)
            .map(|(key, state)| (key.clone(), state.tries))
            .collect()
    }

    fn shard(&self, key: &Name) -> MutexGuard<'_, HashMap<Name, KeyState>> {
        let index = dice::hash(0, &[key.bytes()]) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to work on a key. Dropped without [`Seat::settle`], it leaves the key as if it had never begun.
#[derive(Debug)]
pub(crate) struct Seat {
    keys: Arc<Keys>,
    key: Name,
}

impl Seat {
    /// Ends the work: `decide` books it and says where the key stands then. It is not asked if a void came in
    /// between: then the key stands [`Standing::Voided`]. Both under the key's lock, so a void comes wholly
    /// before the booking or wholly after it.
    pub(crate) fn settle<E>(self, decide: impl FnOnce() -> Result<Standing, E>) -> Result<Standing, E> {
        self.keys.change(&self.key, |standing| match standing {
            Standing::InProgress => decide(),
            moved => Ok(moved),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(state) = self.keys.shard(&self.key).get_mut(&self.key)
            && state.standing == Standing::InProgress
        {
            state.standing = Standing::Idle;
        }
    }
}
