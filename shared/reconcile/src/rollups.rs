//! Whether the numbers are true: each cell of the roll-ups is counted anew from the events that its follower has behind it.

use std::time::Duration;

use anyhow::Result;
use domain::money::{currency_of, decimal_places};
use domain::rolled::QUARTER_SECONDS;
use domain::rolled::hour::{Hour, Orders};
use domain::rolled::lengths::BOUNDS_MS;
use domain::rolled::packed::Packed;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use store::feed::{self, Cursor};
use time::{Duration as Length, OffsetDateTime};
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
    let written = Written::read(conn, report).await?;
    let cells = sqlx::query_as::<_, Cell>(CELLS).bind(BOUNDS_MS.to_vec()).bind(&currencies).bind(digits);
    let cells = cells.bind(written.of).bind(written.locations).bind(written.quarters);
    let cells = cells.bind(written.rest).bind(written.numbers);
    let mut cells = cells.fetch(conn);
    while let Some((of, key, expected, written)) = cells.try_next().await? {
        report.check(Invariant::NumbersTrue, expected == written, || {
            format!("{of} of {key}: by the events {expected:?}, written {written:?}")
        });
    }
    Ok(())
}

/// What is written in the hours, taken apart: a row a number, or numbers that belong together.
#[derive(Default)]
struct Written {
    of: Vec<&'static str>,
    locations: Vec<String>,
    quarters: Vec<OffsetDateTime>,
    /// The channel, and what else it is of.
    rest: Vec<String>,
    /// As an array is written.
    numbers: Vec<String>,
}

type Row = (String, OffsetDateTime, String, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

impl Written {
    async fn read(conn: &mut PgConnection, report: &mut Report) -> Result<Self> {
        let mut written = Self::default();
        let mut hours = sqlx::query_as::<_, Row>(
            "SELECT location, hour, channel, orders, statuses, hourly, money, reasons FROM rolled_hours",
        )
        .fetch(conn);
        while let Some((location, begins, channel, orders, statuses, hourly, money, reasons)) =
            hours.try_next().await?
        {
            let kept = Packed { orders, statuses, hourly, money, reasons };
            match Hour::unpack(&kept) {
                Ok(hour) => {
                    written.take_apart(&(location.as_str(), begins, channel.as_str()), &hour);
                    report.check(Invariant::NumbersTrue, hour.pack() == kept, || {
                        format!("{location}, {begins}: the whole hour is not what its quarters are")
                    });
                }
                Err(error) => {
                    report.check(Invariant::NumbersTrue, false, || format!("{location}, {begins}: {error}"))
                }
            }
        }
        Ok(written)
    }

    fn take_apart(&mut self, at: &(&str, OffsetDateTime, &str), hour: &Hour) {
        for (quarter, orders) in &hour.orders {
            let Orders { accepted, confirmed, failed, rejected, cancelled, delivered } = *orders;
            self.push(
                "orders",
                at,
                *quarter,
                "",
                &[accepted, confirmed, failed, rejected, cancelled, delivered],
            );
        }
        for ((quarter, status), stays) in &hour.statuses {
            let status = status.as_str();
            if stays.entries != 0 {
                self.push("entries", at, *quarter, &format!("|{status}"), &[stays.entries]);
            }
            if stays.total_ms != 0 {
                self.push("lengths", at, *quarter, &format!("|{status}"), &[stays.total_ms]);
            }
            for (bucket, number) in &stays.buckets {
                self.push("stays", at, *quarter, &format!("|{status}|{bucket}"), &[*number]);
            }
        }
        for ((quarter, currency, kind), sum) in &hour.money {
            let rest = format!("|{currency}|{}", kind.as_str());
            self.push("money", at, *quarter, &rest, &[sum.times, sum.amount]);
        }
        for ((quarter, status, reason), times) in &hour.reasons {
            self.push("reasons", at, *quarter, &format!("|{}|{reason}", status.as_str()), &[*times]);
        }
    }

    fn push(
        &mut self,
        of: &'static str,
        (location, hour, channel): &(&str, OffsetDateTime, &str),
        quarter: u8,
        rest: &str,
        numbers: &[i64],
    ) {
        self.of.push(of);
        self.locations.push((*location).to_owned());
        self.quarters.push(*hour + Length::seconds(QUARTER_SECONDS * i64::from(quarter)));
        self.rest.push(format!("{channel}{rest}"));
        let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
        self.numbers.push(format!("{{{}}}", numbers.join(",")));
    }
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
    let row: Option<(i64, OffsetDateTime, Option<uuid::Uuid>, Option<i32>)> =
        sqlx::query_as("SELECT tick, noted_at, subject, version FROM feed_cursors WHERE follower = $1")
            .bind(FOLLOWER)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(tick, noted_at, subject, version)| Cursor { tick, noted_at, within: subject.zip(version) }))
}
