//! accept and publish: a group commit makes orders durable with their payments; then, and only then, the client is
//! told and the hint goes out. The api may die in between at any point.
//!
//! The hint leaves after the answer here. The code lets the two race, which nobody can tell: neither reads what the
//! other writes.

use domain::order::status::OrderStatus;

use crate::action::Action;
use crate::bits::Bits;
use crate::design::{Design, Scope};
use crate::state::{Api, Payment, State};

/// What the api may do now.
pub fn actions(design: &Design, scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    let orders = 0..scope.orders;
    let with = |api| Bits::of(orders.clone().filter(|order| state.orders[usize::from(*order)].api == api));
    let waiting = with(Api::Waiting);
    let committed = with(Api::Committed);
    // Any of those that wait may have come in time for this batch.
    actions.extend(
        (1..1 << scope.orders)
            .map(|set: u8| Bits::of(orders.clone().filter(|order| set >> order & 1 == 1)))
            .filter(|batch| batch.iter().all(|order| waiting.has(order)))
            .map(|orders| Action::Accept { orders }),
    );
    if !(waiting.is_empty() && committed.is_empty()) {
        actions.push(Action::CrashApi);
    }
    for order in orders {
        let told = state.orders[usize::from(order)].told;
        if !told && (committed.has(order) || design.answer_before_commit && waiting.has(order)) {
            actions.push(Action::Tell { order });
        }
        if told && committed.has(order) {
            actions.push(Action::Publish { order });
        }
    }
}

/// One statement: the order, its charge in the queue, its first event.
pub fn accept(state: &mut State, orders: Bits) {
    for order in orders.iter() {
        let index = usize::from(order);
        state.orders[index].api = Api::Committed;
        state.orders[index].status = Some(OrderStatus::Pending);
        state.payments[index] = Some(Payment::queued(order));
    }
}

/// The hint is in the queue.
pub fn publish(state: &mut State, order: u8) {
    state.orders[usize::from(order)].api = Api::Left;
    state.payment_mut(order).messages += 1;
}

/// What waits is never written; what is committed is not published.
pub fn crash(state: &mut State) {
    for order in &mut state.orders {
        if order.api != Api::Nothing {
            order.api = Api::Left;
        }
    }
}
