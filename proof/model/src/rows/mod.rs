//! A second model, one layer down: what the statements of concurrent transactions see of one order's rows. The first
//! takes each verb for one atomic step; whether its SQL is one depends on READ COMMITTED: a statement sees what was
//! committed when it began, except for a row that it had to wait for, of which it sees the newest version, or that it is
//! gone; a row that is written stays locked until the end. Here the verbs that meet on an order are walked lock by lock.
//!
//! Messages, leases and the gateway are the first model's. Here a claimed charge simply comes to something, or is claimed
//! once more.

mod design;
mod looks;
mod one_order;
mod people;
pub mod promises;
mod state;
mod transaction;
mod workers;

use domain::order::status::OrderStatus;
use stateright::{Model, Property};

pub use self::design::{Design, weakenings};
use self::one_order::{ADDITION, LOOKED, ORDER, QUEUE, TRY};
pub use self::one_order::{Charge, OWN, Queue, Rows, Try};
pub use self::state::State;
pub use self::transaction::{Answer, Step, Transaction, Who};

/// One step of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Go(Who),
    /// A settlement begins, of a charge that came to this.
    Settle(Who, Answer),
    /// The server breaks a deadlock: this one is undone and comes again.
    Abort(Who),
}

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Who, once each.
    pub who: &'static [Who],
}

impl Scope {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("added to", Self::ADDED_TO), ("tried again", Self::TRIED_AGAIN), ("late", Self::LATE)];
    /// An order that is added to.
    pub const ADDED_TO: Self = Self {
        who: &[
            Who::ClaimOwn,
            Who::ClaimAddition,
            Who::SettleOwn,
            Who::SettleAddition,
            Who::Cancel,
            Who::Reject,
            Who::Add,
            Who::LetGo,
        ],
    };
    /// One whose charge is tried again, while the first try may still be under way.
    pub const TRIED_AGAIN: Self = Self {
        who: &[Who::ClaimOwn, Who::ClaimAgain, Who::SettleOwn, Who::SettleAgain, Who::Cancel, Who::Add],
    };

    /// One whose addition takes too long.
    pub const LATE: Self = Self {
        who: &[
            Who::ClaimOwn,
            Who::ClaimAddition,
            Who::SettleOwn,
            Who::SettleAddition,
            Who::Cancel,
            Who::Add,
            Who::CallOff,
        ],
    };

    fn has(&self, who: Who) -> bool {
        self.who.contains(&who)
    }
}

/// The statements as the checker takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statements {
    /// How they are written.
    pub design: Design,
    /// Who comes.
    pub scope: Scope,
}

