//! What is for the operators alone, on the address of the metrics and never on the public one: the refunds, a sweep of
//! unanswered orders for schedulers of somebody else's, and the channels' price lists (`catalogue/price_list.rs`).

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use domain::payment::PaymentStatus;
use runtime::tasks::uncancelled;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgPool;
use store::Database;
use store::deadline::reject_unanswered;
use store::refunds::{self, Refund, RefundFilter};
use store::session::{Session, StoreError};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::catalogue::price_list;
use crate::http::error::ApiError;
use crate::http::observe::observed;

/// Connections for these reads: one person looks at a time.
const READERS: u32 = 1;
/// Orders in one transaction of a sweep.
const AT_ONCE: u32 = 256;
/// Transactions in one request: 10,000 orders, and then it answers; who has more asks again.
const ROUNDS: usize = 40;
/// Refunds on a page.
const PAGE_SIZE: i64 = 100;
/// Deepest page.
const MAX_PAGE: i64 = 10_000;

#[derive(Clone)]
pub(crate) struct Internal {
    pub(crate) readers: PgPool,
    pub(crate) session: Arc<Mutex<Session>>,
}

/// The routes, over a database of their own connections. They need nothing of the api that runs beside them.
pub fn router(database: &Database) -> Router {
    let state =
        Internal { readers: database.read_pool(READERS), session: Arc::new(Mutex::new(database.session())) };
    let route =
        |router: Router<_>, path, methods: MethodRouter<_>| router.route(path, methods.layer(observed(path)));
    let router = Router::new().layer(observed("unmatched"));
    let router = route(router, "/internal/refunds", get(list_refunds));
    let router = route(router, "/internal/sweeps/stale-orders", post(sweep_stale_orders));
    let prices = get(price_list::read).put(price_list::replace);
    route(router, "/internal/channels/{channel}/prices", prices).with_state(state)
}

/// What became of a sweep.
#[derive(Debug, Serialize)]
struct Swept {
    /// Orders that were rejected because nobody had answered them in time.
    rejected: usize,
}

/// `POST /internal/sweeps/stale-orders`: the sweep that workers do anyway, now. Harmless at any time, any number at once.
async fn sweep_stale_orders(State(state): State<Internal>) -> Result<Json<Swept>, ApiError> {
    let done = uncancelled(async move {
        let mut session = state.session.lock().await;
        let mut rejected = 0;
        for _ in 0..ROUNDS {
            let swept =
                session.run(&AT_ONCE, |conn, limit| Box::pin(reject_unanswered(conn, *limit))).await?;
            rejected += swept.rejected;
            if swept.found < AT_ONCE as usize {
                break;
            }
        }
        Ok::<_, StoreError>(Swept { rejected })
    });
    match done.await {
        Ok(swept) => Ok(Json(swept?)),
        Err(panic) => Err(ApiError::internal(&format!("{panic:#}"))),
    }
}

/// What `GET /internal/refunds` may be asked.
#[derive(Debug, Deserialize)]
struct RefundQuery {
    status: Option<String>,
    page: Option<i64>,
}

/// One page of refunds.
#[derive(Debug, Serialize)]
struct RefundPage {
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
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
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
async fn list_refunds(
    State(state): State<Internal>,
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
    let done = uncancelled(async move {
        let mut conn = state.readers.acquire().await?;
        refunds::list(&mut conn, filter, PAGE_SIZE, (page - 1) * PAGE_SIZE).await
    });
    match done.await {
        Ok(refunds) => {
            let refunds = refunds?.into_iter().map(RefundView::from).collect();
            Ok(Json(RefundPage { refunds, page, page_size: PAGE_SIZE }))
        }
        Err(panic) => Err(ApiError::internal(&format!("{panic:#}"))),
    }
}
