//! Whether the numbers are true: each cell of the roll-ups is counted anew from the events that its follower has behind it.

use std::time::Duration;

use anyhow::Result;
use domain::money::{currency_of, decimal_places};
use domain::rolled::lengths::BOUNDS_MS;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use store::feed::{self, Cursor};
use tokio::time::Instant;

use crate::report::{Invariant, Report};

/// Whose cursor it is.
const FOLLOWER: &str = "roll_up";
/// Between looks whether it has come to the end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const CELLS: &str = include_str!("rollups.sql");

type Cell = (String, String, Option<Vec<i64>>, Option<Vec<i64>>);

/// Compares every cell, wherever the follower stands. Where nobody has ever rolled up there is nothing to compare.
pub(super) async fn check(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
    if cursor(conn).await?.is_none() {
        return Ok(());
    }
    // To compile so large a statement takes longer than to run it.
    sqlx::query("SET LOCAL jit = off").execute(&mut *conn).await?;
    let currencies: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT currency FROM orders").fetch_all(&mut *conn).await?;
    let digits =
        |code: &String| currency_of(code).map_or(0, |currency| decimal_places(currency).cast_signed());
    let digits: Vec<i32> = currencies.iter().map(digits).collect();
    let cells = sqlx::query_as::<_, Cell>(CELLS).bind(BOUNDS_MS.to_vec()).bind(&currencies).bind(digits);
    let mut cells = cells.fetch(conn);
    while let Some((of, key, expected, written)) = cells.try_next().await? {
        report.check(Invariant::NumbersTrue, expected == written, || {
            format!("{of} of {key}: by the events {expected:?}, written {written:?}")
        });
    }
    Ok(())
}

/// Waits until all that has happened is rolled up; whether it is within `patience`. Only then are the numbers those of today: the
/// reconciliation compares them with the events that they claim to be of, however few.
pub async fn until_rolled_up(database_url: &str, patience: Duration) -> Result<bool> {
    let mut conn = super::connect(database_url).await?;
    let deadline = Instant::now() + patience;
    loop {
        if let Some(cursor) = cursor(&mut conn).await? {
            // Also what no tick holds yet.
            feed::tick(&mut conn).await?;
            if matches!(feed::read(&mut conn, &cursor, 1).await?, feed::Read::UpToDate) {
                return Ok(true);
            }
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn cursor(conn: &mut PgConnection) -> Result<Option<Cursor>> {
    let row: Option<(i64, time::OffsetDateTime, Option<uuid::Uuid>, Option<i32>)> =
        sqlx::query_as("SELECT tick, noted_at, subject, version FROM feed_cursors WHERE follower = $1")
            .bind(FOLLOWER)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(tick, noted_at, subject, version)| Cursor { tick, noted_at, within: subject.zip(version) }))
}
