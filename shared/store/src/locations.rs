//! locations: where food is made. Few, and read as a whole by every api every other second.

use std::time::Duration;

use domain::location::Location;
use domain::money::currency_of;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::rollups::periods::is_time_zone;

/// A location as it stands.
#[derive(Debug, Clone)]
pub struct Known {
    /// What holds there.
    pub location: Location,
    /// It takes no new orders.
    pub closed: bool,
    /// When that was last set.
    pub updated_at: OffsetDateTime,
    /// By whom.
    pub updated_by: String,
}

/// What became of a wish to set one.
#[derive(Debug)]
pub enum Set {
    /// It stands so.
    Done(Known),
    /// There is one of this id.
    Taken,
    /// There is none.
    NotFound,
    /// The database knows no such time zone.
    UnknownTimeZone,
}

struct Row {
    id: String,
    name: String,
    time_zone: String,
    currency: String,
    accept_seconds: Option<i32>,
    lead_minutes: i32,
    closed: bool,
    updated_at: OffsetDateTime,
    updated_by: String,
}

impl TryFrom<Row> for Known {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let currency = currency_of(&row.currency)
            .ok_or_else(|| sqlx::Error::Decode("a location of an unknown currency".into()))?;
        let seconds = |number: i32| Duration::from_secs(number.unsigned_abs().into());
        let location = Location {
            id: row.id,
            name: row.name,
            time_zone: row.time_zone,
            currency,
            accept_in: row.accept_seconds.map(seconds),
            lead: seconds(row.lead_minutes) * 60,
        };
        Ok(Self { location, closed: row.closed, updated_at: row.updated_at, updated_by: row.updated_by })
    }
}

/// All of them, closed ones too, by their ids.
pub async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<Known>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, name, time_zone, currency, accept_seconds, lead_minutes, closed_at IS NOT NULL AS "closed!",
               updated_at, updated_by
           FROM locations ORDER BY id"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Known::try_from).collect()
}

/// The one of this id.
pub async fn find(conn: &mut PgConnection, id: &str) -> sqlx::Result<Option<Known>> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, time_zone, currency, accept_seconds, lead_minutes, closed_at IS NOT NULL AS "closed!",
               updated_at, updated_by
           FROM locations WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?
    .map(Known::try_from)
    .transpose()
}

/// Opens a new one.
pub async fn insert(conn: &mut PgConnection, new: &Location, by: &str) -> sqlx::Result<Set> {
    if !is_time_zone(conn, &new.time_zone).await? {
        return Ok(Set::UnknownTimeZone);
    }
    let (accept_seconds, lead_minutes) = numbers(new);
    let row = sqlx::query_as!(
        Row,
        r#"INSERT INTO locations (id, name, time_zone, currency, accept_seconds, lead_minutes, updated_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING
           RETURNING id, name, time_zone, currency, accept_seconds, lead_minutes, closed_at IS NOT NULL AS "closed!",
               updated_at, updated_by"#,
        new.id,
        new.name,
        new.time_zone,
        new.currency.code(),
        accept_seconds,
        lead_minutes,
        by
    )
    .fetch_optional(conn)
    .await?;
    row.map_or(Ok(Set::Taken), |row| row.try_into().map(Set::Done))
}

/// Sets what holds at one that is there, and opens it again where it was closed.
pub async fn replace(conn: &mut PgConnection, to: &Location, by: &str) -> sqlx::Result<Set> {
    if !is_time_zone(conn, &to.time_zone).await? {
        return Ok(Set::UnknownTimeZone);
    }
    let (accept_seconds, lead_minutes) = numbers(to);
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE locations SET name = $2, time_zone = $3, currency = $4, accept_seconds = $5, lead_minutes = $6,
               closed_at = NULL, updated_at = now(), updated_by = $7
           WHERE id = $1
           RETURNING id, name, time_zone, currency, accept_seconds, lead_minutes, closed_at IS NOT NULL AS "closed!",
               updated_at, updated_by"#,
        to.id,
        to.name,
        to.time_zone,
        to.currency.code(),
        accept_seconds,
        lead_minutes,
        by
    )
    .fetch_optional(conn)
    .await?;
    row.map_or(Ok(Set::NotFound), |row| row.try_into().map(Set::Done))
}

/// Closes one. Says whether there is one; twice is as once.
pub async fn close(conn: &mut PgConnection, id: &str, by: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE locations SET closed_at = coalesce(closed_at, now()), updated_at = now(), updated_by = $2 WHERE id = $1",
        id,
        by
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn numbers(location: &Location) -> (Option<i32>, i32) {
    let whole = |length: Duration| i32::try_from(length.as_secs()).unwrap_or(i32::MAX);
    (location.accept_in.map(whole), whole(location.lead / 60))
}
