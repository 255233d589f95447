//! claim and sweep: a payment becomes one worker's, under a new epoch and until a lease ends, which is committed before any
//! call. Of an order's first charge that is the record of the try: its row is written when it is settled, or, should that not
//! happen, by the next claim. Of the others it is written at once. A claim by message and one by the sweep differ only in who
//! asks. What is held is nobody's before the sweep lets it go.
//!
//! Time is left to chance: what is pending or waits for its retry may be due at any moment. Only a lease is looked at
//! closely, because it runs out for a living worker by a fault alone.

use crate::action::Action;
use crate::bits::Bits;
use crate::design::Design;
use crate::finish;
use crate::state::{Ask, Hand, Kind, PAYMENTS, Payment, Saw, Standing, State, Step, Worker};

/// What the queue, the claims and the leases may do now.
pub fn actions(design: &Design, state: &State, actions: &mut Vec<Action>) {
    for payment in 0..PAYMENTS as u8 {
        let Some(row) = &state.payments[usize::from(payment)] else { continue };
        if row.messages > 0 {
            actions.push(Action::Drop { payment });
        }
        if state.faults > 0 && !row.standing.is_final() {
            actions.push(Action::Forge { payment });
        }
        if row.standing == Standing::Processing
            && !row.lease_over
            && (state.faults > 0 || state.holder(payment).is_none())
        {
            actions.push(Action::Expire { payment });
        }
        if may_be_let_go(design, state, row) {
            actions.push(Action::LetGo { payment });
        }
        let claimable = is_claimable(design, row);
        for worker in 0..state.workers.len() as u8 {
            if state.workers[usize::from(worker)] != Worker::Idle {
                continue;
            }
            if row.messages > 0 && (claimable || makes_payment(design, state, payment)) {
                actions.push(Action::Claim { worker, payment });
            }
            if claimable && !design.no_sweep {
                actions.push(Action::Sweep { worker, payment });
            }
        }
    }
}

/// `status = 'pending' OR (status IN ('processing', 'waiting') AND due_at <= now())`; and not, to be charged, when its time is over.
fn is_claimable(design: &Design, payment: &Payment) -> bool {
    let claimable = match payment.standing {
        Standing::Pending | Standing::Waiting => true,
        Standing::Processing => payment.lease_over || design.no_lease,
        Standing::Held => design.held_is_claimed,
        Standing::Succeeded | Standing::Failed => false,
    };
    let may_be_sent = !payment.late || payment.voiding || design.late_is_claimed;
    let claimable = claimable && may_be_sent;
    // A weakened protocol may claim for ever; it is followed as far as a state can tell epochs apart.
    let countable = payment.epoch + 1 < Bits::LIMIT;
    assert!(!claimable || countable || *design != Design::full(), "the scope allows too many faults");
    claimable && countable
}

/// The weakening: a message for a payment that is not new is taken for a new one.
fn makes_payment(design: &Design, state: &State, payment: u8) -> bool {
    design.message_makes_payment
        && state.payment(payment).standing != Standing::Pending
        && state.payments.iter().any(Option::is_none)
}

/// A worker takes a message and claims what it names.
pub fn claim(design: &Design, state: &mut State, worker: u8, payment: u8) {
    state.payment_mut(payment).messages -= 1;
    let mut named = payment;
    if makes_payment(design, state, payment) {
        let order = state.payment(payment).order;
        named = state.insert(Payment::new(order, Kind::Charge)).expect("room, or there is no such step");
    }
    let message = !design.ack_before_settle;
    take(design, state, worker, named, message);
}

/// A worker claims what is due.
pub fn sweep(design: &Design, state: &mut State, worker: u8, payment: u8) {
    take(design, state, worker, payment, false);
}

/// The one statement of a claim. It writes no order: that of a first charge which was claimed is shown as
/// `PAYMENT_PROCESSING` ([`State::shown`]).
fn take(design: &Design, state: &mut State, worker: u8, payment: u8, message: bool) {
    let row = state.payment(payment);
    let ask = match row.kind {
        Kind::Refund { .. } => Ask::Refund,
        Kind::Charge | Kind::Addition if row.voiding => Ask::Void,
        Kind::Charge | Kind::Addition => Ask::Charge,
    };
    let is_late = row.late && ask == Ask::Charge;
    let hand = Hand {
        payment,
        epoch: row.epoch + 1,
        number: row.attempts + 1,
        ask,
        spent: row.spent,
        step: Step::Claimed,
        message,
        overdue: false,
        saw: Saw::default(),
    };
    state.wrongs.claimed_late |= is_late;
    if !(design.call_before_claim && state.is_first(payment)) {
        record(design, state, &hand);
    }
    state.workers[usize::from(worker)] = Worker::Busy(hand);
}

/// What a claim writes.
pub fn record(design: &Design, state: &mut State, hand: &Hand) {
    let is_first = state.is_first(hand.payment);
    let row = state.payment_mut(hand.payment);
    let left_open = (row.standing == Standing::Processing).then_some((row.attempts, row.epoch));
    row.standing = Standing::Processing;
    row.lease_over = false;
    row.epoch = hand.epoch;
    row.attempts = hand.number;
    if !is_first {
        if !design.call_before_attempt_row {
            write_try(state, hand.payment, hand.number, hand.epoch);
        }
    } else if let Some((number, epoch)) = left_open
        && !design.abandoned_unwritten
    {
        let epoch = if design.abandoned_under_new_epoch { hand.epoch } else { epoch };
        write_try(state, hand.payment, number, epoch);
    }
    if let Some((number, _)) = left_open
        && !design.abandoned_counts_as_unsent
    {
        let row = state.payment_mut(hand.payment);
        row.looked = row.looked.with(number);
    }
}

/// Whether the order of what is held is decided.
fn may_be_let_go(design: &Design, state: &State, payment: &Payment) -> bool {
    let ours = match payment.standing {
        Standing::Held => !design.held_forgotten,
        Standing::Processing | Standing::Waiting => {
            // Else it would do nothing for ever.
            design.let_go_fails_what_may_be_sent
                && payment.kind == Kind::Addition
                && finish::is_finished(state, payment.order)
        }
        Standing::Pending | Standing::Succeeded | Standing::Failed => false,
    };
    ours && (design.let_go_undecided || finish::is_decided(state, payment.order))
}

/// The sweep lets an addition go: to be charged where its order is paid; else it ends, because nothing was ever sent for it.
/// One step, because whoever ends an order, or pays for it anew, locks its payments first.
pub fn let_go(design: &Design, state: &mut State, payment: u8) {
    let comes_to_nothing = finish::is_finished(state, state.payment(payment).order);
    let to =
        if comes_to_nothing && !design.let_go_charges_all { Standing::Failed } else { Standing::Pending };
    state.move_payment(payment, to);
}

/// The row of a try; its number is the key of the table.
pub fn write_try(state: &mut State, payment: u8, number: u8, epoch: u8) {
    let row = &mut state.payment_mut(payment).rows[usize::from(number)];
    let taken = *row != 0;
    *row = epoch;
    state.wrongs.number_taken |= taken;
}

/// A lease runs out. Of a worker that lives: it was stopped, and knows nothing.
pub fn expire(state: &mut State, payment: u8) {
    if let Some(holder) = state.holder(payment) {
        state.faults -= 1;
        if let Worker::Busy(hand) = &mut state.workers[holder] {
            hand.overdue = true;
        }
    }
    state.payment_mut(payment).lease_over = true;
}
