//! What is asked for, looked up: their locations, whose days, which periods; and until when all is counted. All of an answer is read
//! in one snapshot.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use domain::rolled::{QUARTER_SECONDS, quarter_of};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use store::locations;
use store::rollups::jobs::{self, ROLL_UP};
use store::rollups::periods::{Granularity, Period, Span, day, is_time_zone, periods};
use store::rollups::read::Which;
use time::{Duration, OffsetDateTime};

use super::asked::{Asked, Bound, Scope};
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::state::AppState;

/// Most days at once: some thousand rows.
const fn most_days(granularity: Granularity) -> i64 {
    match granularity {
        Granularity::Hour => 93,
        Granularity::Day => 732,
        Granularity::Week | Granularity::Month => 3_660,
    }
}

/// Why nothing is found.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It could not be read.
    Unread(sqlx::Error),
    /// It cannot be told.
    Refused(ApiError),
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Self {
        Self::Unread(error)
    }
}

impl From<ApiError> for Stopped {
    fn from(refused: ApiError) -> Self {
        Self::Refused(refused)
    }
}

pub(super) type Found<T> = Result<T, Stopped>;

impl Scope {
    /// Their locations, closed ones too, and whose days they are.
    pub(super) async fn find(&self, conn: &mut PgConnection) -> Found<(Which, String)> {
        let all = locations::all(conn).await?;
        let main = all.iter().find(|one| one.location.is_main());
        let main = main.map_or("UTC", |one| one.location.time_zone.as_str()).to_owned();
        let asked = |id: &str| match (&self.location, &self.theirs) {
            (Some(location), _) => location == id,
            (None, Some(theirs)) => theirs.iter().any(|one| one == id),
            (None, None) => true,
        };
        let mut found: Vec<_> = all.into_iter().filter(|one| asked(&one.location.id)).collect();
        let zone = match (&self.time_zone, found.as_mut_slice()) {
            (_, []) => return Err(ApiError::not_found("location").into()),
            (Some(zone), _) if is_known(conn, zone).await? => zone.clone(),
            (Some(_), _) => {
                let wanted = "must be the name of a time zone as IANA has it, such as Europe/London";
                return Err(ApiError::invalid_one("time_zone", "unknown_time_zone", wanted).into());
            }
            (None, [one]) => std::mem::take(&mut one.location.time_zone),
            (None, _) => main,
        };
        let locations = found.into_iter().map(|one| one.location.id).collect();
        Ok((Which { locations, channel: self.channel.clone() }, zone))
    }
}

/// Time zones that the database knew: it takes it tens of milliseconds to look.
static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

async fn is_known(conn: &mut PgConnection, zone: &str) -> sqlx::Result<bool> {
    if KNOWN.read().unwrap_or_else(PoisonError::into_inner).contains(zone) {
        return Ok(true);
    }
    let is_known = !zone.contains('\0') && is_time_zone(conn, zone).await?;
    if is_known {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(zone.to_owned());
    }
    Ok(is_known)
}

/// The same, looked up.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) which: Which,
    pub(super) span: Span,
    pub(super) periods: Vec<Period>,
    pub(super) as_of: OffsetDateTime,
}

impl Asked {
    async fn find(&self, conn: &mut PgConnection) -> Found<Numbers> {
        let (which, zone) = self.scope.find(conn).await?;
        let from = match self.from {
            Bound::At(at) => quarter_of(at),
            Bound::Day(date) => day(conn, &zone, date).await?.0,
        };
        let to = match self.to {
            Bound::At(at) if quarter_of(at) == at => at,
            Bound::At(at) => quarter_of(at) + Duration::seconds(QUARTER_SECONDS),
            Bound::Day(date) => day(conn, &zone, date).await?.1,
        };
        if from >= to {
            return Err(ApiError::invalid_one("to", "from_after_to", "must be later than from").into());
        }
        // An hour more, where clocks are put back meanwhile.
        let most = most_days(self.granularity);
        if to - from > Duration::days(most) + Duration::HOUR {
            let detail =
                format!("must be no more than {most} days after from, by {}s", self.granularity.as_str());
            return Err(ApiError::invalid_one("to", "too_far_apart", detail).into());
        }
        let as_of = as_of(conn).await?;
        let span = Span { from, to, granularity: self.granularity, zone, hour: self.hour };
        let periods = periods(conn, &span).await?;
        Ok(Numbers { which, span, periods, as_of })
    }
}

