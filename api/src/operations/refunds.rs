//! `GET /internal/refunds`: what is given back, and what of it waits for a person.

use axum::Json;
use axum::extract::{Query, State};
use domain::payment::PaymentStatus;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::list::refunds::{self as list, Refund, RefundFilter, RefundPage};
use store::list::{MAX_COUNTED, PageStart};
use time::OffsetDateTime;
use uuid::Uuid;

use super::state::Internal;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;

/// Refunds on a page.
const PAGE_SIZE: usize = 100;
/// The last page that has a number.
const MAX_PAGE: usize = MAX_COUNTED / PAGE_SIZE;

/// What `GET /internal/refunds` may be asked.
#[derive(Debug, Deserialize)]
pub(super) struct RefundQuery {
    status: Option<String>,
    page: Option<usize>,
    cursor: Option<Uuid>,
}

/// One page of refunds.
#[derive(Debug, Serialize)]
pub(super) struct RefundPageView {
    refunds: Vec<RefundView>,
    page: usize,
    page_size: usize,
    /// Of the next page; none: this is the last. There may be one though this page is not full: so far was looked.
    next_cursor: Option<Uuid>,
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

/// `GET /internal/refunds?status=&page=&cursor=`: newest first, a hundred a page.
pub(super) async fn list_refunds(
    State(state): State<Internal>,
    _: Manager,
    query: Result<Query<RefundQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RefundPageView>, ApiError> {
    let Query(query) = query.map_err(|_| {
        let detail = "status is a text, page a number, cursor the next_cursor of an earlier answer";
        ApiError::invalid_one("query", "invalid", detail)
    })?;
    let filter = match query.status.as_deref() {
        None => RefundFilter::All,
        Some("refused") => RefundFilter::Refused,
        Some(text) => {
            let status = PaymentStatus::ALL.into_iter().find(|status| status.as_str() == text);
            RefundFilter::At(status.ok_or_else(|| {
                let detail = "must be pending, processing, waiting, refused, succeeded or failed";
                ApiError::invalid_one("status", "unknown_status", detail)
            })?)
        }
    };
    let page = query.page.unwrap_or(1);
    let start = match (query.cursor, query.page) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_one("page", "conflict", "cannot be given together with cursor"));
        }
        (Some(cursor), None) => PageStart::After(cursor),
        (None, _) if page == 0 => {
            return Err(ApiError::invalid_one("page", "out_of_range", "must be a number from 1 on"));
        }
        (None, _) if page > MAX_PAGE => {
            let detail = format!(
                "pages have numbers up to {MAX_PAGE}; pass the next_cursor of the page before as cursor, which has no depth"
            );
            return Err(ApiError::invalid_one("page", "too_deep", detail));
        }
        (None, _) => PageStart::Offset((page - 1) * PAGE_SIZE),
    };
    let found = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        list::page(&mut conn, filter, start, PAGE_SIZE).await
    });
    let Some(RefundPage { refunds, next }) = found.await? else {
        return Err(ApiError::invalid_one(
            "cursor",
            "invalid",
            "must be the next_cursor of an earlier answer",
        ));
    };
    let refunds = refunds.into_iter().map(RefundView::from).collect();
    Ok(Json(RefundPageView { refunds, page, page_size: PAGE_SIZE, next_cursor: next }))
}
