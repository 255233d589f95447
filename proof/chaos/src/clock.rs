//! One clock for all that is compared in the end: microseconds since 1970, as PostgreSQL on the same machine and the
//! gateway's access log count them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in microseconds since 1970.
pub type Micros = i64;

/// Now.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A length of time as a number of microseconds.
pub fn micros(length: Duration) -> Micros {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// From one moment to a later one; nothing if it is not later.
pub fn between(from: Micros, until: Micros) -> Duration {
    Duration::from_micros(u64::try_from(until - from).unwrap_or(0))
}
