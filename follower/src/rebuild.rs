//! rebuild: the numbers made anew, from the first event on, beside traffic. A second set of tables is filled, catches up, and takes the
//! place of the first in one transaction: whoever reads sees the old numbers or the new ones, whole.

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, PgConnection};
use store::Database;
use store::feed::cursors;
use store::feed::{self, Cursor, Lines, Read};
use store::rollups::jobs::ROLL_UP;
use store::rollups::{self, anew};
use uuid::Uuid;

/// Rows in a page while the past is read: a second or less.
const PAGE: i64 = 5_000;
/// The same of what happens meanwhile.
const NEWS: u32 = 2_048;
/// How often the swap gives way to those who read or write the first set.
const TRIES: u32 = 20;

/// What is said where one before had died.
pub const CLEARED: &str = "an earlier one had died on its way: what it had made is cleared away";

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Of how many events they are.
    pub events: u64,
    /// Whether what was left of one that had died was cleared away before.
    pub cleared: bool,
}

/// Makes them anew.
pub async fn rebuild(database: &Database) -> Result<Rebuilt> {
    let mut conn = database.connect().await.context("cannot reach the database")?;
    let cleared = anew::clear(&mut conn).await?;
    if cleared {
        tracing::warn!(CLEARED);
    }
    ensure!(anew::alone(&mut conn).await?, "somebody else makes the numbers anew right now");
    let moment = anew::begin(&mut conn).await?;
    let (mut events, mut behind) = (0, (Uuid::nil(), 0));
    loop {
        let mut tx = conn.begin().await?;
        let (page, last) = anew::page(&mut tx, &moment, behind, PAGE).await?;
        let Some(last) = last else {
            tx.rollback().await?;
            break;
        };
        anew::there(&mut tx).await?;
        rollups::add(&mut tx, &page).await?;
        tx.commit().await?;
        (events, behind) = (events + page.len() as u64, last);
    }
    let mut cursor = moment.cursor;
    loop {
        feed::tick(&mut conn).await?;
        let mut tx = conn.begin().await?;
        let Some((next, more)) = catch_up(&mut tx, &cursor).await? else {
            tx.rollback().await?;
            break;
        };
        cursors::set(&mut tx, anew::ANEW, &next).await?;
        tx.commit().await?;
        (cursor, events) = (next, events + more);
    }
    for tries_left in (0..TRIES).rev() {
        match swap(&mut conn, cursor).await {
            Ok(more) => {
                events += more;
                break;
            }
            Err(error) if tries_left == 0 => {
                return Err(error).context("the numbers are made, and cannot take their place");
            }
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "somebody reads the numbers; trying on")
            }
        }
    }
    conn.close().await?;
    Ok(Rebuilt { events, cleared })
}

/// Adds the next page to the second set; where it ends, and of how many events it was.
async fn catch_up(conn: &mut PgConnection, cursor: &Cursor) -> Result<Option<(Cursor, u64)>> {
    match feed::read_whole(conn, cursor, NEWS, Lines::WithAmounts).await? {
        Read::UpToDate => Ok(None),
        Read::Page { events, next } => {
            anew::there(conn).await?;
            rollups::add(conn, &events).await?;
            Ok(Some((next, events.len() as u64)))
        }
        Read::Gone { .. } => {
            anyhow::bail!("what happened meanwhile is not there any more: the database was restored")
        }
    }
}

/// The last pages, while nobody else follows, and the swap.
async fn swap(conn: &mut PgConnection, mut cursor: Cursor) -> Result<u64> {
    let mut tx = conn.begin().await?;
    cursors::wait(&mut tx, ROLL_UP).await?;
    let mut events = 0;
    while let Some((next, more)) = catch_up(&mut tx, &cursor).await? {
        (cursor, events) = (next, events + more);
    }
    anew::swap(&mut tx, ROLL_UP, &cursor).await?;
    tx.commit().await?;
    Ok(events)
}
