//! The statements of each transaction, step by step. A step that needs a row is taken when nobody else holds it.

use shared::order::OrderStatus;

use super::{ADDITION, Charge, Design, ORDER, OWN, State, Step, Transaction, Who, charge_of};

impl Design {
    /// The next step of a transaction that need not wait.
    pub(super) fn go(&self, state: &mut State, who: Who) {
        let step = state.transactions[who as usize].next.expect("one that is not over");
        let next = match who {
            Who::ClaimOwn | Who::ClaimAddition => self.claim(state, who, step),
            Who::SettleOwn | Who::SettleAddition => self.settle(state, who, step),
            Who::Cancel | Who::Reject => self.end(state, who, step),
            Who::Add => self.add(state, step),
            Who::LetGo => self.let_go(state, step),
        };
        match next {
            Some(next) => state.transactions[who as usize].next = Some(next),
            None => state.commit(who),
        }
    }

    /// Locks the order's row.
    fn lock_order(&self, state: &mut State, who: Who) {
        let seen = state.transactions[who as usize].sees.version;
        state.lock(who, ORDER);
        if self.version_from_snapshot {
            state.transactions[who as usize].sees.version = seen;
        }
    }

    /// One statement.
    fn claim(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let charge = charge_of(who);
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(Step::Payment)
            }
            Step::Payment => {
                if state.holder(charge).is_some() {
                    // Passed over; the sweep comes again.
                    state.transactions[who as usize] = Transaction::new(state.rows);
                    return Some(Step::Begin);
                }
                state.lock(who, charge);
                let mine = &mut state.transactions[who as usize];
                if !self.may_be_claimed(mine.sees.charges[charge]) {
                    return None;
                }
                mine.sees.charges[charge] = Charge::UnderWay;
                Some(Step::Order)
            }
            Step::Order => {
                if self.joins(&state.transactions[who as usize], who) {
                    self.lock_order(state, who);
                    let status = state.transactions[who as usize].sees.status;
                    if status == OrderStatus::Pending || self.claim_unguarded {
                        state.move_order(who, OrderStatus::PaymentProcessing);
                    }
                }
                None
            }
            _ => unreachable!("no step of a claim"),
        }
    }

    /// One statement, which moves the payment and the order that waits for it. Where that took or gave back money and
    /// confirmed nothing, more follow in the same transaction.
    fn settle(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let charge = charge_of(who);
        let paid = state.transactions[who as usize].paid;
        let unconfirmed = paid.then_some(Step::FollowUp);
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(Step::Payment)
            }
            Step::Payment => {
                state.lock(who, charge);
                let mine = &mut state.transactions[who as usize];
                mine.sees.charges[charge] = if paid { Charge::Succeeded } else { Charge::Failed };
                Some(Step::Order)
            }
            Step::Order => {
                let before = state.transactions[who as usize].sees;
                if !self.joins(&state.transactions[who as usize], who) {
                    return unconfirmed;
                }
                self.lock_order(state, who);
                let sees = state.transactions[who as usize].sees;
                if self.settle_gives_up && (sees.status, sees.wish) != (before.status, before.wish) {
                    return None;
                }
                if sees.status != OrderStatus::PaymentProcessing {
                    return unconfirmed;
                }
                let wish = if self.wish_by_join { before.wish } else { sees.wish };
                let to = match (paid, wish) {
                    (true, false) => OrderStatus::Confirmed,
                    (false, false) => OrderStatus::PaymentFailed,
                    (_, true) => OrderStatus::Cancelled,
                };
                state.move_order(who, to);
                if to == OrderStatus::Confirmed { None } else { unconfirmed }
            }
            Step::FollowUp => {
                if !self.late_by_join {
                    self.lock_order(state, who);
                }
                let mine = state.transactions[who as usize];
                // Late, or an addition to an order that stands.
                if mine.notes == 0 {
                    state.note(who);
                }
                if mine.sees.is_finished() || charge == OWN {
                    state.give_back(who, charge);
                }
                None
            }
            _ => unreachable!("no step of a settlement"),
        }
    }

    /// Four statements: the charges are locked, and again those that came meanwhile; the order is locked; then it is moved
    /// with all that follows.
    fn end(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.order_first || self.one_statement { Step::LockOrder } else { Step::LockOwn })
            }
            Step::LockOwn => {
                state.lock(who, OWN);
                let mine = &mut state.transactions[who as usize];
                mine.under_way = mine.sees.charges[OWN] == Charge::UnderWay;
                Some(Step::LockAddition)
            }
            Step::LockAddition => {
                if state.transactions[who as usize].sees.charges[ADDITION] != Charge::Absent {
                    state.lock(who, ADDITION);
                }
                let mine = &state.transactions[who as usize];
                match (mine.looked || self.looks_once, self.order_first) {
                    (false, _) => Some(Step::LookAgain),
                    (true, false) => Some(Step::BeginOrder),
                    (true, true) => self.rule(state, who),
                }
            }
            Step::LookAgain => {
                state.snapshot(who);
                state.transactions[who as usize].looked = true;
                Some(Step::LockAddition)
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::LockOrder)
            }
            Step::LockOrder => {
                self.lock_order(state, who);
                if self.order_first {
                    state.snapshot(who);
                    return Some(Step::LockOwn);
                }
                if self.one_statement {
                    let mine = &mut state.transactions[who as usize];
                    mine.under_way = mine.sees.charges[OWN] == Charge::UnderWay;
                }
                self.rule(state, who)
            }
            _ => self.close(state, who, step),
        }
    }

    /// What is to be done with an order that is locked.
    fn rule(&self, state: &mut State, who: Who) -> Option<Step> {
        use OrderStatus::{Cancelled, Confirmed, PaymentProcessing, Pending, Rejected};
        let mine = &mut state.transactions[who as usize];
        match (who, mine.sees.status) {
            (Who::Cancel, Pending | PaymentProcessing) if mine.under_way => {
                mine.sees.wish = true;
                state.note(who);
                return None;
            }
            (Who::Cancel, status) if status.may_become(Cancelled) => state.move_order(who, Cancelled),
            (Who::Reject, Confirmed) => state.move_order(who, Rejected),
            _ => return None,
        }
        Some(if self.one_statement { Step::EndOwn } else { Step::BeginEnd })
    }

    /// What follows from an end: what nobody claimed is closed, what is under way called off, and what took money goes back.
    /// It holds every charge by then: it looked twice, and who adds one locks the others first.
    fn close(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let charge = match step {
            Step::BeginEnd => {
                state.snapshot(who);
                return Some(Step::EndOwn);
            }
            Step::EndOwn => OWN,
            Step::EndAddition => ADDITION,
            _ => unreachable!("no step of an end"),
        };
        let mine = &state.transactions[who as usize];
        if self.writes(mine, charge) {
            let took = mine.sees.charges[charge] == Charge::Succeeded;
            state.lock(who, charge);
            if took {
                state.give_back(who, charge);
            }
            let now = &mut state.transactions[who as usize].sees.charges[charge];
            if *now == Charge::Pending || *now == Charge::Held && !self.end_leaves_held {
                *now = Charge::Failed;
            }
        }
        (charge == OWN).then_some(Step::EndAddition)
    }

    /// Three statements: the charges are locked, the order is locked, the addition's charge is written.
    fn add(&self, state: &mut State, step: Step) -> Option<Step> {
        use OrderStatus::{Confirmed, PaymentProcessing, Pending};
        let who = Who::Add;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.adds_unlocked { Step::LockOrder } else { Step::LockOwn })
            }
            Step::LockOwn => {
                state.lock(who, OWN);
                Some(Step::BeginOrder)
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::LockOrder)
            }
            Step::LockOrder => {
                self.lock_order(state, who);
                Some(Step::Commit)
            }
            Step::Commit => {
                let sees = state.transactions[who as usize].sees;
                let charge = match sees.status {
                    Confirmed => Charge::Pending,
                    Pending | PaymentProcessing if !sees.wish => Charge::Held,
                    _ => return None,
                };
                let mine = &mut state.transactions[who as usize];
                mine.holds[ADDITION] = true;
                mine.sees.charges[ADDITION] = charge;
                state.note(who);
                None
            }
            _ => unreachable!("no step of an addition"),
        }
    }

    /// Two statements: an addition that is held is locked, where its order is decided; then it goes by what the order is.
    fn let_go(&self, state: &mut State, step: Step) -> Option<Step> {
        let who = Who::LetGo;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.let_go_unlocked { Step::Commit } else { Step::Payment })
            }
            Step::Payment => {
                if state.holder(ADDITION).is_some() {
                    // Passed over; the sweep comes again.
                    state.transactions[who as usize] = Transaction::new(state.rows);
                    return Some(Step::Begin);
                }
                state.lock(who, ADDITION);
                let held = state.transactions[who as usize].sees.charges[ADDITION] == Charge::Held;
                held.then_some(if self.let_go_by_join { Step::Commit } else { Step::BeginOrder })
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::Commit)
            }
            Step::Commit => {
                state.lock(who, ADDITION);
                let sees = &mut state.transactions[who as usize].sees;
                sees.charges[ADDITION] = if sees.is_finished() { Charge::Failed } else { Charge::Pending };
                None
            }
            _ => unreachable!("no step of letting go"),
        }
    }
}
