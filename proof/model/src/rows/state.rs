//! All of it at one moment: what is committed, and the transactions; what a statement sees, and what a commit does.

use std::fmt;

use domain::order::status::OrderStatus;

use super::one_order::{ROWS, Rows};
use super::transaction::{Step, Transaction, Who};

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
