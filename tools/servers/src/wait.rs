//! Waiting for another process: polled, because what happens in a process that is not our child announces itself to
//! nobody.

use std::time::{Duration, Instant};

/// Short against the half second in which a server starts, long against the cost of one look.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Waits until `done` says so, at most `limit`; whether it did.
pub(crate) fn until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this crate blocks by contract; there is no runtime thread here"
)]
fn pause() {
    std::thread::sleep(POLL_EVERY);
}
