//! How fast the gateway is asked. As fast as there is work, until it says that this is too fast (429); from then on so many a second,
//! fewer each time that it says so again, and a little more each second that it does not. Whoever would have to wait too long for
//! their turn is not sent: that costs no try.

#![expect(clippy::float_arithmetic, reason = "requests a second, no money")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Longest wait for a turn: what waits holds a lease, and a stop waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Once turned away, it is not slowed down again for so long: answers to what had left already say nothing new.
const CUT_EVERY: Duration = Duration::from_secs(1);
/// What is left of the pace then.
const CUT: f64 = 0.5;
/// What is added to it each second, as a share of the pace at which the gateway turned away, and at least.
const RISE: f64 = 0.1;
const LEAST_RISE: f64 = 0.5;
/// Never slower than this, in requests a second: somebody has to find out that the gateway takes more.
const SLOWEST: f64 = 1.0;
/// Past so many times the pace at which it turned away, it is not held back any more.
const FREE_AT: f64 = 2.0;

/// The pace of one worker; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    state: Arc<Mutex<State>>,
    held_back: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// When the second began that is being counted, what left in it, and in the one before.
    second: Instant,
    left: f64,
    left_before: f64,
    limit: Option<Limit>,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Requests a second.
    pace: f64,
    /// At how many the gateway turned away.
    turned_away_at: f64,
    /// When this was reckoned.
    at: Instant,
    /// When it was last slowed down.
    cut_at: Instant,
    /// When the next may leave.
    next: Instant,
    /// Not before, the gateway said: until then nothing is tried, and so nothing is learned.
    not_before: Instant,
}

impl Limit {
    fn rise_to(&mut self, now: Instant) {
        let risen = now.saturating_duration_since(self.at.max(self.not_before)).as_secs_f64();
        self.pace += risen * (self.turned_away_at * RISE).max(LEAST_RISE);
        self.at = now;
        self.next = self.next.max(now);
    }

    fn slot(&self) -> Duration {
        Duration::from_secs_f64(self.pace.recip())
    }
}

impl Pace {
    /// As fast as there is work.
    pub(super) fn new() -> Self {
        metrics::gauge!("charge_pace_per_second").set(0);
        let now = Instant::now();
        let state = State { second: now, left: 0.0, left_before: 0.0, limit: None };
        Self { state: Arc::new(Mutex::new(state)), held_back: watch::Sender::new(false) }
    }

    /// How long whoever asks now waits until it may send; `None`: too long. A turn that is given is taken.
    pub(super) fn turn(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.lock(now);
        let wait = match &mut state.limit {
            None => Duration::ZERO,
            Some(limit) => {
                let wait = limit.next - now;
                if wait > PATIENCE {
                    return None;
                }
                limit.next += limit.slot();
                wait
            }
        };
        state.left += 1.0;
        Some(wait)
    }

    /// How many could have their turn within the patience of who waits; `None`: any number.
    pub(super) fn room(&self) -> Option<usize> {
        let now = Instant::now();
        self.lock(now).limit.map(|limit| {
            let waits = limit.next - now;
            // Half of it, so that who is claimed now is not the one that comes too late.
            let time = (PATIENCE / 2).saturating_sub(waits);
            if time.is_zero() { 0 } else { ((time.as_secs_f64() * limit.pace) as usize).max(1) }
        })
    }

    /// The gateway said that too many came, and perhaps when it takes any again.
    pub(super) fn turned_away(&self, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock(now);
        let measured = state.left.max(state.left_before).max(SLOWEST);
        let limit = state.limit.get_or_insert(Limit {
            pace: measured,
            turned_away_at: measured,
            at: now,
            cut_at: now - CUT_EVERY,
            next: now,
            not_before: now,
        });
        if now.saturating_duration_since(limit.cut_at) >= CUT_EVERY {
            limit.turned_away_at = limit.pace;
            limit.pace = (limit.pace * CUT).max(SLOWEST);
            limit.cut_at = now;
            limit.next = limit.next.max(now + limit.slot());
        }
        if let Some(retry_after) = retry_after {
            limit.not_before = limit.not_before.max(now + retry_after);
            limit.next = limit.next.max(limit.not_before);
        }
        let pace = limit.pace;
        drop(state);
        self.show(Some(pace));
    }

