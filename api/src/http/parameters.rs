//! What openapi.json says of the parameters that many addresses have in common.

/// What a request that changes an order may have in its headers.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct Versions {
    /// An `ETag` of the order, or its version in quotes: where it has changed since, nothing is done, and the answer is 412
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// What a request that names an order has in its path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct OrderId {
    /// The order's id
    id: String,
}

/// What a request may have that is not to be carried out twice.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct KeyHeader {
    /// Your name for this request, 1 to 255 visible ASCII characters, in quotes or without. The same request again under the same
    /// key (same method, path and query, same content) gives the same answer and is not carried out again; another one is 422
    /// `key_reused`. What was refused may be sent again under its key
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    key: Option<String>,
}
