//! What must hold in every state, and what must happen in some, so that a check cannot be green for want of events.

use shared::order::OrderStatus;
use stateright::Property;

use crate::design::Scope;
use crate::ending;
use crate::protocol::Protocol;
use crate::state::{Kind, PAYMENTS, Payment, Standing, State, Step, Worker};

/// At most one charge an order takes money, by the gateway's own ledger.
pub const CHARGED_ONCE: &str = "charged once";
/// A confirmed order was charged.
pub const CONFIRMED_WAS_CHARGED: &str = "confirmed was charged";
/// An order whose payment failed was not charged; and never will be, because this holds in every later state, and a
/// request that is late may land in any of them.
pub const FAILED_WAS_NOT_CHARGED: &str = "failed was not charged";
/// What a cancelled order's charge took, or takes yet, is on its way back.
pub const CANCELLED_KEEPS_NOTHING: &str = "cancelled keeps nothing";
/// Nothing is given back that was not taken, or twice.
pub const REFUNDED_ONCE: &str = "refunded once";
/// Whatever is final stays as it is.
pub const FINAL_STAYS: &str = "final stays final";
/// Orders move as the table allows.
pub const MOVES_ARE_LEGAL: &str = "moves are legal";
/// Every request has an attempt row that was written before it left.
pub const WRITTEN_BEFORE_ASKED: &str = "written before asked";
/// No number of an attempt is given twice.
pub const NUMBERS_ARE_FREE: &str = "numbers are free";
/// A client that holds a 202 has a durable order.
pub const TOLD_IS_DURABLE: &str = "told is durable";
/// A worker that lives, and was not stopped for longer than its lease, is never overtaken.
pub const NOBODY_IS_OVERTAKEN: &str = "nobody is overtaken";
/// An order fails because its charge was declined, or because as many charges as the budget has were really sent;
/// never because the gateway, or the way there, was closed.
pub const OUTAGE_FAILS_NOTHING: &str = "outage fails nothing";
/// Every durable order ends, see [`ending`].
pub const ACCEPTED_ENDS: &str = "accepted ends";

/// The promises.
pub fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always(CHARGED_ONCE, |_, state: &State| {
            orders().all(|order| charges(state, order).map(|p| p.taken.len()).sum::<u32>() <= 1)
        }),
        Property::always(CONFIRMED_WAS_CHARGED, |_, state: &State| {
            with(state, OrderStatus::Confirmed).all(|order| is_charged(state, order))
        }),
        Property::always(FAILED_WAS_NOT_CHARGED, |_, state: &State| {
            with(state, OrderStatus::PaymentFailed).all(|order| !is_charged(state, order))
        }),
        Property::always(CANCELLED_KEEPS_NOTHING, |_, state: &State| {
            with(state, OrderStatus::Cancelled).all(|order| {
                let given_back = payments(state, order, Kind::Refund).any(|p| p.standing != Standing::Failed);
                given_back || !is_charged(state, order)
            })
        }),
        Property::always(REFUNDED_ONCE, |_, state: &State| {
            orders().all(|order| {
                let refunded: u32 = payments(state, order, Kind::Refund).map(|p| p.taken.len()).sum();
                refunded <= charges(state, order).map(|p| p.taken.len()).sum()
            })
        }),
        Property::always(FINAL_STAYS, |_, state: &State| !state.wrongs.final_moved),
        Property::always(MOVES_ARE_LEGAL, |_, state: &State| !state.wrongs.illegal_move),
        Property::always(WRITTEN_BEFORE_ASKED, |_, state: &State| !state.wrongs.unwritten),
        Property::always(NUMBERS_ARE_FREE, |_, state: &State| !state.wrongs.number_taken),
        Property::always(TOLD_IS_DURABLE, |_, state: &State| {
            state.orders.iter().all(|order| !order.told || order.status.is_some())
        }),
        Property::always(NOBODY_IS_OVERTAKEN, |_, state: &State| {
            hands(state).all(|hand| {
                let gave_it_up = hand.overdue || matches!(hand.step, Step::Unheard(_));
                gave_it_up || hand.epoch == state.payment(hand.payment).epoch
            })
        }),
        Property::always(OUTAGE_FAILS_NOTHING, |protocol, state: &State| {
            with(state, OrderStatus::PaymentFailed).all(|order| {
                charges(state, order)
                    .all(|p| !p.declined.is_empty() || p.sent.len() >= protocol.scope.budget.into())
            })
        }),
        Property::always(ACCEPTED_ENDS, |protocol, state: &State| {
            ending::has_ended(state) || ending::can_go_on(protocol, state)
        }),
    ]
}

/// What must be seen to happen within a scope.
pub fn sometimes(scope: &Scope) -> Vec<Property<Protocol>> {
    let mut seen = vec![
        Property::sometimes("confirmed", |_, state: &State| {
            with(state, OrderStatus::Confirmed).next().is_some()
        }),
        Property::sometimes("declined", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed)
                .any(|order| charges(state, order).all(|p| p.void.is_empty()))
        }),
        Property::sometimes("voided", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed)
                .any(|order| charges(state, order).all(|p| p.declined.is_empty()))
        }),
        Property::sometimes("found charged by a void", |_, state: &State| {
            with(state, OrderStatus::Confirmed)
                .any(|order| charges(state, order).any(|p| !p.voids.is_empty()))
        }),
        Property::sometimes("two hold one payment", |_, state: &State| {
            let mut hands = hands(state).map(|hand| hand.payment);
            hands.next().is_some_and(|payment| hands.any(|other| other == payment))
        }),
        Property::sometimes("a charge is late for its void", |_, state: &State| {
            with(state, OrderStatus::PaymentFailed)
                .any(|order| charges(state, order).any(|p| p.sent.iter().any(|epoch| p.in_flight.has(epoch))))
        }),
    ];
    if scope.cancel {
        seen.push(Property::sometimes("cancelled and refunded", |_, state: &State| {
            with(state, OrderStatus::Cancelled)
                .any(|order| payments(state, order, Kind::Refund).any(|p| p.standing == Standing::Succeeded))
        }));
        seen.push(Property::sometimes("cancelled in time", |_, state: &State| {
            with(state, OrderStatus::Cancelled).any(|order| charges(state, order).all(|p| p.epoch == 0))
        }));
    }
    seen
}

fn orders() -> std::ops::Range<u8> {
    0..PAYMENTS as u8
}

fn with(state: &State, status: OrderStatus) -> impl Iterator<Item = u8> {
    (0..).zip(&state.orders).filter(move |(_, order)| order.status == Some(status)).map(|(order, _)| order)
}

fn payments(state: &State, order: u8, kind: Kind) -> impl Iterator<Item = &Payment> {
    state.payments.iter().flatten().filter(move |payment| (payment.order, payment.kind) == (order, kind))
}

fn charges(state: &State, order: u8) -> impl Iterator<Item = &Payment> {
    payments(state, order, Kind::Charge)
}

fn hands(state: &State) -> impl Iterator<Item = &crate::state::Hand> {
    state.workers.iter().filter_map(|worker| match worker {
        Worker::Busy(hand) => Some(hand),
        Worker::Idle | Worker::Acking(_) => None,
    })
}

fn is_charged(state: &State, order: u8) -> bool {
    charges(state, order).any(|payment| !payment.taken.is_empty())
}
