//! Every route on one screen.

use std::convert::Infallible;

use axum::Router;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper::body::Incoming;
use tower::{Layer, Service, service_fn};
use tower_http::normalize_path::NormalizePathLayer;
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::http::error::ApiError;
use crate::http::health;
use crate::http::observe::observed;
use crate::identity::{machines, sign_in, users};
use crate::orders::{accept, add, from_channel, moves, read};
use crate::state::AppState;

/// Title and text of `openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Comanda",
        description = "Takes orders, keeps them, charges for them and sees them through the kitchen, \
                       without losing one and without charging anyone twice."
    ),
    modifiers(&Tokens)
)]
struct Document;

/// How the documentation pages log in, and how everybody shows a token.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let flow = Flow::Password(Password::new("/api/v1/auth/token", Scopes::new()));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::OAuth2(OAuth2::new([flow])));
    }
}

/// The whole service. A slash at a path's end makes no difference, but for the documentation's pages, whose links
/// depend on it.
pub(crate) fn router(
    state: AppState,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send {
    let (routes, document) = [
        routes!(accept::accept_order, read::list_orders),
        routes!(from_channel::accept_channel_order),
        routes!(read::list_own_orders),
        routes!(read::read_order),
        routes!(read::read_history),
        routes!(moves::accept),
        routes!(moves::reject),
        routes!(moves::cancel),
        routes!(moves::no_show),
        routes!(moves::set_status),
        routes!(add::add_items),
        routes!(add::pay_anew),
        routes!(sign_in::register),
        routes!(sign_in::log_in),
        routes!(sign_in::token),
        routes!(sign_in::refresh),
        routes!(sign_in::log_out),
        routes!(sign_in::who_am_i),
        routes!(sign_in::change_password),
        routes!(sign_in::public_keys),
        routes!(users::make, users::list),
        routes!(users::change),
        routes!(machines::make, machines::list),
        routes!(machines::end),
        routes!(health::health),
        routes!(health::ready),
    ]
    .into_iter()
    .fold(OpenApiRouter::with_openapi(Document::openapi()), |router, routes| router.routes(watched(routes)))
    .with_state(state)
    .split_for_parts();
    let no_page = any(async || ApiError::not_found("page").into_response());
    let app = routes.fallback_service(no_page.layer(observed("unmatched")));
    let mut app = NormalizePathLayer::trim_trailing_slash().layer(app);
    let pages = SwaggerUi::new("/docs").url("/openapi.json", document);
    let mut with_pages = Router::new().merge(pages).fallback_service(app.clone());
    // A router more is dear, and no page is below this. Neither has to be asked whether it is ready: routers always are.
    service_fn(move |request: Request<Incoming>| {
        if request.uri().path().starts_with("/api/") { app.call(request) } else { with_pages.call(request) }
    })
}

/// The routes of a path, with what is around them, and around the answer to a method that it does not take.
fn watched((schemas, paths, methods): UtoipaMethodRouter<AppState>) -> UtoipaMethodRouter<AppState> {
    // The pattern, never the path itself: a metric must not have a value per order.
    let pattern = paths.paths.keys().next().map_or("unmatched", String::as_str);
    let observed = observed(pattern);
    let methods = methods.fallback(async || ApiError::method_not_allowed().into_response()).layer(observed);
    (schemas, paths, methods)
}
