//! `/categories`: everybody reads them, managers make, change and delete them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::catalogue::category::{Category, CategoryRequest};
use store::catalogue::categories;
use uuid::Uuid;

use super::done;
use super::view::{CategoryBody, CategoryChange, CategoryList, CategoryView};
use crate::http::body;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{BadBody, Faults, ManagersOnly};
use crate::http::work::to_the_end;
use crate::identity::caller::Keeper;
use crate::state::AppState;

fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found("category"))
}

/// Make a category.
#[utoipa::path(
    post, path = "/api/v1/categories", tag = "catalogue", operation_id = "make_category",
    request_body = CategoryBody,
    responses(
        (status = 201, description = "Made", body = CategoryView, headers(("Location" = String, description = "The category"))),
        (status = 409, description = "`name_taken`: another one is called so", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn make(
    State(state): State<AppState>,
    _: Keeper,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, &state.room).await?;
    let category = Category::parse(&body::parse(&body)?).map_err(ApiError::invalid)?;
    drop(body);
    to_the_end(async move {
        let made = state.shelf.change(&category, |conn, new| Box::pin(categories::insert(conn, new)));
        done("category", made.await?.never_refused())?;
        let location = HeaderValue::try_from(format!("/api/v1/categories/{}", category.id));
        let mut response = (StatusCode::CREATED, Json(CategoryView::from(category))).into_response();
        response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
        Ok::<_, ApiError>(response)
    })
    .await
}

/// List categories, in their order.
#[utoipa::path(
    get, path = "/api/v1/categories", tag = "catalogue", operation_id = "list_categories",
    responses((status = 200, description = "All of them", body = CategoryList), Faults),
)]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<CategoryList>, ApiError> {
    let shown = state.shelf.fresh().await?;
    Ok(Json(CategoryList { categories: shown.categories.iter().cloned().map(CategoryView::from).collect() }))
}

/// Change a category.
///
/// What is left out stays as it is.
#[utoipa::path(
    patch, path = "/api/v1/categories/{id}", tag = "catalogue", operation_id = "change_category",
    params(("id" = Uuid, Path, description = "The category's id")),
    request_body = CategoryChange,
    responses(
        (status = 200, description = "It is so now", body = CategoryView),
        (status = 404, description = "There is no such category", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`name_taken`: another one is called so", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    _: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CategoryView>, ApiError> {
    let id = parse_id(&id)?;
    let body = body::read_json(&headers, body, &state.room).await?.to_vec();
    body::parse::<CategoryRequest<'_>>(&body)?;
    to_the_end(async move {
        let input = (id, body);
        let changed = state.shelf.change(&input, |conn, (id, body)| {
            Box::pin(async move {
                let rule = |before: &Category| before.change(&body::parse(body)?).map_err(ApiError::invalid);
                categories::change(conn, *id, rule).await
            })
        });
        Ok::<_, ApiError>(Json(CategoryView::from(done("category", changed.await?)?)))
    })
    .await
}

/// Delete a category.
///
/// Its products are in none from then on, and its name is free.
#[utoipa::path(
    delete, path = "/api/v1/categories/{id}", tag = "catalogue", operation_id = "delete_category",
    params(("id" = Uuid, Path, description = "The category's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such category", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    _: Keeper,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id)?;
    to_the_end(async move {
        let gone = state.shelf.change(&id, |conn, id| Box::pin(categories::delete(conn, *id)));
        if gone.await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("category")) }
    })
    .await
}
