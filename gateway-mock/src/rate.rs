//! How many charges and refunds are looked at in one second: the limit of a real gateway's contract.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The second that is counted, since the start, and what came in it.
#[derive(Debug)]
pub(crate) struct Rate {
    since: Instant,
    /// The second in the upper half, the count in the lower one.
    counted: AtomicU64,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), counted: AtomicU64::new(0) }
    }

    /// Counts a request; whether it is one of the first `limit` of its second. 0: no limit, and nothing is counted.
    pub(crate) fn admits(&self, limit: u32) -> bool {
        limit == 0 || self.count(self.since.elapsed().as_secs()) <= u64::from(limit)
    }

    fn count(&self, second: u64) -> u64 {
        let next = |counted: u64| if counted >> 32 == second { counted + 1 } else { second << 32 | 1 };
        let before =
            self.counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counted| Some(next(counted)));
        next(before.unwrap_or_else(|counted| counted)) & u64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_is_counted_anew() {
        let rate = Rate::new();
        assert_eq!([1, 1, 1, 2, 3, 3].map(|second| rate.count(second)), [1, 2, 3, 1, 1, 2]);
        assert!((0..10).all(|_| rate.admits(0)));
        let admitted = (0..10).filter(|_| rate.admits(3)).count();
        assert!((3..=6).contains(&admitted), "{admitted}: ten requests take two seconds at most");
    }
}
