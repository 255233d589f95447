//! What a request carries: its content type, its body within size, time and room.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use runtime::batch::Held;
use serde::Deserialize;

use crate::config::{BODY_TIMEOUT, SMALL_BODY};
use crate::http::error::ApiError;

/// 415, where the body is not JSON by its content type, or JSON in other characters than JSON has.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = value.split(';');
    if !is_json(parts.next().unwrap_or("").trim()) {
        return Err(ApiError::not_json());
    }
    if parts.all(is_utf_8) { Ok(()) } else { Err(ApiError::not_utf_8()) }
}

fn is_json(essence: &str) -> bool {
    essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().strip_prefix("application/").is_some_and(|sub| sub.ends_with("+json"))
}

/// Whether a parameter of the content type names no other characters.
fn is_utf_8(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset")
        || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
}

/// 415, where the body was compressed: what it becomes has no bound that its length tells.
fn expect_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if named.into_iter().all(plain) { Ok(()) } else { Err(ApiError::compressed()) }
}

/// Room for the bodies of all requests in hand, in bytes. What fits into `SMALL_BODY` takes none of it: plain orders cost
/// no count, and nobody can shut them out with large bodies.
#[derive(Debug)]
pub(crate) struct Room {
    left: Arc<AtomicUsize>,
    /// The largest body.
    largest: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize, largest: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)), largest }
    }
}

/// Room that is taken, given back with it.
#[derive(Debug)]
struct Taken {
    of: Arc<AtomicUsize>,
    bytes: usize,
}

impl Taken {
    fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.of
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .map_err(|_| ApiError::unavailable("too many large requests are in hand"))?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.of.fetch_add(self.bytes, Relaxed);
    }
}

/// A body, or as much of it as has come. Its room is taken for as long as a handler holds it.
#[derive(Debug)]
pub(crate) struct Whole<'r> {
    /// As it came, where it came in one piece: most do.
    first: Bytes,
    /// What came in several, all of it.
    joined: Vec<u8>,
    room: &'r Room,
    /// Of one that is not small.
    taken: Option<Taken>,
}

impl Whole<'_> {
    fn add(&mut self, data: Bytes) -> Result<(), ApiError> {
        let length = self.len() + data.len();
        if length > self.room.largest {
            return Err(ApiError::too_large(self.room.largest));
        }
        // As it comes, not as it is announced: who announces much and sends nothing must not take room from others.
        let needed = length.saturating_sub(SMALL_BODY);
        if needed > 0 {
            let new = || Taken { of: Arc::clone(&self.room.left), bytes: 0 };
            let taken = self.taken.get_or_insert_with(new);
            taken.add(needed - taken.bytes)?;
        }
        if self.is_empty() {
            self.first = data;
        } else {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&data);
        }
        Ok(())
    }

    /// What its room is to be held by when the body itself is no longer needed: what was made of it is as large.
    pub(crate) fn into_held(self) -> Held {
        self.taken.map(|taken| Box::new(taken) as Box<dyn Any + Send + Sync>)
    }
}

impl Deref for Whole<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.joined.is_empty() { &self.first } else { &self.joined }
    }
}

/// The whole body, within its size and time, and within what all may take.
pub(crate) async fn read<'r>(
    headers: &HeaderMap,
    mut body: Body,
    room: &'r Room,
) -> Result<Whole<'r>, ApiError> {
    expect_plain(headers)?;
    // What was announced, where it was.
    if body.size_hint().lower() > room.largest as u64 {
        return Err(ApiError::too_large(room.largest));
    }
    let whole = async {
        let mut whole = Whole { first: Bytes::new(), joined: Vec::new(), room, taken: None };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
            // What is no data are trailers, which say nothing.
            whole.add(frame.into_data().unwrap_or_default())?;
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
    read(headers, body, room).await
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
    // RFC 8259 lets us pass over a byte order mark, which some editors write.
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| ApiError::unreadable(&error, code, wanted))
}
