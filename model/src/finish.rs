//! finish: what every end of an order does, whoever brings it about: in the transaction of the move, charges that nobody
//! ever claimed are closed, and what was taken is asked back. What is under way is left to its settlement, which finds
//! the order finished and gives back what came late.

use shared::order::OrderStatus;

use crate::bits::Bits;
use crate::design::Design;
use crate::state::{Kind, PAYMENTS, Payment, Standing, State};

/// Whether nothing that it took may be kept.
pub fn is_finished(state: &State, order: u8) -> bool {
    matches!(
        state.orders[usize::from(order)].status,
        Some(OrderStatus::PaymentFailed | OrderStatus::Rejected | OrderStatus::Cancelled)
    )
}

/// Ends an order in one transaction.
pub fn finish(design: &Design, state: &mut State, order: u8, to: OrderStatus) {
    end(design, state, order, to);
    for charge in taken(state, order).iter() {
        give_back(design, state, charge);
    }
}

/// Moves it, and closes what nobody claimed.
pub fn end(design: &Design, state: &mut State, order: u8, to: OrderStatus) {
    state.move_order(order, to);
    for charge in state.charges(order).iter() {
        if state.payment(charge).standing == Standing::Pending && !design.finish_leaves_payments {
            state.move_payment(charge, Standing::Failed);
        }
    }
}

/// Charges that are known to have taken money.
pub fn taken(state: &State, order: u8) -> Bits {
    let succeeded = |charge: &u8| state.payment(*charge).standing == Standing::Succeeded;
    Bits::of(state.charges(order).iter().filter(succeeded))
}

/// Asks for the refund of a charge: a payment like any other, one at most for each charge.
pub fn give_back(design: &Design, state: &mut State, charge: u8) {
    let kind = Kind::Refund { of: charge };
    let asked = state.payments.iter().flatten().any(|payment| payment.kind == kind);
    if !asked || design.no_unique_refund {
        let order = state.payment(charge).order;
        state.insert(Payment::new(order, kind));
    }
}

/// The refund of a charge, if it was asked for.
pub fn refunds(state: &State, charge: u8) -> impl Iterator<Item = &Payment> {
    (0..PAYMENTS)
        .filter_map(|payment| state.payments[payment].as_ref())
        .filter(move |payment| payment.kind == Kind::Refund { of: charge })
}
