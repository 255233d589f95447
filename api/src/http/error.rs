//! What a client is told when something is wrong: one body for all, `application/problem+json` (RFC 9457), with no
//! SQL, path or type name in it.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::catalogue::menu::Take;
use domain::order::status::OrderStatus;
use domain::problems::Problem;
use domain::trace_parent::TraceParent;
use serde::Serialize;
use store::session::StoreError;
use store::stock::Short;
use uuid::Uuid;

use crate::config::RETRY_AFTER;
use crate::http::arrival::Id;
use crate::http::codes;

/// An answer that is no success.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    title: &'static str,
    detail: String,
    errors: Vec<Problem>,
    current_status: Option<OrderStatus>,
    retry: bool,
    /// A header that belongs to it.
    header: Option<Said>,
    /// What few have to say.
    beside: Option<Box<Beside>>,
    /// What a fault of ours came from: for the log, never for the client.
    pub(crate) cause: Option<Box<str>>,
}

/// What few answers say beside the rest.
#[derive(Debug, Clone)]
enum Beside {
    /// In `RateLimit-Policy` and `RateLimit`, and the seconds to wait.
    Limit { policy: String, left: String, wait: u64 },
    /// The earliest cursor that is left.
    Earliest(String),
    /// What there was too little of.
    Short(Vec<ShortView>),
}

/// What was wanted, and how many of it there are.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct ShortView {
    /// The variation, or the product that comes in none.
    item_id: Uuid,
    wanted: u32,
    available: i64,
}

