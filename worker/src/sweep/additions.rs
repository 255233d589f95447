//! additions: those are let go whose order's own charge is known, and the lines of those come off whose charge failed.

use std::time::Duration;

use anyhow::{Context, Result};
use store::additions::{drop_failed, release_held};
use store::session::Session;

use super::AT_ONCE;

/// Up to [`AT_ONCE`] of either kind. What is let go is called off in `payment_deadline`.
pub async fn run_once(session: &mut Session, payment_deadline: Duration) -> Result<()> {
    let released = session
        .run(&AT_ONCE, move |conn, limit| Box::pin(release_held(conn, payment_deadline, *limit)))
        .await;
    released.context("cannot let additions go")?;
    let dropped = session.run(&AT_ONCE, |conn, limit| Box::pin(drop_failed(conn, *limit))).await;
    dropped.context("cannot take failed additions off")?;
    Ok(())
}
