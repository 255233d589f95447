//! cancel: ends an order that nobody has claimed together with its payment; is a mere wish while its charge is under
//! way, which the settlement decides; and gives the money back of one that is confirmed.

use shared::order::OrderStatus;

use crate::action::Action;
use crate::design::{Design, Scope};
use crate::state::{Kind, Payment, Standing, State};

/// What the client may do now.
pub fn actions(scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    if !scope.cancel {
        return;
    }
    for order in 0..scope.orders {
        let row = &state.orders[usize::from(order)];
        let may = matches!(
            row.status,
            Some(OrderStatus::Pending | OrderStatus::PaymentProcessing | OrderStatus::Confirmed)
        );
        if may && !row.wish {
            actions.push(Action::Cancel { order });
        }
    }
}

/// One statement, guarded by the order's status; a claim of the same order comes wholly before it or after it.
pub fn cancel(design: &Design, state: &mut State, order: u8) {
    match state.orders[usize::from(order)].status {
        Some(OrderStatus::Pending) => {
            state.move_order(order, OrderStatus::Cancelled);
            if !design.cancel_leaves_payment {
                state.move_payment(order, Standing::Failed);
            }
        }
        Some(OrderStatus::PaymentProcessing) if !design.cancel_kills => {
            state.orders[usize::from(order)].wish = true;
        }
        Some(OrderStatus::PaymentProcessing) => state.move_order(order, OrderStatus::Cancelled),
        Some(OrderStatus::Confirmed) => {
            state.move_order(order, OrderStatus::Cancelled);
            state.insert(Payment::new(order, Kind::Refund));
        }
        _ => unreachable!("only these may be cancelled"),
    }
}