/// What a header of an answer that is no success says.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// `WWW-Authenticate`.
    Challenge(&'static str),
    /// `Accept-Encoding`: bodies as they are.
    PlainBodies,
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemBody {
    /// The kind of problem, a relative URI with a page.
    #[schema(example = "/problems/unprocessable-entity")]
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong in this request, for people.
    pub detail: String,
    /// This occurrence: `urn:request:` and the request's id, which the logs carry too.
    pub instance: String,
    /// The trace that the request is part of, 32 hexadecimal digits, as in the header `traceparent` of the answer. Left
    /// out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0af7651916cd43dd8448eb211c80319c")]
    pub trace_id: Option<String>,
    /// Everything that is wrong with the request, each with a machine code and its place.
    pub errors: Vec<Problem>,
    /// For a conflict, and where the order has changed: its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_status: Option<OrderStatus>,
    /// Where a cursor is gone: the earliest one that is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_cursor: Option<String>,
    /// For `out_of_stock`: what there was too little of, and how many there were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short: Vec<ShortView>,
}

impl ApiError {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            current_status: None,
            retry: false,
            header: None,
            beside: None,
            cause: None,
        }
    }

    /// 400: no JSON.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Malformed request", detail)
    }

    /// 400: no JSON; or 422: JSON, but not what is wanted, which `code` and `wanted` say.
    pub(crate) fn unreadable(error: &serde_json::Error, code: &'static str, wanted: &str) -> Self {
        if error.is_data() {
            return Self::invalid_one("body", code, wanted);
        }
        let place = format!("line {}, column {}", error.line(), error.column());
        Self::malformed(format!("the body is not JSON: error at {place}"))
    }

    /// 422: understood, and wrong.
    pub(crate) fn invalid(errors: Vec<Problem>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.attr, one.detail),
            many => format!("{} problems, each named in errors", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid request", detail) }
    }

    /// Whether the same may be answered otherwise a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// What is wrong with a request that is not to be sent again as it is; `None`: it is no fault of what was sent.
    pub(crate) fn refusal(&self) -> Option<&[Problem]> {
        let for_good = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT];
        for_good.contains(&self.status).then_some(&*self.errors)
    }

    /// Whether it is the client's to do something about, and no fault that passes.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::TOO_MANY_REQUESTS
    }

    /// Whether one of the problems has this code.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|problem| problem.code == code)
    }

    /// 422 with one problem.
    pub(crate) fn invalid_one(attr: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Problem { code, detail: detail.into(), attr: attr.to_owned() }])
    }

    /// 401: nobody said who they are.
    pub(crate) fn unauthenticated() -> Self {
        let detail = "a token is needed: Authorization: Bearer <token>";
        Self {
            header: Some(Said::Challenge(r#"Bearer realm="comanda""#)),
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
        }
    }

    /// 401: what was shown is not good, or no longer.
    pub(crate) fn bad_token(detail: &str) -> Self {
        let header = Some(Said::Challenge(r#"Bearer realm="comanda", error="invalid_token""#));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail) }
    }

    /// 409: what it says was so, and is so no longer.
    pub(crate) fn outdated(errors: Vec<Problem>) -> Self {
        let error = Self::invalid(errors);
        Self { status: StatusCode::CONFLICT, title: "Conflict", ..error }
    }

    /// 409: there is not enough of what an order takes.
    pub(crate) fn out_of_stock(takes: &[Take], shorts: &[Short]) -> Self {
        let problem = |short: &Short| {
            let line = takes.iter().find(|take| take.item == short.item).map_or(0, |take| take.line);
            let detail = format!("{} are wanted, {} are there", short.wanted, short.available);
            Problem { code: "out_of_stock", detail, attr: format!("items[{line}].quantity") }
        };
        let view = |short: &Short| {
            let Short { item, wanted, available } = *short;
            ShortView { item_id: item, wanted, available }
        };
        let beside = Some(Box::new(Beside::Short(shorts.iter().map(view).collect())));
        Self { beside, ..Self::outdated(shorts.iter().map(problem).collect()) }
    }

    /// 409: somebody else has it.
    pub(crate) fn taken(attr: &str, code: &'static str, detail: &str) -> Self {
        let errors = vec![Problem { code, detail: detail.to_owned(), attr: attr.to_owned() }];
        Self { errors, ..Self::new(StatusCode::CONFLICT, "Conflict", detail) }
    }

    /// 429: later.
    pub(crate) fn too_many(detail: &str) -> Self {
        Self { retry: true, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail) }
    }

    /// 429: this caller asks too fast. `policy` and `left` are the headers that say so (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn too_fast(wait: u64, policy: String, left: String) -> Self {
        let beside = Some(Box::new(Beside::Limit { policy, left, wait }));
        let detail = format!("too many requests from you: the next is taken in {wait} s");
        Self { beside, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail) }
    }

    /// 403.
    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    /// 409: not from where the order stands.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>, status: OrderStatus) -> Self {
        let detail = detail.into();
        let errors = vec![Problem { code, detail: detail.clone(), attr: "status".to_owned() }];
        let current_status = Some(status);
        Self { errors, current_status, ..Self::new(StatusCode::CONFLICT, "Conflict", detail) }
    }

    /// 412: somebody else was there first.
    pub(crate) fn changed(version: i32, status: OrderStatus) -> Self {
        let detail = format!("the order has changed since: it is at version {version} now");
        let attr = "If-Match".to_owned();
        let errors = vec![Problem { code: "version_changed", detail: detail.clone(), attr }];
        let current_status = Some(status);
        Self {
            errors,
            current_status,
            ..Self::new(StatusCode::PRECONDITION_FAILED, "Precondition failed", detail)
        }
    }

    /// 404: no such order, or no such page.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("there is no such {what}"))
    }

    /// 410: what follows a cursor cannot be told any more.
    pub(crate) fn cursor_gone(earliest: String) -> Self {
        let detail = "what follows this cursor is no longer kept; read anew what matters, and go on from earliest_cursor";
        let errors =
            vec![Problem { code: "cursor_gone", detail: detail.to_owned(), attr: "after".to_owned() }];
        let beside = Some(Box::new(Beside::Earliest(earliest)));
        Self { errors, beside, ..Self::new(StatusCode::GONE, "Gone", detail) }
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "this path does not support that method",
        )
    }

    /// 408: the body did not come in time.
    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Request timeout", "the body did not arrive in time")
    }

    /// 413.
    pub(crate) fn too_large(max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Body too large",
            format!("a body may have at most {max} bytes"),
        )
    }

    /// 415.
    pub(crate) fn not_json() -> Self {
        let detail = "the body must be JSON, with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail)
    }

    /// 415: JSON is written in UTF-8 (RFC 8259).
    pub(crate) fn not_utf_8() -> Self {
        let detail = "the body must be in UTF-8, as JSON is: leave the charset out";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail)
    }

    /// 415, with what is taken (RFC 9110, 15.5.16).
    pub(crate) fn compressed() -> Self {
        let detail = "the body must come as it is, without a Content-Encoding";
        Self {
            header: Some(Said::PlainBodies),
            ..Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail)
        }
    }

    /// 500: our fault. `observe` logs the cause, with the request's id; the client is not told.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        let detail = "an internal error; it has been logged";
        let cause = Some(cause.to_string().into_boxed_str());
        Self { cause, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail) }
    }

    /// 503: to be retried.
    pub(crate) fn unavailable(detail: &str) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", detail) }
    }

    fn short(&self) -> &[ShortView] {
        match self.beside.as_deref() {
            Some(Beside::Short(short)) => short,
            _ => &[],
        }
    }

    /// The body, for the request of this id and this place in a trace.
    pub(crate) fn body(&self, request_id: &Id, trace: Option<TraceParent>) -> ProblemBody {
        debug_assert!(self.errors.iter().all(|one| codes::is_known(one.code)), "{:?}", self.errors);
        ProblemBody {
            r#type: format!("/problems/{}", codes::kind(self.status)),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: format!("urn:request:{request_id}"),
            trace_id: trace.map(|trace| trace.trace_id.to_string()),
            errors: self.errors.clone(),
            current_status: self.current_status,
            earliest_cursor: match self.beside.as_deref() {
                Some(Beside::Earliest(cursor)) => Some(cursor.clone()),
                _ => None,
            },
            short: self.short().to_vec(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Held => {
                Self::unavailable("orders cannot be stored or read right now")
            }
            StoreError::Refused(cause) => Self::internal(&cause),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// The status and the error itself, as an extension; `observe` writes the body, because it knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if let Some(Beside::Limit { policy, left, wait }) = self.beside.as_deref() {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*wait));
            for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
                headers
                    .extend(HeaderValue::try_from(value).map(|value| (HeaderName::from_static(name), value)));
            }
        }
        let said = self.header.map(|said| match said {
            Said::Challenge(challenge) => (header::WWW_AUTHENTICATE, challenge),
            Said::PlainBodies => (header::ACCEPT_ENCODING, "identity"),
        });
        response.headers_mut().extend(said.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response.extensions_mut().insert(self);
        response
    }
}

/// `body` as a response's body; the status and other headers stay.
pub(crate) fn render(response: &mut Response, body: ProblemBody) {
    let (mut parts, rendered) = Json(body).into_response().into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response.headers_mut().extend(parts.headers);
    *response.body_mut() = rendered;
}
