//! holds: what ended orders held of the stock is counted to what is available, or to what is sold.

use anyhow::{Context, Result};
use metrics::Counter;
use store::session::Session;
use store::stock::holds::settle;

/// Holds in one transaction. They are added up by item, so that each item's row is written once and held for as long as one commit
/// takes.
const AT_ONCE: u32 = 1_000;

/// Looks for them.
#[derive(Debug)]
pub struct Holds {
    settled: Counter,
}

impl Holds {
    pub(super) fn new() -> Self {
        Self { settled: metrics::counter!("sweep_settled_holds_total") }
    }

    /// Some of them, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let done = session.run(&AT_ONCE, |conn, limit| Box::pin(settle(conn, *limit))).await;
        let done = done.context("cannot give back what ended orders held")?;
        self.settled.increment(done);
        Ok(done)
    }
}
