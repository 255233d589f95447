//! What must hold of the rows in every state, and what must be seen to happen in some.

use domain::order::status::OrderStatus;
use stateright::Property;

use super::{ADDITION, Charge, OWN, Queue, Scope, State, Statements, Step, Try, Who};

/// What a charge took of an order that is cancelled, rejected or not paid is asked back in the same commit.
pub const FINISHED_KEEPS_NOTHING: &str = "finished keeps nothing";
/// No charge of an order that is cancelled, rejected or not paid is there to be claimed.
pub const FINISHED_STARTS_NOTHING: &str = "finished starts nothing";
/// An order that stands keeps what its charge took, and its charge took it.
pub const KEPT_IS_PAID: &str = "kept is paid";
/// An order does not wait for a charge that is final.
pub const NOBODY_WAITS_IN_VAIN: &str = "nobody waits in vain";
/// Orders move as the table allows.
pub const MOVES_ARE_LEGAL: &str = "moves are legal";
/// The versions of an order's events are 1, 2, 3, .., and its own is the last of them.
pub const VERSIONS_HAVE_NO_GAP: &str = "versions have no gap";
/// The version under which an order was shown as `PAYMENT_PROCESSING` is that of the event that says so, once there is one.
pub const SHOWN_STAYS: &str = "what was shown stays";
/// No two transactions wait for each other.
pub const NO_DEADLOCK: &str = "no deadlock";
/// A wish to cancel waits for its charge, or is granted.
pub const WISH_IS_GRANTED: &str = "a wish is granted";
/// An order's own charge is in the queue or among the payments; never in both, never in neither.
pub const CHARGE_IS_IN_ONE_PLACE: &str = "a charge is in one place";
/// A charge that is closed because it was never sent was never claimed.
pub const CLOSED_WAS_NEVER_SENT: &str = "closed was never sent";
/// A worker that has settled finds its answer with its try, whoever has the charge by then.
pub const ANSWERS_ARE_KEPT: &str = "answers are kept";

/// What must hold in every state.
pub(super) fn always() -> Vec<Property<Statements>> {
    vec![
        Property::always(FINISHED_KEEPS_NOTHING, |_, State { rows, .. }: &State| {
            let kept = |charge: &usize| rows.charges[*charge] == Charge::Succeeded && !rows.refunds[*charge];
            !rows.is_finished() || ![OWN, ADDITION].iter().any(kept)
        }),
        Property::always(FINISHED_STARTS_NOTHING, |_, State { rows, .. }: &State| {
            !rows.is_finished() || !rows.charges.contains(&Charge::Pending) && rows.queue != Queue::New
        }),
        Property::always(KEPT_IS_PAID, |_, State { rows, .. }: &State| {
            let paid = rows.charges[OWN] == Charge::Succeeded && rows.refunds == [false; 2];
            rows.status != OrderStatus::Confirmed || paid
        }),
        Property::always(NOBODY_WAITS_IN_VAIN, |_, State { rows, .. }: &State| {
            rows.is_decided() || rows.charges[OWN] == Charge::Absent
        }),
        Property::always(WISH_IS_GRANTED, |_, State { rows, .. }: &State| {
            !rows.wish || !rows.is_decided() || rows.status == OrderStatus::Cancelled
        }),
        Property::always(MOVES_ARE_LEGAL, |_, state: &State| !state.illegal_move),
        Property::always(VERSIONS_HAVE_NO_GAP, |_, State { rows, event_twice, .. }: &State| {
            !event_twice && rows.events == (1 << rows.version) - 1
        }),
        Property::always(SHOWN_STAYS, |_, State { rows, shown, .. }: &State| {
            shown & rows.events & !rows.begun == 0
        }),
        Property::always(NO_DEADLOCK, |statements: &Statements, state: &State| {
            !Who::ALL.into_iter().any(|who| statements.design.is_deadlocked(state, who))
        }),
        Property::always(CHARGE_IS_IN_ONE_PLACE, |_, State { rows, .. }: &State| {
            (rows.queue == Queue::Gone) != (rows.charges[OWN] == Charge::Absent)
        }),
        Property::always(CLOSED_WAS_NEVER_SENT, |_, state: &State| !state.closed_under_way),
        Property::always(ANSWERS_ARE_KEPT, |_, state: &State| {
            !state.is_over(Who::SettleOwn) || state.rows.tried == Try::Answered
        }),
    ]
}

/// What must be seen to happen within a scope.
pub(super) fn sometimes(scope: &Scope) -> Vec<Property<Statements>> {
    let mut seen = vec![
        Property::sometimes("somebody waits for a row", |statements: &Statements, state: &State| {
            Who::ALL.into_iter().any(|who| statements.design.waits_for(state, who).is_some())
        }),
        Property::sometimes("a wish", |_, state: &State| state.rows.wish),
        Property::sometimes("looked for twice", |_, state: &State| {
            Who::ALL.into_iter().any(|who| state.of(who).looks == 2)
        }),
        Property::sometimes("one event for two changes", |_, State { rows, shown, .. }: &State| {
            rows.status == OrderStatus::Confirmed && rows.version == 3 && shown & rows.begun != 0
        }),
    ];
    if scope.has(Who::LetGo) {
        seen.extend(sometimes_added_to());
    }
    if scope.has(Who::CallOff) {
        seen.extend(sometimes_late());
    }
    if scope.has(Who::ClaimAgain) {
        seen.extend(sometimes_tried_again());
    }
    seen
}

fn sometimes_late() -> Vec<Property<Statements>> {
    vec![
        Property::sometimes(
            "late, and closed though it was tried",
            |_, State { rows, transactions, .. }: &State| {
                let tried = transactions[Who::SettleAddition as usize].next.is_none();
                tried && rows.charges[ADDITION] == Charge::Failed && !rows.looked
            },
        ),
        Property::sometimes("late, and in doubt", |_, state: &State| {
            state.is_over(Who::CallOff)
                && state.rows.charges[ADDITION] == Charge::Waiting
                && state.rows.looked
        }),
        Property::sometimes("late, and charged after all", |_, state: &State| {
            state.is_over(Who::CallOff) && state.rows.charges[ADDITION] == Charge::Succeeded
        }),
    ]
}

fn sometimes_tried_again() -> Vec<Property<Statements>> {
    vec![
        Property::sometimes("tried again", |_, State { rows, .. }: &State| {
            rows.queue == Queue::Trying(2) && rows.tried == Try::Answered
        }),
        Property::sometimes("abandoned", |_, state: &State| state.rows.tried == Try::Abandoned),
        Property::sometimes("answered late", |_, state: &State| {
            state.rows.tried == Try::Abandoned && state.of(Who::SettleOwn).next == Some(Step::Late)
        }),
    ]
}

fn sometimes_added_to() -> Vec<Property<Statements>> {
    vec![
        Property::sometimes("held, and then charged", |_, state: &State| {
            state.is_over(Who::LetGo) && state.rows.charges[ADDITION] == Charge::Succeeded
        }),
        Property::sometimes("held, and closed after its order", |_, state: &State| {
            state.is_over(Who::LetGo)
                && state.rows.charges[ADDITION] == Charge::Failed
                && state.rows.is_finished()
        }),
        Property::sometimes("all given back", |_, state: &State| state.rows.refunds == [true; 2]),
        Property::sometimes("all kept", |_, State { rows, .. }: &State| {
            rows.status == OrderStatus::Confirmed && rows.charges == [Charge::Succeeded; 2]
        }),
    ]
}
