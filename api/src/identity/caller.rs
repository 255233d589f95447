//! Who asks. Everything that depends on who somebody is comes through here: a handler's signature says who may call it.

use std::sync::{Arc, LazyLock};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::channel::name::ChannelName;
use domain::location::MAIN;
use domain::order::moves::Actor;
use domain::person::Role;

use super::principal::OWN_MACHINE;
use super::{Identity, Principal, Unproven};
use crate::http::error::ApiError;
use crate::operations::state::Internal;
use crate::state::AppState;

/// Whoever showed a good token.
#[derive(Debug, Clone)]
pub(crate) struct Known(pub(crate) Arc<Principal>);

/// Who sees to people.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub(crate) Arc<Principal>);

impl FromRequestParts<AppState> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        expected(parts, &state.identity).await.map(Self)
    }
}

/// Who the request says it is; `None`: it does not.
pub(crate) async fn shown(parts: &Parts, identity: &Identity) -> Result<Option<Arc<Principal>>, ApiError> {
    let unknown = || identity.limits.unknown(&parts.headers, &parts.extensions);
    let Some(token) = bearer(parts)? else {
        if identity.guests {
            unknown()?;
        }
        return Ok(None);
    };
    match identity.who(token, unknown).await {
        Ok(principal) => {
            identity.limits.known(&principal)?;
            Ok(Some(principal))
        }
        Err(Unproven::TooFast(limit)) => Err(limit.into()),
        Err(Unproven::Bad(why)) => Err(ApiError::bad_token(why)),
        Err(Unproven::NoRole) => Err(ApiError::forbidden("the token names no role that is known here")),
        Err(Unproven::CannotTell) => Err(ApiError::unavailable("the token cannot be checked right now")),
    }
}

/// The same where everybody may do so without saying who they are: those are counted by their address.
pub(crate) async fn shown_or_counted(
    parts: &Parts,
    identity: &Identity,
) -> Result<Option<Arc<Principal>>, ApiError> {
    let principal = shown(parts, identity).await?;
    if principal.is_none() && !identity.guests {
        identity.limits.unknown(&parts.headers, &parts.extensions)?;
    }
    Ok(principal)
}

/// Who asks, where nobody may do so without saying who they are.
async fn expected(parts: &Parts, identity: &Identity) -> Result<Arc<Principal>, ApiError> {
    shown(parts, identity).await?.ok_or_else(ApiError::unauthenticated)
}

/// The token, where there is one.
pub(super) fn bearer(parts: &Parts) -> Result<Option<&str>, ApiError> {
    let mut shown = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(one) = shown.next() else { return Ok(None) };
    if shown.next().is_some() {
        return Err(ApiError::bad_token("there are two Authorization headers"));
    }
    let (scheme, token) = one.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(ApiError::bad_token("must be Authorization: Bearer <token>"));
    }
    Ok(Some(token))
}

impl FromRequestParts<AppState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(principal) = Known::from_request_parts(parts, state).await?;
        if principal.role.includes(Role::Admin) {
            Ok(Self(principal))
        } else {
            Err(ApiError::forbidden("only admins may do this"))
        }
    }
}

/// Whoever wants to log in, and does not try it too often.
#[derive(Debug)]
pub(crate) struct Unhurried;

impl FromRequestParts<AppState> for Unhurried {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        state.identity.limits.log_in(&parts.headers, &parts.extensions)?;
        Ok(Self)
    }
}

/// Anybody at all, who is counted by their address.
#[derive(Debug)]
pub(crate) struct Counted;

impl FromRequestParts<AppState> for Counted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        state.identity.limits.unknown(&parts.headers, &parts.extensions)?;
        Ok(Self)
    }
}

/// Whoever showed a good token, as they deal with orders.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Actor);

/// The same; and guests, where the house lets them in.
#[derive(Debug, Clone)]
pub(crate) struct Anyone(pub(crate) Actor);

/// Whoever may order: the same as [`Anyone`].
#[derive(Debug, Clone)]
pub(crate) struct Orderer {
    by: Option<Arc<Principal>>,
    actor: Actor,
}

impl Orderer {
    /// The same as they deal with orders otherwise.
    pub(crate) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether they may order at this location.
    pub(crate) fn expect_at(&self, location: &str) -> Result<(), ApiError> {
        if self.actor.may_act_at(location) {
            Ok(())
        } else {
            Err(ApiError::forbidden("the token is for another location"))
        }
    }

    /// Whether they may give an order a channel's own name for it. Under that name the channel's order could not come in any
    /// more, so it is for the restaurant, and for machines that are named for the channel.
    pub(crate) fn expect(&self, channel: &ChannelName) -> Result<(), ApiError> {
        let may = |by: &Arc<Principal>| by.role.includes(Role::Staff) || by.is_named_for(channel);
        if self.by.as_ref().is_some_and(may) {
            Ok(())
        } else {
            Err(ApiError::forbidden("the token is not named for this channel"))
        }
    }
}

/// Somebody of the restaurant.
#[derive(Debug, Clone)]
pub(crate) struct Staff(pub(crate) Actor);

/// Who may hand in a channel's orders: a machine that is named for the channel, or a manager.
#[derive(Debug, Clone)]
pub(crate) struct OfChannel(Arc<Principal>);

impl OfChannel {
    /// The same as they deal with orders otherwise.
    pub(crate) fn actor(&self) -> Actor {
        named(&self.0)
    }

