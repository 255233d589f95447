//! settle, release and ack: what a try came to is committed with what follows for the payment and its order, in one
//! transaction that does nothing for a worker that lost its lease; only then is the message acknowledged.

use domain::order::status::OrderStatus;

use crate::action::Action;
use crate::claim::{record, write_try};
use crate::design::{Design, Scope};
use crate::finish;
use crate::state::{Answer, Ask, Hand, Kind, Payment, Standing, State, Step, Worker};

/// What workers may settle, give back or acknowledge, and where they may die.
pub fn actions(design: &Design, state: &State, actions: &mut Vec<Action>) {
    let fault = state.faults > 0;
    for (worker, busy) in (0..).zip(&state.workers) {
        match busy {
            Worker::Idle => continue,
            Worker::Acking(_) => actions.push(Action::Ack { worker }),
            Worker::Busy(hand) => match hand.step {
                // A worker that wakes up after its lease finds that out by itself.
                Step::Claimed if fault || hand.overdue => actions.push(Action::Release { worker }),
                Step::Claimed | Step::Asking => {}
                Step::Heard(_) if fault => {
                    actions.extend([false, true].map(|heard| Action::Settle { worker, heard }))
                }
                Step::Heard(_) | Step::Unheard(_) => actions.push(Action::Settle { worker, heard: true }),
            },
        }
        if fault {
            actions.push(Action::Crash { worker });
        }
    }
    if design.batch_follows_one
        && let [Worker::Busy(one), Worker::Busy(other)] = state.workers
        && matches!((one.step, other.step), (Step::Heard(_), Step::Heard(_)))
        && one.payment != other.payment
        && [one, other].iter().all(|hand| is_ours(design, state, hand))
    {
        actions.extend([0, 1].map(|worker| Action::SettleBoth { worker }));
    }
}

/// What follows for the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Succeeded,
    Failed,
    Retry { spend: bool, void: bool },
}

