//! The statements of those who change an order, and of the sweep that lets an addition go, or calls it off.

use domain::order::status::OrderStatus;

use super::{ADDITION, Charge, Design, OWN, QUEUE, Queue, State, Step, Transaction, Who};

impl Design {
    /// The charges are locked, look by look (see `looks.rs`); the order is locked; then it is moved with all that follows.
    pub(super) fn end(&self, state: &mut State, who: Who, step: Step) -> Option<Step> {
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.order_first || self.one_statement { Step::LockOrder } else { self.first_look() })
            }
            Step::BeginLook
            | Step::BeginQueue
            | Step::LockQueue
            | Step::LockOwn
            | Step::BeginOthers
            | Step::LockAddition => {
                let next = self.look(state, who, step);
                if next == Step::BeginOrder && self.order_first {
                    return self.rule(state, who);
                }
                Some(next)
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::LockOrder)
            }
            Step::LockOrder => {
                self.lock_order(state, who);
                if self.order_first {
                    return Some(Step::BeginLook);
                }
                self.rule(state, who)
            }
            _ => self.close(state, who, step),
        }
    }

    /// What is to be done with an order that is locked.
    fn rule(&self, state: &mut State, who: Who) -> Option<Step> {
        use OrderStatus::{Cancelled, Confirmed, PaymentProcessing, Pending, Rejected};
        let mine = state.of_mut(who);
        if !self.under_way_from_snapshot {
            mine.under_way = mine.sees.queue.is_under_way();
        }
        match (who, mine.sees.status) {
            (Who::Cancel, Pending | PaymentProcessing) if mine.under_way => {
                if !self.wish_leaves_pending {
                    state.note_processing(who);
                }
                state.of_mut(who).sees.wish = true;
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
    /// It holds every charge by then.
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
        if charge == OWN && self.writes(state.of(who), QUEUE) {
            self.close_queued(state, who);
        }
        let mine = state.of(who);
        if self.writes(mine, charge) {
            let took = mine.sees.charges[charge] == Charge::Succeeded;
            state.lock(who, charge);
            if took {
                state.give_back(who, charge);
            }
            let now = &mut state.of_mut(who).sees.charges[charge];
            if *now == Charge::Pending || *now == Charge::Held && !self.end_leaves_held {
                *now = Charge::Failed;
            }
        }
        (charge == OWN).then_some(Step::EndAddition)
    }

    /// The order's own charge leaves the queue, as one that failed, where it was never claimed.
    fn close_queued(&self, state: &mut State, who: Who) {
        state.lock(who, QUEUE);
        let queue = state.of(who).sees.queue;
        if queue == Queue::New || queue.is_under_way() && self.claimed_is_closed {
            state.closed_under_way |= queue.is_under_way();
            let mine = state.of_mut(who);
            mine.sees.queue = Queue::Gone;
            mine.holds[OWN] = true;
            mine.sees.charges[OWN] = Charge::Failed;
        }
    }

    /// The charges are locked, the order is locked, the addition's charge is written.
    pub(super) fn add(&self, state: &mut State, step: Step) -> Option<Step> {
        use OrderStatus::{Confirmed, PaymentProcessing, Pending};
        let who = Who::Add;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.adds_unlocked { Step::LockOrder } else { self.first_look() })
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
                let sees = state.of(who).sees;
                let charge = match sees.status {
                    Confirmed => Charge::Pending,
                    Pending | PaymentProcessing if !sees.wish => Charge::Held,
                    _ => return None,
                };
                if !self.addition_leaves_pending {
                    state.note_processing(who);
                }
                let mine = state.of_mut(who);
                mine.holds[ADDITION] = true;
                mine.sees.charges[ADDITION] = charge;
                state.note(who);
                None
            }
            _ => Some(self.look(state, who, step)),
        }
    }

    /// Two statements: an addition that is held is locked, where its order is decided; then it goes by what the order is.
    pub(super) fn let_go(&self, state: &mut State, step: Step) -> Option<Step> {
        let who = Who::LetGo;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.let_go_unlocked { Step::Commit } else { Step::Payment })
            }
            Step::Payment => {
                if state.holder(ADDITION).is_some() {
                    // Passed over; the sweep comes again.
                    *state.of_mut(who) = Transaction::new();
                    return Some(Step::Begin);
                }
                state.lock(who, ADDITION);
                let held = state.of(who).sees.charges[ADDITION] == Charge::Held;
                held.then_some(if self.let_go_by_join { Step::Commit } else { Step::BeginOrder })
            }
            Step::BeginOrder => {
                state.snapshot(who);
                Some(Step::Commit)
            }
            Step::Commit => {
                state.lock(who, ADDITION);
                let sees = &mut state.of_mut(who).sees;
                sees.charges[ADDITION] = if sees.is_finished() { Charge::Failed } else { Charge::Pending };
                None
            }
            _ => unreachable!("no step of letting go"),
        }
    }

    /// Two statements: an addition whose time is over is locked; then its try is looked at, and it ends where it was never sent.
    pub(super) fn call_off(&self, state: &mut State, step: Step) -> Option<Step> {
        let who = Who::CallOff;
        match step {
            Step::Begin => {
                state.snapshot(who);
                Some(if self.called_off_unlocked { Step::Commit } else { Step::Payment })
            }
            Step::Payment => {
                if state.holder(ADDITION).is_some() {
                    // Passed over; the sweep comes again.
                    *state.of_mut(who) = Transaction::new();
                    return Some(Step::Begin);
                }
                state.lock(who, ADDITION);
                let open = state.of(who).sees.charges[ADDITION].is_open();
                open.then_some(if self.looked_in_one_statement { Step::Commit } else { Step::BeginEnd })
            }
            Step::BeginEnd => {
                state.snapshot(who);
                Some(Step::Commit)
            }
            Step::Commit => {
                let saw = state.of(who).sees;
                state.lock(who, ADDITION);
                let unsent = match saw.charges[ADDITION] {
                    Charge::Pending => true,
                    Charge::Waiting => !saw.looked,
                    _ => false,
                };
                if unsent {
                    let is = state.rows;
                    let sent = match is.charges[ADDITION] {
                        Charge::UnderWay => true,
                        Charge::Waiting => is.looked,
                        _ => false,
                    };
                    state.closed_under_way |= sent;
                    state.of_mut(who).sees.charges[ADDITION] = Charge::Failed;
                }
                None
            }
            _ => unreachable!("no step of calling off"),
        }
    }
}
