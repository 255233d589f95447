//! `GET /catalog`: what can be ordered, for everybody, out of memory.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use domain::limits::DEFAULT_CURRENCY;
use domain::location::is_id;
use domain::money::{Currency, MAX_MINOR, Money, currency_of};
use domain::problems::{Problem, price_code};
use serde::Deserialize;
use uuid::Uuid;

use super::shown::Wanted;
use super::view::{ProductPage, ProductView};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::Faults;
use crate::http::tag::IfNoneMatch;
use crate::state::AppState;

/// Products on a page where the client says nothing.
const PAGE_SIZE: usize = 20;
/// Most products on a page.
const MAX_PAGE_SIZE: usize = 100;

/// What may be asked of the catalogue, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogQuery {
    /// Only those of this category
    #[param(value_type = Option<Uuid>)]
    category: Option<String>,
    /// Only those that are sold there
    #[param(max_length = 50)]
    location: Option<String>,
    /// Only those that cost as much or more; of variations the lowest price counts
    #[param(value_type = Option<f64>, minimum = 0, maximum = 10_000_000_000_000_i64)]
    min_price: Option<String>,
    /// Only those that cost as much or less
    #[param(value_type = Option<f64>, minimum = 0, maximum = 10_000_000_000_000_i64)]
    max_price: Option<String>,
    /// That of `min_price` and `max_price`, which leave out what has prices in another one; `USD` where it is left out
    currency: Option<String>,
    /// `true`: only what there is; `false`: only what is sold out
    #[param(value_type = Option<bool>)]
    in_stock: Option<String>,
    /// 1 to 100; 20 where it is left out
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
    page_size: Option<String>,
    /// The last answer's `next_cursor`
    #[param(value_type = Option<Uuid>)]
    cursor: Option<String>,
}

/// List what can be ordered, in the order in which it was made.
///
/// Needs no token. A change is seen within 200 ms.
#[utoipa::path(
    get, path = "/api/v1/catalog", tag = "catalogue", operation_id = "list_catalog",
    params(
        CatalogQuery,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` of this page: where nothing on it has changed, the answer is 304"),
    ),
    responses(
        (status = 200, description = "One page", body = inline(ProductPage<'static>), headers(("ETag" = String, description = "Names all that is on the page"))),
        (status = 304, description = "As `If-None-Match` says"),
        (status = 422, description = "A parameter is not valid or not known. A price has more places than its currency (`too_precise`) or more than 13 digits (`too_large`)", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    ),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    query: Result<Query<CatalogQuery>, axum::extract::rejection::QueryRejection>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|_| {
        let wanted = "category, location, min_price, max_price, currency, in_stock, page_size and cursor may be given, once each";
        ApiError::invalid_one("query", "invalid", wanted)
    })?;
    let wanted = query.parse()?;
    Ok(known.or(state.shelf.fresh().await?.page(&wanted)))
}

/// Read one thing that can be ordered.
#[utoipa::path(
    get, path = "/api/v1/catalog/{id}", tag = "catalogue", operation_id = "read_catalog",
    params(
        ("id" = Uuid, Path, description = "The product's id"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` of this product: where nothing has changed, the answer is 304"),
    ),
    responses(
        (status = 200, description = "The product", body = inline(ProductView<'static>), headers(("ETag" = String, description = "Names all that is shown"))),
        (status = 304, description = "As `If-None-Match` says"),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        Faults,
    ),
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("product"))?;
    let shown = state.shelf.fresh().await?;
    Ok(known.or(shown.one(id).ok_or_else(|| ApiError::not_found("product"))?))
}

impl CatalogQuery {
    fn parse(self) -> Result<Wanted, ApiError> {
        let mut problems = Vec::new();
        let mut problem = |attr: &str, code, detail: String| {
            problems.push(Problem { code, detail, attr: attr.to_owned() });
        };
        let mut id = |attr: &str, text: Option<&str>| {
            let id = text.map(Uuid::try_parse).transpose();
            id.unwrap_or_else(|_| {
                problem(attr, "no_id", "must be an id that was given here".to_owned());
                None
            })
        };
        let category = id("category", self.category.as_deref());
        let after = id("cursor", self.cursor.as_deref()).unwrap_or_default();
        let currency = self.currency.as_deref().map_or(Some(DEFAULT_CURRENCY), any_case);
        if currency.is_none() {
            problem("currency", "unknown_currency", "must be an ISO 4217 code".to_owned());
        }
        let currency = currency.unwrap_or(DEFAULT_CURRENCY);
        let mut price = |attr: &str, text: Option<&str>, default: i64| {
            let parsed =
                text.map_or(Ok(Money::from_minor(default, currency)), |text| Money::parse(text, currency));
            parsed.unwrap_or_else(|error| {
                problem(attr, price_code(error), error.to_string());
                Money::from_minor(default, currency)
            })
        };
        let prices = (
            price("min_price", self.min_price.as_deref(), 0),
            price("max_price", self.max_price.as_deref(), MAX_MINOR),
        );
        let is_asked = self.min_price.is_some() || self.max_price.is_some() || self.currency.is_some();
        let count = self.page_size.as_deref().map_or(Some(PAGE_SIZE), |text| text.parse().ok());
        let count = count.filter(|count| (1..=MAX_PAGE_SIZE).contains(count)).unwrap_or_else(|| {
            problem("page_size", "out_of_range", format!("must be a number from 1 to {MAX_PAGE_SIZE}"));
            PAGE_SIZE
        });
        if self.location.as_deref().is_some_and(|id| !is_id(id)) {
            problem("location", "unknown_location", "must be the id of a location".to_owned());
        }
        let in_stock = self.in_stock.as_deref().map(str::parse::<bool>).transpose().unwrap_or_else(|_| {
            problem("in_stock", "not_a_flag", "must be true or false".to_owned());
            None
        });
        if !problems.is_empty() {
            return Err(ApiError::invalid(problems));
        }
        let prices = is_asked.then_some(prices);
        Ok(Wanted { after, count, category, location: self.location, prices, in_stock })
    }
}

fn any_case(code: &str) -> Option<Currency> {
    currency_of(&code.to_ascii_uppercase())
}
