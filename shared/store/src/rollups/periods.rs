//! Periods of a time zone: hours, days, weeks (from Monday, as ISO 8601 has it) and months are sums of quarters of an hour. PostgreSQL
//! knows the time zones; a day has 23 to 25 hours there, and an hour that comes twice is two.

use sqlx::PgConnection;
use time::{OffsetDateTime, UtcOffset};

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// An hour.
    Hour,
    /// A day, from midnight.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
}

impl Granularity {
    /// Every one, and its name on the wire and in the database.
    pub const ALL: [(&'static str, Self); 4] =
        [("hour", Self::Hour), ("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// How people call one of these: `2026-W53`. An hour is called by its beginning.
    const fn label(self) -> &'static str {
        match self {
            Self::Hour => r#"YYYY-MM-DD"T"HH24:MI"#,
            Self::Day => "YYYY-MM-DD",
            Self::Week => r#"IYYY-"W"IW"#,
            Self::Month => "YYYY-MM",
        }
    }
}

/// A period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// When it begins, with the time zone's offset then.
    pub begins: OffsetDateTime,
    /// `2026-10-25T02:00`, `2026-10-25`, `2026-W43` or `2026-10`.
    pub label: String,
}

/// What is asked for: whole quarters of an hour.
#[derive(Debug, Clone)]
pub struct Span {
    /// From this on.
    pub from: OffsetDateTime,
    /// Before this.
    pub to: OffsetDateTime,
    /// In periods of this length,
    pub granularity: Granularity,
    /// of this time zone.
    pub zone: String,
    /// Only what was in this hour of each day.
    pub hour: Option<i16>,
}

/// Whether there is a time zone of this very name. (Beside IANA's the database has names of its own files, in small letters.)
pub async fn is_time_zone(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1 AND name ~ '^[A-Z]' AND name <> 'Factory') AS "is!""#,
        name
    )
    .fetch_one(conn)
    .await
}

/// When that day begins there, and the next; `None`: the calendar has no such day.
pub async fn day(
    conn: &mut PgConnection,
    zone: &str,
    date: time::Date,
) -> sqlx::Result<(OffsetDateTime, OffsetDateTime)> {
    let row = sqlx::query!(
        r#"SELECT $1::date::timestamp AT TIME ZONE $2 AS "begins!", ($1::date + 1)::timestamp AT TIME ZONE $2 AS "ends!""#,
        date,
        zone
    )
    .fetch_one(conn)
    .await?;
    Ok((row.begins, row.ends))
}

/// The periods that the span touches, one after the other. The first may have begun before it.
pub async fn periods(conn: &mut PgConnection, span: &Span) -> sqlx::Result<Vec<Period>> {
    // Hours are found by their quarters, because a time zone may move its clock by half an hour; days by the calendar.
    let rows = sqlx::query!(
        r#"
        SELECT begins AS "begins!", to_char(begins AT TIME ZONE $4, $5) AS "label!",
            extract(epoch FROM (begins AT TIME ZONE $4) - (begins AT TIME ZONE 'UTC'))::int AS "offset!"
        FROM (
            SELECT DISTINCT date_trunc('hour', quarter, $4) AS begins
            FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 us', interval '15 minutes') quarter WHERE $3 = 'hour'
            UNION ALL
            SELECT local AT TIME ZONE $4
            FROM generate_series(date_trunc($3, $1::timestamptz AT TIME ZONE $4), ($2::timestamptz - interval '1 us') AT TIME ZONE $4,
                                 ('1 ' || $3::text)::interval) local
            WHERE $3 <> 'hour'
        ) found
        ORDER BY 1
        "#,
        span.from,
        span.to,
        span.granularity.as_str(),
        span.zone,
        span.granularity.label()
    )
    .fetch_all(conn)
    .await?;
    let periods = rows.into_iter().map(|row| {
        let offset = UtcOffset::from_whole_seconds(row.offset).unwrap_or(UtcOffset::UTC);
        Period { begins: row.begins.to_offset(offset), label: row.label }
    });
    Ok(periods.collect())
}
