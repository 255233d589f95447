//! The `Idempotency-Key`: a client's own name for a request. The same request again is answered and not carried out again; another
//! one under the same key is refused. The same is what goes to the same place (method, path, query) and says the same.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use domain::content::content_hash;
use domain::order::moves::Actor;
use sha2::{Digest, Sha256};
use store::accept::IdempotencyKey;

use crate::http::error::ApiError;
use crate::state::AppState;

/// The header of a client's key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header that says that the answer was given before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest idempotency key; what others who take them allow, too.
const MAX_KEY: usize = 255;

/// The key that a request came with, if it came with one.
#[derive(Debug)]
pub(crate) struct SentKey(Option<Sent>);

#[derive(Debug)]
struct Sent {
    key: String,
    /// What is known of the request so far.
    asked: Sha256,
}

impl SentKey {
    pub(crate) fn of(parts: &Parts) -> Result<Self, ApiError> {
        let mut sent = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = sent.next() else { return Ok(Self(None)) };
        if sent.next().is_some() {
            return Err(ApiError::invalid_one("Idempotency-Key", "repeated", "must be given once"));
        }
        let Some(key) = value.to_str().ok().and_then(read) else {
            let detail = format!("must be 1 to {MAX_KEY} visible ASCII characters, in quotes or without");
            return Err(ApiError::invalid_one("Idempotency-Key", "invalid", detail));
        };
        let place = [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default()];
        Ok(Self(Some(Sent { key, asked: Sha256::new_with_prefix(place.join("\n")) })))
    }

    /// The body, if the request has one that is read, is part of what was asked.
    pub(crate) fn with_body(self, body: &[u8]) -> Self {
        Self(self.0.map(|sent| Sent { asked: sent.asked.chain_update(content_hash(body)), ..sent }))
    }

    /// As it is kept. Nobody's key is anybody else's.
    pub(crate) fn by(self, actor: &Actor, state: &AppState) -> Option<IdempotencyKey> {
        let Sent { key, asked } = self.0?;
        let (principal, request_hash) = (actor.name(), asked.finalize().into());
        Some(IdempotencyKey { principal, key, request_hash, keep: state.keep_keys })
    }
}

impl<S: Sync> FromRequestParts<S> for SentKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(parts)
    }
}

/// A key as it is written, or in the quotes that the IETF's draft puts around it: both are the same key.
fn read(text: &str) -> Option<String> {
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest)?,
        None => text.to_owned(),
    };
    let is_visible = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (is_visible && (1..=MAX_KEY).contains(&key.len())).then_some(key)
}

/// A string of structured fields (RFC 9651), from behind its first quote.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            plain => key.push(plain),
        }
    }
}

/// 422: something else came under the key.
pub(crate) fn key_reused() -> ApiError {
    let detail = "was used before, for another request: another method, path or query, or other content";
    ApiError::invalid_one("Idempotency-Key", "key_reused", detail)
}

/// Says in its header whether the answer, or its like, was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replayed(pub(crate) bool);

impl IntoResponseParts for Replayed {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        if self.0 {
            parts.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_in_quotes_and_without() {
        for (text, key) in [
            ("k", "k"),
            ("\"k\"", "k"),
            ("a b", "a b"),
            ("\"a\\\"b\\\\\"", "a\"b\\"),
            ("a\"b", "a\"b"),
            ("a, b", "a, b"),
        ] {
            assert_eq!(read(text).as_deref(), Some(key), "{text}");
        }
        for none in ["", "\"\"", "\"", "\"k", "\"k\";v=1", "\"a\", \"b\"", "\"a\\b\"", "\"k\\\"", "k\u{7f}"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert!(read(&"k".repeat(MAX_KEY)).is_some() && read(&"k".repeat(MAX_KEY + 1)).is_none());
        assert!(read(&format!("\"{}\"", "k".repeat(MAX_KEY))).is_some());
    }
}