impl Next {
    const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The policy: `settlement` of `worker/src/policy.rs`.
fn next(design: &Design, scope: &Scope, hand: &Hand, answer: Answer) -> Next {
    let spend = |void| Next::Retry { spend: true, void };
    let last = hand.spent + 1 >= scope.budget;
    match (hand.ask, answer) {
        (_, Answer::Done) => Next::Succeeded,
        // Money is owed until it is given back, whatever the gateway says.
        (Ask::Refund, Answer::Declined | Answer::Voided) if !design.declined_refund_fails => {
            Next::Retry { spend: false, void: false }
        }
        (_, Answer::Declined | Answer::Voided) => Next::Failed,
        (Ask::Charge, Answer::InDoubt) if design.doubt_confirms => Next::Succeeded,
        (Ask::Charge, Answer::InDoubt) if last && design.fail_without_asking => Next::Failed,
        (Ask::Charge, Answer::InDoubt) => spend(last),
        (Ask::Charge, Answer::Unavailable) if design.outage_counts => spend(last),
        (Ask::Charge, Answer::Misconfigured) if design.misconfigured_counts => spend(last),
        (_, Answer::Pending) if design.pending_is_done => Next::Succeeded,
        (_, Answer::InDoubt | Answer::Pending | Answer::Unavailable | Answer::Misconfigured) => {
            Next::Retry { spend: false, void: false }
        }
    }
}

/// Commits what the worker heard.
pub fn settle(design: &Design, scope: &Scope, state: &mut State, worker: u8, heard: bool) {
    let hand = *state.hand_mut(worker);
    let (Step::Heard(answer) | Step::Unheard(answer)) = hand.step else {
        unreachable!("only what was heard is settled")
    };
    claim_late(design, state, &hand);
    let next = next(design, scope, &hand, answer);
    if is_ours(design, state, &hand) {
        commit(design, state, &hand, next);
        note_looked(state, hand.payment, hand.number, answer);
    } else {
        close_abandoned(design, state, &hand);
        if state.payment(hand.payment).rows[usize::from(hand.number)] == hand.epoch {
            note_looked(state, hand.payment, hand.number, answer);
        }
        if design.payment_unguarded && state.is_first(hand.payment) && next.is_final() {
            let row = state.payment_mut(hand.payment);
            let paid_before = std::mem::replace(&mut row.listed, true);
            state.wrongs.paid_twice |= paid_before;
        }
    }
    if heard {
        put_down(state, worker);
    } else {
        state.faults -= 1;
        state.hand_mut(worker).step = Step::Unheard(answer);
    }
}

/// What the row of a try says: whether the gateway may have looked at it.
fn note_looked(state: &mut State, payment: u8, number: u8, answer: Answer) {
    let row = state.payment_mut(payment);
    row.looked = match answer {
        Answer::Unavailable => row.looked.without(number),
        // Who says no to us, or not yet, has seen what we asked for.
        Answer::Done
        | Answer::Declined
        | Answer::Voided
        | Answer::Pending
        | Answer::InDoubt
        | Answer::Misconfigured => row.looked.with(number),
    };
}

/// What a weakened protocol has put off until the answer is there.
fn claim_late(design: &Design, state: &mut State, hand: &Hand) {
    let row = state.payment(hand.payment);
    if !state.is_first(hand.payment) {
        if design.call_before_attempt_row {
            write_try(state, hand.payment, hand.number, hand.epoch);
        }
    } else if design.call_before_claim && row.queued && row.epoch < hand.epoch {
        record(design, state, hand);
    }
}

/// A late answer: whoever claimed the charge since has written that this try was abandoned. It moves nothing.
fn close_abandoned(design: &Design, state: &mut State, hand: &Hand) {
    let written = state.payment(hand.payment).rows[usize::from(hand.number)];
    state.wrongs.answer_lost |= written != hand.epoch;
    state.wrongs.overwritten |= design.late_overwrites && ![0, hand.epoch].contains(&written);
}

/// Two payments of one batch: both move, and what follows is looked after once for their order, for the first.
pub fn settle_both(design: &Design, scope: &Scope, state: &mut State, worker: u8) {
    let other = 1 - worker;
    let unjoined = *state.hand_mut(other);
    settle(design, scope, state, worker, true);
    if let Step::Heard(answer) = unjoined.step {
        move_paid(design, state, &unjoined, next(design, scope, &unjoined, answer));
    }
    put_down(state, other);
}

/// `WHERE epoch = .. AND trying IS NOT NULL`, of the queue; of `payments`: `AND status = 'processing'`.
fn is_ours(design: &Design, state: &State, hand: &Hand) -> bool {
    let payment = state.payment(hand.payment);
    let there = payment.queued || !state.is_first(hand.payment);
    let status = payment.standing == Standing::Processing || design.no_guard;
    let epoch = payment.epoch == hand.epoch || design.no_guard || design.no_epoch_guard;
    there && status && epoch
}

/// The payment moves, and its order where it waits for it; whether it does, and whether it is wished away, is asked of
/// the order's row as it is when it is locked.
fn commit(design: &Design, state: &mut State, hand: &Hand, next: Next) {
    let payment = hand.payment;
    move_paid(design, state, hand, next);
    let Payment { order, kind, standing, .. } = *state.payment(payment);
    if kind.is_refund() || !standing.is_final() {
        return;
    }
    let row = state.orders[usize::from(order)];
    let waits = matches!(row.status, Some(OrderStatus::Pending | OrderStatus::PaymentProcessing))
        || design.settle_resurrects;
    let decides = kind == Kind::Charge || design.addition_decides;
    let wish = if design.wish_read_before { hand.saw.wish } else { row.wish };
    let succeeded = standing == Standing::Succeeded;
    if waits && decides {
        // One event, which stands for both changes.
        if row.status == Some(OrderStatus::Pending) {
            state.move_order(order, OrderStatus::PaymentProcessing);
        }
        match (succeeded, wish) {
            (true, false) => state.move_order(order, OrderStatus::Confirmed),
            (false, false) => state.move_order(order, OrderStatus::PaymentFailed),
            (true, true) => {
                state.move_order(order, OrderStatus::Cancelled);
                finish::give_back(design, state, payment);
            }
            (false, true) => state.move_order(order, OrderStatus::Cancelled),
        }
    } else if succeeded && !design.late_capture_ignored {
        let finished = if design.late_capture_from_snapshot {
            hand.saw.finished
        } else {
            finish::is_finished(state, order)
        };
        // Of an order that stands, only an addition may come without moving it.
        if finished || kind == Kind::Charge {
            finish::give_back(design, state, payment);
        }
    }
}

/// The payment alone moves, and its try's row is written. An order's first charge leaves the queue when it is final.
fn move_paid(design: &Design, state: &mut State, hand: &Hand, next: Next) {
    let payment = hand.payment;
    let Payment { attempts, epoch, queued, .. } = *state.payment(payment);
    if queued {
        write_try(state, payment, attempts, epoch);
    }
    let row = state.payment_mut(payment);
    let lost = row.rows[usize::from(hand.number)] != hand.epoch;
    let to = match next {
        Next::Succeeded => Standing::Succeeded,
        Next::Failed => Standing::Failed,
        Next::Retry { spend, void } => {
            row.spent += u8::from(spend);
            row.voiding |= void;
            Standing::Waiting
        }
    };
    state.wrongs.answer_lost |= lost;
    state.move_payment(payment, to);
    state.payment_mut(payment).queued |= queued && design.queue_row_stays;
}

/// Gives a claim back of which nothing was sent: its number is used again, and a row of it goes.
pub fn release(design: &Design, scope: &Scope, state: &mut State, worker: u8) {
    let hand = *state.hand_mut(worker);
    if !hand.overdue {
        state.faults -= 1;
    }
    let is_open = state.payment(hand.payment).standing == Standing::Processing;
    if is_ours(design, state, &hand) || design.release_unguarded && is_open {
        if design.outage_counts && hand.ask == Ask::Charge {
            let next = next(design, scope, &hand, Answer::Unavailable);
            commit(design, state, &hand, next);
        } else {
            let row = state.payment_mut(hand.payment);
            row.attempts -= 1;
            let written = &mut row.rows[usize::from(hand.number)];
            if *written == hand.epoch {
                *written = 0;
            }
            state.move_payment(hand.payment, Standing::Waiting);
        }
    }
    put_down(state, worker);
}

fn put_down(state: &mut State, worker: u8) {
    let hand = *state.hand_mut(worker);
    state.workers[usize::from(worker)] =
        if hand.message { Worker::Acking(hand.payment) } else { Worker::Idle };
}

/// The message is gone.
pub fn ack(state: &mut State, worker: u8) {
    state.workers[usize::from(worker)] = Worker::Idle;
}

/// A worker dies. What the broker has not seen acknowledged comes again; what was sent stays sent.
pub fn crash(state: &mut State, worker: u8) {
    state.faults -= 1;
    let unacknowledged = match state.workers[usize::from(worker)] {
        Worker::Busy(Hand { payment, message: true, .. }) | Worker::Acking(payment) => Some(payment),
        Worker::Busy(_) | Worker::Idle => None,
    };
    if let Some(payment) = unacknowledged {
        state.payment_mut(payment).messages += 1;
    }
    state.workers[usize::from(worker)] = Worker::Idle;
}
