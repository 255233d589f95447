//! What every request that changes an order says before its body: which order, in which version, and under which key.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::order::moves::Expected;
use uuid::Uuid;

use crate::http::key::SentKey;
use crate::http::tag::IfMatch;
use crate::orders::read::parse_id;

/// The order that is to change.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) order_id: Uuid,
    pub(crate) expected: Expected,
    pub(crate) key: SentKey,
}

impl Target {
    /// The body is part of what its key stands for.
    pub(crate) fn with_body(self, body: &[u8]) -> Self {
        Self { key: self.key.with_body(body), ..self }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(IntoResponse::into_response)?;
        let Ok(IfMatch(expected)) = IfMatch::from_request_parts(parts, state).await;
        let key = SentKey::of(parts).map_err(IntoResponse::into_response)?;
        let order_id = parse_id(&id).map_err(IntoResponse::into_response)?;
        Ok(Self { order_id, expected, key })
    }
}
