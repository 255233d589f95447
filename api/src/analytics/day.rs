//! The report of a day at a location: what a manager signs in the evening.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::rollups::periods::{Granularity, Period, Span, day};
use store::rollups::read as cells;
use time::{Date, OffsetDateTime};

use super::asked::{Faulty, Scope, parse_date};
use super::found::{Found, as_of, numbers};
use super::money::{MoneyNumbers, Sums, exact};
use super::orders::{OrderCounts, Reason};
use super::query::{Queried, read};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::state::AppState;

/// Which location's, and how it is written, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DayQuery {
    /// The location; may be left out by who has one only
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
    /// Whose day: as IANA calls it. The location's where it is left out
    time_zone: Option<String>,
    /// `json` or `csv`; `json` where it is left out
    #[param(pattern = "^(json|csv)$")]
    format: Option<String>,
}

/// Money of a day, in one currency.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DayMoney {
    /// What moved
    #[serde(flatten)]
    moved: MoneyNumbers,
    /// At the end of the day: what is still to be paid in hand. Exact decimal
    #[schema(value_type = f64, example = 27.98)]
    due: Box<RawValue>,
    /// And what is still to go back by the gateway
    #[schema(value_type = f64, example = 0.00)]
    refunds_owed: Box<RawValue>,
}

/// The report of a day.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DayReport {
    /// The day
    #[schema(example = "2026-01-31")]
    date: String,
    /// The location
    #[schema(example = "soho")]
    location: String,
    /// Whose day
    #[schema(example = "Europe/London")]
    time_zone: String,
    /// When it began
    #[serde(with = "crate::http::times")]
    begins: OffsetDateTime,
    /// When it ends: 23 to 25 hours later
    #[serde(with = "crate::http::times")]
    ends: OffsetDateTime,
    /// All that had happened by then is counted
    #[serde(with = "crate::http::times")]
    as_of: OffsetDateTime,
    /// The day is over, and all of it is counted: it may be signed
    complete: bool,
    /// How many orders
    orders: OrderCounts,
    /// Why orders failed, were rejected or cancelled
    reasons: Vec<Reason>,
    /// How much money, by currency
    money: Vec<DayMoney>,
}

/// The report of a day: how many orders, how much money came in and went back by which way, and what is due.
///
/// With `format=csv` a table of two columns, `what` and `value`, for spreadsheets.
#[utoipa::path(
    get, path = "/api/v1/analytics/days/{date}", tag = "analytics", operation_id = "day_report",
    params(("date" = String, Path, description = "The day, such as `2026-01-31`"), DayQuery),
    responses(
        (status = 200, description = "The report", content((DayReport = "application/json"), (String = "text/csv"))),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid, or several locations are yours and none is named (`required`). What its schema cannot say: there is no such day (`no_date`) or time zone (`unknown_time_zone`)", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    by: Keeper,
    Path(date): Path<String>,
    query: Queried<DayQuery>,
) -> Result<Response, ApiError> {
    let DayQuery { location, time_zone, format } = read(query)?;
    let mut faulty = Faulty::default();
    let scope = Scope::new(&by, (location, None, time_zone), &mut faulty)?;
    let date = parse_date(&date).unwrap_or_else(|| {
        faulty.add("date", "no_date", "must be a day such as 2026-01-31");
        Date::MIN
    });
    let as_csv = match format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => {
            faulty.add("format", "unknown_format", "must be json or csv");
            false
        }
    };
    faulty.finish()?;
    let report = numbers(state, move |conn| {
        let scope = scope.clone();
        Box::pin(async move { find(conn, &scope, date).await })
    });
    let report = report.await?;
    if !as_csv {
        return Ok(Json(report).into_response());
    }
    let name = format!("attachment; filename=\"{}-{}.csv\"", report.location, report.date);
    let mut answer = csv(&report).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}

async fn find(conn: &mut sqlx::PgConnection, scope: &Scope, date: Date) -> Found<DayReport> {
    let (which, zone) = scope.find(conn).await?;
    let [location] = which.locations.as_slice() else {
        let detail = "is required: several locations are yours";
        return Err(ApiError::invalid_one("location", "required", detail).into());
    };
    let as_of = as_of(conn).await?;
    let (begins, ends) = day(conn, &zone, date).await?;
    let span = Span { from: begins, to: ends, granularity: Granularity::Day, zone: zone.clone(), hour: None };
    let whole = [Period { begins, label: date.to_string() }];
    let orders = cells::orders(conn, &which, &span, &whole).await?.remove(&0).unwrap_or_default();
    let reasons = cells::reasons(conn, &which, &span, &whole).await?;
    let moved = cells::money(conn, &which, &span, &whole).await?.remove(&0).unwrap_or_default();
    let outstanding = cells::outstanding(conn, &which, ends).await?;
    let mut by_currency: BTreeMap<String, (Sums, i64, i64)> =
        moved.into_iter().map(|(currency, kinds)| (currency, (Sums(kinds), 0, 0))).collect();
    for (currency, due, owed) in outstanding {
        if due != 0 || owed != 0 {
            let of_it = by_currency.entry(currency).or_default();
            (of_it.1, of_it.2) = (due, owed);
        }
    }
    let money = by_currency.iter().filter_map(|(currency, (sums, due, owed))| {
        let (due, refunds_owed) = (exact(currency, *due)?, exact(currency, *owed)?);
        Some(DayMoney { moved: sums.shown(currency)?, due, refunds_owed })
    });
    Ok(DayReport {
        date: date.to_string(),
        location: location.clone(),
        time_zone: zone,
        begins,
        ends,
        as_of,
        complete: as_of >= ends,
        orders: orders.into(),
        reasons: reasons.into_iter().map(Reason::from).collect(),
        money: money.collect(),
    })
}

