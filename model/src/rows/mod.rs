//! A second model, one layer down: what the statements of concurrent transactions see of one order's rows. The first
//! takes each verb for one atomic step; whether its SQL is one depends on READ COMMITTED: a statement sees what was
//! committed when it began, except for a row that it had to wait for, of which it sees the newest version; a row that
//! is written stays locked until the end. Here the verbs that meet on an order are walked lock by lock.
//!
//! Workers, messages and leases are the first model's. Here a claimed charge simply comes to something.

mod design;
pub mod promises;
mod statements;

use std::fmt;

use shared::order::OrderStatus;
use stateright::{Model, Property};

pub use self::design::{Design, weakenings};

/// A charge: its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of shared::payment::PaymentStatus")]
pub enum Charge {
    Absent,
    Pending,
    /// Claimed, and not final.
    UnderWay,
    Succeeded,
    Failed,
}

impl Charge {
    const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The order's own charge, and that of an addition.
const OWN: usize = 0;
const ADDITION: usize = 1;
/// Rows that are locked: the charges, by their index, and the order.
const ORDER: usize = 2;

/// The rows of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// The order's.
    pub status: OrderStatus,
    /// The order's: it is to be cancelled.
    pub wish: bool,
    /// Of its own charge, and of the addition's.
    pub charges: [Charge; 2],
    /// Whether each has its refund.
    pub refunds: [bool; 2],
}

impl Rows {
    const fn is_finished(&self) -> bool {
        matches!(self.status, OrderStatus::PaymentFailed | OrderStatus::Rejected | OrderStatus::Cancelled)
    }
}

/// Who comes, once each: a worker that claims a charge, one that settles it, and people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Who {
    ClaimOwn,
    ClaimAddition,
    SettleOwn,
    SettleAddition,
    Cancel,
    Reject,
    Add,
}

impl Who {
    const ALL: [Self; 7] = [
        Self::ClaimOwn,
        Self::ClaimAddition,
        Self::SettleOwn,
        Self::SettleAddition,
        Self::Cancel,
        Self::Reject,
        Self::Add,
    ];
}

/// A transaction: how far it is, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Its next step; none: it is over.
    pub next: Option<Step>,
    /// What its statement sees, its own writes included.
    pub sees: Rows,
    /// Rows that it wrote or locked, by index.
    pub holds: [bool; 3],
    /// Of the charges that it locked, one was under way.
    pub under_way: bool,
    /// What its claimed charge came to.
    pub paid: bool,
}

/// A step within a transaction; what waits for a lock does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Step {
    Begin,
    /// A cancellation's first statement: every charge of the order.
    LockOwn,
    LockAddition,
    /// Its second.
    BeginOrder,
    LockOrder,
    /// Its third, which closes what is pending; then, charge by charge, with what it saw.
    BeginEnd,
    EndOwn,
    EndAddition,
    /// Of a claim or a settlement: its payment's row, then its order's.
    Payment,
    Order,
    /// Of a settlement: is the order finished?
    Late,
    Commit,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What is committed.
    pub rows: Rows,
    /// By [`Who`].
    pub transactions: [Transaction; Who::ALL.len()],
    /// An order made a move that is not in the table.
    pub illegal_move: bool,
}

/// One step of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Go(Who),
    /// A settlement begins: its charge took the money, or did not.
    Settle(Who, bool),
    /// The server breaks a deadlock: this one is undone and comes again.
    Abort(Who),
}

