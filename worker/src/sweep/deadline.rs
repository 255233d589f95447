//! deadline: confirmed orders that the kitchen did not answer in time are rejected, and their money goes back. Any number of
//! workers may do so: one of them takes each deadline under a lock, the same that the kitchen's answer takes.

use anyhow::{Context, Result};
use metrics::Counter;
use runtime::chaos::crash_point;
use store::deadline::{Unanswered, reject_unanswered_but, reject_unanswered_one, unanswered};
use store::session::Session;
use uuid::Uuid;

use super::AT_ONCE;
use crate::aside::{Aside, may_be_one};

/// Watches the deadlines.
#[derive(Debug)]
pub struct Deadlines {
    aside: Aside,
    rejected: Counter,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        let rejected = metrics::counter!("sweep_rejected_orders_total");
        rejected.increment(0);
        Self { aside: Aside::new("deadline"), rejected }
    }

    /// Rejects what is late, up to [`AT_ONCE`] orders, and says how many deadlines had passed.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<usize> {
        let except = self.aside.resting();
        let swept =
            session.run(&except, |conn, except| Box::pin(reject_unanswered_but(conn, AT_ONCE, except))).await;
        let swept = match swept {
            Err(error) if may_be_one(&error) => self.one_by_one(session, &except).await?,
            swept => swept.context("cannot reject what nobody answered")?,
        };
        if swept.rejected > 0 {
            crash_point("worker.after_deadline");
            tracing::info!(orders = swept.rejected, "rejected: the kitchen did not answer in time");
            self.rejected.increment(swept.rejected as u64);
        }
        Ok(swept.found)
    }

    /// Rejects each by itself.
    async fn one_by_one(&mut self, session: &mut Session, except: &[Uuid]) -> Result<Unanswered> {
        let late = session
            .run(except, |conn, except| Box::pin(unanswered(conn, AT_ONCE, except)))
            .await
            .context("cannot see what nobody answered")?;
        let (mut all, aside) = (Unanswered::default(), &mut self.aside);
        let one_by_one = session.run_each(
            &late,
            |conn, id| Box::pin(reject_unanswered_one(conn, *id)),
            |id, outcome| {
                let one = aside.heard(id, outcome).unwrap_or_default();
                all.found += one.found;
                all.rejected += one.rejected;
            },
        );
        one_by_one.await.context("cannot reject what nobody answered")?;
        Ok(all)
    }
}
