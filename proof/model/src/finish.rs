//! finish: what the end of an order by hand does, and by the clock: in the transaction of the move, charges that were
//! never sent are closed, those that may have been are only voided from now on, and what was taken is asked back. What is under
//! way is left to its settlement, which finds the order finished and gives back what came late. A settlement that ends its
//! order does none of this but for its own charge: additions are held until then, and the sweep closes them.

use domain::order::status::OrderStatus;

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

/// Whether it is known what became of its own charge.
pub fn is_decided(state: &State, order: u8) -> bool {
    let status = state.orders[usize::from(order)].status;
    !matches!(status, None | Some(OrderStatus::Pending | OrderStatus::PaymentProcessing))
}

/// Charges that wait for another try, and at which no gateway ever looked: each of their tries says so.
pub fn unsent(design: &Design, state: &State, order: u8) -> Bits {
    let is_unsent = |charge: &u8| {
        let row = state.payment(*charge);
        row.standing == Standing::Waiting && (row.looked.is_empty() || design.doubt_counts_as_unsent)
    };
    Bits::of(state.charges(order).iter().filter(is_unsent))
}

/// Ends an order in one transaction. `unsent`: what was claimed, and still may be closed.
pub fn finish(design: &Design, state: &mut State, order: u8, to: OrderStatus, unsent: Bits) {
    end(design, state, order, to, unsent);
    for charge in taken(state, order).iter() {
        give_back(design, state, charge);
    }
}

/// Moves it, closes what was never sent, and calls off what may be on its way.
pub fn end(design: &Design, state: &mut State, order: u8, to: OrderStatus, unsent: Bits) {
    state.move_order(order, to);
    for charge in state.charges(order).iter() {
        match state.payment(charge).standing {
            Standing::Held if design.finish_leaves_held => {}
            Standing::Pending if design.finish_leaves_payments => {}
            Standing::Processing | Standing::Waiting
                if design.claimed_is_closed && state.is_first(charge) =>
            {
                state.move_payment(charge, Standing::Failed);
            }
            Standing::Held | Standing::Pending => state.move_payment(charge, Standing::Failed),
            Standing::Processing | Standing::Waiting if unsent.has(charge) => {
                state.move_payment(charge, Standing::Failed);
            }
            Standing::Processing | Standing::Waiting => call_off(design, state, charge),
            Standing::Succeeded | Standing::Failed => {}
        }
    }
}

/// From now on it is only voided, whoever claims it. One that is held is left: it ends with its order.
pub fn call_off(design: &Design, state: &mut State, charge: u8) {
    let row = state.payment_mut(charge);
    let is_open = matches!(row.standing, Standing::Pending | Standing::Processing | Standing::Waiting);
    row.voiding |= is_open && !design.nothing_called_off;
}

/// Charges that are known to have taken money.
pub fn taken(state: &State, order: u8) -> Bits {
    let succeeded = |charge: &u8| state.payment(*charge).standing == Standing::Succeeded;
    Bits::of(state.charges(order).iter().filter(succeeded))
}

/// Asks for the refund of a charge: a payment like any other. The charge's own row says whether anything is left to go back.
pub fn give_back(design: &Design, state: &mut State, charge: u8) {
    let row = state.payment_mut(charge);
    let asked = std::mem::replace(&mut row.refunded, true);
    let order = row.order;
    if !asked || design.refund_uncounted {
        state.insert(Payment::new(order, Kind::Refund { of: charge }));
    }
}

/// The refund of a charge, if it was asked for.
pub fn refunds(state: &State, charge: u8) -> impl Iterator<Item = &Payment> {
    (0..PAYMENTS)
        .filter_map(|payment| state.payments[payment].as_ref())
        .filter(move |payment| payment.kind == Kind::Refund { of: charge })
}
