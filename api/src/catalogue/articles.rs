//! `/products`: managers make, change and delete what is sold at their locations; admins everywhere.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::catalogue::product::Product;
use domain::catalogue::request::ProductRequest;
use domain::problems::Problem;
use store::catalogue::{Changed, products};
use uuid::Uuid;

use super::done;
use super::shown::Shown;
use super::view::{ProductBody, ProductChange, ProductView};
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{BadBody, Faults, ManagersOnly};
use crate::http::work::to_the_end;
use crate::identity::caller::Keeper;
use crate::state::AppState;

/// What takes another product and a request, and makes a product of them.
type Revise = fn(&Product, &ProductRequest<'_>) -> Result<Product, Vec<Problem>>;

pub(super) fn no_product() -> ApiError {
    ApiError::not_found("product")
}

pub(super) fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| no_product())
}

/// Make a product.
#[utoipa::path(
    post, path = "/api/v1/products", tag = "catalogue", operation_id = "make_product",
    request_body = ProductBody,
    responses(
        (status = 201, description = "Made", body = inline(ProductView<'static>), headers(("Location" = String, description = "The product"))),
        (status = 409, description = "`name_taken`: another product of the same locations is called so. `plu_taken`: another one of one of them has this plu", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known. What its schema cannot say: no price beside variations (`conflict`), a price where there are none (`required`); an amount with more places than the currency (`too_precise`) or more than 13 digits (`too_large`); an `id` that is none of this product's (`no_id`); there is no such category (`unknown_category`) or location (`unknown_location`); two things of one list that are called the same (`repeated`); `min` above `max` (`out_of_range`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn make(
    State(state): State<AppState>,
    by: Keeper,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?;
    let product = Product::parse(&body::parse(&body)?).map_err(ApiError::invalid)?;
    drop(body);
    by.expect_sold_at(&product.locations)?;
    to_the_end(async move {
        let input = (product, by.name());
        let work =
            state.shelf.change(&input, |conn, (product, by)| Box::pin(products::insert(conn, product, by)));
        let changed: Changed<(), std::convert::Infallible> = work.await?;
        done("product", changed.never_refused())?;
        let mut response = shown(&state.shelf.shown(), &input.0);
        *response.status_mut() = StatusCode::CREATED;
        let location = HeaderValue::try_from(format!("/api/v1/products/{}", input.0.id));
        response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
        Ok::<_, ApiError>(response)
    })
    .await
}

fn shown(shown: &Shown, product: &Product) -> Response {
    let view = ProductView::new(product, |item| shown.is_there(item));
    let mut response = Response::new(Body::from(view.to_json()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Read a product.
#[utoipa::path(
    get, path = "/api/v1/products/{id}", tag = "catalogue", operation_id = "read_product",
    params(("id" = Uuid, Path, description = "The product's id")),
    responses(
        (status = 200, description = "The product", body = inline(ProductView<'static>)),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let shown = state.shelf.fresh().await?;
    let article = shown.article(parse_id(&id)?).ok_or_else(no_product)?;
    by.expect_sold_at(&article.product.locations)?;
    Ok(self::shown(&shown, &article.product))
}

/// Replace a product.
///
/// What is left out is as in a new one. Variations and options that are named by their id, or are called as they were, stay the
/// same ones. Orders keep the names and prices that they were accepted with.
#[utoipa::path(
    put, path = "/api/v1/products/{id}", tag = "catalogue", operation_id = "replace_product",
    params(("id" = Uuid, Path, description = "The product's id")),
    request_body = ProductBody,
    responses(
        (status = 200, description = "It is so now", body = inline(ProductView<'static>)),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`name_taken`: another product of the same locations is called so. `plu_taken`: another one of one of them has this plu", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known. What its schema cannot say: no price beside variations (`conflict`), a price where there are none (`required`); an amount with more places than the currency (`too_precise`) or more than 13 digits (`too_large`); an `id` that is none of this product's (`no_id`); there is no such category (`unknown_category`) or location (`unknown_location`); two things of one list that are called the same (`repeated`); `min` above `max` (`out_of_range`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn replace(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?.to_vec();
    revise(state, by, &id, body, Product::replace).await
}

/// Change a product.
///
/// What is left out stays as it is.
#[utoipa::path(
    patch, path = "/api/v1/products/{id}", tag = "catalogue", operation_id = "change_product",
    params(("id" = Uuid, Path, description = "The product's id")),
    request_body = ProductChange,
    responses(
        (status = 200, description = "It is so now", body = inline(ProductView<'static>)),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`name_taken`: another product of the same locations is called so. `plu_taken`: another one of one of them has this plu", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known; as for a new one, and another `currency` than its own is a `conflict`. What its schema cannot say: no price beside variations (`conflict`), a price where there are none (`required`); an amount with more places than the currency (`too_precise`) or more than 13 digits (`too_large`); an `id` that is none of this product's (`no_id`); there is no such category (`unknown_category`) or location (`unknown_location`); two things of one list that are called the same (`repeated`); `min` above `max` (`out_of_range`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?.to_vec();
    revise(state, by, &id, body, Product::change).await
}

async fn revise(
    state: AppState,
    by: Keeper,
    id: &str,
    body: Vec<u8>,
    how: Revise,
) -> Result<Response, ApiError> {
    let id = parse_id(id)?;
    // Before anything is locked.
    body::parse::<ProductRequest<'_>>(&body)?;
    to_the_end(async move {
        let input = (id, body, by, how);
        let changed = state.shelf.change(&input, |conn, (id, body, by, how)| {
            Box::pin(async move {
                let rule = |before: &Product| {
                    by.expect_sold_at(&before.locations)?;
                    let after = how(before, &body::parse(body)?).map_err(ApiError::invalid)?;
                    by.expect_sold_at(&after.locations).map(|()| after)
                };
                products::change(conn, *id, &by.name(), rule).await
            })
        });
        let changed = done("product", changed.await?)?;
        Ok::<_, ApiError>(shown(&state.shelf.shown(), &changed))
    })
    .await
}

/// Delete a product.
///
/// It can be ordered no longer, and its name is free. Orders that have it go on.
#[utoipa::path(
    delete, path = "/api/v1/products/{id}", tag = "catalogue", operation_id = "delete_product",
    params(("id" = Uuid, Path, description = "The product's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such product", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    to_the_end(async move {
        let input = (id, by);
        let changed = state.shelf.change(&input, |conn, (id, by)| {
            Box::pin(async move {
                products::delete(conn, *id, &by.name(), |before| by.expect_sold_at(&before.locations)).await
            })
        });
        done("product", changed.await?)?;
        Ok::<_, ApiError>(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
