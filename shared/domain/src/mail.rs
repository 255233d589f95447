//! mail: what customers are written of their orders, and which of it they get unless they choose otherwise.

use serde::{Deserialize, Serialize};

use crate::event::What;
use crate::order::status::OrderStatus;

/// A kind of mail about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mail {
    /// It came in.
    Created,
    /// It is paid, or needs no payment now.
    Confirmed,
    /// It waits to be handed over.
    Ready,
    /// The kitchen refused it.
    Rejected,
    /// It was called off.
    Cancelled,
    /// Money went back.
    Refunded,
    /// Its payment is under way.
    PaymentProcessing,
    /// Its payment failed.
    PaymentFailed,
    /// The kitchen took it.
    Accepted,
    /// It is being made.
    Preparing,
    /// It was handed over.
    Delivered,
}

impl Mail {
    /// Every kind: first those that customers get unless they choose otherwise.
    pub const ALL: [Self; 11] = [
        Self::Created,
        Self::Confirmed,
        Self::Ready,
        Self::Rejected,
        Self::Cancelled,
        Self::Refunded,
        Self::PaymentProcessing,
        Self::PaymentFailed,
        Self::Accepted,
        Self::Preparing,
        Self::Delivered,
    ];

    /// Those that customers get who have chosen nothing.
    pub const DEFAULT: [Self; 6] =
        [Self::Created, Self::Confirmed, Self::Ready, Self::Rejected, Self::Cancelled, Self::Refunded];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirmed => "confirmed",
            Self::Ready => "ready",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::PaymentProcessing => "payment_processing",
            Self::PaymentFailed => "payment_failed",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Delivered => "delivered",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mail| mail.as_str() == name)
    }

    /// The mail that tells of such an event to whoever chose these kinds, one at most. An order that is confirmed as it comes in
    /// is so told of, or else as one that came in.
    pub fn about(what: What, to: Option<OrderStatus>, chosen: &[Self]) -> Option<Self> {
        let of_status = |to| match to {
            OrderStatus::Pending => Self::Created,
            OrderStatus::PaymentProcessing => Self::PaymentProcessing,
            OrderStatus::Confirmed => Self::Confirmed,
            OrderStatus::PaymentFailed => Self::PaymentFailed,
            OrderStatus::Accepted => Self::Accepted,
            OrderStatus::Preparing => Self::Preparing,
            OrderStatus::Ready => Self::Ready,
            OrderStatus::Delivered => Self::Delivered,
            OrderStatus::Rejected => Self::Rejected,
            OrderStatus::Cancelled => Self::Cancelled,
        };
        let told = match what {
            What::Accepted => [to.map(of_status), Some(Self::Created)],
            What::Moved => [to.map(of_status), None],
            What::Refunded => [Some(Self::Refunded), None],
            _ => [None, None],
        };
        told.into_iter().flatten().find(|mail| chosen.contains(mail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_mail_and_only_the_chosen_ones_are_sent() {
        for mail in Mail::ALL {
            assert_eq!(Mail::parse(mail.as_str()), Some(mail));
        }
        assert_eq!(Mail::ALL[..Mail::DEFAULT.len()], Mail::DEFAULT);
        for to in OrderStatus::ALL {
            let told = Mail::about(What::Moved, Some(to), &Mail::ALL).unwrap();
            assert_eq!(
                Mail::about(What::Moved, Some(to), &Mail::DEFAULT).is_some(),
                Mail::DEFAULT.contains(&told)
            );
            assert_eq!(Mail::about(What::Moved, Some(to), &[]), None);
        }
        let free = Some(OrderStatus::Confirmed);
        assert_eq!(Mail::about(What::Accepted, free, &Mail::DEFAULT), Some(Mail::Confirmed));
        assert_eq!(Mail::about(What::Accepted, free, &[Mail::Created]), Some(Mail::Created));
        assert_eq!(Mail::about(What::RefundOwed, None, &Mail::ALL), None);
    }
}
