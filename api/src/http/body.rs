//! What a request carries: its content type, its body within size and time, the client's key.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt;
use serde::Deserialize;

use crate::config::{BODY_TIMEOUT, MAX_BODY};
use crate::http::error::ApiError;

/// The header of a client's key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest idempotency key; what others who take them allow, too.
const MAX_KEY: usize = 255;

/// 415, where the body is not JSON by its content type.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) { Ok(()) } else { Err(ApiError::not_json()) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().strip_prefix("application/").is_some_and(|sub| sub.ends_with("+json"))
}

/// The whole body, within its size and time.
pub(crate) async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    // What was announced, where it was.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::too_large(MAX_BODY));
    }
    let whole = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
            // What is no data are trailers, which say nothing.
            let data = frame.into_data().unwrap_or_default();
            if whole.len() + data.len() > MAX_BODY {
                return Err(ApiError::too_large(MAX_BODY));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    };
    tokio::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
}

/// A JSON object in a request that has to have one.
pub(crate) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    expect_json(headers)?;
    read(body).await
}

/// Reads a JSON object of any shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    parse_as(body, "not_an_object", "must be a JSON object, each field given once")
}

/// Reads JSON; what is wrong is told by `code`, what was wanted by `wanted`.
pub(crate) fn parse_as<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    code: &'static str,
    wanted: &str,
) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::unreadable(&error, code, wanted))
}

/// The `Idempotency-Key`, where there is one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(ApiError::invalid_one(
            "Idempotency-Key",
            "invalid",
            format!("must be 1 to {MAX_KEY} visible ASCII characters"),
        )),
    }
}
