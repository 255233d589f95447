//! What somebody finds who looks what is here: the service's name, version and pages, and what its problems mean.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use crate::http::codes::{self, Meaning};
use crate::http::error::ApiError;

/// What this is, and where to go on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Front {
    /// `comanda`.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// Where to go on.
    pages: Pages,
}

/// Its pages.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Pages {
    /// Orders.
    orders: &'static str,
    /// The documentation, to read and to try.
    docs: &'static str,
    /// The same for machines.
    openapi: &'static str,
    /// What each problem means.
    problems: &'static str,
    /// Whether this process lives.
    health: &'static str,
    /// Whether it accepts orders.
    ready: &'static str,
}

const FRONT: Front = Front {
    service: "comanda",
    version: env!("CARGO_PKG_VERSION"),
    pages: Pages {
        orders: "/api/v1/orders",
        docs: "/docs",
        openapi: "/openapi.json",
        problems: "/problems",
        health: "/health",
        ready: "/ready",
    },
};

/// What this is.
///
/// The service, its version and its pages; as HTML for browsers.
#[utoipa::path(get, path = "/", tag = "operation", responses((status = 200, description = "Where what is", body = Front)))]
pub(crate) async fn front(headers: HeaderMap) -> Response {
    if !wants_html(&headers) {
        return Json(FRONT).into_response();
    }
    let Front { service, version, pages } = FRONT;
    let Pages { orders, docs, openapi, problems, health, ready } = pages;
    let links: String = [docs, openapi, problems, orders, health, ready]
        .iter()
        .map(|page| format!("<li><a href=\"{page}\">{page}</a></li>"))
        .collect();
    page(service, &format!("<p>Version {version}</p><ul>{links}</ul>"))
}

/// Answers `pong`.
#[utoipa::path(get, path = "/ping", tag = "operation", responses((status = 200, description = "`pong`", body = String)))]
pub(crate) async fn ping() -> &'static str {
    "pong"
}

/// What problems mean.
///
/// Every kind of problem (the `type` of an error's body) and every code of its `errors`; as HTML for browsers.
#[utoipa::path(get, path = "/problems", tag = "operation", responses((status = 200, description = "All of them", body = [Meaning])))]
pub(crate) async fn problems(headers: HeaderMap) -> Response {
    let all: Vec<Meaning> = codes::all().collect();
    if !wants_html(&headers) {
        return Json(all).into_response();
    }
    let rows: String = all.iter().map(row).collect();
    page("Problems", &format!("<dl>{rows}</dl>"))
}

/// What a problem means.
///
/// Where the `type` of an error's body leads; the codes of its `errors` have a page, too.
#[utoipa::path(
    get, path = "/problems/{name}", tag = "operation",
    params(("name" = String, Path, description = "The last part of a `type`, or a code")),
    responses((status = 200, description = "What it means", body = Meaning), (status = 404, description = "There is no such problem"))
)]
pub(crate) async fn problem(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let meaning = codes::all().find(|one| one.name == name).ok_or_else(|| ApiError::not_found("problem"))?;
    if wants_html(&headers) {
        Ok(page(meaning.name, &row(&meaning)))
    } else {
        Ok(Json(meaning).into_response())
    }
}

/// Whether somebody sits in front of it.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn row(Meaning { name, meaning, .. }: &Meaning) -> String {
    format!("<dt><a href=\"/problems/{name}\"><code>{name}</code></a></dt><dd>{meaning}</dd>")
}

/// A page of our own words: nothing that a client sent is in it.
pub(crate) fn page(title: &str, body: &str) -> Response {
    let head = format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>");
    guarded(Html(format!("{head}<h1>{title}</h1>{body}</html>")), "default-src 'none'")
}

/// The documentation's pages: their own scripts and styles, what they ask of this service, and nothing from elsewhere.
pub(crate) async fn documentation(page: Response) -> Response {
    let own = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'";
    guarded(page, own)
}

/// A page for browsers, which may load what `policy` says, and be shown inside no other page.
fn guarded(page: impl IntoResponse, policy: &str) -> Response {
    let mut page = page.into_response();
    let policy = format!("{policy}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
    let headers = page.headers_mut();
    headers.extend(HeaderValue::try_from(policy).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    for (name, value) in [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    page
}
