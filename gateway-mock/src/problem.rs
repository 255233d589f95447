//! Every answer that is no success, and the reading of requests that may end in one.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::money::MoneyError;
use serde::de::DeserializeOwned;

use crate::json::json;
use crate::name::{MAX_NAME_BYTES, Name};
use crate::wire::GatewayProblem;

/// A charge's body is some 150 bytes; 16 KiB is room for any client's taste.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// A refusal: status, machine code, and a sentence.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// A header that comes with it.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// 400.
    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 422.
    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 500, in the words of a gateway that does not know what hit it.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side.")
    }

    /// 503: switched off by the fault `down`.
    pub(crate) fn down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The gateway is down.")
    }

    /// 429, with what it says in Retry-After; 0: nothing.
    pub(crate) fn too_many(retry_after_seconds: u32) -> Self {
        let header = (retry_after_seconds > 0).then(|| (header::RETRY_AFTER, retry_after_seconds.into()));
        let message = "Too many requests; try again shortly.";
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message) }
    }

    /// 202: it is being worked on.
    pub(crate) fn pending() -> Self {
        Self::new(StatusCode::ACCEPTED, "pending", "The bank has not answered yet.")
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "This merchant is not known here.")
    }

    /// As a merchant is answered who is set up wrongly.
    pub(crate) fn misconfigured(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::unauthorized(),
            StatusCode::FORBIDDEN => Self::new(status, "forbidden", "This merchant may not do that."),
            StatusCode::BAD_REQUEST => Self::bad_request("version_unknown", "There is no such version."),
            StatusCode::NOT_FOUND => Self::not_found("There is no such page."),
            _ => {
                let header = Some((header::LOCATION, HeaderValue::from_static("https://elsewhere.invalid/")));
                Self { header, ..Self::new(status, "moved", "This gateway is elsewhere now.") }
            }
        }
    }

    /// 404.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = GatewayProblem { code: self.code.to_owned(), message: self.message };
        let mut response = json(self.status, &body);
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The header `Idempotency-Key`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Name, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(Problem::bad_request("key_missing", "The header Idempotency-Key is missing."));
    };
    parse_key(std::str::from_utf8(value.as_bytes()).unwrap_or_default())
}

/// The header `Idempotency-Key` as it came, right or wrong.
pub(crate) fn raw_key(headers: &HeaderMap) -> &[u8] {
    headers.get("idempotency-key").map_or(&[], |value| value.as_bytes())
}

/// A key from a header or a path.
pub(crate) fn parse_key(text: &str) -> Result<Name, Problem> {
    let range = || format!("An idempotency key has 1 to {MAX_NAME_BYTES} printable bytes.");
    Name::parse(text).ok_or_else(|| Problem::bad_request("key_invalid", range()))
}

/// The whole body as JSON.
pub(crate) async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let bytes: Bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| {
        Problem::bad_request(
            "body_unreadable",
            format!("The body is cut short or above {MAX_BODY_BYTES} bytes."),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::bad_request("body_invalid", error.to_string()))
}

/// A field of a body that is no amount of money.
pub(crate) fn bad_money(error: MoneyError) -> Problem {
    let field = if error == MoneyError::UnknownCurrency { "currency" } else { "amount" };
    Problem::bad_request("body_invalid", format!("{field} {error}"))
}

/// A field of a body that names something.
pub(crate) fn parse_name(field: &str, text: &str) -> Result<Name, Problem> {
    let range = || format!("{field} must have 1 to {MAX_NAME_BYTES} printable bytes");
    Name::parse(text).ok_or_else(|| Problem::bad_request("body_invalid", range()))
}
