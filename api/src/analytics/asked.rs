//! What is asked for: which locations, from when to when, in periods of which length. Checked as far as that can be done here; `found`
//! looks up the rest.

use domain::channel::name::ChannelName;
use domain::location::is_id;
use domain::moment;
use domain::problems::Problem;
use store::rollups::periods::Granularity;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::query::NumbersQuery;
use crate::http::error::ApiError;
use crate::identity::caller::Keeper;

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
/// Years that are asked about: nothing was counted before, all offsets are whole quarters of an hour since, and none leads out of what
/// can be shown. (Monrovia was 44 minutes and 30 seconds behind until 1972, which RFC 3339 cannot say.)
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2999;
/// When something begins or ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
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
    pub(super) location: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) time_zone: Option<String>,
    /// Where they see to things; `None`: everywhere.
    pub(super) theirs: Option<Vec<String>>,
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
}

/// Numbers by periods, checked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) scope: Scope,
    pub(super) from: Bound,
    pub(super) to: Bound,
    pub(super) granularity: Granularity,
    pub(super) hour: Option<i16>,
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
}
