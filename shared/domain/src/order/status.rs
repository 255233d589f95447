//! Where an order stands, and the one table of legal moves.

use serde::{Deserialize, Serialize};

/// Where an order stands. In capitals on the wire; read case-insensitively.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[cfg_attr(
    feature = "sqlx",
    derive(sqlx::Type),
    sqlx(type_name = "order_status", rename_all = "SCREAMING_SNAKE_CASE")
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Accepted and durable; its payment is not yet claimed.
    Pending,
    /// A worker has claimed its payment at least once.
    PaymentProcessing,
    /// Paid. The kitchen has until `accept_by`.
    Confirmed,
    /// Declined, or given up with the key void: nothing was taken.
    PaymentFailed,
    /// The kitchen took it.
    Accepted,
    /// Being made.
    Preparing,
    /// Waiting to be handed over.
    Ready,
    /// Handed over. Final.
    Delivered,
    /// The kitchen refused it, or let the deadline pass; refunded. Final.
    Rejected,
    /// Cancelled; nothing is kept. Final.
    Cancelled,
}

/// The one table of legal moves. The database refuses all others (`migrations/`, trigger `orders_legal_move`);
/// a test compares the two.
pub const LEGAL_MOVES: [(OrderStatus, OrderStatus); 18] = {
    use OrderStatus::{
        Accepted, Cancelled, Confirmed, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing,
        Ready, Rejected,
    };
    [
        (Pending, PaymentProcessing),
        (Pending, Cancelled),
        (PaymentProcessing, Confirmed),
        (PaymentProcessing, PaymentFailed),
        (PaymentProcessing, Cancelled),
        (PaymentFailed, PaymentProcessing),
        (PaymentFailed, Cancelled),
        (Confirmed, Accepted),
        (Confirmed, Preparing),
        (Confirmed, Rejected),
        (Confirmed, Cancelled),
        (Accepted, Preparing),
        (Accepted, Cancelled),
        (Preparing, Ready),
        (Preparing, Accepted),
        (Preparing, Cancelled),
        (Ready, Delivered),
        (Ready, Cancelled),
    ]
};

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::PaymentProcessing,
        Self::Confirmed,
        Self::PaymentFailed,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Delivered,
        Self::Rejected,
        Self::Cancelled,
    ];

    /// Whether the table of moves allows `self -> to`.
    pub fn may_become(self, to: Self) -> bool {
        LEGAL_MOVES.contains(&(self, to))
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::PaymentProcessing => "PAYMENT_PROCESSING",
            Self::Confirmed => "CONFIRMED",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::Accepted => "ACCEPTED",
            Self::Preparing => "PREPARING",
            Self::Ready => "READY",
            Self::Delivered => "DELIVERED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads a name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_statuses_have_no_way_out_and_names_are_read_in_any_case() {
        for from in [OrderStatus::Delivered, OrderStatus::Rejected, OrderStatus::Cancelled] {
            assert!(OrderStatus::ALL.iter().all(|to| !from.may_become(*to)));
        }
        assert_eq!(OrderStatus::parse("payment_Failed"), Some(OrderStatus::PaymentFailed));
        assert_eq!(OrderStatus::parse("nonsense"), None);
        for status in OrderStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
    }
}
