//! Which web pages of other origins may call the api. None, unless the operator names them; a browser asks before it sends, and
//! shows no token with that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION,
    RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long a browser need not ask again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What pages may send, beside what they always may.
const SENT: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("traceparent"),
];
/// What they may read, beside what they always may.
const READ: [HeaderName; 8] = [
    ETAG,
    LOCATION,
    RETRY_AFTER,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
];

/// What the operator named; `None`: nothing.
pub(crate) fn origins(named: &[String]) -> Result<Option<AllowOrigin>> {
    if named.iter().any(|origin| origin == "*") {
        return Ok(Some(AllowOrigin::any()));
    }
    let origins = named.iter().map(|origin| {
        let wrong = || format!("API_CORS_ORIGINS: {origin:?} is no origin such as https://shop.example.com");
        let url = Url::parse(origin).with_context(wrong)?;
        // As browsers write it: no path, no standard port.
        ensure!(url.origin().is_tuple() && url.origin().ascii_serialization() == *origin, wrong());
        HeaderValue::try_from(origin).with_context(wrong)
    });
    let origins = origins.collect::<Result<Vec<_>>>()?;
    Ok((!origins.is_empty()).then(|| AllowOrigin::list(origins)))
}

/// What is around all requests where pages of these origins may call.
pub(crate) fn layer(origins: AllowOrigin) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(REMEMBERED)
}

/// What is around that: the answer to a browser that asks before it sends is all in its headers, and says so (204).
pub(crate) async fn without_content(request: Request, next: Next) -> Response {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut answer = next.run(request).await;
    if asks && answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::NO_CONTENT;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_origin_is_named() {
        let of = |named: &str| origins(&[named.to_owned()]);
        assert!(origins(&[]).unwrap().is_none());
        for right in ["*", "https://shop.example.com", "http://127.0.0.1:3000"] {
            assert!(of(right).unwrap().is_some(), "{right}");
        }
        for wrong in
            ["", "shop.example.com", "https://shop.example.com/", "https://shop.example.com:443", "null"]
        {
            assert!(of(wrong).unwrap_err().to_string().contains("API_CORS_ORIGINS"), "{wrong}");
        }
    }
}
