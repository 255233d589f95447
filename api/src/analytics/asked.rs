//! What is asked for: which locations, from when to when, in periods of which time zone. Read, and then looked up.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use domain::channel::name::ChannelName;
use domain::location::is_id;
use domain::moment;
use domain::order::status::OrderStatus;
use domain::problems::Problem;
use domain::rolled::{QUARTER_SECONDS, quarter_of};
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use store::locations;
use store::rollups::jobs::{self, ROLL_UP};
use store::rollups::periods::{Granularity, Period, Span, day, is_time_zone, periods};
use store::rollups::read::Which;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Keeper;
use crate::orders::read::misread;
use crate::state::AppState;

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
/// Years that are asked about: nothing was counted before, all offsets are whole quarters of an hour since, and none leads out of what
/// can be shown. (Monrovia was 44 minutes and 30 seconds behind until 1972, which RFC 3339 cannot say.)
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2999;
/// Most days at once: some thousand rows.
const fn most_days(granularity: Granularity) -> i64 {
    match granularity {
        Granularity::Hour => 93,
        Granularity::Day => 732,
        Granularity::Week | Granularity::Month => 3_660,
    }
}

/// What may be asked of numbers by periods, as it came.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumbersQuery {
    /// From when on: a day (`2026-01-31`), from its midnight, or a time (RFC 3339), from the quarter of an hour that it lies in
    #[param(value_type = String)]
    pub(super) from: Option<String>,
    /// Until when: a day, with all of it, or a time, with the quarter of an hour that it lies in. Up to 93 days by hours, 732 by
    /// days, 3,660 by weeks and months
    #[param(value_type = String)]
    pub(super) to: Option<String>,
    /// `hour`, `day`, `week` (from Monday) or `month`; `day` where it is left out
    #[param(pattern = "^(hour|day|week|month)$")]
    pub(super) granularity: Option<String>,
    /// Only what was in this hour of each day, 0 to 23
    #[param(value_type = Option<i64>, minimum = 0, maximum = 23)]
    pub(super) hour: Option<String>,
    /// Only the orders of this location; all of yours where it is left out
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    pub(super) location: Option<String>,
    /// Only orders that came by this channel
    pub(super) channel: Option<String>,
    /// Whose hours and days: as IANA calls it. That of the location where it is left out, or of the first location where there are
    /// several
    pub(super) time_zone: Option<String>,
}

/// The same, of one status or of all.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusQuery {
    /// From when on: a day (`2026-01-31`), from its midnight, or a time (RFC 3339), from the quarter of an hour that it lies in
    #[param(value_type = String)]
    from: Option<String>,
    /// Until when: a day, with all of it, or a time, with the quarter of an hour that it lies in. Up to 93 days by hours, 732 by
    /// days, 3,660 by weeks and months
    #[param(value_type = String)]
    to: Option<String>,
    /// `hour`, `day`, `week` (from Monday) or `month`; `day` where it is left out
    #[param(pattern = "^(hour|day|week|month)$")]
    granularity: Option<String>,
    /// Only what was in this hour of each day, 0 to 23
    #[param(value_type = Option<i64>, minimum = 0, maximum = 23)]
    hour: Option<String>,
    /// Only this status; any case
    #[param(value_type = Option<OrderStatus>)]
    status: Option<String>,
    /// Only the orders of this location; all of yours where it is left out
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
    /// Only orders that came by this channel
    channel: Option<String>,
    /// Whose hours and days: as IANA calls it. That of the location where it is left out, or of the first location where there are
    /// several
    time_zone: Option<String>,
}

impl StatusQuery {
    pub(super) fn split(self) -> (NumbersQuery, Option<String>) {
        let Self { from, to, granularity, hour, status, location, channel, time_zone } = self;
        (NumbersQuery { from, to, granularity, hour, location, channel, time_zone }, status)
    }
}

pub(super) type Queried<T> = Result<Query<T>, QueryRejection>;

/// The parameters, where there are no others.
pub(super) fn read<T: DeserializeOwned>(query: Queried<T>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|refused| misread(&refused.body_text()))
}

/// When something begins or ends.
#[derive(Debug, Clone, Copy)]
enum Bound {
    At(OffsetDateTime),
    Day(Date),
}

impl Bound {
    fn parse(text: &str) -> Option<Self> {
        let bound = match parse_date(text) {
            Some(date) => Self::Day(date),
            None => Self::At(moment::parse(text).filter(|at| YEARS.contains(&at.year()))?),
        };
        Some(bound)
    }
}

/// A day as it is written.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    Date::parse(text, DATE).ok().filter(|date| YEARS.contains(&date.year()))
}

/// What is wrong so far.
#[derive(Default)]
pub(super) struct Faulty(Vec<Problem>);

impl Faulty {
    pub(super) fn add(&mut self, attr: &str, code: &'static str, detail: impl Into<String>) {
        self.0.push(Problem { code, detail: detail.into(), attr: attr.to_owned() });
    }

    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.0)) }
    }
}

/// Of whose orders, and whose days.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    location: Option<String>,
    channel: Option<String>,
    time_zone: Option<String>,
    /// Where they see to things; `None`: everywhere.
    theirs: Option<Vec<String>>,
}

