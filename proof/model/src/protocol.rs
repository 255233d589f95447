//! The protocol as the checker takes it: where it begins, what can happen, what follows, what must hold.

use stateright::{Model, Property};

use crate::action::Action;
use crate::design::{Design, Scope};
use crate::state::State;
use crate::{accept, charge, claim, desk, ending, promises, settle};

/// A design within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// What is checked.
    pub design: Design,
    /// How far.
    pub scope: Scope,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        accept::actions(&self.design, &self.scope, state, actions);
        claim::actions(&self.design, state, actions);
        charge::actions(&self.design, state, actions);
        settle::actions(&self.design, state, actions);
        desk::actions(&self.design, &self.scope, state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = *before;
        self.step(&mut after, action);
        if self.design == Design::full() {
            assert!(ending::rank(before) < ending::rank(&after), "{action:?} leads no nearer to the end");
            assert!(!after.wrongs.no_room, "{action:?} finds no room for another payment");
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::always();
        if self.design == Design::full() {
            properties.extend(promises::sometimes(&self.scope));
        }
        properties
    }
}

impl Protocol {
    fn step(&self, state: &mut State, action: Action) {
        let Self { design, scope } = self;
        match action {
            Action::Accept { orders } => accept::accept(state, orders),
            Action::Tell { order } => state.orders[usize::from(order)].told = true,
            Action::Publish { order } => accept::publish(state, order),
            Action::CrashApi => accept::crash(state),
            Action::Forge { payment } => {
                state.faults -= 1;
                state.payment_mut(payment).messages += 1;
            }
            Action::Drop { payment } => state.payment_mut(payment).messages -= 1,
            Action::Claim { worker, payment } => claim::claim(design, state, worker, payment),
            Action::Sweep { worker, payment } => claim::sweep(design, state, worker, payment),
            Action::LetGo { payment } => claim::let_go(design, state, payment),
            Action::Expire { payment } => claim::expire(state, payment),
            Action::Charge { worker } | Action::Void { worker } | Action::Refund { worker } => {
                charge::send(state, worker);
            }
            Action::Land { payment, epoch, approve } => charge::land(design, state, payment, epoch, approve),
            Action::TimeOut { worker } => charge::time_out(design, state, worker),
            Action::Refuse { worker } => charge::refuse(design, state, worker),
            Action::Release { worker } => settle::release(design, scope, state, worker),
            Action::Settle { worker, heard } => settle::settle(design, scope, state, worker, heard),
            Action::SettleBoth { worker } => settle::settle_both(design, scope, state, worker),
            Action::Ack { worker } => settle::ack(state, worker),
            Action::Crash { worker } => settle::crash(state, worker),
            Action::Ask { verb } => desk::ask(design, state, verb),
            Action::Decide { verb } => desk::decide(design, state, verb),
            Action::Owe { verb } => desk::owe(design, state, verb),
            Action::Forget { verb } => desk::forget(state, verb),
        }
    }
}
