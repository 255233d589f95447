//! `GET /orders`, `GET /orders/{id}` and its history. Every read runs to its end whatever the client does.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use domain::channel::name::ChannelName;
use domain::limits::MAX_ID_CHARS;
use domain::location::{MAIN, is_id};
use domain::moment;
use domain::order::details::Fulfilment;
use domain::order::moves::Actor;
use domain::order::status::OrderStatus;
use domain::problems::{Problem, text_problem, too_long, trimmed};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use sqlx::PgConnection;
use store::events;
use store::list::{self, Counted, Filter, MAX_COUNTED, Page, PageStart};
use store::read;
use uuid::Uuid;

use crate::http::error::{ApiError, ProblemBody};
use crate::http::parameters::OrderId;
use crate::http::problems::{Faults, NoOrder, TokenNeeded};
use crate::http::tag::IfNoneMatch;
use crate::http::work::to_the_end;
use crate::identity::caller::{Anyone, Caller, Known};
use crate::orders::history::HistoryView;
use crate::orders::view::{OrderPage, OrderView};
use crate::state::AppState;

/// Orders on a page where the client says nothing.
pub(crate) const PAGE_SIZE: usize = 20;
/// Most orders on a page.
pub(crate) const MAX_PAGE_SIZE: usize = 100;