    /// Returns once nobody is held back. Cancel-safe.
    pub(super) async fn free(&self) {
        // The sender lives in `self`.
        let _ = self.held_back.subscribe().wait_for(|held_back| !held_back).await;
    }

    /// Returns once somebody is. Cancel-safe.
    pub(super) async fn held_back(&self) {
        let _ = self.held_back.subscribe().wait_for(|held_back| *held_back).await;
    }

    /// Whether somebody is held back.
    pub(super) fn holds_back(&self) -> bool {
        *self.held_back.borrow()
    }

    /// The state as it is now: whatever time has changed in it is done.
    fn lock(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = now.saturating_duration_since(state.second);
        if counted >= Duration::from_secs(1) {
            // Of a second that is long past nothing is known.
            state.left_before = if counted < Duration::from_secs(2) { state.left } else { 0.0 };
            (state.left, state.second) = (0.0, now);
        }
        if let Some(limit) = &mut state.limit {
            limit.rise_to(now);
            if limit.pace > limit.turned_away_at * FREE_AT {
                state.limit = None;
                self.show(None);
            }
        }
        state
    }

    fn show(&self, pace: Option<f64>) {
        metrics::gauge!("charge_pace_per_second").set(pace.unwrap_or_default());
        let before = self.held_back.send_replace(pace.is_some());
        match (before, pace) {
            (false, Some(pace)) => {
                tracing::warn!(
                    pace,
                    "the gateway takes no more: it is asked so many times a second, and no try is spent"
                )
            }
            (true, None) => tracing::info!("the gateway takes what comes"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whatever has its turn at a gateway that takes `limit` a second, for so many seconds. Says how many of the last half were
    /// taken and how many turned away, a second.
    async fn played(pace: &Pace, limit: u32, seconds: u32) -> (f64, f64) {
        let begun = Instant::now();
        let (mut second, mut came) = (0, 0);
        let (mut taken, mut turned_away) = (0.0, 0.0);
        let half = f64::from(seconds) / 2.0;
        while begun.elapsed().as_secs_f64() < f64::from(seconds) {
            let Some(wait) = pace.turn() else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // There is always more work: a request a millisecond.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
            let now = begun.elapsed();
            (second, came) = if now.as_secs() == second { (second, came + 1) } else { (now.as_secs(), 1) };
            let counts = if now.as_secs_f64() > half { 1.0 } else { 0.0 };
            if came > limit {
                pace.turned_away(Some(Duration::from_secs(1)));
                turned_away += counts;
            } else {
                taken += counts;
            }
        }
        (taken / half, turned_away / half)
    }

    #[tokio::test(start_paused = true)]
    async fn it_settles_below_what_the_gateway_takes_and_is_seldom_turned_away() {
        for limit in [5, 50, 500] {
            let (taken, turned_away) = played(&Pace::new(), limit, 120).await;
            println!("{limit} a second: {taken} taken, {turned_away} turned away");
            assert!(taken > f64::from(limit) * 0.5, "{limit}: {taken}");
            assert!(turned_away < 0.5, "{limit}: {turned_away}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_held_back_before_and_long_after() {
        let pace = Pace::new();
        assert!((0..10_000).all(|_| pace.turn() == Some(Duration::ZERO)) && pace.room().is_none());
        pace.turned_away(None);
        pace.held_back().await;
        assert!(pace.room().is_some_and(|room| room > 0));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pace.room(), None);
        pace.free().await;
        assert!((0..10_000).all(|_| pace.turn() == Some(Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_the_gateway_names_is_kept_and_waited_for_by_nobody() {
        let pace = Pace::new();
        assert_eq!(pace.turn(), Some(Duration::ZERO));
        pace.turned_away(Some(Duration::from_secs(10)));
        assert_eq!((pace.turn(), pace.room()), (None, Some(0)), "too long to hold a lease for");
        tokio::time::sleep(Duration::from_secs(9)).await;
        let wait = pace.turn().expect("near enough");
        assert!((Duration::from_millis(900)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
        let then = pace.turn().unwrap_or(Duration::MAX);
        assert!(then > wait, "one after the other: {then:?}");
    }
}