impl Model for Statements {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let design = &self.design;
        for who in self.scope.who.iter().copied() {
            if design.waits_for(state, who).is_some() {
                if design.is_deadlocked(state, who) {
                    actions.push(Action::Abort(who));
                }
                continue;
            }
            match (state.of(who).next, who) {
                (Some(Step::Begin), Who::SettleOwn) if state.is_over(Who::ClaimOwn) => {
                    actions.extend([Answer::Paid, Answer::Unpaid].map(|answer| Action::Settle(who, answer)));
                    if self.scope.has(Who::ClaimAgain) {
                        actions.push(Action::Settle(who, Answer::Later));
                    }
                }
                (Some(Step::Begin), Who::SettleAgain) if state.is_over(Who::ClaimAgain) => {
                    actions.extend([Answer::Paid, Answer::Unpaid].map(|answer| Action::Settle(who, answer)));
                }
                (Some(Step::Begin), Who::SettleAddition)
                    if state.rows.charges[ADDITION] == Charge::UnderWay =>
                {
                    actions.extend([Answer::Paid, Answer::Unpaid].map(|answer| Action::Settle(who, answer)));
                    if self.scope.has(Who::CallOff) {
                        actions
                            .extend([Answer::Later, Answer::Doubt].map(|answer| Action::Settle(who, answer)));
                    }
                }
                (Some(Step::Begin), Who::SettleOwn | Who::SettleAgain | Who::SettleAddition) => {}
                // A claim passes over what is locked.
                (Some(Step::Begin), Who::ClaimOwn | Who::ClaimAgain | Who::ClaimAddition) => {
                    if design.may_be_claimed(&state.rows, who) && state.holder(row_of(who)).is_none() {
                        actions.push(Action::Go(who));
                    }
                }
                // So does what lets an addition go.
                (Some(Step::Begin), Who::LetGo) => {
                    let held = state.rows.charges[ADDITION] == Charge::Held && state.rows.is_decided();
                    if held && (design.let_go_unlocked || state.holder(ADDITION).is_none()) {
                        actions.push(Action::Go(who));
                    }
                }
                // And what calls it off.
                (Some(Step::Begin), Who::CallOff) => {
                    let open = state.rows.charges[ADDITION].is_open();
                    if open && (design.called_off_unlocked || state.holder(ADDITION).is_none()) {
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
            Action::Abort(who) => *after.of_mut(who) = Transaction::new(),
            Action::Go(who) => self.design.go(&mut after, who),
            Action::Settle(who, answer) => {
                after.of_mut(who).answer = answer;
                self.design.go(&mut after, who);
            }
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::always();
        if self.design == Design::default() {
            properties.extend(promises::sometimes(&self.scope));
        }
        properties
    }
}

/// The row that a worker, or what lets an addition go, is about.
const fn row_of(who: Who) -> usize {
    match who {
        Who::ClaimAddition | Who::SettleAddition | Who::LetGo | Who::CallOff => ADDITION,
        _ => QUEUE,
    }
}

impl Design {
    /// The next step of a transaction that need not wait.
    fn go(&self, state: &mut State, who: Who) {
        let step = state.of(who).next.expect("one that is not over");
        let next = match who {
            Who::ClaimOwn | Who::ClaimAgain | Who::ClaimAddition => self.claim(state, who, step),
            Who::SettleOwn | Who::SettleAgain | Who::SettleAddition => self.settle(state, who, step),
            Who::Cancel | Who::Reject => self.end(state, who, step),
            Who::Add => self.add(state, step),
            Who::LetGo => self.let_go(state, step),
            Who::CallOff => self.call_off(state, step),
        };
        match next {
            Some(next) => state.go_on(who, next),
            None => state.commit(who),
        }
    }

    /// The row that the next step of `who` needs, and the statement has to wait for.
    fn waits_for(&self, state: &State, who: Who) -> Option<Who> {
        let mine = state.of(who);
        let holder = |row: usize| state.holder(row).filter(|holder| *holder != who);
        let there = |row: usize| mine.sees.has(row).then(|| holder(row)).flatten();
        match mine.next? {
            Step::LockQueue => there(QUEUE),
            Step::LockOwn => there(OWN),
            Step::LockAddition => there(ADDITION),
            Step::LockOrder => holder(ORDER),
            Step::EndOwn => {
                let row = |row: usize| self.writes(mine, row).then(|| holder(row)).flatten();
                row(QUEUE).or_else(|| row(OWN))
            }
            Step::EndAddition if self.writes(mine, ADDITION) => holder(ADDITION),
            Step::Payment if who == Who::SettleAddition => holder(ADDITION),
            Step::Payment if self.settles(&mine.sees, who) => holder(QUEUE),
            Step::Order if self.joins(mine, who) => holder(ORDER),
            Step::FollowUp if !self.late_by_join => holder(ORDER),
            Step::Commit if matches!(who, Who::LetGo | Who::CallOff) => holder(ADDITION),
            _ => None,
        }
    }

    /// Whether the order, as the statement saw it, is one that a settlement would move.
    fn joins(&self, mine: &Transaction, who: Who) -> bool {
        use OrderStatus::{PaymentProcessing, Pending};
        let status = mine.sees.status;
        match who {
            Who::SettleAddition => self.addition_decides && status == PaymentProcessing,
            _ if self.settle_expects_noted => {
                status == if mine.sees.noted { PaymentProcessing } else { Pending }
            }
            _ => matches!(status, Pending | PaymentProcessing),
        }
    }

    /// Whether a claim may take what stands so.
    fn may_be_claimed(&self, rows: &Rows, who: Who) -> bool {
        match who {
            Who::ClaimOwn => rows.queue == Queue::New,
            Who::ClaimAgain => matches!(rows.queue, Queue::Trying(1) | Queue::Waiting(1)),
            _ => {
                let charge = rows.charges[ADDITION];
                charge == Charge::Pending || self.takes_held && charge == Charge::Held
            }
        }
    }

    /// Whether the charge in the queue, as it stands, is the one that a settlement claimed.
    fn settles(&self, rows: &Rows, who: Who) -> bool {
        rows.queue == Queue::Trying(who.epoch())
    }

    /// Whether a charge is written by what ends its order: of those that it sees as not final all, to close them or to call
    /// them off; of those that took money the ones that it listed.
    fn writes(&self, mine: &Transaction, row: usize) -> bool {
        if row == QUEUE {
            return mine.sees.queue != Queue::Gone;
        }
        match mine.sees.charges[row] {
            Charge::Held | Charge::Pending | Charge::UnderWay | Charge::Waiting => true,
            Charge::Succeeded => mine.holds[row] || self.one_statement,
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