impl Scope {
    pub(super) fn new(
        by: &Keeper,
        (location, channel, time_zone): (Option<String>, Option<String>, Option<String>),
        faulty: &mut Faulty,
    ) -> Result<Self, ApiError> {
        if location.as_deref().is_some_and(|id| !is_id(id)) {
            faulty.add("location", "unknown_location", "must be the id of a location");
        } else if let Some(location) = &location {
            by.expect_at(location)?;
        }
        let channel = channel.and_then(|text| match ChannelName::parse(&text) {
            Ok(channel) => Some(channel.as_str().to_owned()),
            Err((code, detail)) => {
                faulty.add("channel", code, detail);
                None
            }
        });
        Ok(Self { location, channel, time_zone, theirs: by.locations() })
    }

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
            (_, []) => return Ok(Err(ApiError::not_found("location"))),
            (Some(zone), _) if is_known(conn, zone).await? => zone.clone(),
            (Some(_), _) => {
                let wanted = "must be the name of a time zone as IANA has it, such as Europe/London";
                return Ok(Err(ApiError::invalid_one("time_zone", "unknown_time_zone", wanted)));
            }
            (None, [one]) => std::mem::take(&mut one.location.time_zone),
            (None, _) => main,
        };
        let locations = found.into_iter().map(|one| one.location.id).collect();
        Ok(Ok((Which { locations, channel: self.channel.clone() }, zone)))
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

/// What is found, or why it is not.
pub(super) type Found<T> = sqlx::Result<Result<T, ApiError>>;

/// Numbers by periods, checked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    scope: Scope,
    from: Bound,
    to: Bound,
    granularity: Granularity,
    hour: Option<i16>,
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
    pub(super) fn parse(by: &Keeper, query: NumbersQuery, mut faulty: Faulty) -> Result<Self, ApiError> {
        let NumbersQuery { from, to, granularity, hour, location, channel, time_zone } = query;
        let scope = Scope::new(by, (location, channel, time_zone), &mut faulty)?;
        let mut bound = |attr: &str, text: Option<String>| match text.as_deref().map(Bound::parse) {
            Some(Some(bound)) => bound,
            Some(None) => {
                faulty.add(
                    attr,
                    "no_time",
                    "must be a day such as 2026-01-31, or a time such as 2026-01-31T18:00:00Z",
                );
                Bound::At(OffsetDateTime::UNIX_EPOCH)
            }
            None => {
                faulty.add(attr, "required", "is required");
                Bound::At(OffsetDateTime::UNIX_EPOCH)
            }
        };
        let (from, to) = (bound("from", from), bound("to", to));
        let granularity = match granularity.as_deref() {
            None => Granularity::Day,
            Some(text) => {
                let known = Granularity::ALL.into_iter().find(|(name, _)| *name == text);
                known.map_or_else(
                    || {
                        let wanted = "must be hour, day, week or month";
                        faulty.add("granularity", "unknown_granularity", wanted);
                        Granularity::Day
                    },
                    |(_, granularity)| granularity,
                )
            }
        };
        let hour = hour.and_then(|text| {
            let hour = text.parse().ok().filter(|hour| (0..24).contains(hour));
            if hour.is_none() {
                faulty.add("hour", "out_of_range", "must be a number from 0 to 23");
            }
            hour
        });
        faulty.finish()?;
        Ok(Self { scope, from, to, granularity, hour })
    }

    pub(super) async fn find(&self, conn: &mut PgConnection) -> Found<Numbers> {
        let (which, zone) = match self.scope.find(conn).await? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
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
            let detail = "must be later than from";
            return Ok(Err(ApiError::invalid_one("to", "from_after_to", detail)));
        }
        // An hour more, where clocks are put back meanwhile.
        let most = most_days(self.granularity);
        if to - from > Duration::days(most) + Duration::HOUR {
            let detail =
                format!("must be no more than {most} days after from, by {}s", self.granularity.as_str());
            return Ok(Err(ApiError::invalid_one("to", "too_far_apart", detail)));
        }
        let as_of = match as_of(conn).await? {
            Ok(as_of) => as_of,
            Err(refused) => return Ok(Err(refused)),
        };
        let span = Span { from, to, granularity: self.granularity, zone, hour: self.hour };
        let periods = periods(conn, &span).await?;
        Ok(Ok(Numbers { which, span, periods, as_of }))
    }
}

/// Until when everything is counted. Where nothing is yet, there is no number to be told.
pub(super) async fn as_of(conn: &mut PgConnection) -> Found<OffsetDateTime> {
    let standing = jobs::standing(conn, ROLL_UP).await?;
    let as_of = standing.map(|standing| standing.now - Duration::milliseconds(standing.lag_ms));
    Ok(as_of.ok_or_else(|| ApiError::unavailable("nothing is counted yet: no follower has begun to")))
}

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
                let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                let done = work(&mut tx).await?;
                tx.rollback().await?;
                Ok(done)
            })
        });
        read.await.map_err(ApiError::from)?
    })
    .await
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
