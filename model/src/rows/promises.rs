//! What must hold of the rows in every state, and what must be seen to happen in some.

use shared::order::OrderStatus;
use stateright::Property;

use super::{ADDITION, Charge, Design, OWN, State, Who};

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
/// No two transactions wait for each other.
pub const NO_DEADLOCK: &str = "no deadlock";
/// A wish to cancel waits for its charge, or is granted.
pub const WISH_IS_GRANTED: &str = "a wish is granted";

/// What must hold in every state.
pub(super) fn always() -> Vec<Property<Design>> {
    vec![
        Property::always(FINISHED_KEEPS_NOTHING, |_, State { rows, .. }: &State| {
            let kept = |charge: &usize| rows.charges[*charge] == Charge::Succeeded && !rows.refunds[*charge];
            !rows.is_finished() || ![OWN, ADDITION].iter().any(kept)
        }),
        Property::always(FINISHED_STARTS_NOTHING, |_, State { rows, .. }: &State| {
            !rows.is_finished() || !rows.charges.contains(&Charge::Pending)
        }),
        Property::always(KEPT_IS_PAID, |_, State { rows, .. }: &State| {
            let paid = rows.charges[OWN] == Charge::Succeeded && rows.refunds == [false; 2];
            rows.status != OrderStatus::Confirmed || paid
        }),
        Property::always(NOBODY_WAITS_IN_VAIN, |_, State { rows, .. }: &State| {
            let waits = matches!(rows.status, OrderStatus::Pending | OrderStatus::PaymentProcessing);
            !waits || !rows.charges[OWN].is_final()
        }),
        Property::always(WISH_IS_GRANTED, |_, State { rows, .. }: &State| {
            use OrderStatus::{Cancelled, PaymentProcessing, Pending};
            !rows.wish || matches!(rows.status, Pending | PaymentProcessing | Cancelled)
        }),
        Property::always(MOVES_ARE_LEGAL, |_, state: &State| !state.illegal_move),
        Property::always(VERSIONS_HAVE_NO_GAP, |_, State { rows, event_twice, .. }: &State| {
            !event_twice && rows.events == (1 << rows.version) - 1
        }),
        Property::always(NO_DEADLOCK, |design: &Design, state: &State| {
            !Who::ALL.into_iter().any(|who| design.is_deadlocked(state, who))
        }),
    ]
}

/// What must be seen to happen.
pub(super) fn sometimes() -> Vec<Property<Design>> {
    vec![
        Property::sometimes("somebody waits for a row", |design: &Design, state: &State| {
            Who::ALL.into_iter().any(|who| design.waits_for(state, who).is_some())
        }),
        Property::sometimes("a wish", |_, state: &State| state.rows.wish),
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
