//! Streams of what happens (server-sent events): of one order, for whoever may see it; and of all, for the restaurant. Both resume
//! behind `Last-Event-ID` without a gap and without anything twice.
//!
//! Nothing waits in memory for a client that does not read: a stream reads on when its client has taken what it was told. One
//! that takes nothing for half a minute is cut (`runtime::serve`), and resumes where it was.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::Event as Frame;
use domain::event::{Event, What};
use domain::order::moves::Actor;
use domain::order::status::OrderStatus;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use store::read;
use time::OffsetDateTime;
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use super::events::types;
use super::hub::{Place, Watch};
use super::lasts::{Frames, until_the_end};
use super::onlooker::Onlooker;
use super::pages::{self, From, Question};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::parameters::OrderId;
use crate::http::problems::{Faults, NoOrder, TokenNeeded};
use crate::identity::caller::Anyone;
use crate::identity::lasting::Lasting;
use crate::orders::read::{found, misread, parse_id};
use crate::state::AppState;

/// Events read at once for a stream of all.
const AT_ONCE: usize = 100;

/// A change of an order, as whoever watches it is told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrackedEvent {
    order_id: Uuid,
    /// 1, 2, .. of the order, without a gap; the event's `id` in the stream.
    version: i32,
    /// What changed, also the event's name in the stream.
    what: What,
    /// The status before; null where the order was new or did not move.
    from: Option<OrderStatus>,
    /// The status after; null where it did not move.
    to: Option<OrderStatus>,
    #[serde(with = "crate::http::times")]
    at: OffsetDateTime,
}

impl TrackedEvent {
    fn of(event: &Event) -> Self {
        let Event { subject, version, what, from, to, at, .. } = *event;
        Self { order_id: subject, version, what, from, to, at }
    }
}

/// Where to begin, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrackQuery {
    /// The version that is known already; everything is told where it is left out
    #[param(value_type = Option<i64>, minimum = 0)]
    after: Option<String>,
}

/// Watch an order.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}/events", tag = "events",
    params(
        OrderId, TrackQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that was taken: the stream goes on behind it. Before `after`"),
    ),
    responses(
        (status = 200, description = "A stream of `TrackedEvent`, the first ones at once, each further one as it happens", body = TrackedEvent, content_type = "text/event-stream"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
        NoOrder, TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn track(
    State(state): State<AppState>,
    Anyone(caller): Anyone,
    lasting: Lasting,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Result<Query<TrackQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Frames, ApiError> {
    let id = parse_id(&id)?;
    let after = last_event_id(&headers).or_else(|| query.ok()?.0.after);
    let after = after.map_or(Some(0), |text| text.parse::<i32>().ok().filter(|version| *version >= 0));
    let after =
        after.ok_or_else(|| ApiError::invalid_one("after", "invalid", "must be a version of the order"))?;
    let order = found(Arc::clone(&state), move |conn| Box::pin(read::order(conn, id))).await?;
    order
        .filter(|order| caller.may_see(&order.customer_id, order.location()))
        .ok_or_else(|| ApiError::not_found("order"))?;
    let customer = if let Actor::Customer(id) = &caller { Some(&**id) } else { None };
    let place = state.hub.place(customer)?;
    let watch = state.hub.watch(id);
    let tracked = Tracked { watch, after, _place: place };
    let frames = stream::unfold(tracked, |mut tracked| async move {
        let frame = tracked.next().await?;
        Some((Ok(frame), tracked))
    });
    Ok(until_the_end(state.stop.clone(), lasting.ended(), frames))
}

/// One client that watches an order.
struct Tracked {
    watch: Watch,
    /// What it has been told.
    after: i32,
    _place: Place,
}

impl Tracked {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let history = Arc::clone(&self.watch.history.borrow_and_update());
            if let Some(event) = history.iter().find(|event| event.version > self.after) {
                self.after = event.version;
                let frame = Frame::default().id(event.version.to_string()).event(event.what.as_str());
                return frame.json_data(TrackedEvent::of(event)).ok();
            }
            drop(history);
            self.watch.history.changed().await.ok()?;
        }
    }
}

/// What a stream of all may be asked, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamQuery {
    /// Where to begin: an event's `cursor`, `earliest`, `latest`, which is the default, or a time (RFC 3339)
    after: Option<String>,
    /// Only these types, or those below them (`order.moved`), with commas between
    types: Option<String>,
}

/// Watch all orders.
#[utoipa::path(
    get, path = "/api/v1/orders/events", tag = "events",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that was taken: the stream goes on behind it. Before `after`"),
    ),
    responses(
        (status = 200, description = "A stream of what `GET /events` has, each as it happens; its `id` is the cursor behind it. Of a cursor that is gone meanwhile it ends, and the next answer is 410", body = domain::told::Told, content_type = "text/event-stream"),
        (status = 410, description = "`cursor_gone`, as for `GET /events`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn track_all(
    State(state): State<AppState>,
    by: Onlooker,
    lasting: Lasting,
    headers: HeaderMap,
    query: Result<Query<StreamQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Frames, ApiError> {
    let Query(query) = query.map_err(|refused| misread(&refused.body_text()))?;
    let after = last_event_id(&headers).or(query.after);
    let from = after.map_or(Some(From::Latest), |text| From::parse(&text));
    let from = from.ok_or_else(|| {
        ApiError::invalid_one("after", "invalid", "must be a cursor, `earliest`, `latest`, or a time")
    })?;
    let types = types(query.types.as_deref())
        .map_err(|detail| ApiError::invalid_one("types", "unknown_type", detail))?;
    // Of orders: their screens know nothing else, unless they ask for it.
    let question = Arc::new(Question { by, types: types.of_orders(), limit: AT_ONCE });
    let place = state.hub.place(None)?;
    let ticks = state.hub.ticks();
    let mut all =
        All { state: Arc::clone(&state), question, from, ticks, waiting: VecDeque::new(), _place: place };
    // So that a cursor that is gone is an answer, and not the end of a stream.
    all.read().await?;
    let frames = stream::unfold(all, |mut all| async move {
        let frame = all.next().await?;
        Some((Ok(frame), all))
    });
    Ok(until_the_end(state.stop.clone(), lasting.ended(), frames))
}

/// One client that watches all orders.
struct All {
    state: AppState,
    question: Arc<Question>,
    from: From,
    ticks: watch::Receiver<i64>,
    waiting: VecDeque<domain::told::Told>,
    _place: Place,
}

impl All {
    /// Reads on; `true`: there is nothing more right now.
    async fn read(&mut self) -> Result<bool, ApiError> {
        self.ticks.borrow_and_update();
        let found = pages::find(&self.state, Arc::clone(&self.question), self.from).await?;
        self.from = From::Cursor(found.next);
        self.waiting.extend(found.events);
        Ok(found.at_the_end)
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                let frame = Frame::default().id(told.cursor.clone().unwrap_or_default()).event(told.r#type);
                return frame.json_data(told).ok();
            }
            if self.read().await.ok()? && self.waiting.is_empty() {
                self.ticks.changed().await.ok()?;
            }
        }
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    (!id.is_empty()).then(|| id.to_owned())
}
