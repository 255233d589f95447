//! account: what `/auth`, `/users` and `/service-tokens` have in common: the embedded issuer, who somebody is there, and how
//! they come to be.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::location::is_id;
use domain::person::Role;
use serde::Serialize;
use store::accounts::users::{self, Changed, NewUser, User};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Identity;
use super::embedded::Embedded;
use super::passwords::{self, Busy};
use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::work::to_the_end;
use crate::state::AppState;

/// Longest name that somebody may want to be called by.
const MAX_NAME: usize = 200;
/// Longest e-mail address (RFC 5321, 4.5.3.1).
pub(super) const MAX_EMAIL: usize = 254;
/// Most locations of one person.
pub(super) const MAX_LOCATIONS: usize = 100;
/// The embedded issuer, where there is one.
pub(super) fn embedded(state: &AppState) -> Result<(&Arc<Identity>, &Embedded), ApiError> {
    let identity = &state.identity;
    let found =
        identity.embedded.as_ref().ok_or_else(|| ApiError::not_found("page: people log in elsewhere"))?;
    Ok((identity, found))
}

pub(super) fn busy(_: Busy) -> ApiError {
    ApiError::too_many("many log in right now")
}

pub(super) fn fault(error: &anyhow::Error) -> ApiError {
    ApiError::internal(&format!("{error:#}"))
}

/// Somebody, as admins and they themselves see them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct UserView {
    /// Of a customer: the `customer_id` of their orders.
    pub(super) id: Uuid,
    email: String,
    name: Option<String>,
    phone: Option<String>,
    role: Role,
    /// Of staff and managers: where they may look and act.
    locations: Vec<String>,
    /// Whether they may log in.
    active: bool,
    #[serde(with = "crate::http::times")]
    created_at: OffsetDateTime,
    #[serde(with = "crate::http::times")]
    updated_at: OffsetDateTime,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User { id, email, name, phone, role, locations, active, created_at, updated_at } = user;
        Self { id, email, name, phone, role, locations, active, created_at, updated_at }
    }
}

/// Makes a user out of a request. An admin may say more about them than they themselves may.
pub(super) async fn make_user(
    state: AppState,
    mut fields: Fields,
    by_admin: bool,
) -> Result<Response, ApiError> {
    embedded(&state)?;
    let email = e_mail(&mut fields);
    let name = fields.optional_text("name", MAX_NAME);
    let phone = phone(&mut fields);
    let password = new_password(&mut fields, "password", &[email.as_deref(), name.as_deref()]);
    let (role, locations) =
        if by_admin { (role(&mut fields), locations(&mut fields)) } else { Default::default() };
    let (role, locations) = (role.unwrap_or(Role::Customer), locations.unwrap_or_default());
    fields.finish()?;
    let (email, password) = (email.unwrap_or_default(), password.unwrap_or_default());
    to_the_end(async move {
        let (_, embedded) = embedded(&state)?;
        let hash = embedded.passwords.hash(password).await;
        let password_hash = hash.map_err(|error| fault(&error))?.map_err(busy)?;
        let new = NewUser { id: Uuid::now_v7(), email, name, phone, role, locations, password_hash };
        let mut session = embedded.session.lock().await;
        match session.run(&new, |conn, new| Box::pin(users::insert(conn, new))).await? {
            Changed::Done(user) => Ok((StatusCode::CREATED, Json(UserView::from(user))).into_response()),
            other => Err(refused(&other)),
        }
    })
    .await
}

pub(super) fn new_password(fields: &mut Fields, name: &str, about: &[Option<&str>]) -> Option<String> {
    let password = fields.secret(name)?;
    let about: Vec<&str> = about.iter().copied().flatten().collect();
    match passwords::problem(&password, &about) {
        None => Some(password),
        Some((code, detail)) => {
            fields.add(name, code, detail);
            None
        }
    }
}

/// An e-mail address that must be there, in lower case.
pub(super) fn e_mail(fields: &mut Fields) -> Option<String> {
    let email = fields.text("email", MAX_EMAIL)?;
    // Letters of other scripts, and those that cannot be seen, make two addresses look like one.
    let label = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let good = email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_graphic())
            && host.contains('.')
            && host.split('.').all(label)
    });
    if !good {
        fields.add("email", "no_email", "must be an e-mail address such as maria@example.com");
        return None;
    }
    Some(email.to_ascii_lowercase())
}

/// A telephone number that may be left out: a + and digits.
pub(super) fn phone(fields: &mut Fields) -> Option<String> {
    let text = fields.optional_text("phone", 40)?;
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let number = digits.strip_prefix('+').unwrap_or("");
    if !(6..=15).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
        fields.add("phone", "no_phone", "must be a + and 6 to 15 digits, such as +1 555 010 0123");
        return None;
    }
    Some(digits)
}

/// A person's role, where one is given.
pub(super) fn role(fields: &mut Fields) -> Option<Role> {
    let name = fields.optional_text("role", 20)?;
    let role = Role::parse(&name).filter(|role| *role != Role::Service);
    if role.is_none() {
        fields.add("role", "unknown_role", "must be customer, staff, manager or admin");
    }
    role
}

/// A person's locations, where they are given.
pub(super) fn locations(fields: &mut Fields) -> Option<Vec<String>> {
    let mut locations = fields.texts("locations", MAX_LOCATIONS, 50)?;
    if let Some(index) = locations.iter().position(|id| !is_id(id)) {
        fields.add(&format!("locations[{index}]"), "unknown_location", "must be the id of a location");
    }
    locations.sort_unstable();
    locations.dedup();
    Some(locations)
}

/// Why a change was not made.
pub(super) fn refused(changed: &Changed) -> ApiError {
    match changed {
        Changed::EmailTaken => ApiError::taken("email", "email_taken", "somebody has this e-mail address"),
        Changed::PhoneTaken => ApiError::taken("phone", "phone_taken", "somebody has this telephone number"),
        Changed::LastAdmin => ApiError::taken("role", "last_admin", "they are the last active admin"),
        Changed::NotFound => ApiError::not_found("user"),
        Changed::Done(_) => ApiError::internal(&"done is no refusal"),
    }
}
