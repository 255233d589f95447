//! The protocol: what can happen in a state, and what follows.

use crate::action::Action;
use crate::design::{Design, Scope};
use crate::state::{Answer, State};
use crate::{accept, charge, claim, late, requests, settle};

/// A design within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// What is checked.
    pub design: Design,
    /// How far.
    pub scope: Scope,
}

impl Protocol {
    /// All that can happen now.
    pub fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        accept::actions(&self.design, &self.scope, state, actions);
        claim::actions(&self.design, state, actions);
        charge::actions(&self.design, state, actions);
        settle::actions(&self.design, state, actions);
        requests::actions(&self.design, &self.scope, state, actions);
        late::actions(&self.design, &self.scope, state, actions);
    }

    /// Lets it happen.
    pub fn step(&self, state: &mut State, action: Action) {
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
            Action::TimeOver { payment } => late::time_over(state, payment),
            Action::CallOff { payment } => late::call_off(design, state, payment),
            Action::Expire { payment } => claim::expire(state, payment),
            Action::Charge { worker } | Action::Void { worker } | Action::Refund { worker } => {
                charge::send(state, worker);
            }
            Action::Land { payment, epoch, approve } => charge::land(design, state, payment, epoch, approve),
            Action::TimeOut { worker } => charge::time_out(design, state, worker),
            Action::Refuse { worker } => charge::refuse(design, state, worker, Answer::Unavailable),
            Action::Misconfigure { worker } => charge::refuse(design, state, worker, Answer::Misconfigured),
            Action::Postpone { worker } => charge::postpone(design, state, worker),
            Action::Release { worker } => settle::release(design, scope, state, worker),
            Action::Settle { worker, heard } => settle::settle(design, scope, state, worker, heard),
            Action::SettleBoth { worker } => settle::settle_both(design, scope, state, worker),
            Action::Ack { worker } => settle::ack(state, worker),
            Action::Crash { worker } => settle::crash(state, worker),
            Action::Ask { verb } => requests::ask(design, state, verb),
            Action::Decide { verb } => requests::decide(design, state, verb),
            Action::Owe { verb } => requests::owe(design, state, verb),
            Action::Forget { verb } => requests::forget(state, verb),
        }
    }
}
