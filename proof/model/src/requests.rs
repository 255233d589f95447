//! requests: what customers, the kitchen and the clock ask of an order. Each looks at the order, decides by what it saw, and
//! moves it by a statement that is guarded by just that. Who loses the race looks again.

use domain::order::status::OrderStatus;

use crate::action::Action;
use crate::bits::Bits;
use crate::design::{Design, Scope};
use crate::finish;
use crate::state::{Kind, ORDER, Payment, Request, Standing, State};
use crate::verb::Verb;

/// What may be asked or decided now.
pub fn actions(design: &Design, scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    let Some(status) = state.shown(ORDER) else { return };
    for (verb, request) in Verb::ALL.into_iter().zip(&state.requests) {
        match request {
            // Who is refused for what is still open comes again when it is not.
            Request::Unasked if verb == Verb::PayAnew && !may_pay_anew(design, state) => {}
            Request::Unasked if scope.asks(verb) && verb.may(status) => actions.push(Action::Ask { verb }),
            Request::Saw { .. } => actions.push(Action::Decide { verb }),
            Request::Owes(_) => {
                actions.push(Action::Owe { verb });
                if state.faults > 0 {
                    actions.push(Action::Forget { verb });
                }
            }
            Request::Unasked | Request::Done => {}
        }
    }
}

/// Reads the order.
pub fn ask(design: &Design, state: &mut State, verb: Verb) {
    let status = state.shown(ORDER).expect("it is asked of an order that there is");
    let taken = if design.refunds_from_snapshot { finish::taken(state, ORDER) } else { Bits::default() };
    let unsent =
        if design.unsent_from_snapshot { finish::unsent(design, state, ORDER) } else { Bits::default() };
    state.requests[verb as usize] =
        if verb.may(status) { Request::Saw { status, taken, unsent } } else { Request::Done };
}

/// One transaction, guarded by the status that was seen.
pub fn decide(design: &Design, state: &mut State, verb: Verb) {
    let Request::Saw { status: saw, taken, unsent } = state.requests[verb as usize] else {
        unreachable!("only what was seen is decided")
    };
    let unguarded = match verb {
        Verb::Expire => design.sweep_unguarded,
        Verb::Cancel => design.cancel_unguarded,
        Verb::NoShow | Verb::NoShowKept => design.no_show_unguarded,
        _ => false,
    };
    if state.shown(ORDER) != Some(saw) && !unguarded {
        return ask(design, state, verb);
    }
    state.requests[verb as usize] = Request::Done;
    let unsent = if design.unsent_from_snapshot { unsent } else { finish::unsent(design, state, ORDER) };
    let seen = Seen { taken, unsent };
    match verb {
        Verb::Cancel => cancel(design, state, seen),
        Verb::Reject | Verb::Expire => {
            state.orders[usize::from(ORDER)].rejected = true;
            finish(design, state, verb, OrderStatus::Rejected, seen);
        }
        Verb::NoShow => finish(design, state, verb, OrderStatus::Cancelled, seen),
        Verb::NoShowKept => {
            finish::end(design, state, ORDER, OrderStatus::Cancelled, unsent);
            state.orders[usize::from(ORDER)].kept = finish::taken(state, ORDER);
        }
        Verb::Accept => {
            state.orders[usize::from(ORDER)].accepted = true;
            state.move_order(ORDER, OrderStatus::Accepted);
        }
        Verb::Prepare => {
            state.orders[usize::from(ORDER)].accepted = true;
            state.move_order(ORDER, OrderStatus::Preparing);
        }
        Verb::Ready => state.move_order(ORDER, OrderStatus::Ready),
        Verb::Add => {
            if !state.orders[usize::from(ORDER)].wish {
                state.note_processing(ORDER);
                let known = saw == OrderStatus::Confirmed;
                let payment = if known { Payment::new } else { Payment::held };
                state.insert(payment(ORDER, Kind::Addition));
            }
        }
        Verb::PayAnew if !may_pay_anew(design, state) => {}
        Verb::PayAnew => {
            state.move_order(ORDER, OrderStatus::PaymentProcessing);
            state.insert(Payment::new(ORDER, Kind::Charge));
        }
    }
}

/// What an order comes to is not known before its additions have come to an end.
fn may_pay_anew(design: &Design, state: &State) -> bool {
    design.pays_anew_early || state.open_additions(ORDER).is_empty()
}

/// What is known of the charges of the order when it is decided.
#[derive(Clone, Copy)]
struct Seen {
    /// They took money.
    taken: Bits,
    /// They were claimed, and never sent.
    unsent: Bits,
}

/// Whether the order's own charge may be at the gateway. What is only shown of it is stored, whatever follows.
fn may_be_sent(state: &mut State, unsent: Bits) -> bool {
    let own = state.own_charge_place(ORDER);
    let claimed = matches!(state.payment(own).standing, Standing::Processing | Standing::Waiting);
    if claimed {
        state.note_processing(ORDER);
    }
    claimed && !unsent.has(own)
}

/// Ends the order; or, while its own charge may be at the gateway, leaves a wish for that to be settled by.
fn cancel(design: &Design, state: &mut State, seen: Seen) {
    let under_way = may_be_sent(state, seen.unsent);
    if under_way && !design.cancel_kills {
        state.orders[usize::from(ORDER)].wish = true;
        for charge in state.charges(ORDER).iter() {
            finish::call_off(design, state, charge);
        }
        state.orders[usize::from(ORDER)].told_cancelled = design.wish_told_as_done;
    } else {
        finish(design, state, Verb::Cancel, OrderStatus::Cancelled, seen);
        state.orders[usize::from(ORDER)].told_cancelled = true;
    }
}

/// As [`finish::finish`], where a weakened protocol goes other ways.
fn finish(design: &Design, state: &mut State, verb: Verb, to: OrderStatus, seen: Seen) {
    if !design.refund_in_second_transaction && !design.refunds_from_snapshot {
        return finish::finish(design, state, ORDER, to, seen.unsent);
    }
    finish::end(design, state, ORDER, to, seen.unsent);
    let taken = if design.refunds_from_snapshot { seen.taken } else { finish::taken(state, ORDER) };
    state.requests[verb as usize] = Request::Owes(taken);
    if !design.refund_in_second_transaction {
        owe(design, state, verb);
    }
}

/// The second transaction.
pub fn owe(design: &Design, state: &mut State, verb: Verb) {
    if let Request::Owes(charges) = state.requests[verb as usize] {
        for charge in charges.iter() {
            finish::give_back(design, state, charge);
        }
    }
    state.requests[verb as usize] = Request::Done;
}

/// Who was to do that dies before.
pub fn forget(state: &mut State, verb: Verb) {
    state.faults -= 1;
    state.requests[verb as usize] = Request::Done;
}
