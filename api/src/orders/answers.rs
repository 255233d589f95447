//! What is answered to whoever ordered, by each door that takes orders.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::order::status::OrderStatus;
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::http::key::Replayed;
use crate::orders::view::OrderView;

/// 409: another order of the channel is called so.
pub(crate) fn channel_id_reused(status: OrderStatus) -> ApiError {
    let detail = "the channel has sent this order id before, with different content";
    ApiError::conflict("duplicate_channel_order_id", detail, status)
}

/// An order that came before.
pub(crate) fn again(view: &OrderView) -> Response {
    (Replayed(true), accepted(view)).into_response()
}

/// 202: it is durable.
pub(crate) fn accepted(view: &OrderView) -> Response {
    // Piece by piece: axum's tuples would first say that bytes are bytes.
    let mut response = Response::new(Body::from(view.to_json()));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut id = Uuid::encode_buffer();
    let location = ["/api/v1/orders/", view.id.hyphenated().encode_lower(&mut id)].concat();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    response
}
