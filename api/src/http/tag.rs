//! The tag of an order (`ETag`): its version, and a digest of all that is shown, because tries of a payment show without a new
//! version. `If-None-Match` compares the whole. `If-Match` compares the version alone: it asks whether somebody else has
//! changed the order, and a new try is nobody's change.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use domain::order::moves::Expected;
use sha2::{Digest, Sha256};

/// JSON of an order of this version, with its tag.
pub(crate) fn tagged(version: i32, json: Vec<u8>) -> Response {
    let digest = Sha256::digest(&json);
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let tag = HeaderValue::try_from(format!("\"{version}-{digest}\""));
    response.headers_mut().extend(tag.ok().map(|tag| (ETAG, tag)));
    response
}

/// What the client has seen and wants to be so still.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Expected);

/// What the client has and need not get again.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Vec<String>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let tags = tags(&parts.headers, &IF_MATCH);
        // Any version of an order that there is.
        if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            return Ok(Self(Expected::default()));
        }
        // Tags that are not ours name no version: then no order is as it was seen.
        let version = |tag: &String| tag.split('-').next()?.parse().ok();
        Ok(Self(Expected::one_of(tags.iter().filter_map(version).collect())))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(tags(&parts.headers, &IF_NONE_MATCH)))
    }
}

impl IfNoneMatch {
    /// The answer, or 304.
    pub(crate) fn or(self, mut answer: Response) -> Response {
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(bare);
        let is_known = tag.is_some_and(|tag| self.0.iter().any(|known| known == tag || known == "*"));
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            *answer.body_mut() = Body::empty();
            answer.headers_mut().remove(CONTENT_TYPE);
        }
        answer
    }
}

/// The tags that a header lists.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(|tag| bare(tag.trim()).to_owned()).collect()
}

/// A tag without its quotes; and a weak one, which proxies that compress make of ours, is as good.
fn bare(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}
