//! `GET /events`: what has happened, in batches that miss nothing and repeat nothing, as `CloudEvents`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::problems::Problem;
use domain::told::{Told, Wanted};
use serde::Deserialize;
use tokio::time::Instant;

use super::cursor;
use super::onlooker::Onlooker;
use super::pages::{self, Found, From, Question};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, TokenNeeded};
use crate::orders::read::misread;
use crate::state::AppState;

/// Events in an answer, where the client says nothing, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;
/// How long a client may wait for something to happen, in seconds: shorter than proxies keep a request that is silent.
const MAX_WAIT: u64 = 30;
/// Where the next batch begins.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("next-cursor");

/// What may be asked, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Where to begin: the last answer's `Next-Cursor`, or an event's `cursor`; `earliest`, which is the default; `latest`; or a time
    /// (RFC 3339)
    after: Option<String>,
    /// Only these types, or those below them (`order.moved`), with commas between
    types: Option<String>,
    /// Seconds to wait while there is nothing, 0 to 30; 0 where it is left out
    #[param(value_type = Option<i64>, minimum = 0, maximum = 30)]
    wait: Option<String>,
    /// Events in the answer at most, 1 to 500; 100 where it is left out
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

type Queried = Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>;

/// Follow what happens.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(EventsQuery),
    responses(
        (status = 200, description = "What happened, each order's changes by their versions; empty where there is nothing (yet)", body = [Told], content_type = "application/cloudevents-batch+json", headers(
            ("Next-Cursor" = String, description = "Pass it as `after` to read on"),
            ("Link" = String, description = "The same as an address, `rel=\"next\"`"),
        )),
        (status = 410, description = "`cursor_gone`: what follows this cursor is no longer kept, or the database was restored to an earlier time. `earliest_cursor` is where one can begin again", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not known or not valid: `after` is nothing of that kind (`invalid`), or nothing of that type happens (`unknown_type`)", body = ProblemBody, content_type = "application/problem+json"),
        TokenNeeded, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    by: Onlooker,
    query: Queried,
) -> Result<Response, ApiError> {
    let Asked { question, mut from, wait } = Asked::parse(query, by)?;
    let question = Arc::new(question);
    if wait.is_zero() {
        return Ok(answer(pages::find(&state, Arc::clone(&question), from).await?, &question));
    }
    let _place = state.hub.place(None)?;
    // Before the first look: what is noted after it is news.
    let mut ticks = state.hub.ticks();
    let deadline = Instant::now() + wait;
    loop {
        ticks.borrow_and_update();
        let found = pages::find(&state, Arc::clone(&question), from).await?;
        if !found.events.is_empty() {
            return Ok(answer(found, &question));
        }
        from = From::Cursor(found.next);
        if found.at_the_end {
            tokio::select! {
                _ = ticks.changed() => continue,
                () = tokio::time::sleep_until(deadline) => {}
                () = state.stop.stopped() => {}
            }
        } else if Instant::now() < deadline {
            continue;
        }
        return Ok(answer(found, &question));
    }
}

/// What is asked, checked.
struct Asked {
    question: Question,
    from: From,
    wait: Duration,
}

impl Asked {
    fn parse(query: Queried, by: Onlooker) -> Result<Self, ApiError> {
        let Query(query) = query.map_err(|refused| misread(&refused.body_text()))?;
        let mut problems = Vec::new();
        let mut problem = |attr: &str, code, detail: String| {
            problems.push(Problem { code, detail, attr: attr.to_owned() });
        };
        let from = query.after.as_deref().map_or(Some(From::Earliest), From::parse);
        if from.is_none() {
            let detail = "must be a cursor of an earlier answer, `earliest`, `latest`, or a time";
            problem("after", "invalid", detail.to_owned());
        }
        let types = types(query.types.as_deref()).unwrap_or_else(|detail| {
            problem("types", "unknown_type", detail);
            Wanted::default()
        });
        let mut number = |attr: &str, text: Option<&str>, default: u64, from: u64, to: u64| {
            let number = text.map_or(Some(default), |text| text.parse().ok());
            number.filter(|number| (from..=to).contains(number)).unwrap_or_else(|| {
                problem(attr, "out_of_range", format!("must be a number from {from} to {to}"));
                default
            })
        };
        let wait = Duration::from_secs(number("wait", query.wait.as_deref(), 0, 0, MAX_WAIT));
        let limit = number("limit", query.limit.as_deref(), LIMIT as u64, 1, MAX_LIMIT as u64);
        let limit = usize::try_from(limit).unwrap_or(LIMIT);
        match from {
            Some(from) if problems.is_empty() => {
                Ok(Self { question: Question { by, types, limit }, from, wait })
            }
            _ => Err(ApiError::invalid(problems)),
        }
    }
}

/// The types that are named, or what is wrong with them.
pub(super) fn types(text: Option<&str>) -> Result<Wanted, String> {
    let names = text.into_iter().flat_map(|text| text.split(','));
    Wanted::parse(names.map(str::trim)).map_err(|_| {
        let known: Vec<&str> = domain::told::types().collect();
        format!("must be of {}, or what one of them begins with up to a point", known.join(", "))
    })
}

fn answer(found: Found, question: &Question) -> Response {
    let next = cursor::write(&found.next);
    let mut link = format!("</api/v1/events?after={next}&limit={}", question.limit);
    if !question.types.names().is_empty() {
        // Letters, points and lines: nothing that an address would have to be told otherwise.
        let _ = write!(link, "&types={}", question.types.names().join(","));
    }
    link += ">; rel=\"next\"";
    let mut response = Json(found.events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents-batch+json"));
    headers.extend(HeaderValue::try_from(next).map(|next| (NEXT_CURSOR, next)));
    headers.extend(HeaderValue::try_from(link).map(|link| (header::LINK, link)));
    response
}
