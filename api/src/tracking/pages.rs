//! Reads the feed for somebody: what is their business and what they asked for, each with the cursor behind it.

use std::collections::HashMap;
use std::sync::Arc;

use domain::event::Event;
use domain::told::{About, Told, Wanted};
use sqlx::PgConnection;
use store::feed::{self, Cursor, Read, Start};
use store::told;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cursor;
use super::onlooker::Onlooker;
use crate::http::error::ApiError;
use crate::http::work::to_the_end;
use crate::state::AppState;

/// Rows read at once.
const PAGE: u32 = 256;
/// Pages read for one answer, where few of the events are wanted: some tens of milliseconds. Its cursor says how far it came.
const PAGES: usize = 16;

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// With the earliest event that is kept.
    Earliest,
    /// With what happens from now on.
    Latest,
    /// With what happened since, and a little before.
    At(OffsetDateTime),
    /// Behind this place.
    Cursor(Cursor),
}

impl From {
    /// As a parameter has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            text => {
                cursor::read(text).map(Self::Cursor).or_else(|| domain::moment::parse(text).map(Self::At))
            }
        }
    }
}

/// What somebody wants to be told.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) by: Onlooker,
    pub(super) types: Wanted,
    /// At most so many events.
    pub(super) limit: usize,
}

/// What there is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) events: Vec<Told>,
    /// Behind all that was looked at.
    pub(super) next: Cursor,
    /// There is nothing more right now.
    pub(super) at_the_end: bool,
}

/// What there is behind `from`.
pub(super) async fn find(state: &AppState, question: Arc<Question>, from: From) -> Result<Found, ApiError> {
    let reads = Arc::clone(&state.reads);
    let found = to_the_end(async move {
        let mut conn = reads.deciding().await?;
        let cursor = begin(&mut conn, from).await?;
        look(&mut conn, &question, cursor).await
    });
    found.await?.map_err(|earliest| ApiError::cursor_gone(cursor::write(&earliest)))
}

async fn begin(conn: &mut PgConnection, from: From) -> sqlx::Result<Cursor> {
    let start = match from {
        From::Cursor(cursor) => return Ok(cursor),
        From::Earliest => Start::Earliest,
        From::Latest => Start::Latest,
        From::At(time) => Start::At(time),
    };
    feed::start(conn, start).await
}

/// `Err`: the cursor is gone, and this is the earliest one that is left.
async fn look(
    conn: &mut PgConnection,
    question: &Question,
    mut next: Cursor,
) -> sqlx::Result<Result<Found, Cursor>> {
    let mut found = Vec::new();
    for _ in 0..PAGES {
        match feed::read(conn, &next, PAGE).await? {
            Read::Gone { earliest } => return Ok(Err(earliest)),
            Read::UpToDate => return Ok(Ok(Found { events: found, next, at_the_end: true })),
            Read::Page { events, next: behind } => {
                next = behind;
                let mut told = chosen(conn, question, events, behind).await?;
                let room = question.limit - found.len();
                if told.len() > room {
                    told.truncate(room);
                    next = told.last().map_or(next, |(_, place)| *place);
                }
                found.extend(told.into_iter().map(|(told, _)| told));
                if found.len() == question.limit {
                    break;
                }
            }
        }
    }
    Ok(Ok(Found { events: found, next, at_the_end: false }))
}

/// Of a page those that are wanted, each with its cursor.
async fn chosen(
    conn: &mut PgConnection,
    question: &Question,
    mut events: Vec<Event>,
    behind: Cursor,
) -> sqlx::Result<Vec<(Told, Cursor)>> {
    events.retain(|event| question.types.has(domain::told::type_of(event.what, event.to)));
    let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
    orders.dedup();
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let about: HashMap<Uuid, About> = told::about(conn, &orders).await?;
    let told = events.iter().filter_map(|event| {
        let about = about.get(&event.subject).filter(|about| question.by.may_see(about))?;
        let place = behind.behind(event);
        Some((Told { cursor: Some(cursor::write(&place)), ..Told::new(event, about) }, place))
    });
    Ok(told.collect())
}
