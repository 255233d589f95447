//! When the next order is due to be sent.
//!
//! Closed loop: as soon as the last answer is in; the service sets the pace, and a stall hides the orders that would
//! have come meanwhile. Open loop: at fixed times, whatever the service does; a latency counts from the intended time,
//! so an order that had to wait for a free connection has that wait in it. This is Gil Tene's correction of
//! coordinated omission, as in wrk2.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use runtime::tasks::Stop;
use tokio::sync::{Mutex, mpsc};

/// How orders arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they are answered.
    Closed,
    /// So many a second, evenly, at least one.
    Open {
        /// Orders a second.
        per_second: u32,
    },
}

#[derive(Debug)]
pub(super) struct Arrivals {
    source: Source,
    stop: Stop,
}

#[derive(Debug)]
enum Source {
    Closed {
        left: AtomicU64,
        until: Option<Instant>,
    },
    /// Taken by whichever connection is free; while none is, intended times pile up here, bounded by the plan.
    Open(Mutex<mpsc::UnboundedReceiver<Instant>>),
}

impl Arrivals {
    /// Begins at `start`. Ends after `count` or `time`, whichever comes first, or at `stop`.
    pub(super) fn new(
        pace: Pace,
        start: Instant,
        count: Option<u64>,
        time: Option<Duration>,
        stop: Stop,
    ) -> Result<Self> {
        let count = count.unwrap_or(u64::MAX);
        let until = time.map(|time| start + time);
        let source = match pace {
            Pace::Closed => Source::Closed { left: AtomicU64::new(count), until },
            Pace::Open { per_second } => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let interval = Duration::from_secs(1) / per_second.max(1);
                std::thread::Builder::new()
                    .name("arrivals".into())
                    .spawn(move || beat(start, interval, count, until, &sender))?;
                Source::Open(Mutex::new(receiver))
            }
        };
        Ok(Self { source, stop })
    }

    /// The next order's intended time, once that has come; `None`: there is no next.
    pub(super) async fn next(&self) -> Option<Instant> {
        match &self.source {
            Source::Closed { left, until } => {
                let now = Instant::now();
                let over = self.stop.is_stopped() || until.is_some_and(|until| now >= until);
                let one_less = |left: u64| left.checked_sub(1);
                let taken =
                    !over && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
                taken.then_some(now)
            }
            Source::Open(receiver) => {
                self.stop.or_stopped(async { receiver.lock().await.recv().await }).await.flatten()
            }
        }
    }
}

/// Says when each order is due. On a thread of its own: the runtime's timer knows milliseconds only, which is as
/// long as what is measured.
#[expect(clippy::disallowed_methods, reason = "no thread of the runtime")]
fn beat(
    start: Instant,
    interval: Duration,
    count: u64,
    until: Option<Instant>,
    sender: &mpsc::UnboundedSender<Instant>,
) {
    let mut due = start;
    for _ in 0..count {
        if until.is_some_and(|until| due >= until) {
            return;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if sender.send(due).is_err() {
            return;
        }
        due += interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn intended_times_do_not_wait_for_those_who_take_them() {
        let start = Instant::now();
        let pace = Pace::Open { per_second: 1_000 };
        let arrivals = Arrivals::new(pace, start, Some(20), None, Stop::new()).unwrap();
        // A service that stalls for as long as all of them take.
        tokio::time::sleep(Duration::from_millis(30)).await;
        for n in 0..20 {
            assert_eq!(arrivals.next().await, Some(start + n * Duration::from_millis(1)));
        }
        assert_eq!(arrivals.next().await, None);
    }

    #[tokio::test]
    async fn count_time_and_stop_each_end_it() {
        let closed =
            |count, time, stop| Arrivals::new(Pace::Closed, Instant::now(), count, time, stop).unwrap();
        let counted = closed(Some(2), None, Stop::new());
        assert!(counted.next().await.is_some() && counted.next().await.is_some());
        assert_eq!(counted.next().await, None);
        assert_eq!(closed(None, Some(Duration::ZERO), Stop::new()).next().await, None);
        let stop = Stop::new();
        stop.stop();
        assert_eq!(closed(None, None, stop.clone()).next().await, None);
        let open = Arrivals::new(
            Pace::Open { per_second: 1 },
            Instant::now() + Duration::from_secs(1),
            None,
            None,
            stop,
        );
        assert_eq!(open.unwrap().next().await, None);
    }
}
