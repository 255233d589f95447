//! How whoever has lost something tries on: after growing delays, and telling once what is wrong.

use std::time::{Duration, Instant};

use domain::retry::RetryDelays;

const DELAYS: RetryDelays = RetryDelays { initial: Duration::from_millis(200), max: Duration::from_secs(5) };

/// The broker is there and will not have us: somebody must do something about it, and this says what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// An outage, or none.
#[derive(Debug, Default)]
pub struct Outage {
    failures: u32,
    /// What was told of it: that something is away, or refuses us.
    told: Option<Option<Refused>>,
    mended_at: Option<Instant>,
}

impl Outage {
    /// Something failed. How long to wait before the next try; and whether that is to be told, because it was not yet in
    /// this outage. What goes away says this and that meanwhile ("going down", "no answer"): that is told once. What
    /// is there and refuses us is told, too.
    pub fn failed(&mut self, error: &anyhow::Error) -> (Duration, bool) {
        // What works for a moment only is no end of an outage: else each moment would begin with the shortest delay.
        if self.mended_at.take().is_some_and(|since| since.elapsed() > DELAYS.max) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let refused = error.downcast_ref::<Refused>().cloned();
        let is_news = self.told.is_none() || (refused.is_some() && self.told.as_ref() != Some(&refused));
        if is_news {
            self.told = Some(refused);
        }
        (DELAYS.after(self.failures), is_news)
    }

    /// It works. Whether that is to be told, because a failure was.
    pub fn mended(&mut self) -> bool {
        self.mended_at.get_or_insert_with(Instant::now);
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> anyhow::Error {
        anyhow::anyhow!("no answer")
    }

    fn refused() -> anyhow::Error {
        anyhow::Error::from(Refused("wrong arguments".to_owned())).context("cannot use RabbitMQ")
    }

    #[test]
    fn it_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut outage = Outage::default();
        assert!(!outage.mended(), "nothing was told");
        assert!(outage.failed(&away()).1);
        assert!(!outage.failed(&away()).1);
        assert!(outage.failed(&refused()).1, "something else is wrong now");
        assert!(!outage.failed(&refused()).1);
        assert!(!outage.failed(&away()).1);
        assert!(outage.mended());
        assert!(!outage.mended());
        assert!(outage.failed(&away()).1);
    }

    #[test]
    fn what_works_for_a_moment_only_is_tried_ever_more_rarely() {
        let mut outage = Outage::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(outage.failed(&away()).0);
            outage.mended();
        }
        assert!(delays[0] < Duration::from_millis(250));
        assert!(delays[7] >= Duration::from_secs(4), "{delays:?}");
        outage.mended_at = outage.mended_at.and_then(|since| since.checked_sub(Duration::from_secs(6)));
        assert!(outage.failed(&away()).0 < Duration::from_millis(250), "it had ended");
    }
}
