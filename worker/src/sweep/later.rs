//! later: orders whose time has come are let go, to be charged and put before the kitchen as any other.

use std::time::Duration;

use anyhow::{Context, Result};
use store::later::{held, let_go, let_go_one};
use store::session::Session;

use super::AT_ONCE;
use crate::aside::{Aside, may_be_one};

/// Looks for them.
#[derive(Debug)]
pub struct Later {
    aside: Aside,
}

impl Later {
    pub(super) fn new() -> Self {
        Self { aside: Aside::new("its_time") }
    }

    /// Lets up to [`AT_ONCE`] go, and says how many. Their charges are called off in `age`, where they do not say otherwise.
    pub async fn run_once(&mut self, session: &mut Session, age: Duration) -> Result<usize> {
        let aside = &mut self.aside;
        let except = aside.resting();
        let done =
            session.run(&except, move |conn, except| Box::pin(let_go(conn, age, AT_ONCE, except))).await;
        match done {
            Err(error) if may_be_one(&error) => {}
            done => return done.context("cannot let orders go whose time has come"),
        }
        let found = session.run(&except, |conn, except| Box::pin(held(conn, AT_ONCE, except))).await;
        let found = found.context("cannot see whose time has come")?;
        let mut gone = 0;
        let one_by_one = session.run_each(
            &found,
            move |conn, id| Box::pin(let_go_one(conn, age, *id)),
            |id, outcome| {
                gone += aside.heard(id, outcome).unwrap_or_default();
            },
        );
        one_by_one.await.context("cannot let orders go whose time has come")?;
        Ok(gone)
    }
}
