//! How much money came in and went back.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use domain::money::{Money, currency_of};
use domain::rolled::hour::Sum;
use domain::rolled::money::MoneyKind;
use serde::Serialize;
use serde_json::value::RawValue;
use store::rollups::read;

use super::asked::{Asked, Faulty};
use super::found::{Of, PeriodView, by_periods};
use super::query::{self, NumbersQuery, Queried};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::state::AppState;

/// Money of one currency. All amounts are exact decimals.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct MoneyNumbers {
    /// ISO 4217
    #[schema(example = "USD")]
    pub(super) currency: String,
    /// What came in, by whichever way
    #[schema(value_type = f64, example = 30.97)]
    pub(super) money_in: Box<RawValue>,
    /// What went back by the gateway, or has to go back by those who took it otherwise
    #[schema(value_type = f64, example = 0.00)]
    pub(super) money_back: Box<RawValue>,
    /// Came in by the gateway
    #[schema(value_type = f64, example = 30.97)]
    pub(super) charged: Box<RawValue>,
    /// Was taken by the orders' channels
    #[schema(value_type = f64, example = 0.00)]
    pub(super) elsewhere: Box<RawValue>,
    /// Was taken in hand
    #[schema(value_type = f64, example = 0.00)]
    pub(super) collected: Box<RawValue>,
    /// Went back by the gateway
    #[schema(value_type = f64, example = 0.00)]
    pub(super) refunded: Box<RawValue>,
    /// Has to go back by the channels that took it
    #[schema(value_type = f64, example = 0.00)]
    pub(super) elsewhere_back: Box<RawValue>,
    /// Has to go back by hand
    #[schema(value_type = f64, example = 0.00)]
    pub(super) collected_back: Box<RawValue>,
    /// Within what was confirmed: for bringing it
    #[schema(value_type = f64, example = 0.00)]
    pub(super) delivery_fees: Box<RawValue>,
    /// For the service
    #[schema(value_type = f64, example = 0.00)]
    pub(super) service_fees: Box<RawValue>,
    /// For what it is packed in
    #[schema(value_type = f64, example = 0.00)]
    pub(super) bags: Box<RawValue>,
    /// For those who serve
    #[schema(value_type = f64, example = 0.00)]
    pub(super) tips: Box<RawValue>,
    /// Taxes that prices do not include
    #[schema(value_type = f64, example = 0.00)]
    pub(super) taxes: Box<RawValue>,
    /// Off the price: below zero
    #[schema(value_type = f64, example = 0.00)]
    pub(super) discounts: Box<RawValue>,
    /// To what can be paid in cash
    #[schema(value_type = f64, example = 0.00)]
    pub(super) roundings: Box<RawValue>,
    /// Anything else beside the lines
    #[schema(value_type = f64, example = 0.00)]
    pub(super) others: Box<RawValue>,
    /// How many payments came in
    pub(super) payments: i64,
    /// How many refunds were given
    pub(super) refunds: i64,
}

/// Sums of one currency, by kind.
#[derive(Debug, Default)]
pub(super) struct Sums(pub(super) BTreeMap<MoneyKind, Sum>);

impl Sums {
    fn of(&self, kinds: &[MoneyKind]) -> Sum {
        let mut sum = Sum::default();
        for one in kinds.iter().filter_map(|kind| self.0.get(kind)) {
            sum.add(one.times, one.amount);
        }
        sum
    }

    /// `None`: nobody knows such a currency.
    pub(super) fn shown(&self, currency: &str) -> Option<MoneyNumbers> {
        use MoneyKind::{
            Bag, Charged, Collected, CollectedBack, DeliveryFee, Discount, Elsewhere, ElsewhereBack, Other,
            Refunded, Rounding, ServiceFee, Tax, Tip,
        };
        let money = |kinds: &[MoneyKind]| exact(currency, self.of(kinds).amount);
        Some(MoneyNumbers {
            currency: currency.to_owned(),
            money_in: money(&[Charged, Elsewhere, Collected])?,
            money_back: money(&[Refunded, ElsewhereBack, CollectedBack])?,
            charged: money(&[Charged])?,
            elsewhere: money(&[Elsewhere])?,
            collected: money(&[Collected])?,
            refunded: money(&[Refunded])?,
            elsewhere_back: money(&[ElsewhereBack])?,
            collected_back: money(&[CollectedBack])?,
            delivery_fees: money(&[DeliveryFee])?,
            service_fees: money(&[ServiceFee])?,
            bags: money(&[Bag])?,
            tips: money(&[Tip])?,
            taxes: money(&[Tax])?,
            discounts: money(&[Discount])?,
            roundings: money(&[Rounding])?,
            others: money(&[Other])?,
            payments: self.of(&[Charged, Elsewhere, Collected]).times,
            refunds: self.of(&[Refunded]).times,
        })
    }
}

/// An exact decimal.
pub(super) fn exact(currency: &str, minor: i64) -> Option<Box<RawValue>> {
    Some(Money::from_minor(minor, currency_of(currency)?).to_json())
}

/// Money of a period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PeriodMoney {
    /// When
    #[serde(flatten)]
    period: PeriodView,
    /// How much
    #[serde(flatten)]
    money: MoneyNumbers,
}

/// How much money.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Revenue {
    /// Of what it is
    #[serde(flatten)]
    of: Of,
    /// By period and currency; one in which no money moved is left out
    revenue: Vec<PeriodMoney>,
}

/// How much money came in and went back.
///
/// Each amount counts in the period in which it moved: what came in yesterday and goes back today is yesterday's income still.
#[utoipa::path(
    get, path = "/api/v1/analytics/revenue", tag = "analytics", operation_id = "revenue",
    params(NumbersQuery),
    responses(
        (status = 200, description = "By period and currency", body = Revenue),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid. What its schema cannot say: a time is none (`no_time`), `to` is not after `from` (`from_after_to`) or too long after it (`too_far_apart`); there is no such time zone (`unknown_time_zone`); a channel has what nobody sees (`invisible_character`, `control_character`), nothing (`empty`), or too much of it (`too_long`)", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn revenue(
    State(state): State<AppState>,
    by: Keeper,
    query: Queried<NumbersQuery>,
) -> Result<Json<Revenue>, ApiError> {
    let asked = Asked::parse(&by, query::read(query)?, Faulty::default())?;
    let found = by_periods(state, asked, |conn, found| {
        Box::pin(read::money(conn, &found.which, &found.span, &found.periods))
    });
    let (found, moved) = found.await?;
    let moved = moved.into_iter().flat_map(|(period, currencies)| {
        currencies.into_iter().map(move |(currency, kinds)| (period, currency, Sums(kinds)))
    });
    let revenue = moved.filter_map(|(period, currency, sums)| {
        Some(PeriodMoney { period: found.periods.get(period)?.into(), money: sums.shown(&currency)? })
    });
    let revenue = revenue.collect();
    Ok(Json(Revenue { of: found.into(), revenue }))
}
