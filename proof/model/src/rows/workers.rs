//! The statements of those who charge: claim and settle.

use domain::order::status::OrderStatus;

use super::{
    ADDITION, Answer, Charge, Design, LOOKED, ORDER, OWN, QUEUE, Queue, State, Step, TRY, Transaction, Try,
    Who, row_of,
};

impl Design {
    /// Locks the order's row.
    pub(super) fn lock_order(&self, state: &mut State, who: Who) {
        let seen = state.of(who).sees.version;
        state.lock(who, ORDER);
        if self.version_from_snapshot {
            state.of_mut(who).sees.version = seen;
        }
    }

    /// One statement. That of an order's own charge is the record of its try, and writes the row of one that was left open.
    pub(super) fn claim(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        if step == Step::Begin {
            state.snapshot(who);
            return Some(Step::Payment);
        }
        let row = row_of(who);
        if state.holder(row).is_some() {
            // Passed over; the sweep comes again.
            *state.of_mut(who) = Transaction::new();
            return Some(Step::Begin);
        }
        state.lock(who, row);
        let sees = state.of(who).sees;
        if !self.may_be_claimed(&sees, who) {
            // It is gone, or another's.
            *state.of_mut(who) = Transaction::new();
            return Some(Step::Begin);
        }
        let mine = state.of_mut(who);
        if row == ADDITION {
            mine.sees.charges[ADDITION] = Charge::UnderWay;
            // The row of its try stands before the call, and says nothing yet.
            mine.holds[LOOKED] = true;
            mine.sees.looked = true;
            return None;
        }
        mine.sees.queue = Queue::Trying(who.epoch());
        if matches!(sees.queue, Queue::Trying(_)) {
            mine.holds[TRY] = true;
            mine.sees.tried = Try::Abandoned;
        }
        None
    }

    /// One statement, which takes the order's own charge out of the queue and writes it among the payments, or moves an
    /// addition's, and moves the order that waits for it. Where that took or gave back money and confirmed nothing, more
    /// follow in the same transaction; and where it found another's claim.
    pub(super) fn settle(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        let paid = state.of(who).answer == Answer::Paid;
        let unconfirmed = paid.then_some(Step::FollowUp);
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(Step::Payment)
            }
            Step::Payment if who == Who::SettleAddition => {
                state.lock(who, ADDITION);
                let mine = state.of_mut(who);
                if matches!(mine.answer, Answer::Later | Answer::Doubt) {
                    mine.sees.charges[ADDITION] = Charge::Waiting;
                    mine.holds[LOOKED] = true;
                    mine.sees.looked = mine.answer == Answer::Doubt;
                    return None;
                }
                mine.sees.charges[ADDITION] = if paid { Charge::Succeeded } else { Charge::Failed };
                Some(Step::Order)
            }
            Step::Payment => self.take_out(state, who),
            Step::Write => {
                state.snapshot(who);
                Some(write(state.of_mut(who)))
            }
            Step::Late => {
                if !self.late_in_one_statement {
                    state.snapshot(who);
                }
                if state.of(who).sees.tried == Try::Abandoned {
                    state.lock(who, TRY);
                    state.of_mut(who).sees.tried = Try::Answered;
                }
                None
            }
            Step::Order => {
                let before = state.of(who).sees;
                if !self.joins(state.of(who), who) {
                    return unconfirmed;
                }
                self.lock_order(state, who);
                let sees = state.of(who).sees;
                if self.settle_gives_up && (sees.status, sees.wish) != (before.status, before.wish) {
                    return None;
                }
                if sees.is_decided() && !self.settle_unguarded {
                    return unconfirmed;
                }
                let wish = if self.wish_by_join { before.wish } else { sees.wish };
                let to = match (paid, wish) {
                    (true, false) => OrderStatus::Confirmed,
                    (false, false) => OrderStatus::PaymentFailed,
                    (_, true) => OrderStatus::Cancelled,
                };
                // One event, which stands for both changes.
                if sees.status == OrderStatus::Pending {
                    state.move_order(who, OrderStatus::PaymentProcessing);
                }
                state.move_order(who, to);
                if to == OrderStatus::Confirmed { None } else { unconfirmed }
            }
            Step::FollowUp => {
                if !self.late_by_join {
                    self.lock_order(state, who);
                }
                let mine = *state.of(who);
                // Late, or an addition to an order that stands.
                if mine.notes == 0 {
                    state.note(who);
                }
                let charge = if who == Who::SettleAddition { ADDITION } else { OWN };
                if mine.sees.is_finished() || charge == OWN {
                    state.give_back(who, charge);
                }
                None
            }
            _ => unreachable!("no step of a settlement"),
        }
    }

    /// The order's own charge leaves the queue, or waits there to be tried again, if it is still this settlement's.
    fn take_out(&self, state: &mut State, who: Who) -> Option<Step> {
        if !self.settles(&state.of(who).sees, who) {
            return Some(Step::Late);
        }
        state.lock(who, QUEUE);
        if !self.settles(&state.of(who).sees, who) {
            return Some(Step::Late);
        }
        let mine = state.of_mut(who);
        if who == Who::SettleOwn {
            mine.holds[TRY] = true;
            mine.sees.tried = Try::Answered;
        }
        if mine.answer == Answer::Later {
            mine.sees.queue = Queue::Waiting(who.epoch());
            return None;
        }
        mine.sees.queue = Queue::Gone;
        if self.in_two_transactions {
            let answer = mine.answer;
            state.commit(who);
            *state.of_mut(who) = Transaction { answer, ..Transaction::new() };
            return Some(Step::Write);
        }
        Some(write(mine))
    }
}

/// The order's own charge is written among the payments.
const fn write(mine: &mut Transaction) -> Step {
    mine.holds[OWN] = true;
    mine.sees.charges[OWN] =
        if matches!(mine.answer, Answer::Paid) { Charge::Succeeded } else { Charge::Failed };
    Step::Order
}
