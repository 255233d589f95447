//! `/locations`: what holds at each of them. Admins open new ones; what holds at a location its managers say; its people may look.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::location::{ACCEPT_SECONDS, LEAD_MINUTES, LEADS, Location, is_id};
use domain::money::currency_of;
use serde::Serialize;
use store::locations::{self, Known, Set};
use time::OffsetDateTime;

use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults, ManagersOnly, StaffOnly};
use crate::identity::caller::{Admin, Keeper, Staff};
use crate::orders::read::decisive;
use crate::state::AppState;

/// Longest name, and longest name of a time zone.
const MAX_NAME: usize = 200;

/// Where food is made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LocationView {
    /// As orders and people name it.
    #[schema(example = "soho")]
    id: String,
    /// For people.
    #[schema(example = "Soho")]
    name: String,
    /// As IANA has it.
    #[schema(example = "Europe/London")]
    time_zone: String,
    /// ISO 4217 code of its orders that name none.
    #[schema(example = "GBP")]
    currency: &'static str,
    /// How long its kitchen has to take an order; null: as long as the service's setting says.
    accept_deadline_seconds: Option<u64>,
    /// How long before it is wanted an order for later is charged and put before the kitchen.
    lead_minutes: u64,
    /// It takes no new orders.
    closed: bool,
    /// When that was last set.
    #[serde(with = "crate::http::times")]
    updated_at: OffsetDateTime,
    /// By whom.
    updated_by: String,
}

impl From<Known> for LocationView {
    fn from(Known { location, closed, updated_at, updated_by }: Known) -> Self {
        let Location { id, name, time_zone, currency, accept_in, lead } = location;
        Self {
            id,
            name,
            time_zone,
            currency: currency.code(),
            accept_deadline_seconds: accept_in.map(|accept_in| accept_in.as_secs()),
            lead_minutes: lead.as_secs() / 60,
            closed,
            updated_at,
            updated_by,
        }
    }
}

/// All of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LocationList {
    /// By their ids.
    locations: Vec<LocationView>,
}

/// List all locations, closed ones among them.
#[utoipa::path(
    get, path = "/api/v1/locations", tag = "locations", operation_id = "list_locations",
    responses((status = 200, description = "All of them", body = LocationList), StaffOnly, Faults),
    security(("token" = []))
)]
pub(crate) async fn list(State(state): State<AppState>, _: Staff) -> Result<Json<LocationList>, ApiError> {
    let all = decisive(state, |conn| Box::pin(locations::all(conn))).await?;
    Ok(Json(LocationList { locations: all.into_iter().map(LocationView::from).collect() }))
}

/// Read a location.
#[utoipa::path(
    get, path = "/api/v1/locations/{location}", tag = "locations", operation_id = "read_location",
    params(("location" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "What holds there", body = LocationView),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        StaffOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    _: Staff,
    Path(id): Path<String>,
) -> Result<Json<LocationView>, ApiError> {
    let id = named(id)?;
    let found =
        decisive(state, move |conn| Box::pin(async move { locations::find(conn, &id).await })).await?;
    found.map(|known| Json(known.into())).ok_or_else(|| ApiError::not_found("location"))
}