impl Model for Design {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let rows = Rows {
            status: OrderStatus::Pending,
            wish: false,
            charges: [Charge::Pending, Charge::Absent],
            refunds: [false; 2],
        };
        vec![State { rows, transactions: [Transaction::new(rows); Who::ALL.len()], illegal_move: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for who in Who::ALL {
            if self.waits_for(state, who).is_some() {
                if self.is_deadlocked(state, who) {
                    actions.push(Action::Abort(who));
                }
                continue;
            }
            match (state.transactions[who as usize].next, who) {
                (Some(Step::Begin), Who::SettleOwn | Who::SettleAddition) => {
                    if state.rows.charges[charge_of(who)] == Charge::UnderWay {
                        actions.extend([Action::Settle(who, true), Action::Settle(who, false)]);
                    }
                }
                // A claim passes over what is locked.
                (Some(Step::Begin), Who::ClaimOwn | Who::ClaimAddition) => {
                    let charge = charge_of(who);
                    if state.rows.charges[charge] == Charge::Pending && state.holder(charge).is_none() {
                        actions.push(Action::Go(who));
                    }
                }
                (Some(_), _) => actions.push(Action::Go(who)),
                (None, _) => {}
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = *before;
        match action {
            Action::Abort(who) => after.transactions[who as usize] = Transaction::new(before.rows),
            Action::Go(who) => self.go(&mut after, who),
            Action::Settle(who, paid) => {
                after.transactions[who as usize].paid = paid;
                self.go(&mut after, who);
            }
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::always();
        if *self == Self::default() {
            properties.extend(promises::sometimes());
        }
        properties
    }
}

impl Transaction {
    const fn new(sees: Rows) -> Self {
        Self { next: Some(Step::Begin), sees, holds: [false; 3], under_way: false, paid: false }
    }
}

impl State {
    /// Who holds a row.
    fn holder(&self, row: usize) -> Option<Who> {
        Who::ALL.into_iter().find(|who| self.transactions[*who as usize].holds[row])
    }

    /// What a statement of `who` that begins now sees: what is committed, and its own writes.
    fn snapshot(&mut self, who: Who) {
        let mine = self.transactions[who as usize];
        let mut sees = self.rows;
        for charge in [OWN, ADDITION] {
            if mine.holds[charge] {
                sees.charges[charge] = mine.sees.charges[charge];
            }
            sees.refunds[charge] |= mine.sees.refunds[charge];
        }
        if mine.holds[ORDER] {
            (sees.status, sees.wish) = (mine.sees.status, mine.sees.wish);
        }
        self.transactions[who as usize].sees = sees;
    }

    /// Locks a row that nobody else holds, and sees its newest version.
    fn lock(&mut self, who: Who, row: usize) {
        let mine = &mut self.transactions[who as usize];
        if mine.holds[row] {
            return;
        }
        mine.holds[row] = true;
        match row {
            ORDER => (mine.sees.status, mine.sees.wish) = (self.rows.status, self.rows.wish),
            charge => mine.sees.charges[charge] = self.rows.charges[charge],
        }
    }

    /// Writes become visible, locks go.
    fn commit(&mut self, who: Who) {
        let mine = &mut self.transactions[who as usize];
        for charge in [OWN, ADDITION] {
            if mine.holds[charge] {
                self.rows.charges[charge] = mine.sees.charges[charge];
            }
            self.rows.refunds[charge] |= mine.sees.refunds[charge];
        }
        if mine.holds[ORDER] {
            (self.rows.status, self.rows.wish) = (mine.sees.status, mine.sees.wish);
        }
        *mine = Transaction { next: None, ..Transaction::new(self.rows) };
        // It tells two runs that came to the same rows apart for no reason.
        mine.sees = State::OVER;
    }

    const OVER: Rows =
        Rows { status: OrderStatus::Pending, wish: false, charges: [Charge::Absent; 2], refunds: [false; 2] };

    fn move_order(&mut self, who: Who, to: OrderStatus) {
        let mine = &mut self.transactions[who as usize];
        self.illegal_move |= !mine.sees.status.may_become(to);
        mine.sees.status = to;
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rows { status, wish, charges: [own, addition], refunds } = self.rows;
        let wish = if wish { ", wish" } else { "" };
        write!(f, "{}{wish}; own {own:?}, addition {addition:?}, refunds {refunds:?}; ", status.as_str())?;
        for who in Who::ALL {
            let mine = &self.transactions[who as usize];
            let rows = ["own", "addition", "order"].into_iter().zip(mine.holds).filter(|(_, held)| *held);
            let held: Vec<_> = rows.map(|(row, _)| row).collect();
            if !matches!(mine.next, None | Some(Step::Begin)) {
                write!(
                    f,
                    "{who:?} before {:?} holds [{}]; ",
                    mine.next.unwrap_or(Step::Commit),
                    held.join(" ")
                )?;
            }
        }
        Ok(())
    }
}

/// Which charge a worker is about.
const fn charge_of(who: Who) -> usize {
    match who {
        Who::ClaimAddition | Who::SettleAddition => ADDITION,
        _ => OWN,
    }
}

impl Design {
    /// The row that the next step of `who` needs, and the statement has to wait for.
    fn waits_for(&self, state: &State, who: Who) -> Option<Who> {
        let mine = &state.transactions[who as usize];
        let row = match mine.next? {
            Step::LockOwn => OWN,
            Step::LockAddition if mine.sees.charges[ADDITION] != Charge::Absent => ADDITION,
            Step::LockOrder => ORDER,
            Step::EndOwn if self.closes(mine, OWN) => OWN,
            Step::EndAddition if self.closes(mine, ADDITION) => ADDITION,
            Step::Payment if matches!(who, Who::SettleOwn | Who::SettleAddition) => charge_of(who),
            Step::Order if self.joins(mine, who) => ORDER,
            Step::Late if mine.sees.charges[charge_of(who)] == Charge::Succeeded && !self.late_by_join => {
                ORDER
            }
            _ => return None,
        };
        state.holder(row).filter(|holder| *holder != who)
    }

    /// Whether the order, as the statement saw it, is one that it would move.
    fn joins(&self, mine: &Transaction, who: Who) -> bool {
        match who {
            Who::ClaimOwn | Who::ClaimAddition => mine.sees.status == OrderStatus::Pending,
            Who::SettleAddition if !self.addition_decides => false,
            Who::SettleOwn | Who::SettleAddition => mine.sees.status == OrderStatus::PaymentProcessing,
            Who::Cancel | Who::Reject | Who::Add => false,
        }
    }

    /// Whether a charge is written by what ends its order: of those that it saw as not final, the ones that it locked
    /// before the order.
    fn closes(&self, mine: &Transaction, charge: usize) -> bool {
        let open = matches!(mine.sees.charges[charge], Charge::Pending | Charge::UnderWay);
        open && (mine.holds[charge] || self.closes_unlocked || self.one_statement)
    }

    fn is_deadlocked(&self, state: &State, who: Who) -> bool {
        let mut at = who;
        for _ in Who::ALL {
            match self.waits_for(state, at) {
                None => return false,
                Some(holder) if holder == who => return true,
                Some(holder) => at = holder,
            }
        }
        false
    }
}
