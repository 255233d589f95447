//! holds: what ended orders and carts held of the stock is counted to what is available, or to what is sold.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::session::Session;
use store::stock::carts::forget;
use store::stock::holds::settle;

/// Holds in one transaction. They are added up by item, so that each item's row is written once and held for as long as one commit
/// takes.
const AT_ONCE: u32 = 1_000;
/// How often carts are forgotten that nobody has changed for long.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Looks for them.
#[derive(Debug)]
pub struct Holds {
    settled: Counter,
    forget_at: Instant,
}

impl Holds {
    pub(super) fn new() -> Self {
        let forget_at = Instant::now() + FORGET_EVERY;
        Self { settled: metrics::counter!("sweep_settled_holds_total"), forget_at }
    }

    /// Some of them, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let done = session.run(&AT_ONCE, |conn, limit| Box::pin(settle(conn, *limit))).await;
        let done = done.context("cannot give back what ended orders held")?;
        self.settled.increment(done);
        if Instant::now() >= self.forget_at {
            self.forget_at = Instant::now() + FORGET_EVERY;
            let done = session.run(&AT_ONCE, |conn, limit| Box::pin(forget(conn, *limit))).await;
            done.context("cannot forget old carts")?;
        }
        Ok(done)
    }
}