/// Read an order.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}", tag = "orders",
    params(
        OrderId,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` of this order: where nothing that is shown has changed, the answer is 304"),
    ),
    responses(
        (status = 200, description = "The order with its payment attempts", body = OrderView, headers(
            ("ETag" = String, description = "Names the order's version, for `If-Match`, and all that is shown"),
        )),
        (status = 304, description = "As `If-None-Match` says"),
        NoOrder, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read_order(
    State(state): State<AppState>,
    Anyone(caller): Anyone,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let payment_deadline = state.payment_deadline;
    let found = found(state, move |conn| Box::pin(read::whole(conn, id))).await?;
    let whole = found.filter(|whole| caller.may_see(&whole.order.customer_id, whole.order.location()));
    let whole = whole.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(known.or(OrderView::whole(whole, payment_deadline).shown_to(&caller).tagged()))
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
            let events = events::history(conn, id).await?;
            let names = read::references(conn, &order, &events).await?;
            Ok(Some((order, events, names, imported)))
        })
    })
    .await?;
    let found = found.filter(|(order, ..)| caller.may_see(&order.customer_id, order.location()));
    let (order, events, names, imported) = found.ok_or_else(|| ApiError::not_found("order"))?;
    Ok(Json(HistoryView::new(&order, events, names, imported)))
}

/// What a list may be asked, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only this customer's
    customer_id: Option<String>,
    /// Only those that came by this channel; any case
    channel: Option<String>,
    /// Only those of this location
    #[param(pattern = "^[a-z0-9_-]{1,50}$")]
    location: Option<String>,
    /// Only those that stand here; any case; several with commas between
    status: Option<String>,
    /// Only those accepted at this time or later (RFC 3339)
    #[param(value_type = Option<OffsetDateTime>)]
    from: Option<String>,
    /// Only those accepted before this time (RFC 3339)
    #[param(value_type = Option<OffsetDateTime>)]
    to: Option<String>,
    /// Only those that are handed over so; any case
    #[param(value_type = Option<Fulfilment>)]
    fulfilment: Option<String>,
    /// Only those that have changed at this time or later (RFC 3339). Whoever asks again and again names a time some seconds before their
    /// last look
    #[param(value_type = Option<OffsetDateTime>)]
    updated_from: Option<String>,
    /// 1, 2, ... with up to 10,000 orders in all; what follows them is reached by `cursor`
    #[param(value_type = Option<i64>, minimum = 1, maximum = 10_000)]
    page: Option<String>,
    /// 1 to 100; 20 where it is left out
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
    page_size: Option<String>,
    /// The last answer's `next_cursor`: what follows it, as quick at any depth; not together with `page`
    #[param(value_type = Option<Uuid>)]
    cursor: Option<String>,
}

type Queried = Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>;

/// List orders, newest first.
#[utoipa::path(
    get, path = "/api/v1/orders", tag = "orders",
    params(ListQuery),
    responses(
        (status = 200, description = "One page", body = OrderPage),
        (status = 422, description = "A parameter is not valid (`invisible_character`), or the page is `too_deep`, or `page` and `cursor` are both there (`conflict`)", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list_orders(
    State(state): State<AppState>,
    Caller(caller): Caller,
    query: Queried,
) -> Result<Json<OrderPage>, ApiError> {
    let list = List::parse(query)?;
    let list = match &caller {
        Actor::Customer(id) => list.of(id.clone())?,
        by => list.at(by, state.places.now().await?.only_main)?,
    };
    list.answer(state, &caller).await
}

/// List the caller's own orders, newest first.
#[utoipa::path(
    get, path = "/api/v1/orders/me", tag = "orders",
    params(ListQuery),
    responses(
        (status = 200, description = "One page", body = OrderPage),
        (status = 422, description = "A parameter is not valid (`invisible_character`), or the page is `too_deep`, or `page` and `cursor` are both there (`conflict`)", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn list_own_orders(
    State(state): State<AppState>,
    Known(principal): Known,
    query: Queried,
) -> Result<Json<OrderPage>, ApiError> {
    let own = Actor::Customer(principal.id.clone());
    List::parse(query)?.of(principal.id.clone())?.answer(state, &own).await
}

/// What is to be listed, checked.
struct List {
    filter: Filter,
    start: PageStart,
    page: usize,
    page_size: usize,
}

impl List {
    fn parse(query: Queried) -> Result<Self, ApiError> {
        let Query(query) = query.map_err(|refused| misread(&refused.body_text()))?;
        let mut problems = Vec::new();
        let mut problem = |attr: &str, code, detail: String| {
            problems.push(Problem { code, detail, attr: attr.to_owned() });
        };
        let wrong = |id: &str| too_long(id, MAX_ID_CHARS).or_else(|| text_problem(id.trim(), MAX_ID_CHARS));
        if let Some((code, detail)) = query.customer_id.as_deref().and_then(wrong) {
            problem("customer_id", code, detail);
        }
        let channel = query.channel.as_deref().map(ChannelName::parse).transpose();
        let channel = channel.unwrap_or_else(|(code, detail)| {
            problem("channel", code, detail);
            None
        });
        let locations: Vec<String> = query.location.into_iter().collect();
        if !locations.iter().all(|id| is_id(id)) {
            problem("location", "unknown_location", "must be the id of a location".to_owned());
        }
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
            let time = text.map(|text| moment::parse(text).ok_or(text));
            if let Some(Err(text)) = time {
                problem(attr, "no_time", no_time(text));
            }
            time.and_then(Result::ok)
        };
        let (from, to) = (time("from", query.from.as_deref()), time("to", query.to.as_deref()));
        let updated_from = time("updated_from", query.updated_from.as_deref());
        let fulfilment = query.fulfilment.as_deref().map(Fulfilment::parse);
        if fulfilment == Some(None) {
            let wanted = "must be delivery, pickup or dine_in";
            problem("fulfilment", "unknown_fulfilment", wanted.to_owned());
        }
        let mut number = |attr: &str, text: Option<&str>, default: usize, max: usize| {
            let number =
                text.map_or(Some(default), |text| text.parse().ok()).filter(|n| (1..=max).contains(n));
            number.unwrap_or_else(|| {
                problem(attr, "out_of_range", format!("must be a number from 1 to {max}"));
                default
            })
        };
        let page_size = number("page_size", query.page_size.as_deref(), PAGE_SIZE, MAX_PAGE_SIZE);
        let page = number("page", query.page.as_deref(), 1, usize::MAX);
        if page.saturating_mul(page_size) > MAX_COUNTED.max(page_size) {
            let detail = format!(
                "pages have numbers for the first {MAX_COUNTED} orders; pass the next_cursor of the page before as cursor, \
                 which has no depth"
            );
            problem("page", "too_deep", detail);
        }
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
        let filter = Filter {
            customer_id: query.customer_id.map(trimmed),
            channel,
            locations,
            statuses,
            from,
            to,
            fulfilment: fulfilment.flatten(),
            updated_from,
        };
        Ok(Self { filter, start, page, page_size })
    }

    /// Only this customer's, whatever else is asked.
    fn of(mut self, id: String) -> Result<Self, ApiError> {
        if self.filter.customer_id.get_or_insert_with(|| id.clone()) != &id {
            return Err(ApiError::forbidden("only the restaurant may list the orders of others"));
        }
        Ok(self)
    }

    /// Only those of the locations that are theirs. Where there is but one in the house, all are.
    fn at(mut self, by: &Actor, only_main: bool) -> Result<Self, ApiError> {
        let Some(theirs) = by.locations() else { return Ok(self) };
        let asked = &mut self.filter.locations;
        if !asked.iter().all(|id| by.may_act_at(id)) {
            return Err(ApiError::forbidden("these are orders of another location"));
        }
        if asked.is_empty() && !(only_main && by.may_act_at(MAIN)) {
            *asked = theirs.to_vec();
        }
        Ok(self)
    }

    async fn answer(self, state: AppState, by: &Actor) -> Result<Json<OrderPage>, ApiError> {
        let Self { filter, start, page, page_size } = self;
        let listed = shown(state, move |conn| {
            let filter = filter.clone();
            Box::pin(async move { list::page(conn, &filter, start, page_size).await })
        });
        let Page { orders, next, total } = listed.await?;
        let orders = orders.into_iter().map(|order| OrderView::in_list(order).shown_to(by)).collect();
        let Counted { orders: total, capped: total_capped } = total;
        Ok(Json(OrderPage { orders, total, total_capped, page, page_size, next_cursor: next }))
    }
}

/// What is wrong with parameters that cannot be read: one that nobody knows is told by its name.
pub(crate) fn misread(told: &str) -> ApiError {
    match told.split_once("unknown field `").and_then(|(_, rest)| rest.split_once("`, expected")) {
        Some((name, _)) => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(50).collect();
            ApiError::invalid_one(&shown, "unknown_field", "is not known here")
        }
        None => ApiError::invalid_one("query", "invalid", "each parameter may be given once, as text"),
    }
}

/// What is wrong with a time in a URL: mostly its offset, whose `+` means a space there.
fn no_time(text: &str) -> String {
    let wanted = "must be a time such as 2026-01-31T18:00:00Z";
    match moment::parse(&text.replace(' ', "+")) {
        None => wanted.to_owned(),
        Some(_) => {
            format!("{wanted}; the + of its offset must be written as %2B, because it means a space in a URL")
        }
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
pub(crate) async fn found<T: Send + 'static>(
    state: AppState,
    work: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<Option<T>>> + Send + Sync + 'static,
) -> Result<Option<T>, ApiError> {
    to_the_end(async move { state.reads.find(work).await }).await
}
