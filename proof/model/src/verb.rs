//! What people and the clock may ask of an order, and when.

use domain::order::status::OrderStatus;

/// What is asked; once each, but any of them at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// By the customer or the staff, up to PREPARING.
    Cancel,
    /// By the kitchen.
    Accept,
    /// By the kitchen.
    Reject,
    /// By the sweep: nobody accepted it in time.
    Expire,
    /// By the kitchen; accepts it too, where that was left out.
    Prepare,
    /// By the kitchen.
    Ready,
    /// By the staff: nobody came for it, and its money goes back.
    NoShow,
    /// The same, and its money stays.
    NoShowKept,
    /// By the customer: something more, with a charge of its own.
    Add,
    /// By the customer, after a payment that failed.
    PayAnew,
}

impl Verb {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Cancel,
        Self::Accept,
        Self::Reject,
        Self::Expire,
        Self::Prepare,
        Self::Ready,
        Self::NoShow,
        Self::NoShowKept,
        Self::Add,
        Self::PayAnew,
    ];

    /// Whether it may be asked of an order that stands so.
    pub const fn may(self, status: OrderStatus) -> bool {
        use OrderStatus::{Accepted, Confirmed, PaymentFailed, PaymentProcessing, Pending, Preparing, Ready};
        match self {
            Self::Cancel => matches!(
                status,
                Pending | PaymentProcessing | PaymentFailed | Confirmed | Accepted | Preparing
            ),
            Self::Accept | Self::Reject | Self::Expire => matches!(status, Confirmed),
            Self::Prepare => matches!(status, Confirmed | Accepted),
            Self::Ready => matches!(status, Preparing),
            Self::NoShow | Self::NoShowKept => matches!(status, Ready),
            Self::Add => matches!(status, Pending | PaymentProcessing | Confirmed),
            Self::PayAnew => matches!(status, PaymentFailed),
        }
    }
}
