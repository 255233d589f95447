//! Every route on one screen.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::http::{Method, Request, Uri, header};
use axum::middleware::{from_fn, map_response};
use axum::response::IntoResponse;
use axum::routing::any;
use axum::routing::future::RouteFuture;
use tower::{BoxError, Layer, Service, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::AllowOrigin;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::analytics::{customers, day, jobs, money, orders, statuses};
use crate::catalogue::{articles, cart, categories, public, stock};
use crate::http::cors;
use crate::http::error::ApiError;
use crate::http::observe::observed;
use crate::http::texts::Texts;
use crate::http::{health, pages};
use crate::identity::{machines, mail, own, sale_notices, sign_in, users};
use crate::locations::manage;
use crate::orders::{accept, add, collect, from_channel, later, moves, read};
use crate::state::AppState;
use crate::tracking::{events, streams};
use crate::webhooks::{self, deliveries};

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

/// What is worth compressing, in bytes: fewer fit into a packet or two as they are.
const WORTH_COMPRESSING: u64 = 1_024;

/// The whole service.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The routes. A slash at a path's end makes no difference.
    routes: NormalizePath<Router>,
    /// The same below the documentation's pages, whose links depend on that slash, and compressed for whoever wants it.
    /// Routers more are dear, so that only those go through them who have something from it.
    wide: Router,
    /// All of it, where web pages of other origins may call.
    for_browsers: Option<Router>,
}

impl App {
    /// Answers a request.
    pub(crate) fn answer<B>(&self, request: Request<B>) -> RouteFuture<Infallible>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        match &self.for_browsers {
            Some(browsers) => browsers.clone().call(request),
            None => self.answer_here(request),
        }
    }

    fn answer_here<B>(&self, mut request: Request<B>) -> RouteFuture<Infallible>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if !is_text(request.uri().path()) {
            // A path that is no text leads nowhere; handlers would say so in words of their own.
            *request.uri_mut() = Uri::from_static("/nowhere");
        }
        let is_page = || !request.uri().path().starts_with("/api/");
        let may_be_long =
            *request.method() == Method::GET && request.headers().contains_key(header::ACCEPT_ENCODING);
        // Routers are always ready.
        if may_be_long || is_page() {
            self.wide.clone().call(request)
        } else {
            self.routes.clone().call(request)
        }
    }
}

/// Whether a path, with its `%` read, is UTF-8.
fn is_text(path: &str) -> bool {
    if !path.contains('%') {
        return true;
    }
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let named = path.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let named = named.filter(|_| byte == b'%');
        decoded.push(named.unwrap_or(byte));
        at += if named.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).is_ok()
}

/// All routes, each with what openapi.json says of it.
fn all() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![
        routes!(accept::accept_order, read::list_orders),
        routes!(from_channel::accept_channel_order),
        routes!(from_channel::accept_refused),
        routes!(from_channel::read_channel_order),
        routes!(read::list_own_orders),
        routes!(later::list_later),
        routes!(read::read_order),
        routes!(read::read_history),
        routes!(events::events),
        routes!(streams::track_all),
        routes!(streams::track),
        routes!(moves::accept),
        routes!(moves::reject),
        routes!(moves::cancel),
        routes!(moves::no_show),
        routes!(moves::set_status),
        routes!(collect::collect),
        routes!(add::add_items),
        routes!(add::pay_anew),
        routes!(public::list),
        routes!(public::read),
        routes!(cart::read, cart::fill, cart::release),
        routes!(cart::check_out),
        routes!(articles::make),
        routes!(articles::read, articles::replace, articles::change, articles::delete),
        routes!(stock::change, stock::read),
        routes!(categories::make, categories::list),
        routes!(categories::change, categories::delete),
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
        routes!(own::read_account, own::change_account),
        routes!(own::list_addresses, own::keep_address),
        routes!(own::change_address, own::forget_address),
        routes!(mail::read, mail::choose),
        routes!(sale_notices::list),
        routes!(sale_notices::want, sale_notices::end),
        routes!(mail::ask, mail::unsubscribe),
        routes!(machines::make, machines::list),
        routes!(machines::end),
        routes!(manage::list, manage::open),
        routes!(manage::read, manage::set, manage::close),
        routes!(webhooks::make, webhooks::list),
        routes!(webhooks::read, webhooks::change, webhooks::remove),
        routes!(webhooks::replace_secret),
        routes!(deliveries::list),
        routes!(deliveries::test),
        routes!(deliveries::replay),
        routes!(statuses::status_metrics),
        routes!(orders::order_metrics),
        routes!(money::revenue),
        routes!(customers::list),
        routes!(customers::one),
        routes!(day::report),
        routes!(jobs::status),
        routes!(health::health),
        routes!(health::ready),
        routes!(pages::front),
        routes!(pages::ping),
        routes!(pages::problems),
        routes!(pages::problem),
    ]
}

fn documented() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::with_openapi(Document::openapi());
    all().into_iter().fold(router, |router, routes| router.routes(watched(routes)))
}

/// The whole service, for web pages of these origins, too.
pub(crate) fn router(state: AppState, origins: Option<AllowOrigin>) -> App {
    let (routes, mut document) = documented().with_state(state).split_for_parts();
    Texts.modify(&mut document);
    let no_page = any(async || ApiError::not_found("page").into_response());
    let app = routes.fallback_service(no_page.layer(observed("unmatched")));
    let routes = NormalizePathLayer::trim_trailing_slash().layer(app);
    let pages = SwaggerUi::new("/docs").url("/openapi.json", document);
    // Quick: what is saved is time on the way.
    let compressed = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(
        SizeAbove::new(WORTH_COMPRESSING).and(NotForContentType::SSE).and(NotForContentType::IMAGES),
    );
    let pages = Router::from(pages).layer(map_response(pages::documentation));
    let wide = Router::new().merge(pages).fallback_service(routes.clone()).layer(compressed);
    let app = App { routes, wide, for_browsers: None };
    let for_browsers = origins.map(|origins| {
        let app = app.clone();
        let all = service_fn(move |request| app.answer_here(request));
        Router::new().fallback_service(all).layer(cors::layer(origins)).layer(from_fn(cors::without_content))
    });
    App { for_browsers, ..app }
}

/// The routes of a path, with what is around them, and around the answer to a method that it does not take.
fn watched((schemas, paths, methods): UtoipaMethodRouter<AppState>) -> UtoipaMethodRouter<AppState> {
    // The pattern, never the path itself: a metric must not have a value per order.
    let pattern = paths.paths.keys().next().map_or("unmatched", String::as_str);
    let observed = observed(pattern);
    let methods = methods.fallback(async || ApiError::method_not_allowed().into_response()).layer(observed);
    (schemas, paths, methods)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_two_shapes_in_openapi_json_share_a_name_and_each_is_named_by_something() {
        let mut known = BTreeMap::new();
        for (name, schema) in all().into_iter().flat_map(|(schemas, ..)| schemas) {
            let schema = serde_json::to_value(&schema).unwrap();
            let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*first, schema, "two shapes are called {name}: one hides the other");
        }
        let document = documented().into_openapi().to_json().unwrap();
        for name in known.keys() {
            let named = format!("\"#/components/schemas/{name}\"");
            assert!(document.contains(&named), "{name} is in openapi.json, and nothing names it");
        }
    }
}
