//! Every route on one screen.

use axum::Router;
use axum::middleware;
use axum::response::IntoResponse;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePathLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::error::ApiError;
use crate::observe::observe;
use crate::state::AppState;
use crate::{accept_order, add_items, channel_order, health, move_order, read_orders};

/// Title and text of `openapi.json`.
#[derive(OpenApi)]
#[openapi(info(
    title = "Comanda",
    description = "Takes orders, keeps them, charges for them and sees them through the kitchen, \
                   without losing one and without charging anyone twice."
))]
struct Document;

/// The whole service. A slash at a path's end makes no difference, but for the documentation's pages, whose links
/// depend on it.
pub(crate) fn router(state: AppState) -> Router {
    let (routes, document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest(
            "/api/v1",
            OpenApiRouter::new()
                .routes(routes!(accept_order::accept_order, read_orders::list_orders))
                .routes(routes!(channel_order::accept_channel_order))
                .routes(routes!(read_orders::read_order))
                .routes(routes!(read_orders::read_history))
                .routes(routes!(move_order::accept))
                .routes(routes!(move_order::reject))
                .routes(routes!(move_order::cancel))
                .routes(routes!(move_order::set_status))
                .routes(routes!(add_items::add_items))
                .routes(routes!(add_items::pay_anew)),
        )
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .with_state(state)
        .split_for_parts();
    let app = routes
        .fallback(async || ApiError::not_found("page").into_response())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed().into_response())
        .layer(CatchPanicLayer::custom(|_panic| ApiError::internal(&"a handler panicked").into_response()))
        .layer(middleware::from_fn(observe));
    Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback_service(NormalizePathLayer::trim_trailing_slash().layer(app))
}
