//! late: the time that a charge has is over. From then on nobody claims it to be charged, though it is found only a moment later.
//! Whoever finds it, one at a time, calls it off: what was never sent ends at once, the order's own charge with its order, an
//! addition alone; what may have been sent is only voided from now on, and its settlement decides.
//!
//! One step, because it locks the charges first, those of a whole order or an addition by itself, and asks then whether a gateway
//! ever looked (`rows`). Time is left to chance. That of an addition which is held has not begun.

use domain::order::status::OrderStatus;

use crate::action::Action;
use crate::design::{Design, Scope};
use crate::finish;
use crate::state::{Kind, PAYMENTS, Standing, State};

/// What becomes of a charge whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was never sent: nothing was taken, and never will be.
    Closed,
    /// It may have been sent: it is only voided from now on.
    Doubted,
}

/// Times that may be over, and what that leads to.
pub fn actions(design: &Design, scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    if !scope.late {
        return;
    }
    for payment in 0..PAYMENTS as u8 {
        let Some(row) = &state.payments[usize::from(payment)] else { continue };
        if row.kind.is_refund() || row.standing == Standing::Held || row.standing.is_final() {
            continue;
        }
        if !row.late {
            actions.push(Action::TimeOver { payment });
        } else if !design.late_forgotten && end(design, state, payment).is_some() {
            actions.push(Action::CallOff { payment });
        }
    }
}

/// Time passes.
pub fn time_over(state: &mut State, payment: u8) {
    state.payment_mut(payment).late = true;
}

/// What is to be done; nothing, where it was done before.
fn end(design: &Design, state: &State, payment: u8) -> Option<End> {
    let row = state.payment(payment);
    let is_unsent = |payment| finish::unsent(design, state, row.order).has(payment);
    match row.standing {
        Standing::Pending => Some(End::Closed),
        Standing::Waiting if is_unsent(payment) || design.late_counts_as_unsent => Some(End::Closed),
        Standing::Processing | Standing::Waiting if !row.voiding => Some(End::Doubted),
        _ => None,
    }
}

/// Calls it off.
pub fn call_off(design: &Design, state: &mut State, payment: u8) {
    let (kind, order) = (state.payment(payment).kind, state.payment(payment).order);
    match end(design, state, payment) {
        Some(End::Doubted) => finish::call_off(design, state, payment),
        Some(End::Closed) if kind == Kind::Charge => end_order(design, state, order),
        Some(End::Closed) => {
            state.move_payment(payment, Standing::Failed);
            if design.late_addition_ends_order {
                state.move_order(order, OrderStatus::PaymentFailed);
            }
        }
        None => {}
    }
}

/// As it would by a charge that failed: or it is cancelled, where that was wished.
fn end_order(design: &Design, state: &mut State, order: u8) {
    let unsent = finish::unsent(design, state, order);
    state.note_processing(order);
    if state.orders[usize::from(order)].status == Some(OrderStatus::Pending) {
        state.move_order(order, OrderStatus::PaymentProcessing);
    }
    let wish = state.orders[usize::from(order)].wish;
    let to = if wish { OrderStatus::Cancelled } else { OrderStatus::PaymentFailed };
    finish::finish(design, state, order, to, unsent);
}
