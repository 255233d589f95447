//! How far a run is: one line drawn over and over on a terminal, and one every ten seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Quick enough to look alive.
const REDRAW: Duration = Duration::from_millis(250);
/// Where each line stays.
const EVERY: Duration = Duration::from_secs(10);

/// The line.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    terminal: bool,
}

impl Progress {
    /// Starts to count time.
    pub fn new() -> Self {
        Self { started: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// Draws what `line` says, for ever.
    pub async fn run(&self, line: impl Fn() -> String) -> ! {
        let mut tick = tokio::time::interval(if self.terminal { REDRAW } else { EVERY });
        loop {
            tick.tick().await;
            let text = format!("{:>4} s  {}", self.started.elapsed().as_secs(), line());
            let mut stderr = std::io::stderr().lock();
            let _ = if self.terminal {
                write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush())
            } else {
                writeln!(stderr, "{text}")
            };
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
