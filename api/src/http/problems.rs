//! What openapi.json says of the problems that many addresses have in common, a set for each cause.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

type Responses = BTreeMap<String, RefOr<Response>>;

/// Any request may meet them.
pub(crate) struct Faults;

impl IntoResponses for Faults {
    fn responses() -> Responses {
        problems([
            (
                429,
                "This caller asks too fast, or many log in right now. Come again after `Retry-After` seconds",
            ),
            (500, "An internal error. It has been logged under the request's id"),
            (
                503,
                "Not available right now. Retry after `Retry-After` seconds; a retry of the same request is safe where this page says so",
            ),
        ])
    }
}

/// So may any that names an order.
pub(crate) struct NoOrder;

impl IntoResponses for NoOrder {
    fn responses() -> Responses {
        problems([(404, "There is no such order, or it belongs to another customer")])
    }
}

/// So may any that changes an order.
pub(crate) struct Changed;

impl IntoResponses for Changed {
    fn responses() -> Responses {
        problems([(412, "`version_changed`: the order is no longer as `If-Match` says")])
    }
}

/// So may any that has a body.
pub(crate) struct BadBody;

impl IntoResponses for BadBody {
    fn responses() -> Responses {
        problems([
            (400, "The body is not JSON"),
            (408, "The body did not arrive in time"),
            (413, "The body is too large"),
            (415, "The `Content-Type` is not `application/json` in UTF-8, or the body is compressed"),
        ])
    }
}

/// Whoever wants to know who asks may answer so.
const BAD_TOKEN: (u16, &str) = (401, "The token is missing or not good");

/// So may any that only the restaurant may send.
pub(crate) struct StaffOnly;

impl IntoResponses for StaffOnly {
    fn responses() -> Responses {
        problems([BAD_TOKEN, (403, "Only the restaurant may do this, at its own location")])
    }
}

/// So may any that only managers may send.
pub(crate) struct ManagersOnly;

impl IntoResponses for ManagersOnly {
    fn responses() -> Responses {
        problems([BAD_TOKEN, (403, "Only managers of this location, and admins, may do this")])
    }
}

/// So may any that wants to know who asks.
pub(crate) struct TokenNeeded;

impl IntoResponses for TokenNeeded {
    fn responses() -> Responses {
        problems([
            BAD_TOKEN,
            (403, "It is somebody else's business: another customer's, or another location's"),
        ])
    }
}

/// So may any that only a channel may send.
pub(crate) struct ChannelOnly;

impl IntoResponses for ChannelOnly {
    fn responses() -> Responses {
        problems([
            BAD_TOKEN,
            (403, "Only a machine that is named for the channel, or a manager, may do this"),
        ])
    }
}

/// So may any that only admins may send.
pub(crate) struct AdminsOnly;

impl IntoResponses for AdminsOnly {
    fn responses() -> Responses {
        problems([
            BAD_TOKEN,
            (403, "Only admins may do this"),
            (404, "People are known to another issuer; or there is no such thing"),
        ])
    }
}

fn problems<const N: usize>(all: [(u16, &str); N]) -> Responses {
    all.map(|(status, description)| {
        let body = Content::new(Some(Ref::from_schema_name("ProblemBody")));
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", body);
        (status.to_string(), RefOr::T(response.build()))
    })
    .into()
}
