//! The payment, the unit that the workers process, and its tries.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::payment_method::NoCharge;

/// What a payment does with the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(type_name = "payment_kind", rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// Takes money for an order.
    Charge,
    /// Gives money back.
    Refund,
    /// The channel took the money: there from the start, final, never claimed, unknown to the gateway.
    Elsewhere,
    /// Paid when the order is handed over: due until staff say that it came in. Never claimed, unknown to the gateway.
    OnDelivery,
    /// Nothing is to be paid: final from the start.
    Free,
}

impl PaymentKind {
    /// Whether the gateway has anything to do with it.
    pub const fn is_of_gateway(self) -> bool {
        matches!(self, Self::Charge | Self::Refund)
    }
}

impl From<NoCharge> for PaymentKind {
    fn from(because: NoCharge) -> Self {
        match because {
            NoCharge::Free => Self::Free,
            NoCharge::OnDelivery => Self::OnDelivery,
            NoCharge::Elsewhere => Self::Elsewhere,
        }
    }
}

/// The id of a new payment of this order, and so the gateway's idempotency key. UUIDv7 with the order's own time: payments
/// are to be partitioned by ranges of it, and all of an order's lie in one.
pub fn new_payment_id(order_id: Uuid) -> Uuid {
    let order_millis = u64::try_from(order_id.as_u128() >> 80).expect("48 bits fit");
    uuid::Builder::from_unix_timestamp_millis(order_millis, &rand::random()).into_uuid()
}

/// Where a payment stands. `Pending -> Processing -> Succeeded | Failed`, with `Processing -> Waiting ->
/// Processing` for every try that did not end it, and `Pending -> Failed` for one that was never sent. One that must wait
/// for its order's own charge is `Held` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "payment_status", rename_all = "lowercase")
)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStatus {
    /// Of an addition: not to be looked at before its order's own charge is known.
    Held,
    /// To be paid when the order is handed over.
    Due,
    /// Accepted, never claimed.
    Pending,
    /// Claimed by a worker under an epoch, until `due_at`.
    Processing,
    /// To be tried again at `due_at`.
    Waiting,
    /// The gateway took the money (or gave it back, for a refund). Final.
    Succeeded,
    /// Declined; or voided after the tries ran out; or never sent, because its order ended before. Final;
    /// nothing was taken.
    Failed,
}

impl PaymentStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Held,
        Self::Due,
        Self::Pending,
        Self::Processing,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
    ];

    /// Whether the database lets a payment go `self -> to` (`migrations/`, trigger `payments_legal_move`); a test
    /// compares the two.
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            // Failed: its order ended before anything was sent.
            Self::Held => matches!(to, Self::Pending | Self::Failed),
            // Failed: its order ended before the money came.
            Self::Due => matches!(to, Self::Succeeded | Self::Failed),
            Self::Pending => matches!(to, Self::Processing | Self::Failed),
            // Processing: a lease ran out and another worker took over.
            Self::Processing => !matches!(to, Self::Held | Self::Due | Self::Pending),
            // Failed: its order ended, and no gateway ever looked at its tries.
            Self::Waiting => matches!(to, Self::Processing | Self::Failed),
            Self::Succeeded | Self::Failed => false,
        }
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Due => "due",
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What one try asks of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "attempt_action", rename_all = "lowercase")
)]
#[serde(rename_all = "lowercase")]
pub enum AttemptAction {
    /// Take the money.
    Charge,
    /// See to it that this key can never take money.
    Void,
    /// Give money back.
    Refund,
}

impl AttemptAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Charge, Self::Void, Self::Refund];

    /// The name on the wire, in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "attempt_outcome", rename_all = "snake_case")
)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The money moved; for a void: the key had already been charged, so the payment stands.
    Succeeded,
    /// The gateway said no. An answer, not an outage.
    Declined,
    /// The key is void: it took nothing and never will.
    Voided,
    /// The gateway has the request and is still at it: the money may move yet.
    Pending,
    /// Nobody knows whether the money moved: time-out, broken reply, 5xx after send.
    InDoubt,
    /// The gateway finds the request itself wrong (400), and does nothing about it.
    Refused,
    /// The gateway could not be reached, or turned the request away before looking at it (503, 429).
    Unavailable,
    /// It refuses us, whatever we ask for: a wrong key, a wrong address. Ours to mend; it did not look at the request.
    Misconfigured,
    /// The worker that made this try never told how it ended (it died, or lost its lease).
    Abandoned,
}

impl AttemptOutcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Succeeded,
        Self::Declined,
        Self::Voided,
        Self::Pending,
        Self::InDoubt,
        Self::Refused,
        Self::Unavailable,
        Self::Misconfigured,
        Self::Abandoned,
    ];

    /// The name on the wire, in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Pending => "pending",
            Self::InDoubt => "in_doubt",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Abandoned => "abandoned",
        }
    }
}