/// Two columns. Nothing in it needs quotes: codes, ids, numbers and times.
fn csv(report: &DayReport) -> String {
    let mut table = "what,value\r\n".to_owned();
    let mut row = |what: &str, value: &dyn std::fmt::Display| {
        let _ = write!(table, "{what},{value}\r\n");
    };
    row("date", &report.date);
    row("location", &report.location);
    row("time_zone", &report.time_zone);
    row("complete", &report.complete);
    let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
    for (name, value) in json(serde_json::to_value(report.orders)).as_object().into_iter().flatten() {
        row(&format!("orders_{name}"), value);
    }
    for Reason { status, reason, times } in &report.reasons {
        row(&format!("reason_{}_{reason}", status.as_str()), times);
    }
    for money in &report.money {
        let MoneyNumbers { currency, payments, refunds, .. } = &money.moved;
        for (name, amount) in amounts(money) {
            row(&format!("{name}_{currency}"), &amount.get());
        }
        row(&format!("payments_{currency}"), payments);
        row(&format!("refunds_{currency}"), refunds);
    }
    table
}

fn amounts(money: &DayMoney) -> [(&'static str, &RawValue); 18] {
    let DayMoney { moved, due, refunds_owed } = money;
    [
        ("money_in", &moved.money_in),
        ("charged", &moved.charged),
        ("elsewhere", &moved.elsewhere),
        ("collected", &moved.collected),
        ("money_back", &moved.money_back),
        ("refunded", &moved.refunded),
        ("elsewhere_back", &moved.elsewhere_back),
        ("collected_back", &moved.collected_back),
        ("delivery_fees", &moved.delivery_fees),
        ("service_fees", &moved.service_fees),
        ("bags", &moved.bags),
        ("tips", &moved.tips),
        ("taxes", &moved.taxes),
        ("discounts", &moved.discounts),
        ("roundings", &moved.roundings),
        ("others", &moved.others),
        ("due", due),
        ("refunds_owed", refunds_owed),
    ]
}

#[cfg(test)]
mod tests {
    use domain::rolled::hour::Sum;
    use domain::rolled::money::MoneyKind::{self, *};

    use super::*;

    #[test]
    fn each_amount_stands_under_its_own_name_in_either_form() {
        // Of each kind another power of two: no sum is that of other kinds.
        let worth = |kind: MoneyKind| 1_u32 << kind as u32;
        let sum = |kind| Sum { times: 1, amount: 100 * i64::from(worth(kind)) };
        let sums = Sums(MoneyKind::ALL.into_iter().map(|(kind, _)| (kind, sum(kind))).collect());
        let (due, refunds_owed) = (exact("USD", 100).unwrap(), exact("USD", 200).unwrap());
        let money = DayMoney { moved: sums.shown("USD").unwrap(), due, refunds_owed };
        let shown = serde_json::to_string(&money).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        for (name, kinds) in [
            ("money_in", &[Charged, Elsewhere, Collected][..]),
            ("money_back", &[Refunded, ElsewhereBack, CollectedBack]),
            ("charged", &[Charged]),
            ("elsewhere", &[Elsewhere]),
            ("collected", &[Collected]),
            ("refunded", &[Refunded]),
            ("elsewhere_back", &[ElsewhereBack]),
            ("collected_back", &[CollectedBack]),
            ("delivery_fees", &[DeliveryFee]),
            ("service_fees", &[ServiceFee]),
            ("bags", &[Bag]),
            ("tips", &[Tip]),
            ("taxes", &[Tax]),
            ("discounts", &[Discount]),
            ("roundings", &[Rounding]),
            ("others", &[Other]),
        ] {
            let expected: u32 = kinds.iter().map(|kind| worth(*kind)).sum();
            assert_eq!(shown[name].as_f64(), Some(f64::from(expected)), "{name}");
        }
        assert_eq!((&shown["payments"], &shown["refunds"]), (&3.into(), &1.into()));
        for (name, amount) in amounts(&money) {
            assert_eq!(shown[name].as_f64(), amount.get().parse().ok(), "{name}");
        }
    }
}
