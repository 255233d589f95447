//! Who meets on those rows, and how far each is.

use super::one_order::{OWN, QUEUE, ROWS, Rows};

/// Who comes, once each: workers that claim a charge, and those that settle it, people, and the sweep that lets go what is
/// held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Who {
    ClaimOwn,
    /// The next worker: the charge waits for it, or the first lost its lease.
    ClaimAgain,
    ClaimAddition,
    /// Under the first epoch.
    SettleOwn,
    /// Under the second.
    SettleAgain,
    SettleAddition,
    Cancel,
    Reject,
    Add,
    LetGo,
    /// Of the addition's charge, whose time is over.
    CallOff,
}

impl Who {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::ClaimOwn,
        Self::ClaimAgain,
        Self::ClaimAddition,
        Self::SettleOwn,
        Self::SettleAgain,
        Self::SettleAddition,
        Self::Cancel,
        Self::Reject,
        Self::Add,
        Self::LetGo,
        Self::CallOff,
    ];

    /// Of a worker that claims or settles the order's own charge: under which epoch.
    pub(super) const fn epoch(self) -> u8 {
        match self {
            Self::ClaimAgain | Self::SettleAgain => 2,
            _ => 1,
        }
    }
}

/// What a claimed charge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Answer {
    Paid,
    Unpaid,
    /// It was turned away unseen, and is to be tried again.
    Later,
    /// Nobody knows.
    Doubt,
}

/// A transaction: how far it is, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Its next step; none: it is over.
    pub next: Option<Step>,
    /// What its statement sees, its own writes included.
    pub sees: Rows,
    /// Rows that it wrote or locked, by index.
    pub holds: [bool; ROWS],
    /// How often it has looked for the order's own charge.
    pub looks: u8,
    /// With its last look it held that.
    pub held_own: bool,
    /// Of the order's own charge, when the order is ruled on: it is under way.
    pub under_way: bool,
    /// The events that it writes, by their versions, as bits.
    pub notes: u16,
    /// Those of them that say that the order is `PAYMENT_PROCESSING`.
    pub begun: u16,
    /// Of a settlement.
    pub answer: Answer,
}

/// A step within a transaction; what waits for a lock does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Step {
    Begin,
    /// A look of who changes an order for its own charge: in the queue and then among the payments, one statement.
    BeginLook,
    LockQueue,
    LockOwn,
    /// Then for the others.
    BeginOthers,
    LockAddition,
    /// A weakened look: the queue by a statement of its own, after the payments.
    BeginQueue,
    /// Then the order. Of what lets an addition go: the order as it is now.
    BeginOrder,
    LockOrder,
    /// Then the order is moved, and what is pending closed, charge by charge; and what was taken goes back.
    BeginEnd,
    EndOwn,
    EndAddition,
    /// Of a claim or a settlement: the charge's row, then its order's.
    Payment,
    Order,
    /// Of a weakened settlement: the charge is written among the payments, in a transaction of its own.
    Write,
    /// Of a settlement that came too late: the row of its try.
    Late,
    /// Of a settlement, where money moved and no order was confirmed: the order is locked, and then written what follows.
    FollowUp,
    Commit,
}

impl Transaction {
    pub(super) const fn new() -> Self {
        Self {
            next: Some(Step::Begin),
            sees: Rows::NEW,
            holds: [false; ROWS],
            looks: 0,
            held_own: false,
            under_way: false,
            notes: 0,
            begun: 0,
            answer: Answer::Later,
        }
    }

    /// Whether it holds the order's own charge, wherever that is.
    pub(super) fn holds_own(&self) -> bool {
        [QUEUE, OWN].into_iter().any(|row| self.holds[row] && self.sees.has(row))
    }
}
