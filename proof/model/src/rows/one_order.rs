//! The rows of one order.

use domain::order::status::OrderStatus;

/// The row of the order's own charge in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// There is none: the charge is final.
    Gone,
    /// Never claimed.
    New,
    /// Claimed under this epoch.
    Trying(u8),
    /// To be tried again.
    Waiting(u8),
}

impl Queue {
    /// Claimed at least once: it may have been sent.
    pub(super) const fn is_under_way(self) -> bool {
        matches!(self, Self::Trying(_) | Self::Waiting(_))
    }
}

/// A charge's row in `payments`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of domain::payment::PaymentStatus")]
pub enum Charge {
    Absent,
    Held,
    Pending,
    /// Claimed, and being tried.
    UnderWay,
    /// To be tried again.
    Waiting,
    Succeeded,
    Failed,
}

impl Charge {
    /// To be claimed, or claimed and not final.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::UnderWay | Self::Waiting)
    }
}

/// The row of the first try of the order's own charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Try {
    /// Not written.
    Absent,
    /// By whoever claimed after it.
    Abandoned,
    /// With its answer.
    Answered,
}

/// The order's own charge, and that of an addition.
pub const OWN: usize = 0;
pub(super) const ADDITION: usize = 1;
/// Rows that are locked: the two of `payments`, by their index, the order, the one in the queue, and the first try's.
pub(super) const ORDER: usize = 2;
pub(super) const QUEUE: usize = 3;
pub(super) const TRY: usize = 4;
/// And that of the addition's try.
pub(super) const LOOKED: usize = 5;
pub(super) const ROWS: usize = 6;

/// The rows of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// The order's, as it is stored.
    pub status: OrderStatus,
    /// The order's: it is to be cancelled.
    pub wish: bool,
    /// The order's: one more with each change.
    pub version: u8,
    /// In the queue: of its own charge.
    pub queue: Queue,
    /// The queue's: `PAYMENT_PROCESSING` is stored with the order.
    pub noted: bool,
    /// In `payments`: of its own charge once that is final, and of the addition's.
    pub charges: [Charge; 2],
    /// Theirs: it is asked back.
    pub refunds: [bool; 2],
    /// Of the first try.
    pub tried: Try,
    /// Of the addition's try: the gateway may have looked at it.
    pub looked: bool,
    /// The versions that have an event, as bits.
    pub events: u16,
    /// Those of them that say that the order is `PAYMENT_PROCESSING`.
    pub begun: u16,
}

impl Rows {
    pub(super) const NEW: Self = Self {
        status: OrderStatus::Pending,
        wish: false,
        version: 1,
        queue: Queue::New,
        noted: false,
        charges: [Charge::Absent; 2],
        refunds: [false; 2],
        tried: Try::Absent,
        looked: false,
        events: 1,
        begun: 0,
    };

    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.status, OrderStatus::PaymentFailed | OrderStatus::Rejected | OrderStatus::Cancelled)
    }

    pub(super) const fn is_decided(&self) -> bool {
        !matches!(self.status, OrderStatus::Pending | OrderStatus::PaymentProcessing)
    }

    /// Whether it is shown as `PAYMENT_PROCESSING`, under the next version, and is not stored so.
    pub const fn is_only_shown(&self) -> bool {
        matches!(self.status, OrderStatus::Pending) && self.queue.is_under_way()
    }

    /// Takes a row over from `other`.
    pub(super) const fn copy(&mut self, row: usize, other: &Self) {
        match row {
            ORDER => (self.status, self.wish, self.version) = (other.status, other.wish, other.version),
            QUEUE => (self.queue, self.noted) = (other.queue, other.noted),
            TRY => self.tried = other.tried,
            LOOKED => self.looked = other.looked,
            charge => {
                (self.charges[charge], self.refunds[charge]) = (other.charges[charge], other.refunds[charge]);
            }
        }
    }

    /// Whether there is such a row.
    pub(super) fn has(&self, row: usize) -> bool {
        match row {
            QUEUE => self.queue != Queue::Gone,
            OWN | ADDITION => self.charges[row] != Charge::Absent,
            TRY => self.tried != Try::Absent,
            _ => true,
        }
    }
}
