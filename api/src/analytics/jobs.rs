//! Where those stand who follow what happens: what they have written down themselves. While the database is away nobody knows, and
//! that is what is said (503): nothing is ever called done because nobody could look.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use store::rollups::jobs::{self, FOLLOWERS, Fault, Standing};
use time::OffsetDateTime;

use super::query::{Queried, read};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::problems::{Faults, ManagersOnly};
use crate::identity::caller::Keeper;
use crate::orders::read::decisive;
use crate::state::AppState;

/// One that is further behind is `behind`.
const BEHIND_MS: i64 = 10_000;

/// Where it stands.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// It has read everything, or is no more than ten seconds behind.
    Following,
    /// It is further behind.
    Behind,
    /// It has never begun.
    NeverBegun,
}

/// What it could not do last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct JobFault {
    /// When
    #[serde(with = "crate::http::times")]
    at: OffsetDateTime,
    /// What
    fault: String,
}

impl From<Fault> for JobFault {
    fn from(Fault { at, fault }: Fault) -> Self {
        Self { at, fault }
    }
}

/// A follower.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Job {
    /// Its name
    #[schema(example = "roll_up")]
    job_name: &'static str,
    /// Where it stands
    state: JobState,
    /// Its position: the moment of the feed behind which it stands; null: it has never begun
    position: Option<i64>,
    /// When it moved on last; while nothing happens it does not
    #[serde(with = "crate::http::times::option")]
    moved_at: Option<OffsetDateTime>,
    /// For how long what it has still to read has been there, in milliseconds; 0: it has read everything
    lag_ms: Option<i64>,
    /// How many events it could not work off, and has put aside
    aside: i64,
    /// What it could not do last, however long ago; null: nothing yet
    last_error: Option<JobFault>,
}

impl Job {
    fn new(job_name: &'static str, standing: Option<Standing>, fault: Option<Fault>, aside: i64) -> Self {
        let state = match &standing {
            None => JobState::NeverBegun,
            Some(standing) if standing.lag_ms > BEHIND_MS => JobState::Behind,
            Some(_) => JobState::Following,
        };
        Self {
            job_name,
            state,
            position: standing.as_ref().map(|standing| standing.tick),
            moved_at: standing.as_ref().map(|standing| standing.moved_at),
            lag_ms: standing.map(|standing| standing.lag_ms),
            aside,
            last_error: fault.map(JobFault::from),
        }
    }
}

/// Which, as it came.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobQuery {
    /// `mail`, `messages`, `roll_up` or `webhooks`
    #[param(value_type = String)]
    job_name: Option<String>,
}

/// Where a follower stands.
#[utoipa::path(
    get, path = "/api/v1/analytics/jobs/status", tag = "analytics", operation_id = "job_status",
    params(JobQuery),
    responses(
        (status = 200, description = "As it has written down", body = Job),
        (status = 404, description = "There is no such follower", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`job_name` is missing", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn status(
    State(state): State<AppState>,
    _: Keeper,
    query: Queried<JobQuery>,
) -> Result<Json<Job>, ApiError> {
    let name = read(query)?.job_name;
    let name = name.ok_or_else(|| ApiError::invalid_one("job_name", "required", "is required"))?;
    let name =
        FOLLOWERS.into_iter().find(|known| *known == name).ok_or_else(|| ApiError::not_found("job"))?;
    let found = decisive(state, move |conn| {
        Box::pin(async move { Ok((jobs::standing(conn, name).await?, jobs::faults(conn, name).await?)) })
    });
    let (standing, (fault, aside)) = found.await?;
    Ok(Json(Job::new(name, standing, fault, aside)))
}
