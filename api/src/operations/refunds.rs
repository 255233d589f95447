//! `GET /internal/refunds`: what is given back, and what of it waits for a person.

use axum::Json;
use axum::extract::{Query, State};
use domain::payment::PaymentStatus;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::refunds::{self, Refund, RefundFilter};
use time::OffsetDateTime;
use uuid::Uuid;

use super::state::Internal;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// Refunds on a page.
const PAGE_SIZE: i64 = 100;
/// Deepest page.
const MAX_PAGE: i64 = 10_000;

/// What `GET /internal/refunds` may be asked.
#[derive(Debug, Deserialize)]
pub(super) struct RefundQuery {
    status: Option<String>,
    page: Option<i64>,
}

/// One page of refunds.
#[derive(Debug, Serialize)]
pub(super) struct RefundPage {
    refunds: Vec<RefundView>,
    page: i64,
    page_size: i64,
}

/// A refund.
#[derive(Debug, Serialize)]
struct RefundView {
    id: Uuid,
    order_id: Uuid,
    charge_id: Uuid,
    payment_reference: Option<String>,
    amount: Box<RawValue>,
    currency: &'static str,
    reason: String,
    /// `pending`, `processing`, `waiting`, `succeeded`; `refused`: waiting, and the gateway's last answer was no.
    status: &'static str,
    attempts: i32,
    code: Option<String>,
    #[serde(with = "crate::http::times")]
    created_at: OffsetDateTime,
    #[serde(with = "crate::http::times::option")]
    due_at: Option<OffsetDateTime>,
}

impl From<Refund> for RefundView {
    fn from(refund: Refund) -> Self {
        Self {
            id: refund.id,
            order_id: refund.order_id,
            charge_id: refund.charge_id,
            payment_reference: refund.payment_reference,
            amount: refund.amount.to_json(),
            currency: refund.amount.currency().code(),
            reason: refund.reason,
            status: if refund.refused { "refused" } else { refund.status.as_str() },
            attempts: refund.attempts,
            code: refund.code,
            created_at: refund.created_at,
            due_at: refund.due_at,
        }
    }
}

/// `GET /internal/refunds?status=&page=`: newest first, a hundred a page.
pub(super) async fn list_refunds(
    State(state): State<Internal>,
    _: Manager,
    query: Result<Query<RefundQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RefundPage>, ApiError> {
    let Query(query) =
        query.map_err(|_| ApiError::invalid_one("query", "invalid", "status is a text, page a number"))?;
    let filter = match query.status.as_deref() {
        None => RefundFilter::default(),
        Some("refused") => RefundFilter { status: None, refused: true },
        Some(text) => {
            let status = PaymentStatus::ALL.into_iter().find(|status| status.as_str() == text);
            let status = status.ok_or_else(|| {
                let detail = "must be pending, processing, waiting, refused, succeeded or failed";
                ApiError::invalid_one("status", "unknown_status", detail)
            })?;
            RefundFilter { status: Some(status), refused: false }
        }
    };
    let page = query.page.unwrap_or(1);
    if !(1..=MAX_PAGE).contains(&page) {
        let detail = format!("must be a number from 1 to {MAX_PAGE}");
        return Err(ApiError::invalid_one("page", "out_of_range", detail));
    }
    let refunds = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        refunds::list(&mut conn, filter, PAGE_SIZE, (page - 1) * PAGE_SIZE).await
    });
    let refunds = refunds.await?.into_iter().map(RefundView::from).collect();
    Ok(Json(RefundPage { refunds, page, page_size: PAGE_SIZE }))
}
