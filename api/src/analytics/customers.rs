//! Which customers come again.

use axum::Json;
use axum::extract::{Path, State};
use domain::limits::MAX_ID_CHARS;
use domain::moment;
use domain::problems::text_problem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::rollups::customers::{self, Chosen, CustomerNumbers};
use time::OffsetDateTime;

use super::asked::{Faulty, Scope};
use super::found::{as_of, numbers};
use super::money::exact;
use super::query::{Queried, read};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::orders::read::{MAX_PAGE_SIZE, PAGE_SIZE};
use crate::state::AppState;

/// Money of a customer's, in one currency.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CustomerMoney {
    /// ISO 4217
    #[schema(example = "USD")]
    currency: String,
    /// What came in: exact decimal
    #[schema(value_type = f64, example = 61.94)]
    money_in: Box<RawValue>,
    /// What of it went back, or has to
    #[schema(value_type = f64, example = 30.97)]
    money_back: Box<RawValue>,
}

/// What a customer's orders come to, at your locations.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LifetimeView {
    /// Who
    #[schema(example = "customer_123")]
    customer_id: String,
    /// How many orders came in
    orders: i64,
    /// How many were handed over
    delivered: i64,
    /// When the first came in
    #[serde(with = "crate::http::times")]
    first_at: OffsetDateTime,
    /// When the last did
    #[serde(with = "crate::http::times")]
    last_at: OffsetDateTime,
    /// Between one and the next on average, in seconds; null: there is one only
    mean_gap_seconds: Option<i64>,
    /// By currency
    money: Vec<CustomerMoney>,
}

/// One customer, and of when this is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CustomerLifetime {
    /// All that had happened by then is counted
    #[serde(with = "crate::http::times")]
    as_of: OffsetDateTime,
    /// The numbers
    #[serde(flatten)]
    lifetime: LifetimeView,
}

/// A page of customers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CustomerPage {
    /// All that had happened by then is counted
    #[serde(with = "crate::http::times")]
    as_of: OffsetDateTime,
    /// By their ids
    customers: Vec<LifetimeView>,
    /// What to pass as `after` for those behind; null: there are no more
    next: Option<String>,
}

/// Which location's, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneQuery {
    /// Only orders of this location; all of yours where it is left out
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
}

/// Which customers, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomersQuery {
    /// Only orders of this location; all of yours where it is left out
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
    /// Who ordered so often or more
    #[param(value_type = Option<i64>, minimum = 1, maximum = 2_147_483_647)]
    min_orders: Option<String>,
    /// Who ordered so often or less
    #[param(value_type = Option<i64>, minimum = 1, maximum = 2_147_483_647)]
    max_orders: Option<String>,
    /// Whose last order came in at this time or later (RFC 3339)
    #[param(value_type = Option<OffsetDateTime>)]
    last_from: Option<String>,
    /// Whose last order came in before this time (RFC 3339)
    #[param(value_type = Option<OffsetDateTime>)]
    last_to: Option<String>,
    /// 1 to 100; 20 where it is left out
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
    page_size: Option<String>,
    /// The last answer's `next`
    after: Option<String>,
}

