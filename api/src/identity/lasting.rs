//! A token that was good when a stream began, and for how long it is: a stream lasts no longer than whoever watches may.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::caller::bearer;
use super::followed::LOOK_EVERY;
use super::principal::now;
use super::{Identity, Unproven};
use crate::state::AppState;

/// What a request showed. Whether it was good is for others to say.
#[derive(Debug)]
pub(crate) struct Lasting {
    identity: Arc<Identity>,
    /// `None`: a guest, whom nobody can log out.
    token: Option<String>,
}

impl FromRequestParts<AppState> for Lasting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let token = bearer(parts).ok().flatten().map(str::to_owned);
        Ok(Self { identity: Arc::clone(&state.identity), token })
    }
}

impl Lasting {
    /// Returns when it is good no longer: it was ended, or has expired. While nothing is ended nobody asks.
    pub(crate) async fn ended(self) {
        let Some(token) = self.token else { return std::future::pending().await };
        let mut news = self.identity.followed.news();
        loop {
            news.borrow_and_update();
            // In a place of its own: a check may fetch keys, and room for that would be kept as long as the stream lasts.
            let who = Box::pin(self.identity.who(&token, || Ok(())));
            let left = match who.await {
                Ok(principal) => Duration::from_secs(principal.until.saturating_sub(now())),
                Err(Unproven::Bad(_) | Unproven::NoRole) => return,
                Err(Unproven::CannotTell | Unproven::TooFast(_)) => Duration::ZERO,
            };
            // No longer than any stream lasts, and no busy loop where it cannot be told.
            let left = left.clamp(LOOK_EVERY, Duration::from_secs(3_600));
            if let Ok(Err(_)) = tokio::time::timeout(left, news.changed()).await {
                return;
            }
        }
    }
}
