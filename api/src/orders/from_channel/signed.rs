//! Who hands a document in: somebody with a token, or the channel itself, which signed it.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::channel::name::ChannelName;
use domain::order::moves::Actor;
use store::channels::Channel;

use crate::http::error::ApiError;
use crate::identity::caller::OfChannel;
use crate::identity::secrets::purpose_of;
use crate::identity::signature;
use crate::state::AppState;

pub(super) const NOT_SIGNED: &str = "the channel did not sign this";

/// Who shows a token; `None`: a signature is shown instead, which is still to be checked.
pub(super) async fn token(parts: &mut Parts, state: &AppState) -> Result<Option<OfChannel>, ApiError> {
    if signature::is_shown(&parts.headers) && !parts.headers.contains_key(AUTHORIZATION) {
        state.identity.expect_patience(parts)?;
        return Ok(None);
    }
    OfChannel::from_request_parts(parts, state).await.map(Some)
}

/// The channel itself, where it signed the body with one of its secrets.
pub(super) fn signer(
    state: &AppState,
    channel: &ChannelName,
    set: Option<&Channel>,
    parts: &Parts,
    body: &[u8],
) -> Result<Actor, ApiError> {
    let not_signed = || ApiError::bad_token(NOT_SIGNED);
    let set = set.ok_or_else(not_signed)?;
    let shown = signature::shown(&parts.headers, set.settings.dialect.signature()).ok_or_else(not_signed)?;
    let purpose = purpose_of(channel.as_str());
    let open = |sealed: &Vec<u8>| state.identity.secrets().unseal(&purpose, sealed);
    let secrets: Result<Vec<String>, _> = set.secrets.iter().map(open).collect();
    let secrets =
        secrets.map_err(|why| ApiError::internal(&format!("channel {}: {why}", channel.as_str())))?;
    if !shown.is_of(&secrets, body) {
        return Err(not_signed());
    }
    // No service can be called so: their names have no colon.
    Ok(Actor::Service(purpose))
}
