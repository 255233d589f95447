//! Who asks, from the one header that says so. The api knows no users: whoever stands in front of it authenticates
//! them, sets `X-Actor`, and lets no client set it. Everything that depends on who somebody is comes through here.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::limits::MAX_ID_CHARS;
use domain::order::moves::Actor;
use domain::problems::text_problem;

use crate::http::error::ApiError;

const HEADER: &str = "x-actor";

/// The caller. `X-Actor: staff`, `staff:<name>` or `customer:<id>`; without the header the caller is unnamed and may do
/// whatever anybody may.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Actor);

impl Caller {
    /// The caller, if it may do what only the restaurant may.
    pub(crate) fn of_the_house(self) -> Result<Actor, ApiError> {
        match self.0 {
            Actor::Customer(_) => Err(ApiError::forbidden("only the restaurant may do this")),
            actor => Ok(actor),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(HEADER) else { return Ok(Self(Actor::Unnamed)) };
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or("");
        parse(text).map(Self).ok_or_else(|| {
            ApiError::invalid_one("X-Actor", "invalid", "must be staff, staff:<name> or customer:<id>")
        })
    }
}

fn parse(text: &str) -> Option<Actor> {
    let (role, name) = text.split_once(':').map_or((text, None), |(role, name)| (role, Some(name)));
    if name.is_some_and(|name| text_problem(name, MAX_ID_CHARS).is_some()) {
        return None;
    }
    match (role, name) {
        ("staff", name) => Some(Actor::Staff(name.map(str::to_owned))),
        ("customer", Some(id)) => Some(Actor::Customer(id.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_staff_or_a_customer_with_an_id() {
        assert_eq!(parse("staff"), Some(Actor::Staff(None)));
        assert_eq!(parse("staff:ann"), Some(Actor::Staff(Some("ann".into()))));
        assert_eq!(parse("customer:urn:c:1"), Some(Actor::Customer("urn:c:1".into())));
        for wrong in ["", "customer", "customer:", "staff:", "worker", "Staff", "staff:\u{7}"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
