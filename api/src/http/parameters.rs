//! What openapi.json says of the parameters that many addresses have in common.

/// What a request that names an order has in its path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct OrderId {
    /// The order's id
    id: String,
}

/// Who may ask for this: the restaurant alone.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct Staff {
    /// `staff` or `staff:<name>`: who is asking. The proxy in front of the api authenticates callers and sets it
    #[param(rename = "X-Actor")]
    actor: Option<String>,
}

/// Who may ask for this: the restaurant, and the customer whose order it is.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
pub(crate) struct Anybody {
    /// `staff`, `staff:<name>` or `customer:<id>`: who is asking. The proxy in front of the api authenticates callers and sets it
    #[param(rename = "X-Actor")]
    actor: Option<String>,
}
