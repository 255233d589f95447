//! charge: the request that a worker sends, and the gateway that gets it, now or later. The gateway knows one thing
//! about a key: nothing, taken, declined, or void; and only a void moves a key that was declined.

use crate::action::Action;
use crate::design::Design;
use crate::finish;
use crate::state::{Answer, Ask, Hand, Kind, PAYMENTS, Payment, Saw, Standing, State, Step, Worker};

/// What workers may send, hear or give up on, and what the gateway may get.
pub fn actions(design: &Design, state: &State, actions: &mut Vec<Action>) {
    for (worker, busy) in (0..).zip(&state.workers) {
        let Worker::Busy(hand) = busy else { continue };
        match hand.step {
            Step::Claimed => actions.push(match hand.ask {
                Ask::Charge => Action::Charge { worker },
                Ask::Void => Action::Void { worker },
                Ask::Refund => Action::Refund { worker },
            }),
            Step::Asking if state.faults > 0 => {
                actions.extend([Action::TimeOut { worker }, Action::Refuse { worker }]);
                actions.extend([Action::Misconfigure { worker }, Action::Postpone { worker }]);
            }
            Step::Asking | Step::Heard(_) | Step::Unheard(_) => {}
        }
    }
    for payment in 0..PAYMENTS as u8 {
        let Some(row) = &state.payments[usize::from(payment)] else { continue };
        for epoch in row.in_flight.iter() {
            actions.push(Action::Land { payment, epoch, approve: true });
            let may_refuse =
                row.kind.is_refund() && row.is_open(key(design, row.kind, epoch)) && state.faults > 0;
            if asks_the_bank(design, row, epoch) || may_refuse {
                actions.push(Action::Land { payment, epoch, approve: false });
            }
        }
    }
}

/// The gateway's key for a try: the payment's own, whatever the try.
pub fn key(design: &Design, kind: Kind, epoch: u8) -> u8 {
    let anew = if kind.is_refund() { design.new_key_per_refund } else { design.new_key_per_try };
    if anew { epoch } else { 0 }
}

/// Whether the bank decides: a charge, under a key of which nothing is known.
fn asks_the_bank(design: &Design, payment: &Payment, epoch: u8) -> bool {
    let key = key(design, payment.kind, epoch);
    let unknown = payment.is_open(key) || design.decline_forgotten && payment.declined.has(key);
    !payment.kind.is_refund() && !payment.voids.has(epoch) && unknown
}

/// The request leaves.
pub fn send(state: &mut State, worker: u8) {
    let hand = state.hand_mut(worker);
    hand.step = Step::Asking;
    let Hand { payment, epoch, number, ask, .. } = *hand;
    let row = state.payment_mut(payment);
    row.in_flight = row.in_flight.with(epoch);
    match ask {
        Ask::Void => row.voids = row.voids.with(epoch),
        Ask::Charge | Ask::Refund => row.sent = row.sent.with(epoch),
    }
    let claimed = (row.standing, row.epoch, row.attempts) == (Standing::Processing, epoch, number);
    let written = row.rows[usize::from(number)] == epoch || row.queued && claimed;
    state.wrongs.unwritten |= !written;
}

/// The gateway gets a request; its worker, if it still waits, gets the answer.
pub fn land(design: &Design, state: &mut State, payment: u8, epoch: u8, approve: bool) {
    let row = state.payments[usize::from(payment)].as_mut().expect("it was sent");
    row.in_flight = row.in_flight.without(epoch);
    let key = key(design, row.kind, epoch);
    let answer = match row.kind {
        _ if row.voids.has(epoch) => void(design, row, key),
        Kind::Refund { .. } if !approve && row.is_open(key) => {
            // A gateway that cannot give back just now: a fault, and it knows no more of the key than before.
            state.faults -= 1;
            Answer::Declined
        }
        _ => charge(design, row, epoch, approve),
    };
    let waits = |hand: &Hand| (hand.payment, hand.epoch, hand.step) == (payment, epoch, Step::Asking);
    let worker = state.workers.iter().position(|worker| matches!(worker, Worker::Busy(hand) if waits(hand)));
    if let Some(worker) = worker {
        hear(design, state, worker as u8, answer);
    }
}

/// A worker makes something of an answer, or of its absence.
fn hear(design: &Design, state: &mut State, worker: u8, answer: Answer) {
    let Hand { payment, .. } = *state.hand_mut(worker);
    let order = state.payment(payment).order;
    let saw = Saw {
        wish: design.wish_read_before && state.orders[usize::from(order)].wish,
        finished: design.late_capture_from_snapshot && finish::is_finished(state, order),
    };
    let hand = state.hand_mut(worker);
    hand.saw = saw;
    hand.step = Step::Heard(answer);
}

/// Takes (or gives back) the money, once a key.
fn charge(design: &Design, row: &mut Payment, epoch: u8, approve: bool) -> Answer {
    let key = key(design, row.kind, epoch);
    if asks_the_bank(design, row, epoch) || row.is_open(key) {
        if approve {
            row.taken = row.taken.with(key);
        } else {
            row.declined = row.declined.with(key);
        }
    }
    if row.void.has(key) {
        Answer::Voided
    } else if row.taken.has(key) {
        Answer::Done
    } else {
        Answer::Declined
    }
}

/// Sees to it that the key never takes money, unless it has.
fn void(design: &Design, row: &mut Payment, key: u8) -> Answer {
    if row.taken.has(key) {
        return Answer::Done;
    }
    if !design.look_up_instead_of_void {
        row.void = row.void.with(key);
    }
    // The weakening takes "nothing there" for this.
    Answer::Voided
}

/// No answer, or none that can be read. The request stays on its way: that it landed and only the answer was lost, is
/// that it lands next; that it is lost, is that it never does.
pub fn time_out(design: &Design, state: &mut State, worker: u8) {
    state.faults -= 1;
    hear(design, state, worker, Answer::InDoubt);
}

/// The gateway is at it. What it comes to, a later try is told.
pub fn postpone(design: &Design, state: &mut State, worker: u8) {
    state.faults -= 1;
    hear(design, state, worker, Answer::Pending);
}

/// Turned away unseen, with this answer: as if it had never been sent.
pub fn refuse(design: &Design, state: &mut State, worker: u8, answer: Answer) {
    state.faults -= 1;
    hear(design, state, worker, answer);
    let Hand { payment, epoch, .. } = *state.hand_mut(worker);
    let row = state.payment_mut(payment);
    row.in_flight = row.in_flight.without(epoch);
    row.sent = row.sent.without(epoch);
}
