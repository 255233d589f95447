//! What a request carries: its content type, its body within size, time and room.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::Deserialize;

use crate::config::{BODY_TIMEOUT, MAX_BODY, SMALL_BODY};
use crate::http::error::ApiError;

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

/// Room for the bodies of all requests in hand, in bytes. What fits into `SMALL_BODY` takes none of it: plain orders cost
/// no count, and nobody can shut them out with large bodies.
#[derive(Debug)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    fn take(&self, bytes: usize) -> Result<(), ApiError> {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .map(|_| ())
            .map_err(|_| ApiError::unavailable("too many large requests are in hand"))
    }
}

/// A body, or as much of it as has come. Its room is taken for as long as a handler holds it.
#[derive(Debug)]
pub(crate) struct Whole<'r> {
    bytes: Vec<u8>,
    room: &'r Room,
    taken: usize,
}

impl Whole<'_> {
    fn add(&mut self, data: &[u8]) -> Result<(), ApiError> {
        let length = self.bytes.len() + data.len();
        if length > MAX_BODY {
            return Err(ApiError::too_large(MAX_BODY));
        }
        // As it comes, not as it is announced: who announces much and sends nothing must not take room from others.
        let more = length.saturating_sub(SMALL_BODY) - self.taken;
        if more > 0 {
            self.room.take(more)?;
            self.taken += more;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Deref for Whole<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.room.0.fetch_add(self.taken, Relaxed);
        }
    }
}

/// The whole body, within its size and time, and within what all may take.
pub(crate) async fn read(mut body: Body, room: &Room) -> Result<Whole<'_>, ApiError> {
    // What was announced, where it was.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::too_large(MAX_BODY));
    }
    let whole = async {
        let mut whole = Whole { bytes: Vec::new(), room, taken: 0 };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
            // What is no data are trailers, which say nothing.
            whole.add(&frame.into_data().unwrap_or_default())?;
        }
        Ok(whole)
    };
    tokio::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
}

/// A JSON object in a request that has to have one.
pub(crate) async fn read_json<'r>(
    headers: &HeaderMap,
    body: Body,
    room: &'r Room,
) -> Result<Whole<'r>, ApiError> {
    expect_json(headers)?;
    read(body, room).await
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
