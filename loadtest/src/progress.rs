//! One line on the terminal that says how far it is; nothing where there is no terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::latency::per_second;

/// Quick enough to look alive, slow enough to cost nothing.
pub(crate) const REDRAW: Duration = Duration::from_millis(250);
/// Characters of the bar.
const WIDTH: u64 = 24;

/// A line that is drawn over and over; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    of: Option<u64>,
    started: Instant,
    shown: bool,
}

impl Progress {
    /// Of something that ends at `of`, where that is known.
    pub(crate) fn new(what: impl Into<String>, of: Option<u64>) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { what: what.into(), of, started: Instant::now(), shown }
    }

    /// Shows that `done` are done.
    pub(crate) fn draw(&self, done: u64) {
        if self.shown {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{}", self.line(done, self.started.elapsed()));
            let _ = stderr.flush();
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let (what, rate, seconds) = (&self.what, per_second(done, elapsed), elapsed.as_secs());
        match self.of {
            Some(of) if of > 0 => {
                let full = (done.min(of) * WIDTH / of) as usize;
                let (bar, rest) = ("#".repeat(full), ".".repeat(WIDTH as usize - full));
                format!("{what} [{bar}{rest}] {done}/{of}  {rate:.0}/s  {seconds} s")
            }
            _ => format!("{what} {done}  {rate:.0}/s  {seconds} s"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_what_is_done() {
        let line = |of, done| Progress::new("accept", of).line(done, Duration::from_secs(2));
        assert_eq!(line(Some(200), 100), "accept [############............] 100/200  50/s  2 s");
        assert_eq!(line(Some(200), 300), "accept [########################] 300/200  150/s  2 s");
        assert_eq!(line(None, 7), "accept 7  4/s  2 s");
    }
}
