//! `GET /orders`, `GET /orders/{id}` and its history. Every read runs to its end whatever the client does.

use axum::Json;
use axum::extract::{Path, Query, State};
use domain::channel::name::ChannelName;
use domain::limits::MAX_ID_CHARS;
use domain::order::moves::Actor;
use domain::order::status::OrderStatus;
use domain::problems::{Problem, text_problem};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::PgConnection;
use store::events;
use store::list::{self, Filter, Page, PageStart};
use store::read;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::http::error::{ApiError, ProblemBody};
use crate::http::parameters::OrderId;
use crate::http::problems::{Faults, NoOrder, TokenNeeded};
use crate::http::work::to_the_end;
use crate::identity::caller::{Anyone, Caller};
use crate::orders::view::{HistoryView, OrderPage, OrderView};
use crate::state::AppState;

/// Orders on a page where the client says nothing.
const PAGE_SIZE: i64 = 20;
/// Most orders on a page.
const MAX_PAGE_SIZE: i64 = 100;
/// Deepest page by number: beyond, the database would skip a million rows to show a hundred. A cursor has no depth.
const MAX_PAGE: i64 = 10_000;

/// Read an order.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}", tag = "orders",
    params(OrderId),
    responses(
        (status = 200, description = "The order with its payment attempts", body = OrderView),
        NoOrder, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read_order(
    State(state): State<AppState>,
    Anyone(caller): Anyone,
    Path(id): Path<String>,
) -> Result<Json<OrderView>, ApiError> {
    let id = parse_id(&id)?;
    let found = found(state, move |conn| Box::pin(read::whole(conn, id))).await?;
    let whole = found.filter(|whole| caller.may_see(&whole.order.customer_id));
    Ok(Json(OrderView::whole(whole.ok_or_else(|| ApiError::not_found("order"))?)))
}

/// Read all that happened to an order.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}/history", tag = "orders",
    params(OrderId),
    responses(
        (status = 200, description = "All its changes, oldest first", body = HistoryView),
        NoOrder, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read_history(
    State(state): State<AppState>,
    Anyone(caller): Anyone,
    Path(id): Path<String>,
) -> Result<Json<HistoryView>, ApiError> {
    let id = parse_id(&id)?;
    let found = found(state, move |conn| {
        Box::pin(async move {
            let Some(order) = read::order(conn, id).await? else { return Ok(None) };
            let imported = if order.details.is_some() { read::imported(conn, id).await? } else { None };
            Ok(Some((order, events::history(conn, id).await?, imported)))
        })
    })
    .await?;
    let found = found.filter(|(order, ..)| caller.may_see(&order.customer_id));
    let (order, events, imported) = found.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(Json(HistoryView::new(&order, events, imported)))
}

/// What `GET /orders` may be asked, as it came.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    customer_id: Option<String>,
    channel: Option<String>,
    status: Option<String>,
    from: Option<String>,
    to: Option<String>,
    page: Option<String>,
    page_size: Option<String>,
    cursor: Option<String>,
}

/// List orders, newest first.
#[utoipa::path(
    get, path = "/api/v1/orders", tag = "orders",
    params(
        ("customer_id" = Option<String>, Query, description = "Only this customer's"),
        ("channel" = Option<String>, Query, description = "Only those that came by this channel; any case"),
        ("status" = Option<String>, Query, description = "Only those that stand here; any case; several with commas between"),
        ("from" = Option<String>, Query, description = "Only those accepted at this time or later (RFC 3339)"),
        ("to" = Option<String>, Query, description = "Only those accepted before this time (RFC 3339)"),
        ("page" = Option<i64>, Query, description = "1, 2, ... up to 10000"),
        ("page_size" = Option<i64>, Query, description = "1 to 100; 20 where it is left out"),
        ("cursor" = Option<String>, Query, description = "The last answer's next_cursor: what follows it, as quick at any depth; not together with page"),
    ),
    responses(
        (status = 200, description = "One page", body = OrderPage),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list_orders(
    State(state): State<AppState>,
    Caller(caller): Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<OrderPage>, ApiError> {
    let Query(query) = query.map_err(|_| {
        ApiError::invalid_one("query", "invalid", "each parameter may be given once, as text")
    })?;
    let List { mut filter, start, page, page_size } = List::parse(query)?;
    if let Actor::Customer(id) = caller {
        // A customer sees orders of their own, whatever else is asked.
        if filter.customer_id.get_or_insert_with(|| id.clone()) != &id {
            return Err(ApiError::forbidden("only the restaurant may list the orders of others"));
        }
    }
    let Page { mut orders, total } = shown(state, move |conn| {
        let filter = filter.clone();
        // One more than asked tells whether there is a next page.
        Box::pin(async move { list::page(conn, &filter, start, page_size + 1).await })
    })
    .await?;
    let more = orders.len() as i64 > page_size;
    orders.truncate(usize::try_from(page_size).unwrap_or(0));
    let next_cursor = orders.last().filter(|_| more).map(|last| last.id.to_string());
    let orders = orders.into_iter().map(OrderView::in_list).collect();
    Ok(Json(OrderPage { orders, total, page, page_size, next_cursor }))
}

/// What is to be listed, checked.
struct List {
    filter: Filter,
    start: PageStart,
    page: i64,
    page_size: i64,
}

impl List {
    fn parse(query: ListQuery) -> Result<Self, ApiError> {
        let mut problems = Vec::new();
        let mut problem = |attr: &str, code, detail: String| {
            problems.push(Problem { code, detail, attr: attr.to_owned() });
        };
        if let Some((code, detail)) =
            query.customer_id.as_deref().and_then(|id| text_problem(id, MAX_ID_CHARS))
        {
            problem("customer_id", code, detail);
        }
        let channel = query.channel.as_deref().map(ChannelName::parse).transpose();
        let channel = channel.unwrap_or_else(|(code, detail)| {
            problem("channel", code, detail);
            None
        });
        let mut statuses = Vec::new();
        for name in query.status.as_deref().map(|text| text.split(',')).into_iter().flatten() {
            match OrderStatus::parse(name.trim()) {
                Some(status) => statuses.push(status),
                None => {
                    let known: Vec<&str> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
                    problem("status", "unknown_status", format!("must be one of {}", known.join(", ")));
                    break;
                }
            }
        }
        let mut time = |attr: &str, text: Option<&str>| {
            let time = text.map(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
            if time == Some(None) {
                let detail = "must be a time such as 2026-01-31T18:00:00Z";
                problem(attr, "no_time", detail.to_owned());
            }
            time.flatten()
        };
        let (from, to) = (time("from", query.from.as_deref()), time("to", query.to.as_deref()));
        let mut number = |attr: &str, text: Option<&str>, default: i64, max: i64| {
            let number =
                text.map_or(Some(default), |text| text.parse().ok()).filter(|n| (1..=max).contains(n));
            number.unwrap_or_else(|| {
                problem(attr, "out_of_range", format!("must be a number from 1 to {max}"));
                default
            })
        };
        let page = number("page", query.page.as_deref(), 1, MAX_PAGE);
        let page_size = number("page_size", query.page_size.as_deref(), PAGE_SIZE, MAX_PAGE_SIZE);
        let cursor = query.cursor.as_deref().map(|cursor| Uuid::try_parse(cursor).ok());
        if cursor == Some(None) {
            problem("cursor", "invalid", "must be the next_cursor of an earlier answer".to_owned());
        } else if cursor.is_some() && query.page.is_some() {
            problem("page", "conflict", "cannot be given together with cursor".to_owned());
        }
        if !problems.is_empty() {
            return Err(ApiError::invalid(problems));
        }
        let start = cursor.flatten().map_or(PageStart::Offset((page - 1) * page_size), PageStart::After);
        let filter = Filter { customer_id: query.customer_id, channel, statuses, from, to };
        Ok(Self { filter, start, page, page_size })
    }
}

/// An id that is no UUID names no order.
pub(crate) fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found("order"))
}

/// Reads what decides something, at the primary; to its end even if the client hangs up meanwhile, like all reads here.
pub(crate) async fn decisive<T: Send + 'static>(
    state: AppState,
    work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
) -> Result<T, ApiError> {
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        work(&mut conn).await
    })
    .await
}

/// Reads what is only shown: it may be as old as the replica is.
async fn shown<T: Send + 'static>(
    state: AppState,
    work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + Sync + 'static,
) -> Result<T, ApiError> {
    to_the_end(async move { state.reads.show(work).await }).await
}

/// Reads one thing, which may have come to be a moment ago.
async fn found<T: Send + 'static>(
    state: AppState,
    work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<Option<T>>> + Send + Sync + 'static,
) -> Result<Option<T>, ApiError> {
    to_the_end(async move { state.reads.find(work).await }).await
}
