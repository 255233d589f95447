//! additions: those are let go whose order's own charge is known, and the lines of those come off whose charge failed.

use anyhow::{Context, Result};
use store::additions::{drop_failed, release_held};
use store::session::Session;

use super::AT_ONCE;

/// Up to [`AT_ONCE`] of either kind.
pub async fn run_once(session: &mut Session) -> Result<()> {
    let released = session.run(&AT_ONCE, |conn, limit| Box::pin(release_held(conn, *limit))).await;
    released.context("cannot let additions go")?;
    let dropped = session.run(&AT_ONCE, |conn, limit| Box::pin(drop_failed(conn, *limit))).await;
    dropped.context("cannot take failed additions off")?;
    Ok(())
}