    /// Whether it may for this channel.
    pub(crate) fn expect(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.0.role.includes(Role::Manager) || self.0.is_named_for(channel) {
            return Ok(());
        }
        Err(ApiError::forbidden("the token is not named for this channel"))
    }
}

impl Principal {
    /// Whether this is a machine that may order through this channel.
    fn is_named_for(&self, channel: &ChannelName) -> bool {
        self.role == Role::Service && self.channels.iter().any(|named| named == channel.as_str())
    }
}

fn named(principal: &Principal) -> Actor {
    let id = principal.id.clone();
    match principal.role {
        Role::Customer => Actor::Customer(id),
        // One with a service token, and one by the word of an issuer: never the same one, whatever they are called. No
        // service token has a name with a `/`.
        Role::Service => {
            let name = id.strip_prefix(OWN_MACHINE).map_or_else(|| format!("issuer/{id}"), str::to_owned);
            // One that is named for no location may order at all of them.
            match &principal.locations {
                everywhere if everywhere.is_empty() => Actor::Service(name),
                at => Actor::ServiceAt(name, Arc::clone(at)),
            }
        }
        // People deal with orders of others at their own locations. Who is named for none in particular belongs to the first.
        Role::Staff | Role::Manager if principal.locations.is_empty() => {
            Actor::StaffAt(id, Arc::clone(&AT_MAIN))
        }
        Role::Staff | Role::Manager => Actor::StaffAt(id, Arc::clone(&principal.locations)),
        Role::Admin => Actor::Staff(Some(id)),
    }
}

/// The first location alone.
static AT_MAIN: LazyLock<Arc<[String]>> = LazyLock::new(|| Arc::from([MAIN.to_owned()]));

/// Who sees to the house as a whole does so from its first location.
fn expect_here(by: &Principal) -> Result<(), ApiError> {
    if by.locations.is_empty() || by.locations.iter().any(|at| at == MAIN) || by.role.includes(Role::Admin) {
        Ok(())
    } else {
        Err(ApiError::forbidden("the token is for another location"))
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let by = expected(parts, &state.identity).await?;
        Ok(Self(named(&by)))
    }
}

impl FromRequestParts<AppState> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match shown(parts, &state.identity).await? {
            Some(principal) => Ok(Self(named(&principal))),
            None if state.identity.lets_in_guests(parts) => Ok(Self(Actor::Unnamed)),
            None => Err(ApiError::unauthenticated()),
        }
    }
}

impl FromRequestParts<AppState> for Orderer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let by = shown(parts, &state.identity).await?;
        if by.is_none() && !state.identity.lets_in_guests(parts) {
            return Err(ApiError::unauthenticated());
        }
        let actor = by.as_deref().map_or(Actor::Unnamed, named);
        Ok(Self { by, actor })
    }
}

impl FromRequestParts<AppState> for Staff {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match Caller::from_request_parts(parts, state).await?.0 {
            by if by.is_staff() => Ok(Self(by)),
            _ => Err(ApiError::forbidden("only the restaurant may do this")),
        }
    }
}

impl FromRequestParts<AppState> for OfChannel {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let by = expected(parts, &state.identity).await?;
        if !by.role.includes(Role::Manager) && by.role != Role::Service {
            return Err(ApiError::forbidden("only a channel's machine or a manager may do this"));
        }
        // A machine may be of any location: that of each order is looked at.
        if by.role != Role::Service {
            expect_here(&by)?;
        }
        Ok(Self(by))
    }
}

/// A manager, of some locations or, who is an admin, of all.
#[derive(Debug, Clone)]
pub(crate) struct Keeper(Arc<Principal>);

impl Keeper {
    /// Whether this location is theirs.
    pub(crate) fn expect_at(&self, location: &str) -> Result<(), ApiError> {
        if named(&self.0).may_act_at(location) {
            Ok(())
        } else {
            Err(ApiError::forbidden("the token is for another location"))
        }
    }

    /// Whether what is sold at all of these is theirs.
    pub(crate) fn expect_sold_at(&self, locations: &[String]) -> Result<(), ApiError> {
        let actor = named(&self.0);
        if locations.iter().all(|at| actor.may_act_at(at)) {
            Ok(())
        } else {
            Err(ApiError::forbidden("it is sold at other locations than yours"))
        }
    }

    /// Where they see to things; `None`: everywhere.
    pub(crate) fn locations(&self) -> Option<Vec<String>> {
        named(&self.0).locations().map(<[String]>::to_vec)
    }

    /// As they are written down.
    pub(crate) fn name(&self) -> String {
        named(&self.0).name()
    }

    /// As their issuer calls them.
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }
}

impl FromRequestParts<AppState> for Keeper {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let by = expected(parts, &state.identity).await?;
        if by.role.includes(Role::Manager) {
            Ok(Self(by))
        } else {
            Err(ApiError::forbidden("only managers may do this"))
        }
    }
}

/// Who looks after the house: for the internal endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Manager(Actor);

impl Manager {
    /// As they are written down.
    pub(crate) fn name(&self) -> String {
        self.0.name()
    }
}

impl FromRequestParts<Internal> for Manager {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Internal) -> Result<Self, ApiError> {
        let by = expected(parts, &state.identity).await?;
        if !by.role.includes(Role::Manager) {
            return Err(ApiError::forbidden("only managers may do this"));
        }
        expect_here(&by)?;
        Ok(Self(named(&by)))
    }
}
