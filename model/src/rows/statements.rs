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
            Who::Add => Self::add(state, step),
        };
        match next {
            Some(next) => state.transactions[who as usize].next = Some(next),
            None => state.commit(who),
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
                if mine.sees.charges[charge] != Charge::Pending {
                    return None;
                }
                mine.sees.charges[charge] = Charge::UnderWay;
                Some(Step::Order)
            }
            Step::Order => {
                if self.joins(&state.transactions[who as usize], who) {
                    state.lock(who, ORDER);
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

    /// One statement; and another in the same transaction, should the order end by it.
    fn settle(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let charge = charge_of(who);
        let paid = state.transactions[who as usize].paid;
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
                    return Some(Step::Late);
                }
                state.lock(who, ORDER);
                let sees = state.transactions[who as usize].sees;
                if self.settle_gives_up && (sees.status, sees.wish) != (before.status, before.wish) {
                    return None;
                }
                if sees.status != OrderStatus::PaymentProcessing {
                    return Some(Step::Late);
                }
                let wish = if self.wish_by_join { before.wish } else { sees.wish };
                let to = match (paid, wish) {
                    (true, false) => OrderStatus::Confirmed,
                    (false, false) => OrderStatus::PaymentFailed,
                    (_, true) => OrderStatus::Cancelled,
                };
                state.move_order(who, to);
                if to == OrderStatus::Confirmed {
                    return None;
                }
                if self.gives_back_one {
                    state.transactions[who as usize].sees.refunds[charge] |= paid;
                    return None;
                }
                Some(Step::BeginEnd)
            }
            Step::Late => {
                if paid {
                    if !self.late_by_join {
                        state.lock(who, ORDER);
                    }
                    let sees = &mut state.transactions[who as usize].sees;
                    let failed_keeps = self.failed_keeps && sees.status == OrderStatus::PaymentFailed;
                    sees.refunds[charge] |= sees.is_finished() && !failed_keeps;
                }
                None
            }
            _ => self.close(state, who, step),
        }
    }

    /// Three statements: the charges are locked, the order is locked, and then it is moved with all that follows.
    fn end(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let mine = &mut state.transactions[who as usize];
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.order_first || self.one_statement { Step::LockOrder } else { Step::LockOwn })
            }
            Step::LockOwn | Step::LockAddition => {
                let row = if step == Step::LockOwn { OWN } else { ADDITION };
                if mine.sees.charges[row] != Charge::Absent {
                    state.lock(who, row);
                    let mine = &mut state.transactions[who as usize];
                    mine.under_way |= mine.sees.charges[row] == Charge::UnderWay;
                }
                Some(match (row, self.order_first) {
                    (OWN, _) => Step::LockAddition,
                    (_, false) => Step::BeginOrder,
                    (_, true) => return self.rule(state, who),
                })
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::LockOrder)
            }
            Step::LockOrder => {
                state.lock(who, ORDER);
                if self.order_first {
                    state.snapshot(who);
                    return Some(Step::LockOwn);
                }
                if self.one_statement {
                    let mine = &mut state.transactions[who as usize];
                    mine.under_way = mine.sees.charges.contains(&Charge::UnderWay);
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
                return None;
            }
            (Who::Cancel, status) if status.may_become(Cancelled) => state.move_order(who, Cancelled),
            (Who::Reject, Confirmed) => state.move_order(who, Rejected),
            _ => return None,
        }
        Some(if self.one_statement { Step::EndOwn } else { Step::BeginEnd })
    }

    /// The statement with what follows from an end: what it locked and sees as pending is closed, what it sees as taken goes
    /// back. For no row that it does not hold yet does it wait; a charge that is left is given back when it lands.
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
        let mine = &mut state.transactions[who as usize];
        if mine.sees.charges[charge] == Charge::Succeeded {
            mine.sees.refunds[charge] = true;
        } else if self.closes(mine, charge) {
            state.lock(who, charge);
            let now = &mut state.transactions[who as usize].sees.charges[charge];
            if *now == Charge::Pending {
                *now = Charge::Failed;
            }
        }
        (charge == OWN).then_some(Step::EndAddition)
    }

    /// Two statements: the order is locked; the addition's charge is written.
    fn add(state: &mut State, step: Step) -> Option<Step> {
        use OrderStatus::{Confirmed, PaymentProcessing, Pending};
        let who = Who::Add;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(Step::LockOrder)
            }
            Step::LockOrder => {
                state.lock(who, ORDER);
                Some(Step::Commit)
            }
            Step::Commit => {
                let sees = state.transactions[who as usize].sees;
                if matches!(sees.status, Pending | PaymentProcessing | Confirmed) && !sees.wish {
                    let mine = &mut state.transactions[who as usize];
                    mine.holds[ADDITION] = true;
                    mine.sees.charges[ADDITION] = Charge::Pending;
                }
                None
            }
            _ => unreachable!("no step of an addition"),
        }
    }
}
