//! Who is told of everybody's orders, and of which: the restaurant and machines, each at their own locations; a machine that is
//! named for channels is told of their orders alone.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::location::MAIN;
use domain::person::Role;
use domain::told::About;

use crate::http::error::ApiError;
use crate::identity::Principal;
use crate::identity::caller::Known;
use crate::state::AppState;

/// Whoever may look on, and where.
#[derive(Debug, Clone)]
pub(crate) struct Onlooker {
    /// `None`: everywhere.
    locations: Option<Vec<String>>,
    /// `None`: whatever they came by.
    channels: Option<Vec<String>>,
}

impl Onlooker {
    fn of(by: &Principal) -> Self {
        let locations = match &*by.locations {
            _ if by.role.includes(Role::Admin) => None,
            [] => Some(vec![MAIN.to_owned()]),
            named => Some(named.to_vec()),
        };
        let channels = (by.role == Role::Service && !by.channels.is_empty()).then(|| by.channels.clone());
        Self { locations, channels }
    }

    /// Whether an order, or a product, is any business of theirs.
    pub(super) fn may_see(&self, about: &About) -> bool {
        let is_of_channel =
            |names: &Vec<String>| names.iter().any(|known| Some(known) == about.channel.as_ref());
        self.locations.as_ref().is_none_or(|locations| about.is_at(locations))
            && self.channels.as_ref().is_none_or(is_of_channel)
    }
}

impl FromRequestParts<AppState> for Onlooker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(by) = Known::from_request_parts(parts, state).await?;
        if by.role == Role::Customer {
            return Err(ApiError::forbidden(
                "only the restaurant and machines are told of everybody's orders",
            ));
        }
        Ok(Self::of(&by))
    }
}