/// Until when everything is counted. Where nothing is yet, there is no number to be told.
pub(super) async fn as_of(conn: &mut PgConnection) -> Found<OffsetDateTime> {
    let standing = jobs::standing(conn, ROLL_UP).await?;
    let standing =
        standing.ok_or_else(|| ApiError::unavailable("nothing is counted yet: no follower has begun to"))?;
    Ok(standing.now - Duration::milliseconds(standing.lag_ms))
}

/// Hours are added up as they come. PostgreSQL takes them for few, would sort whole rows of them, and on disk: a month of ten
/// locations took 28 ms there instead of 14.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL work_mem = '32MB'; SET LOCAL enable_sort = off";

/// Reads numbers that belong together: in one snapshot.
pub(super) async fn numbers<T: Send + 'static>(
    state: AppState,
    work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Found<T>> + Send + Sync + 'static,
) -> Result<T, ApiError> {
    let work = Arc::new(work);
    to_the_end(async move {
        let read = state.reads.show(move |conn| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let mut tx = conn.begin_with(SNAPSHOT).await?;
                let done = match work(&mut tx).await {
                    Ok(found) => Ok(found),
                    Err(Stopped::Refused(refused)) => Err(refused),
                    Err(Stopped::Unread(error)) => return Err(error),
                };
                tx.rollback().await?;
                Ok(done)
            })
        });
        read.await.map_err(ApiError::from)?
    })
    .await
}

/// Reads numbers by periods: what is asked for is looked up, and `read` adds up its part of it.
pub(super) async fn by_periods<T: Send + 'static>(
    state: AppState,
    asked: Asked,
    read: impl for<'c> Fn(&'c mut PgConnection, &'c Numbers) -> BoxFuture<'c, sqlx::Result<T>>
    + Send
    + Sync
    + 'static,
) -> Result<(Numbers, T), ApiError> {
    let both = Arc::new((asked, read));
    let found = numbers(state, move |conn| {
        let both = Arc::clone(&both);
        Box::pin(async move {
            let (asked, read) = &*both;
            let found = asked.find(conn).await?;
            let read = read(conn, &found).await?;
            Ok((found, read))
        })
    });
    found.await
}

/// Of what numbers are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Of {
    /// All that had happened by then is counted
    #[serde(with = "crate::http::times")]
    as_of: OffsetDateTime,
    /// From this time on
    #[serde(with = "crate::http::times")]
    from: OffsetDateTime,
    /// Before this time
    #[serde(with = "crate::http::times")]
    to: OffsetDateTime,
    /// Whose hours and days
    #[schema(example = "Europe/London")]
    time_zone: String,
    /// The locations
    locations: Vec<String>,
}

impl From<Numbers> for Of {
    fn from(numbers: Numbers) -> Self {
        let Numbers { which, span, as_of, .. } = numbers;
        Self { as_of, from: span.from, to: span.to, time_zone: span.zone, locations: which.locations }
    }
}

/// A period, as it is shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct PeriodView {
    /// What it is called: `2026-10-25T02:00`, `2026-10-25`, `2026-W43` or `2026-10`. Where clocks are put back an hour of this name comes
    /// twice; `begins` tells them apart
    #[schema(example = "2026-W53")]
    period: String,
    /// When it begins, in its time zone
    #[serde(with = "time::serde::rfc3339")]
    begins: OffsetDateTime,
}

impl From<&Period> for PeriodView {
    fn from(period: &Period) -> Self {
        Self { period: period.label.clone(), begins: period.begins }
    }
}
