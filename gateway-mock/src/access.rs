//! Who comes in, and the access log: a line for every request that wants to move or void money, written when it arrives and before
//! anything is done about it, whatever becomes of it. What a merchant asked can so be compared with what it noted
//! down before it asked. Like the journal's, a line survives the death of the process, not of the machine.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runtime::config::Secret;

use crate::problem::Problem;

/// Lets merchants in who show the token, and no others.
pub(crate) async fn admit(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    let shown =
        request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if shown == Some(token.expose().as_bytes()) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}

/// The file, where there is one.
#[derive(Debug, Default)]
pub(crate) struct AccessLog(Option<File>);

impl AccessLog {
    /// Opens or creates the file; without a path nothing is logged.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.with_context(|| {
            format!("cannot open the access log {} (GATEWAY_MOCK_ACCESS_LOG)", path.display())
        })?;
        Ok(Self(Some(file)))
    }

    /// Notes a request: microseconds since 1970, what is asked, and under which key. The ids under which others know it
    /// go to the program's own log, for those who look for them.
    pub(crate) fn note(&self, what: &str, key: &[u8], headers: &HeaderMap) {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        tracing::debug!(
            what,
            key = %String::from_utf8_lossy(key),
            request_id = header("x-request-id"),
            traceparent = header("traceparent"),
            "asked"
        );
        let Some(mut file) = self.0.as_ref() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let key = String::from_utf8_lossy(key);
        // One write to a file opened for appending: lines of requests side by side do not mix.
        if let Err(error) = file.write_all(format!("{now} {what} {key}\n").as_bytes()) {
            tracing::error!(%error, "the access log cannot be written");
        }
    }
}
