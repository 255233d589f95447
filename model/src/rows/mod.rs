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
    Held,
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
    /// The charges': it is asked back.
    pub refunds: [bool; 2],
    /// The order's: one more with each change.
    pub version: u8,
    /// The versions that have an event, as bits.
    pub events: u16,
}

impl Rows {
    const fn is_finished(&self) -> bool {
        matches!(self.status, OrderStatus::PaymentFailed | OrderStatus::Rejected | OrderStatus::Cancelled)
    }

    /// Takes a row over from `other`.
    const fn copy(&mut self, row: usize, other: &Self) {
        if row == ORDER {
            (self.status, self.wish, self.version) = (other.status, other.wish, other.version);
        } else {
            (self.charges[row], self.refunds[row]) = (other.charges[row], other.refunds[row]);
        }
    }

    const fn is_decided(&self) -> bool {
        !matches!(self.status, OrderStatus::Pending | OrderStatus::PaymentProcessing)
    }
}

/// Who comes, once each: a worker that claims a charge, one that settles it, people, and the sweep that lets go what is held.
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
    LetGo,
}

impl Who {
    const ALL: [Self; 8] = [
        Self::ClaimOwn,
        Self::ClaimAddition,
        Self::SettleOwn,
        Self::SettleAddition,
        Self::Cancel,
        Self::Reject,
        Self::Add,
        Self::LetGo,
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
    /// It has looked for charges once.
    pub looked: bool,
    /// Of the order's own charge, when it was locked: it was under way.
    pub under_way: bool,
    /// The events that it writes, by their versions, as bits.
    pub notes: u16,
    /// What its claimed charge came to.
    pub paid: bool,
}

/// A step within a transaction; what waits for a lock does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Step {
    Begin,
    /// The first statement of what ends an order: every charge of it. Then the same again.
    LockOwn,
    LockAddition,
    LookAgain,
    /// Then the order. Of what lets an addition go: the order as it is now.
    BeginOrder,
    LockOrder,
    /// Then the order is moved, and what is pending closed, charge by charge; and what was taken goes back.
    BeginEnd,
    EndOwn,
    EndAddition,
    /// Of a claim or a settlement: its payment's row, then its order's.
    Payment,
    Order,
    /// Of a settlement, where money moved and no order was confirmed: the order is locked, and then written what follows.
    FollowUp,
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
    /// Two events have one version.
    pub event_twice: bool,
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
            version: 1,
            events: 1,
        };
        let transactions = [Transaction::new(rows); Who::ALL.len()];
        vec![State { rows, transactions, illegal_move: false, event_twice: false }]
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
                    if self.may_be_claimed(state.rows.charges[charge]) && state.holder(charge).is_none() {
                        actions.push(Action::Go(who));
                    }
                }
                // So does what lets an addition go.
                (Some(Step::Begin), Who::LetGo) => {
                    let held = state.rows.charges[ADDITION] == Charge::Held && state.rows.is_decided();
                    if held && (self.let_go_unlocked || state.holder(ADDITION).is_none()) {
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
        Self {
            next: Some(Step::Begin),
            sees,
            holds: [false; 3],
            looked: false,
            under_way: false,
            notes: 0,
            paid: false,
        }
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
                sees.copy(charge, &mine.sees);
            }
        }
        if mine.holds[ORDER] {
            sees.copy(ORDER, &mine.sees);
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
        mine.sees.copy(row, &self.rows);
    }

    /// Writes become visible, locks go.
    fn commit(&mut self, who: Who) {
        let mine = &mut self.transactions[who as usize];
        for charge in [OWN, ADDITION] {
            if mine.holds[charge] {
                self.rows.copy(charge, &mine.sees);
            }
        }
        if mine.holds[ORDER] {
            self.rows.copy(ORDER, &mine.sees);
        }
        self.event_twice |= self.rows.events & mine.notes != 0;
        self.rows.events |= mine.notes;
        *mine = Transaction { next: None, ..Transaction::new(self.rows) };
        // It tells two runs that came to the same rows apart for no reason.
        mine.sees = State::OVER;
    }

    const OVER: Rows = Rows {
        status: OrderStatus::Pending,
        wish: false,
        charges: [Charge::Absent; 2],
        refunds: [false; 2],
        version: 0,
        events: 0,
    };

    const fn is_over(&self, who: Who) -> bool {
        self.transactions[who as usize].next.is_none()
    }

    /// Asks a charge back that the transaction holds, should that not have been done.
    fn give_back(&mut self, who: Who, charge: usize) {
        let asked = &mut self.transactions[who as usize].sees.refunds[charge];
        if !std::mem::replace(asked, true) {
            self.note(who);
        }
    }

    /// Writes an event under the order's next version.
    fn note(&mut self, who: Who) {
        let mine = &mut self.transactions[who as usize];
        mine.sees.version += 1;
        mine.notes |= 1 << (mine.sees.version - 1);
    }

    fn move_order(&mut self, who: Who, to: OrderStatus) {
        let mine = &mut self.transactions[who as usize];
        self.illegal_move |= !mine.sees.status.may_become(to);
        mine.sees.status = to;
        self.note(who);
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rows { status, wish, charges: [own, addition], refunds, version, .. } = self.rows;
        let wish = if wish { ", wish" } else { "" };
        write!(f, "{} version {version}{wish}; own {own:?}, addition {addition:?}, ", status.as_str())?;
        write!(f, "refunds {refunds:?}; ")?;
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
        Who::ClaimAddition | Who::SettleAddition | Who::LetGo => ADDITION,
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
            Step::EndOwn if self.writes(mine, OWN) => OWN,
            Step::EndAddition if self.writes(mine, ADDITION) => ADDITION,
            Step::Payment if matches!(who, Who::SettleOwn | Who::SettleAddition) => charge_of(who),
            Step::Order if self.joins(mine, who) => ORDER,
            Step::FollowUp if !self.late_by_join => ORDER,
            Step::Commit if who == Who::LetGo => ADDITION,
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
            Who::Cancel | Who::Reject | Who::Add | Who::LetGo => false,
        }
    }

    /// Whether a claim may take what stands so.
    fn may_be_claimed(&self, charge: Charge) -> bool {
        charge == Charge::Pending || self.takes_held && charge == Charge::Held
    }

    /// Whether a charge is written by what ends its order: of those that it sees as not final all, to close them or to call
    /// them off; of those that took money the ones that it listed.
    fn writes(&self, mine: &Transaction, charge: usize) -> bool {
        match mine.sees.charges[charge] {
            Charge::Held | Charge::Pending | Charge::UnderWay => true,
            Charge::Succeeded => mine.holds[charge] || self.one_statement,
            Charge::Absent | Charge::Failed => false,
        }
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
