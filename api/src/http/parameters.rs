//! What openapi.json says of the parameters that many addresses have in common.

/// What a request that names an order has in its path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct OrderId {
    /// The order's id
    id: String,
}
