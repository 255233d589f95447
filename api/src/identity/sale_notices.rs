//! Of which products the caller is written when their price drops (`/users/me/sale-notices`).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use store::sale_notices::{self, Kept, MAX_NOTICES, Set};
use time::OffsetDateTime;
use uuid::Uuid;

use super::caller::Known;
use super::own::own_id;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, TokenNeeded};
use crate::orders::read::decisive;
use crate::state::AppState;

/// A product of which the caller is written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SaleNotice {
    product_id: Uuid,
    /// What the product is called.
    name: String,
    /// Since when.
    #[serde(with = "crate::http::times")]
    created_at: OffsetDateTime,
}

/// All of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SaleNotices {
    /// The oldest first.
    sale_notices: Vec<SaleNotice>,
}

/// List the products of whose sales the caller is written.
#[utoipa::path(
    get, path = "/api/v1/users/me/sale-notices", tag = "people", operation_id = "list_own_sale_notices",
    responses(
        (status = 200, description = "All of them", body = SaleNotices),
        (status = 404, description = "The caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Known(by): Known,
) -> Result<Json<SaleNotices>, ApiError> {
    let id = own_id(&by.id)?;
    let all = decisive(state, move |conn| Box::pin(sale_notices::list(conn, id))).await?;
    let shown = |Kept { product, name, created_at }| SaleNotice { product_id: product, name, created_at };
    Ok(Json(SaleNotices { sale_notices: all.into_iter().map(shown).collect() }))
}

/// Be written when the price of a product drops.
///
/// By a mail each time that it falls by more than half, where this house sends mail. Doing it twice is harmless.
#[utoipa::path(
    put, path = "/api/v1/users/me/sale-notices/{product}", tag = "people", operation_id = "want_sale_notice",
    params(("product" = Uuid, Path, description = "Its id")),
    responses(
        (status = 204, description = "The caller will be written"),
        (status = 404, description = "There is no such product, or the caller is known to another issuer", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "There are a hundred already (`too_many`)", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn want(
    State(state): State<AppState>,
    Known(by): Known,
    Path(product): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, product) = (own_id(&by.id)?, product_id(&product)?);
    match decisive(state, move |conn| Box::pin(sale_notices::set(conn, id, product))).await? {
        Set::Done => Ok(StatusCode::NO_CONTENT),
        Set::NoProduct => Err(ApiError::not_found("product")),
        Set::NoPerson => Err(ApiError::not_found("user")),
        Set::TooMany => {
            let most = format!("must be at most {MAX_NOTICES}");
            Err(ApiError::invalid_one("sale_notices", "too_many", most))
        }
    }
}

/// Be written of a product's sales no longer.
#[utoipa::path(
    delete, path = "/api/v1/users/me/sale-notices/{product}", tag = "people", operation_id = "end_sale_notice",
    params(("product" = Uuid, Path, description = "Its id")),
    responses(
        (status = 204, description = "The caller will not be written"),
        (status = 404, description = "The caller has no such notice", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn end(
    State(state): State<AppState>,
    Known(by): Known,
    Path(product): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (id, product) = (own_id(&by.id)?, product_id(&product)?);
    let gone = decisive(state, move |conn| Box::pin(sale_notices::remove(conn, id, product)));
    if gone.await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("sale notice")) }
}

fn product_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found("product"))
}
