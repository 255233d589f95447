//! The parameters of numbers, as they came.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use domain::order::status::OrderStatus;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::error::ApiError;
use crate::orders::read::misread;

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
