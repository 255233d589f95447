//! The rows of one order, the transactions that meet on them, and what a statement sees.

use std::fmt;

use shared::order::OrderStatus;

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
#[expect(missing_docs, reason = "the names of shared::payment::PaymentStatus")]
pub enum Charge {
    Absent,
    Held,
    Pending,
    /// Claimed, and not final.
    UnderWay,
    Succeeded,
    Failed,
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
const ROWS: usize = 5;

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
    const fn copy(&mut self, row: usize, other: &Self) {
        match row {
            ORDER => (self.status, self.wish, self.version) = (other.status, other.wish, other.version),
            QUEUE => (self.queue, self.noted) = (other.queue, other.noted),
            TRY => self.tried = other.tried,
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
}

impl Who {
    /// Every one.
    pub const ALL: [Self; 10] = [
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
    /// It is to be tried again.
    Later,
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

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What is committed.
    pub rows: Rows,
    /// By [`Who`].
    pub transactions: [Transaction; Who::ALL.len()],
    /// Versions under which the order was shown as `PAYMENT_PROCESSING` before that was stored, as bits.
    pub shown: u16,
    /// An order made a move that is not in the table.
    pub illegal_move: bool,
    /// Two events have one version.
    pub event_twice: bool,
    /// A charge was closed as never sent, and had been claimed.
    pub closed_under_way: bool,
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            rows: Rows::NEW,
            transactions: [Transaction::new(); Who::ALL.len()],
            shown: 0,
            illegal_move: false,
            event_twice: false,
            closed_under_way: false,
        }
    }

    pub(super) const fn of(&self, who: Who) -> &Transaction {
        &self.transactions[who as usize]
    }

    pub(super) const fn of_mut(&mut self, who: Who) -> &mut Transaction {
        &mut self.transactions[who as usize]
    }

    /// Who holds a row.
    pub(super) fn holder(&self, row: usize) -> Option<Who> {
        Who::ALL.into_iter().find(|who| self.of(*who).holds[row])
    }

    /// What a transaction does next. Before a new snapshot what it saw of rows that it does not hold would tell two runs that
    /// came to the same rows apart for no reason.
    pub(super) fn go_on(&mut self, who: Who, next: Step) {
        use Step::{Begin, BeginEnd, BeginLook, BeginOrder, BeginOthers, BeginQueue, Write};
        let mine = self.of_mut(who);
        mine.next = Some(next);
        if matches!(next, Begin | BeginLook | BeginQueue | BeginOthers | BeginOrder | BeginEnd | Write) {
            for row in (0..ROWS).filter(|row| !mine.holds[*row]) {
                mine.sees.copy(row, &Rows::NEW);
            }
        }
    }

    /// What a statement of `who` that begins now sees: what is committed, and its own writes.
    pub(super) fn snapshot(&mut self, who: Who) {
        let mine = *self.of(who);
        let mut sees = Rows { events: Rows::NEW.events, begun: Rows::NEW.begun, ..self.rows };
        for row in (0..ROWS).filter(|row| mine.holds[*row]) {
            sees.copy(row, &mine.sees);
        }
        self.of_mut(who).sees = sees;
    }

    /// Locks a row that nobody else holds, and sees its newest version. One that is gone is not locked.
    pub(super) fn lock(&mut self, who: Who, row: usize) {
        let (rows, mine) = (self.rows, self.of_mut(who));
        if !mine.holds[row] {
            mine.holds[row] = rows.has(row);
            mine.sees.copy(row, &rows);
        }
    }

    /// Writes become visible, locks go.
    pub(super) fn commit(&mut self, who: Who) {
        let mine = *self.of(who);
        for row in (0..ROWS).filter(|row| mine.holds[*row]) {
            self.rows.copy(row, &mine.sees);
        }
        self.event_twice |= self.rows.events & mine.notes != 0;
        self.rows.events |= mine.notes;
        self.rows.begun |= mine.begun;
        if self.rows.is_only_shown() {
            self.shown |= 1 << self.rows.version;
        }
        *self.of_mut(who) = Transaction { next: None, ..Transaction::new() };
    }

    pub(super) const fn is_over(&self, who: Who) -> bool {
        self.of(who).next.is_none()
    }

    /// Asks a charge back that the transaction holds, should that not have been done.
    pub(super) fn give_back(&mut self, who: Who, charge: usize) {
        let asked = &mut self.of_mut(who).sees.refunds[charge];
        if !std::mem::replace(asked, true) {
            self.note(who);
        }
    }

    /// Writes an event under the order's next version.
    pub(super) fn note(&mut self, who: Who) {
        let mine = self.of_mut(who);
        mine.sees.version += 1;
        mine.notes |= 1 << (mine.sees.version - 1);
    }

    pub(super) fn move_order(&mut self, who: Who, to: OrderStatus) {
        let from = std::mem::replace(&mut self.of_mut(who).sees.status, to);
        self.illegal_move |= !from.may_become(to);
        self.note(who);
        let mine = self.of_mut(who);
        if (from, to) == (OrderStatus::Pending, OrderStatus::PaymentProcessing) {
            mine.begun |= 1 << (mine.sees.version - 1);
        }
    }

    /// Stores what is only shown, before another change is. The transaction holds the charge in the queue, and the order.
    pub(super) fn note_processing(&mut self, who: Who) {
        if self.of(who).sees.is_only_shown() {
            self.move_order(who, OrderStatus::PaymentProcessing);
            self.of_mut(who).sees.noted = true;
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rows { status, wish, queue, charges: [own, addition], refunds, version, .. } = self.rows;
        let wish = if wish { ", wish" } else { "" };
        write!(f, "{} version {version}{wish}; queue {queue:?}, own {own:?}, ", status.as_str())?;
        write!(f, "addition {addition:?}, refunds {refunds:?}; ")?;
        for who in Who::ALL {
            let mine = self.of(who);
            let rows = ["own", "addition", "order", "queue", "try"].into_iter().zip(mine.holds);
            let held: Vec<_> = rows.filter(|(_, held)| *held).map(|(row, _)| row).collect();
            if let Some(next) = mine.next.filter(|next| *next != Step::Begin) {
                write!(f, "{who:?} before {next:?} holds [{}]; ", held.join(" "))?;
            }
        }
        Ok(())
    }
}
