//! Every route on one screen.

use std::convert::Infallible;

use axum::Router;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::normalize_path::NormalizePathLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::http::error::ApiError;
use crate::http::health;
use crate::http::observe::observed;
use crate::orders::{accept, add, from_channel, moves, read};
use crate::state::AppState;

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
pub(crate) fn router(
    state: AppState,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send {
    let (routes, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(accept::accept_order, read::list_orders))
        .routes(routes!(from_channel::accept_channel_order))
        .routes(routes!(read::read_order))
        .routes(routes!(read::read_history))
        .routes(routes!(moves::accept))
        .routes(routes!(moves::reject))
        .routes(routes!(moves::cancel))
        .routes(routes!(moves::set_status))
        .routes(routes!(add::add_items))
        .routes(routes!(add::pay_anew))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .with_state(state)
        .split_for_parts();
    let app = routes
        .fallback(async || ApiError::not_found("page").into_response())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed().into_response())
        .layer(layer_fn(observed));
    let app = NormalizePathLayer::trim_trailing_slash().layer(app);
    let pages = SwaggerUi::new("/docs").url("/openapi.json", document);
    let with_pages = Router::new().merge(pages).fallback_service(app.clone());
    // A router more is dear, and no page is below this.
    service_fn(move |request: Request<Incoming>| {
        if request.uri().path().starts_with("/api/") {
            app.clone().oneshot(request).left_future()
        } else {
            with_pages.clone().oneshot(request).right_future()
        }
    })
}
