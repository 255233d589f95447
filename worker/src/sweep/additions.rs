//! additions: those are let go whose order's own charge is known, and the lines of those come off whose charge failed.

use std::time::Duration;

use anyhow::{Context, Result};
use store::additions::{drop_failed, held, release_held, release_held_one, to_drop};
use store::session::Session;

use super::AT_ONCE;
use crate::aside::{Aside, may_be_one};

/// Looks for both kinds.
#[derive(Debug)]
pub struct Additions {
    held: Aside,
    failed: Aside,
}

impl Additions {
    pub(super) fn new() -> Self {
        Self { held: Aside::new("let_go"), failed: Aside::new("take_off") }
    }

    /// Up to [`AT_ONCE`] of either kind, each whatever becomes of the other. What is let go is called off in `payment_deadline`.
    pub async fn run_once(&mut self, session: &mut Session, payment_deadline: Duration) -> Result<()> {
        let released = self.let_go(session, payment_deadline).await;
        released.and(self.take_off(session).await)
    }

    async fn let_go(&mut self, session: &mut Session, age: Duration) -> Result<()> {
        let aside = &mut self.held;
        let except = aside.resting();
        let done = session
            .run(&except, move |conn, except| Box::pin(release_held(conn, age, AT_ONCE, except)))
            .await;
        match done {
            Err(error) if may_be_one(&error) => {}
            done => return done.map(drop).context("cannot let additions go"),
        }
        let found = session.run(&except, |conn, except| Box::pin(held(conn, AT_ONCE, except))).await;
        let found = found.context("cannot see which additions are held")?;
        let one_by_one = session.run_each(
            &found,
            move |conn, id| Box::pin(release_held_one(conn, age, *id)),
            |id, outcome| {
                aside.heard(id, outcome);
            },
        );
        one_by_one.await.context("cannot let additions go")
    }

    /// An order is a transaction here.
    async fn take_off(&mut self, session: &mut Session) -> Result<()> {
        let aside = &mut self.failed;
        let except = aside.resting();
        let orders = session.run(&except, |conn, except| Box::pin(to_drop(conn, AT_ONCE, except))).await;
        let orders = orders.context("cannot see which additions failed")?;
        let one_by_one = session.run_each(
            &orders,
            |conn, id| Box::pin(drop_failed(conn, *id)),
            |id, outcome| {
                aside.heard(id, outcome);
            },
        );
        one_by_one.await.context("cannot take failed additions off")
    }
}
