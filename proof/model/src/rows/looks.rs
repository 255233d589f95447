//! How who changes an order locks its charges: the order's own first, and once that is held, the others. Whoever adds one does
//! the same, so after that there are no more.
//!
//! A settlement that a look waits for takes the own charge out of the queue and writes it among the payments, where that look
//! cannot see it. Then it is looked for once more, and is there: a final payment stays. So three looks do.

use super::{ADDITION, Design, OWN, QUEUE, State, Step, Who};

impl Design {
    /// How a transaction begins that locks an order's charges.
    pub(super) const fn first_look(&self) -> Step {
        if self.payments_looked_before_queue { Step::LockOwn } else { Step::LockQueue }
    }

    /// A step of a look.
    pub(super) fn look(&self, state: &mut State, who: Who, step: Step) -> Step {
        match step {
            Step::BeginLook => {
                state.snapshot(who);
                self.first_look()
            }
            Step::BeginQueue => {
                state.snapshot(who);
                Step::LockQueue
            }
            Step::LockQueue => {
                let mine = state.of_mut(who);
                if mine.looks == 0 {
                    mine.under_way = mine.sees.queue.is_under_way();
                }
                lock_if_seen(state, who, QUEUE);
                if self.payments_looked_before_queue { self.looked(state, who) } else { Step::LockOwn }
            }
            Step::LockOwn => {
                lock_if_seen(state, who, OWN);
                if self.looks_take_all {
                    Step::LockAddition
                } else if self.payments_looked_before_queue {
                    Step::BeginQueue
                } else {
                    self.looked(state, who)
                }
            }
            Step::BeginOthers => {
                state.snapshot(who);
                Step::LockAddition
            }
            Step::LockAddition => {
                lock_if_seen(state, who, ADDITION);
                match (self.looks_take_all, self.payments_looked_before_queue) {
                    (true, true) => Step::BeginQueue,
                    (true, false) => self.looked(state, who),
                    (false, _) => Step::BeginOrder,
                }
            }
            _ => unreachable!("no step of a look"),
        }
    }

    /// What follows a look.
    fn looked(&self, state: &mut State, who: Who) -> Step {
        let mine = state.of_mut(who);
        mine.looks += 1;
        let (looks, held_before, holds) = (mine.looks, mine.held_own, mine.holds_own());
        mine.held_own = holds;
        let bound = 2 + u8::from(self.looks_take_all);
        assert!(looks <= bound || self.in_two_transactions, "{who:?} looks {looks} times");
        if self.looks_take_all {
            let enough = self.looks_once || held_before || self.looks_twice && looks == 2;
            return if enough { Step::BeginOrder } else { Step::BeginLook };
        }
        let once = self.own_looked_for_once || self.adds_looks_once && who == Who::Add;
        if holds || once { Step::BeginOthers } else { Step::BeginLook }
    }
}

fn lock_if_seen(state: &mut State, who: Who, row: usize) {
    if state.of(who).sees.has(row) {
        state.lock(who, row);
    }
}
