//! Answers in JSON.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// Room for a receipt under UUIDs: 160 bytes.
const USUAL_BYTES: usize = 256;

/// An answer with this body. Not [`axum::Json`], whose buffer starts too small for a receipt and is dearly asked for
/// room at every piece: a third of the work.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, body).expect("answers are plain JSON, and memory takes them");
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