/// Open a location.
///
/// It takes orders at once at the service that answers, and within two seconds at every other.
#[utoipa::path(
    post, path = "/api/v1/locations", tag = "locations", operation_id = "open_location",
    request_body = NewLocationBody,
    responses(
        (status = 201, description = "Open", body = LocationView),
        (status = 409, description = "`location_taken`: there is one of this id, perhaps a closed one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known. What its schema cannot say: there is no such time zone (`unknown_time_zone`) or currency (`unknown_currency`)", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or not good", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Only admins may do this", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn open(
    State(state): State<AppState>,
    Admin(by): Admin,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let id = fields.text("id", MAX_NAME).unwrap_or_default();
    if !id.is_empty() && !is_id(&id) {
        fields.add("id", "invalid", "must be 1 to 50 of a to z, 0 to 9, - and _");
    }
    let location = parse(id, fields)?;
    let by = format!("staff:{}", by.id);
    let set = decisive(state.clone(), move |conn| {
        Box::pin(async move { locations::insert(conn, &location, &by).await })
    });
    let known = done(set.await?)?;
    state.places.anew().await?;
    Ok((StatusCode::CREATED, Json(LocationView::from(known))).into_response())
}

/// Set what holds at a location, as a whole.
///
/// It holds for the orders that come in from then on. One that was closed is open again.
#[utoipa::path(
    put, path = "/api/v1/locations/{location}", tag = "locations", operation_id = "set_location",
    params(("location" = String, Path, description = "Its id")),
    request_body = LocationBody,
    responses(
        (status = 200, description = "Set", body = LocationView),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known. What its schema cannot say: there is no such time zone (`unknown_time_zone`) or currency (`unknown_currency`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn set(
    State(state): State<AppState>,
    keeper: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LocationView>, ApiError> {
    let id = named(id)?;
    keeper.expect_at(&id)?;
    let location = parse(id, Fields::of(&headers, body, &state.room).await?)?;
    let by = keeper.name();
    let set = decisive(state.clone(), move |conn| {
        Box::pin(async move { locations::replace(conn, &location, &by).await })
    });
    let known = done(set.await?)?;
    state.places.anew().await?;
    Ok(Json(known.into()))
}

/// Close a location: it takes no new orders. Those that it has go on.
#[utoipa::path(
    delete, path = "/api/v1/locations/{location}", tag = "locations", operation_id = "close_location",
    params(("location" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "Closed"),
        (status = 404, description = "There is no such location", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`main_stays`: whatever names no location belongs to `main`", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn close(
    State(state): State<AppState>,
    keeper: Keeper,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = named(id)?;
    keeper.expect_at(&id)?;
    if id == domain::location::MAIN {
        let why = "whatever names no location belongs to it";
        return Err(ApiError::taken("location", "main_stays", why));
    }
    let by = keeper.name();
    let closed =
        decisive(state.clone(), move |conn| Box::pin(async move { locations::close(conn, &id, &by).await }));
    if !closed.await? {
        return Err(ApiError::not_found("location"));
    }
    state.places.anew().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What cannot be an id names no location.
fn named(id: String) -> Result<String, ApiError> {
    if is_id(&id) { Ok(id) } else { Err(ApiError::not_found("location")) }
}

fn done(set: Set) -> Result<Known, ApiError> {
    match set {
        Set::Done(known) => Ok(known),
        Set::Taken => {
            Err(ApiError::taken("id", "location_taken", "there is one of this id, perhaps a closed one"))
        }
        Set::NotFound => Err(ApiError::not_found("location")),
        Set::UnknownTimeZone => {
            let wanted = "must be a time zone as IANA has it, such as Europe/London";
            Err(ApiError::invalid_one("time_zone", "unknown_time_zone", wanted))
        }
    }
}

/// `{name, time_zone, currency, accept_deadline_seconds?, lead_minutes?}`
fn parse(id: String, mut fields: Fields) -> Result<Location, ApiError> {
    let name = fields.text("name", MAX_NAME);
    let time_zone = fields.text("time_zone", MAX_NAME);
    let currency = fields.text("currency", MAX_NAME).and_then(|code| {
        let known = currency_of(&code.to_uppercase());
        if known.is_none() {
            let wanted = "must be the ISO 4217 code of money that one can pay with";
            fields.add("currency", "unknown_currency", wanted);
        }
        known
    });
    let accept = fields.number("accept_deadline_seconds", ACCEPT_SECONDS);
    let lead = fields.number("lead_minutes", LEADS).unwrap_or(LEAD_MINUTES);
    fields.finish()?;
    let (Some(name), Some(time_zone), Some(currency)) = (name, time_zone, currency) else {
        return Err(ApiError::internal(&"a field is missing, and nobody said so"));
    };
    let seconds = |number: i64| std::time::Duration::from_secs(number.unsigned_abs());
    Ok(Location { id, name, time_zone, currency, accept_in: accept.map(seconds), lead: seconds(lead * 60) })
}

/// What holds at a location.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct LocationBody {
    /// For people.
    #[schema(example = "Soho", min_length = 1, max_length = 200)]
    name: String,
    /// As IANA has it.
    #[schema(example = "Europe/London", pattern = r"^[A-Z][A-Za-z0-9_+/-]*$")]
    time_zone: String,
    /// ISO 4217 code of its orders that name none.
    #[schema(example = "GBP")]
    currency: String,
    /// How long its kitchen has to take an order; where it is left out, as long as the service's setting says.
    #[schema(minimum = 1, maximum = 86400)]
    accept_deadline_seconds: Option<i64>,
    /// How long before it is wanted an order for later is charged and put before the kitchen. The default is 30.
    #[schema(minimum = 0, maximum = 10080)]
    lead_minutes: Option<i64>,
}

/// A location that is to be there.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in openapi.json")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLocationBody {
    /// As orders and people will name it.
    #[schema(example = "soho", pattern = "^[a-z0-9_-]{1,50}$")]
    id: String,
    /// For people.
    #[schema(example = "Soho", min_length = 1, max_length = 200)]
    name: String,
    /// As IANA has it.
    #[schema(example = "Europe/London", pattern = r"^[A-Z][A-Za-z0-9_+/-]*$")]
    time_zone: String,
    /// ISO 4217 code of its orders that name none.
    #[schema(example = "GBP")]
    currency: String,
    /// How long its kitchen has to take an order; where it is left out, as long as the service's setting says.
    #[schema(minimum = 1, maximum = 86400)]
    accept_deadline_seconds: Option<i64>,
    /// How long before it is wanted an order for later is charged and put before the kitchen. The default is 30.
    #[schema(minimum = 0, maximum = 10080)]
    lead_minutes: Option<i64>,
}