/// What one customer's orders come to.
#[utoipa::path(
    get, path = "/api/v1/analytics/customers/{customer}/lifetime-orders", tag = "analytics", operation_id = "customer_lifetime",
    params(("customer" = String, Path, description = "The customer's id"), OneQuery),
    responses(
        (status = 200, description = "The numbers", body = CustomerLifetime),
        (status = 404, description = "Nobody of this id has ordered at your locations", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn one(
    State(state): State<AppState>,
    by: Keeper,
    Path(customer): Path<String>,
    query: Queried<OneQuery>,
) -> Result<Json<CustomerLifetime>, ApiError> {
    let mut faulty = Faulty::default();
    let scope = Scope::new(&by, (read(query)?.location, None, None), &mut faulty)?;
    faulty.finish()?;
    if text_problem(&customer, MAX_ID_CHARS).is_some() {
        return Err(ApiError::not_found("customer"));
    }
    let found = numbers(state, move |conn| {
        let (scope, customer) = (scope.clone(), customer.clone());
        Box::pin(async move {
            let (which, _) = scope.find(conn).await?;
            let as_of = as_of(conn).await?;
            Ok((as_of, customers::one(conn, &customer, &which.locations).await?))
        })
    });
    let (as_of, rows) = found.await?;
    let lifetime = shown(&rows).pop().ok_or_else(|| ApiError::not_found("customer"))?;
    Ok(Json(CustomerLifetime { as_of, lifetime }))
}

/// List customers with what their orders come to.
#[utoipa::path(
    get, path = "/api/v1/analytics/customers/lifetime-orders", tag = "analytics", operation_id = "customers_lifetime",
    params(CustomersQuery),
    responses(
        (status = 200, description = "A page, by their ids", body = CustomerPage),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid. What its schema cannot say: a time is none (`no_time`), or `after` no answer's `next` (`invalid`)", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    by: Keeper,
    query: Queried<CustomersQuery>,
) -> Result<Json<CustomerPage>, ApiError> {
    let CustomersQuery { location, min_orders, max_orders, last_from, last_to, page_size, after } =
        read(query)?;
    let mut faulty = Faulty::default();
    let scope = Scope::new(&by, (location, None, None), &mut faulty)?;
    let mut number = |attr: &str, text: Option<String>, most: i64| {
        let number = text.map(|text| text.parse().ok().filter(|number| (1..=most).contains(number)));
        if number == Some(None) {
            faulty.add(attr, "out_of_range", format!("must be a number from 1 to {most}"));
        }
        number.flatten()
    };
    let min_orders = number("min_orders", min_orders, i64::from(i32::MAX)).unwrap_or(1);
    let max_orders = number("max_orders", max_orders, i64::from(i32::MAX));
    let most = i64::try_from(MAX_PAGE_SIZE).unwrap_or(i64::MAX);
    let page_size = number("page_size", page_size, most);
    let page_size = page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_SIZE);
    let mut time = |attr: &str, text: Option<String>| {
        let time = text.map(|text| moment::parse(&text));
        if time == Some(None) {
            faulty.add(attr, "no_time", "must be a time such as 2026-01-31T18:00:00Z");
        }
        time.flatten()
    };
    let (last_from, last_to) = (time("last_from", last_from), time("last_to", last_to));
    if after.as_deref().is_some_and(|after| text_problem(after, MAX_ID_CHARS).is_some()) {
        faulty.add("after", "invalid", "must be the next of an earlier answer");
    }
    faulty.finish()?;
    let after = after.unwrap_or_default();
    let chosen = Chosen { locations: Vec::new(), min_orders, max_orders, last_from, last_to, after };
    let found = numbers(state, move |conn| {
        let (scope, mut chosen) = (scope.clone(), chosen.clone());
        Box::pin(async move {
            chosen.locations = scope.find(conn).await?.0.locations;
            let as_of = as_of(conn).await?;
            // One more, to see whether there are any.
            let limit = i64::try_from(page_size + 1).unwrap_or(i64::MAX);
            Ok((as_of, customers::page(conn, &chosen, limit).await?))
        })
    });
    let (as_of, rows) = found.await?;
    let mut customers = shown(&rows);
    let is_more = customers.len() > page_size;
    customers.truncate(page_size);
    let next = customers.last().filter(|_| is_more).map(|last| last.customer_id.clone());
    Ok(Json(CustomerPage { as_of, customers, next }))
}

/// A customer each, of rows a currency each.
fn shown(rows: &[CustomerNumbers]) -> Vec<LifetimeView> {
    let of_one = rows.chunk_by(|one, next| one.customer_id == next.customer_id);
    let shown = of_one.filter_map(|rows| {
        let orders: i64 = rows.iter().map(|row| row.orders).sum();
        let first_at = rows.iter().map(|row| row.first_at).min()?;
        let last_at = rows.iter().map(|row| row.last_at).max()?;
        let money = rows.iter().filter_map(|row| {
            let currency = row.currency.clone();
            let money_in = exact(&currency, row.paid_minor)?;
            let money_back = exact(&currency, row.back_minor)?;
            Some(CustomerMoney { currency, money_in, money_back })
        });
        Some(LifetimeView {
            customer_id: rows.first()?.customer_id.clone(),
            orders,
            delivered: rows.iter().map(|row| row.delivered).sum(),
            first_at,
            last_at,
            mean_gap_seconds: (orders > 1).then(|| (last_at - first_at).whole_seconds() / (orders - 1)),
            money: money.collect(),
        })
    });
    shown.collect()
}
