//! Who sees to webhooks: managers, each to those that hear of their own locations alone; admins to all.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::location::MAIN;
use domain::person::Role;
use store::webhooks::Webhook;

use crate::http::error::ApiError;
use crate::identity::Principal;
use crate::identity::caller::Known;
use crate::state::AppState;

/// Whoever does.
#[derive(Debug, Clone)]
pub(crate) struct Overseer(Arc<Principal>);

impl Overseer {
    /// As they are written down.
    pub(super) fn name(&self) -> &str {
        &self.0.id
    }

    /// Where they see to things; empty: everywhere.
    pub(super) fn all_locations(&self) -> Vec<String> {
        match &*self.0.locations {
            _ if self.0.role.includes(Role::Admin) => Vec::new(),
            [] => vec![MAIN.to_owned()],
            named => named.to_vec(),
        }
    }

    /// Whether all of these are theirs; none in particular are everybody's.
    pub(super) fn has_all(&self, locations: &[String]) -> bool {
        let theirs = self.all_locations();
        theirs.is_empty() || (!locations.is_empty() && locations.iter().all(|one| theirs.contains(one)))
    }

    /// Whether it is theirs to see to: a channel's platform is to those who set channels, at the first location.
    pub(super) fn oversees(&self, webhook: &Webhook) -> bool {
        match webhook.platform {
            Some(_) => self.has_all(&[MAIN.to_owned()]),
            None => self.has_all(&webhook.locations),
        }
    }
}

impl FromRequestParts<AppState> for Overseer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(by) = Known::from_request_parts(parts, state).await?;
        if by.role.includes(Role::Manager) {
            Ok(Self(by))
        } else {
            Err(ApiError::forbidden("only managers may do this"))
        }
    }
}
