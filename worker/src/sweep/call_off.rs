//! call off: charges that are not final when their time is over. Where nothing was ever sent the order ends, or the addition; what
//! may have been sent is only voided from now on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::call_off::{CalledOff, Whose, call_off_but, call_off_one, overdue};
use store::session::Session;
use uuid::Uuid;

use super::AT_ONCE;
use crate::aside::{Aside, may_be_one};

/// How often orders' own charges are looked for: an order may have minutes.
const EVERY: Duration = Duration::from_secs(1);
/// How often all others are: they have a quarter of an hour, and looking for them walks through what waits to be refunded.
const OTHERS_EVERY: Duration = Duration::from_secs(60);
/// Where a charge has less time than that: so many times in it.
const OTHERS_TIMES: u32 = 15;

/// Looks for charges whose time is over.
#[derive(Debug)]
pub struct CallOff {
    payment_deadline: Duration,
    next_at: Instant,
    others_at: Instant,
    aside: Aside,
    called_off: Counter,
}

impl CallOff {
    pub(super) fn new(payment_deadline: Duration) -> Self {
        let called_off = metrics::counter!("sweep_called_off_charges_total");
        called_off.increment(0);
        let now = Instant::now();
        Self { payment_deadline, next_at: now, others_at: now, aside: Aside::new("call_off"), called_off }
    }

    /// Does so when its time has come; at once again, while there is more.
    pub(super) async fn run_if_due(&mut self, session: &mut Session) -> Result<()> {
        let now = Instant::now();
        if now >= self.next_at {
            let done = self.run_once(session, Whose::First).await?;
            if done.found() < AT_ONCE as usize {
                self.next_at = now + EVERY;
            }
        }
        if now >= self.others_at {
            let (anew, added) =
                (self.run_once(session, Whose::Anew).await?, self.run_once(session, Whose::Additions).await?);
            if anew.found().max(added.found()) < AT_ONCE as usize {
                self.others_at = now + OTHERS_EVERY.min(self.payment_deadline / OTHERS_TIMES);
            }
        }
        Ok(())
    }

    async fn run_once(&mut self, session: &mut Session, whose: Whose) -> Result<CalledOff> {
        let (age, except) = (self.payment_deadline, self.aside.resting());
        let done = session
            .run(&except, move |conn, except| Box::pin(call_off_but(conn, whose, age, AT_ONCE, except)))
            .await;
        let done = match done {
            Err(error) if may_be_one(&error) => self.one_by_one(session, whose, &except).await?,
            done => done.context("cannot call off what takes too long to be charged")?,
        };
        let CalledOff { voiding, ended } = done;
        if done.found() > 0 {
            tracing::warn!(voiding, ended, "called off: not charged in time");
            self.called_off.increment(done.found() as u64);
        }
        Ok(done)
    }

    async fn one_by_one(
        &mut self,
        session: &mut Session,
        whose: Whose,
        except: &[Uuid],
    ) -> Result<CalledOff> {
        let age = self.payment_deadline;
        let found = session
            .run(except, move |conn, except| Box::pin(overdue(conn, whose, age, AT_ONCE, except)))
            .await
            .context("cannot see what takes too long to be charged")?;
        let (mut all, aside) = (CalledOff::default(), &mut self.aside);
        let one_by_one = session.run_each(
            &found,
            move |conn, id| Box::pin(call_off_one(conn, whose, age, *id)),
            |id, outcome| {
                let one = aside.heard(id, outcome).unwrap_or_default();
                all.voiding += one.voiding;
                all.ended += one.ended;
            },
        );
        one_by_one.await.context("cannot call off what takes too long to be charged")?;
        Ok(all)
    }
}
