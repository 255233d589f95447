//! What a handler learns of the request's way to it: its id, and its place in a trace.

use std::fmt;

use axum::http::HeaderValue;
use domain::origin::RequestId;
use domain::trace_parent::TraceParent;
use uuid::Uuid;

/// What handlers learn of the request's way to them.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// Its id.
    pub id: Id,
    /// Its place in a trace, where it has one.
    pub trace: Option<TraceParent>,
}

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) enum Id {
    /// The client gave it.
    Given(RequestId),
    /// The client gave none, or no sane one. An order that such a request brings has this id, too.
    Ours(Uuid),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(id) => id.fmt(f),
            Self::Ours(id) => id.fmt(f),
        }
    }
}

impl Id {
    /// As a header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Given(id) => HeaderValue::from_str(id.as_str()).ok(),
            Self::Ours(id) => {
                HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).ok()
            }
        }
    }
}
