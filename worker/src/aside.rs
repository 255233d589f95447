//! aside: what one of many cannot be done to rests, longer each time, and the others go on. A row that the database refuses to
//! move, through some fault of ours, would else stop whatever comes to it in every round.

use std::collections::HashMap;
use std::time::Duration;

use domain::retry::RetryDelays;
use metrics::Counter;
use store::session::StoreError;
use tokio::time::Instant;
use uuid::Uuid;

/// How long it rests: long enough soon not to fill the log, short enough to be found healed.
const DELAYS: RetryDelays = RetryDelays { initial: Duration::from_secs(5), max: Duration::from_secs(900) };
/// Remembered at most. Beyond that something is wrong with all of them, and resting helps nobody.
const MOST: usize = 4_096;

/// Those that rest, of one chore.
#[derive(Debug)]
pub struct Aside {
    chore: &'static str,
    resting: HashMap<Uuid, Rest>,
    refused: Counter,
    held: Counter,
}

#[derive(Debug)]
struct Rest {
    times: u32,
    until: Instant,
}

impl Aside {
    /// Of this chore; nothing rests.
    pub fn new(chore: &'static str) -> Self {
        let counter = |why: &'static str| {
            let counter = metrics::counter!("sweep_put_aside_total", "chore" => chore, "why" => why);
            counter.increment(0);
            counter
        };
        Self { chore, resting: HashMap::new(), refused: counter("refused"), held: counter("held") }
    }

    /// Those that rest now.
    pub fn resting(&mut self) -> Vec<Uuid> {
        let now = Instant::now();
        // Who has not come again long after its time is gone, or done.
        self.resting.retain(|_, rest| rest.until + DELAYS.max > now);
        self.resting.iter().filter(|(_, rest)| rest.until > now).map(|(id, _)| *id).collect()
    }

    /// It could not be done to this one; says how long it rests. Told once, until it is done.
    pub fn put(&mut self, id: Uuid, error: &StoreError) -> Duration {
        let times = self.resting.get(&id).map_or(0, |rest| rest.times) + 1;
        let rests_for = DELAYS.after(times);
        let chore = self.chore;
        let is_held = matches!(error, StoreError::Held);
        if is_held { &self.held } else { &self.refused }.increment(1);
        match times {
            1 if is_held => tracing::warn!(chore, %id, "somebody else holds one of many; the others go on"),
            1 => {
                tracing::error!(chore, %id, %error, "cannot do one of many through a fault of ours; the others go on")
            }
            _ => {}
        }
        if self.resting.len() < MOST {
            self.resting.insert(id, Rest { times, until: Instant::now() + rests_for });
        }
        rests_for
    }

    fn done(&mut self, id: Uuid) {
        if self.resting.remove(&id).is_some() {
            tracing::info!(chore = self.chore, %id, "done at last");
        }
    }

    /// What doing it to this one came to, where it was done.
    pub fn heard<T>(&mut self, id: Uuid, outcome: Result<T, StoreError>) -> Option<T> {
        match outcome {
            Ok(done) => {
                self.done(id);
                Some(done)
            }
            Err(error) => {
                self.put(id, &error);
                None
            }
        }
    }
}

/// Whether one of a batch may be the reason why nothing was done to any.
pub const fn may_be_one(error: &StoreError) -> bool {
    error.may_be_one()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_done_rests_longer_each_time_and_is_known_again_until_it_is_done() {
        let mut aside = Aside::new("deadline");
        let id = Uuid::now_v7();
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            let rests_for = aside.put(id, &StoreError::Held);
            assert!(rests_for > last, "{rests_for:?} after {last:?}");
            tokio::time::advance(rests_for - Duration::from_millis(1)).await;
            assert_eq!(aside.resting(), [id]);
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(aside.resting().is_empty(), "its turn");
            last = rests_for;
        }
        assert_eq!(aside.heard(id, Ok(1)), Some(1));
        assert!(aside.put(id, &StoreError::Held) < last, "as if for the first time");
    }
}
