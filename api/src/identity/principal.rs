//! Who somebody is, once it is proven.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::person::Role;
use uuid::Uuid;

use super::rate_limits::TooFast;

/// What the id of a machine with a service token begins with. No subject of an issuer does.
pub(crate) const OWN_MACHINE: &str = "service:";

/// Somebody, by what they showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The subject of their tokens, after their issuer's prefix: no two people share one. Of a customer it is the
    /// `customer_id` of their orders, of a machine with a service token `service:<name>`.
    pub(crate) id: String,
    pub(crate) role: Role,
    /// Of staff and managers: where they may look and act.
    pub(crate) locations: Arc<[String]>,
    /// Of a machine: through which channels it may order.
    pub(crate) channels: Vec<String>,
    /// Which login this is, where our own issuer made the token.
    pub(crate) session: Option<Uuid>,
    /// Until when the token is good, in seconds since 1970; `u64::MAX`: until it is ended.
    pub(crate) until: u64,
}

/// Why nobody is known by what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// It is not good, or no longer; for people.
    Bad(&'static str),
    /// It is good, and names no role that we know.
    NoRole,
    /// It was not looked at: too many that are not known come from there.
    TooFast(TooFast),
    /// Whether it is good cannot be told now: its issuer's keys are not to be had.
    CannotTell,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
