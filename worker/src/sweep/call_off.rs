//! call off: charges that are not final when their time is over. Where nothing was ever sent the order ends; what may have been
//! sent is only voided from now on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::call_off::{
    CalledOff, call_off_but, call_off_one, call_off_other, call_off_others, others_overdue, overdue,
};
use store::session::Session;
use uuid::Uuid;

use super::AT_ONCE;
use crate::aside::{Aside, may_be_one};

/// How often orders' own charges are looked for: an order may have minutes.
const EVERY: Duration = Duration::from_secs(1);
/// How often all others are: they have a quarter of an hour, and looking for them walks through what waits to be refunded.
const OTHERS_EVERY: Duration = Duration::from_secs(60);
/// Others called off at once.
const OTHERS_AT_ONCE: u32 = 10_000;

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
            let done = self.run_once(session).await?;
            if done.found() < AT_ONCE as usize {
                self.next_at = now + EVERY;
            }
        }
        if now >= self.others_at {
            self.others_at = now + OTHERS_EVERY;
            self.run_others(session).await?;
        }
        Ok(())
    }

    /// Orders' own charges.
    async fn run_once(&mut self, session: &mut Session) -> Result<CalledOff> {
        let (age, except) = (self.payment_deadline, self.aside.resting());
        let done = session
            .run(&except, move |conn, except| Box::pin(call_off_but(conn, age, AT_ONCE, except)))
            .await;
        let done = match done {
            Err(error) if may_be_one(&error) => self.one_by_one(session, &except).await?,
            done => done.context("cannot call off orders whose charge takes too long")?,
        };
        self.tell(done);
        Ok(done)
    }

    async fn one_by_one(&mut self, session: &mut Session, except: &[Uuid]) -> Result<CalledOff> {
        let age = self.payment_deadline;
        let found = session
            .run(except, move |conn, except| Box::pin(overdue(conn, age, AT_ONCE, except)))
            .await
            .context("cannot see whose charge takes too long")?;
        let (mut all, aside) = (CalledOff::default(), &mut self.aside);
        let one_by_one = session.run_each(
            &found,
            move |conn, id| Box::pin(call_off_one(conn, age, *id)),
            |id, outcome| {
                let one = aside.heard(id, outcome).unwrap_or_default();
                all.voiding += one.voiding;
                all.ended += one.ended;
            },
        );
        one_by_one.await.context("cannot call off orders whose charge takes too long")?;
        Ok(all)
    }

    /// All others; one by one as long as any rests.
    async fn run_others(&mut self, session: &mut Session) -> Result<()> {
        let (age, except) = (self.payment_deadline, self.aside.resting());
        if except.is_empty() {
            let done = session
                .run(&OTHERS_AT_ONCE, move |conn, limit| Box::pin(call_off_others(conn, age, *limit)))
                .await;
            match done {
                Err(error) if may_be_one(&error) => {}
                done => {
                    let voiding = done.context("cannot call off old charges")?;
                    self.tell(CalledOff {
                        voiding: usize::try_from(voiding).unwrap_or(usize::MAX),
                        ended: 0,
                    });
                    return Ok(());
                }
            }
        }
        let found = session
            .run(&except, move |conn, except| Box::pin(others_overdue(conn, age, AT_ONCE, except)))
            .await
            .context("cannot see which charges are old")?;
        let (mut voiding, aside) = (0, &mut self.aside);
        let one_by_one = session.run_each(
            &found,
            |conn, id| Box::pin(call_off_other(conn, *id)),
            |id, outcome| voiding += usize::from(aside.heard(id, outcome).is_some()),
        );
        one_by_one.await.context("cannot call off old charges")?;
        self.tell(CalledOff { voiding, ended: 0 });
        Ok(())
    }

    fn tell(&self, done: CalledOff) {
        let CalledOff { voiding, ended } = done;
        if done.found() > 0 {
            tracing::warn!(voiding, ended, "called off: not charged in time");
            self.called_off.increment(done.found() as u64);
        }
    }
}
