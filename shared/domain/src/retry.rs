//! When to try again: pure. The only place that uses the `backoff` crate, and of it only the value type.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// How long to wait after each try that did not end a payment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryDelays {
    /// After the first try.
    pub initial: Duration,
    /// Never longer than this.
    pub max: Duration,
}

/// Each delay is twice the one before.
const MULTIPLIER: f64 = 2.0;
/// A fifth more or less, so that payments that failed together do not come back together. Small enough that each
/// delay is still longer than the one before: 1.2 x 1 < 0.8 x 2.
const JITTER: f64 = 0.2;

impl RetryDelays {
    /// The delay after try number `tries` (1, 2, ...).
    pub fn after(self, tries: u32) -> Duration {
        // Without jitter up to the one asked for: the type multiplies the plain interval, and jitters the answer.
        let mut backoff = ExponentialBackoff {
            current_interval: self.initial,
            initial_interval: self.initial,
            max_interval: self.max,
            multiplier: MULTIPLIER,
            randomization_factor: JITTER,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let mut delay = self.initial;
        // Doubling 40 times passes any maximum; more steps would change nothing.
        for _ in 0..tries.clamp(1, 40) {
            delay = backoff.next_backoff().unwrap_or(self.max);
        }
        delay.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stop_growing_at_the_maximum() {
        let delays = RetryDelays { initial: Duration::from_secs(1), max: Duration::from_secs(30) };
        for _ in 0..1_000 {
            let [first, second, third] = [1, 2, 3].map(|tries| delays.after(tries));
            assert!((0.8..=1.2).contains(&first.as_secs_f64()), "{first:?}");
            assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
            assert!(delays.after(1_000) <= delays.max);
            assert!(delays.after(1_000) >= delays.max.mul_f64(0.8));
        }
    }
}
