//! That everything ends. The checker's own `eventually` is of no use here: it marks a state as visited whatever had
//! happened on the way there, so it may miss a run that never gets there. Instead two things are checked of which it
//! follows, both with nothing but plain states:
//!
//! - every step raises the [`rank`], so there are no circles: each run comes to an end, because a scope allows only
//!   so many faults;
//! - a run does not end before every durable order has: as long as one has not, something is left to do that needs
//!   neither luck nor a fault ([`can_go_on`]).

use domain::order::status::OrderStatus;

use crate::action::Action;
use crate::design::Scope;
use crate::protocol::Protocol;
use crate::state::{Api, Standing, State, Step, Worker};
use crate::state::{ORDER, Request};
use crate::verb::Verb;

/// Whether every order that is durable has ended, and each of its payments.
pub fn has_ended(scope: &Scope, state: &State) -> bool {
    let orders = state.orders.iter().filter_map(|order| order.status).all(|status| match status {
        OrderStatus::Pending | OrderStatus::PaymentProcessing => false,
        // Somebody accepts it, or the clock rejects it.
        OrderStatus::Confirmed => !scope.asks(Verb::Expire),
        _ => true,
    });
    orders && state.payments.iter().flatten().all(|payment| payment.standing.is_final() && !payment.queued)
}

/// Whether something will happen even if no fault strikes, no client comes, and nothing that is late arrives.
pub fn can_go_on(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.enabled(state, &mut actions);
    actions.into_iter().any(|action| match action {
        Action::CrashApi | Action::Crash { .. } | Action::Forget { .. } => false,
        // People need not come; the clock does.
        Action::Ask { verb } | Action::Decide { verb } => verb == Verb::Expire,
        Action::Owe { .. } => true,
        Action::Forge { .. } | Action::Drop { .. } => false,
        Action::TimeOut { .. } | Action::Refuse { .. } => false,
        Action::Misconfigure { .. } | Action::Postpone { .. } => false,
        Action::Settle { heard, .. } => heard,
        // Of a worker that died; that of a living one runs out by a fault.
        Action::Expire { payment } => state.holder(payment).is_none(),
        // One that wakes up; in the others' way only the breaker stands.
        Action::Release { worker } => {
            matches!(state.workers[usize::from(worker)], Worker::Busy(hand) if hand.overdue)
        }
        Action::Land { payment, epoch, .. } => state.workers.iter().any(|worker| {
            matches!(worker, Worker::Busy(hand)
                if (hand.payment, hand.epoch, hand.step) == (payment, epoch, Step::Asking))
        }),
        Action::Accept { .. } | Action::Tell { .. } | Action::Publish { .. } => true,
        Action::Claim { .. } | Action::Sweep { .. } | Action::LetGo { .. } | Action::Ack { .. } => true,
        // Nobody's time need be over; whose is, is found.
        Action::TimeOver { .. } => false,
        Action::CallOff { .. } => true,
        Action::SettleBoth { .. } => true,
        Action::Charge { .. } | Action::Void { .. } | Action::Refund { .. } => true,
    })
}

/// How near the end a state is; what stands first counts most. In the protocol as it is, every step raises it.
pub fn rank(state: &State) -> [i32; 12] {
    let payments = || state.payments.iter().flatten();
    let sum = |of: &dyn Fn(&crate::state::Payment) -> u32| payments().map(of).sum::<u32>() as i32;
    [
        payments().count() as i32,
        state.orders.iter().map(order_rank).sum(),
        -i32::from(state.faults),
        sum(&|payment| payment.epoch.into()),
        sum(&|payment| match payment.standing {
            Standing::Held => 0,
            Standing::Pending => 1,
            Standing::Processing => 2,
            Standing::Waiting => 3,
            Standing::Succeeded | Standing::Failed => 4,
        }),
        sum(&|payment| u32::from(payment.late) + u32::from(payment.voiding)),
        sum(&|payment| payment.lease_over.into()),
        sum(&|payment| payment.sent.len() + payment.voids.len()),
        -sum(&|payment| payment.in_flight.len()),
        -sum(&|payment| payment.messages.into()),
        state.workers.iter().map(worker_rank).sum(),
        state.requests.iter().map(|request| request_rank(request, state)).sum(),
    ]
}

fn order_rank(order: &crate::state::Order) -> i32 {
    let api = match order.api {
        Api::Nothing | Api::Waiting => 0,
        Api::Committed => 1,
        Api::Left => 2,
    };
    let status = match order.status {
        None | Some(OrderStatus::Pending) => 0,
        Some(OrderStatus::PaymentProcessing) => 1,
        Some(OrderStatus::Confirmed | OrderStatus::PaymentFailed) => 2,
        Some(OrderStatus::Accepted) => 3,
        Some(OrderStatus::Preparing) => 4,
        Some(OrderStatus::Ready) => 5,
        Some(OrderStatus::Delivered | OrderStatus::Rejected | OrderStatus::Cancelled) => 6,
    };
    api + status + i32::from(order.told) + i32::from(order.wish)
}

/// To look again is to come nearer: what was seen is then what is.
fn request_rank(request: &Request, state: &State) -> i32 {
    match request {
        Request::Unasked => 0,
        Request::Saw { status, .. } => 1 + i32::from(state.shown(ORDER) == Some(*status)),
        Request::Owes(_) => 3,
        Request::Done => 4,
    }
}

fn worker_rank(worker: &Worker) -> i32 {
    match worker {
        Worker::Busy(hand) => match hand.step {
            Step::Claimed => 0,
            Step::Asking => 1,
            Step::Heard(_) => 2,
            Step::Unheard(_) => 3,
        },
        Worker::Acking(_) => 4,
        Worker::Idle => 5,
    }
}
