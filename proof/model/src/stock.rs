//! A sixth model, of stock: one piece that two orders want. It is taken with an order, held until that ends, and then counted back or
//! sold by a chore that several workers do at once; who pays anew takes it again. Whoever reads decides in a transaction of their own,
//! by what the locks show and not by what they saw before, unless a weakening says otherwise.

use std::fmt;

use stateright::{Model, Property};

/// What there is to begin with.
const PIECES: i8 = 1;

/// The protocol, with one thing left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// Who orders takes what was there when they looked.
    pub takes_by_snapshot: bool,
    /// An order that is written a second time, because an answer was lost, takes again.
    pub replay_takes: bool,
    /// The end of an order leaves what it holds.
    pub end_forgets: bool,
    /// It marks what went back already.
    pub end_marks_again: bool,
    /// The chore counts what was due when it looked.
    pub counts_by_snapshot: bool,
    /// Who pays anew keeps what was held when they looked.
    pub anew_by_snapshot: bool,
    /// Who pays anew takes nothing.
    pub anew_takes_nothing: bool,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not asked for, or refused.
    None,
    /// Accepted, and not over.
    Open,
    /// Its payment failed.
    Failed,
    /// Cancelled or rejected.
    Ended,
    /// Handed over.
    Delivered,
}

/// What a hold counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the database's hold_state")]
pub enum Counts {
    Nothing,
    Held,
    Back,
    Sold,
}

/// An order, and its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    standing: Standing,
    counts: Counts,
    /// What it is to be counted as.
    due: Option<Counts>,
    /// Who accepts it has looked, and whether there was any.
    saw: Option<bool>,
    /// Who pays it anew has looked, and whether it was held still.
    saw_held: Option<bool>,
    answered: bool,
    replayed: bool,
    paid_anew: bool,
}

/// The stock's row, the orders, and what each chore saw as due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    available: i8,
    held: i8,
    sold: i8,
    orders: [Order; 2],
    chores: [Option<[bool; 2]>; 2],
}

/// What may happen next: to an order, or by a chore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "what they do is their name")]
pub enum Action {
    Look(usize),
    Accept(usize),
    AcceptAgain(usize),
    Fail(usize),
    Cancel(usize),
    Deliver(usize),
    LookAnew(usize),
    PayAnew(usize),
    LookForDue(usize),
    Count(usize),
}

/// What the checker walks through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// What is checked.
    pub design: Design,
}

/// Nothing comes from nowhere, and nothing is lost.
pub const ADDS_UP: &str = "available, held and sold are what was put in";
/// The net under it.
pub const NEVER_BELOW: &str = "no count is below zero";
/// What is to be handed over is there.
pub const OPEN_HOLDS: &str = "an order that goes on holds what it wants";
/// What nobody gets is to be had again.
pub const ENDED_LETS_GO: &str = "an ended order holds nothing but what is due to go back";
/// Who has it has it.
pub const DELIVERED_HAS: &str = "what was handed over is sold, or due to be";

/// Each with the promise that falls.
pub fn weakenings() -> Vec<(&'static str, Stock, &'static str)> {
    let of = |design| Stock { design };
    let full = Design::default();
    vec![
        ("takes_by_snapshot", of(Design { takes_by_snapshot: true, ..full }), NEVER_BELOW),
        ("replay_takes", of(Design { replay_takes: true, ..full }), ADDS_UP),
        ("end_forgets", of(Design { end_forgets: true, ..full }), ENDED_LETS_GO),
        ("end_marks_again", of(Design { end_marks_again: true, ..full }), ADDS_UP),
        ("counts_by_snapshot", of(Design { counts_by_snapshot: true, ..full }), ADDS_UP),
        ("counts_by_snapshot", of(Design { counts_by_snapshot: true, ..full }), OPEN_HOLDS),
        ("anew_by_snapshot", of(Design { anew_by_snapshot: true, ..full }), ADDS_UP),
        ("anew_takes_nothing", of(Design { anew_takes_nothing: true, ..full }), OPEN_HOLDS),
    ]
}

impl State {
    /// Moves one piece from what is available to what is held, if there is one, or if somebody does not mind.
    fn take(&mut self, whatever: bool) -> bool {
        let takes = whatever || self.available > 0;
        if takes {
            self.available -= 1;
            self.held += 1;
        }
        takes
    }

    /// An order ends: its hold is marked in the same transaction.
    fn end(&mut self, design: &Design, order: usize, standing: Standing, becomes: Counts) {
        let order = &mut self.orders[order];
        order.standing = standing;
        let marks = order.counts == Counts::Held && order.due.is_none() || design.end_marks_again;
        if marks && !design.end_forgets {
            order.due = Some(becomes);
        }
    }

    /// A hold that is due is counted.
    fn count(&mut self, order: usize, becomes: Counts) {
        self.orders[order].counts = becomes;
        self.orders[order].due = None;
        self.held -= 1;
        *(if becomes == Counts::Sold { &mut self.sold } else { &mut self.available }) += 1;
    }

    fn accept(&mut self, design: &Design, order: usize) {
        let saw = self.orders[order].saw.unwrap_or(false);
        let takes = if design.takes_by_snapshot { saw && self.take(true) } else { self.take(false) };
        let one = &mut self.orders[order];
        one.answered = true;
        if takes {
            (one.standing, one.counts) = (Standing::Open, Counts::Held);
        }
    }

    fn pay_anew(&mut self, design: &Design, order: usize) {
        let one = self.orders[order];
        self.orders[order].paid_anew = true;
        let is_held = match one.saw_held {
            Some(saw) if design.anew_by_snapshot => saw,
            _ => one.counts == Counts::Held,
        };
        if !(is_held || design.anew_takes_nothing || self.take(false)) {
            return;
        }
        let one = &mut self.orders[order];
        one.standing = Standing::Open;
        if !design.anew_takes_nothing {
            (one.counts, one.due) = (Counts::Held, None);
        }
    }
}

impl Model for Stock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let order = Order {
            standing: Standing::None,
            counts: Counts::Nothing,
            due: None,
            saw: None,
            saw_held: None,
            answered: false,
            replayed: false,
            paid_anew: false,
        };
        vec![State { available: PIECES, held: 0, sold: 0, orders: [order; 2], chores: [None; 2] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (n, order) in state.orders.iter().enumerate() {
            let Order { standing, saw, saw_held, answered, replayed, paid_anew, .. } = *order;
            let goes_on = matches!(standing, Standing::Open | Standing::Failed);
            let may = [
                (!answered && saw.is_none(), Action::Look(n)),
                (!answered && saw.is_some(), Action::Accept(n)),
                (answered && !replayed && standing != Standing::None, Action::AcceptAgain(n)),
                // Once: what is paid anew is paid, or cancelled.
                (standing == Standing::Open && !paid_anew, Action::Fail(n)),
                (goes_on, Action::Cancel(n)),
                (standing == Standing::Open, Action::Deliver(n)),
                (standing == Standing::Failed && !paid_anew && saw_held.is_none(), Action::LookAnew(n)),
                (standing == Standing::Failed && !paid_anew && saw_held.is_some(), Action::PayAnew(n)),
            ];
            actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        }
        let is_due = state.orders.iter().any(|order| order.due.is_some());
        for (n, chore) in state.chores.iter().enumerate() {
            match chore {
                None if is_due => actions.push(Action::LookForDue(n)),
                Some(_) => actions.push(Action::Count(n)),
                None => {}
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let (design, mut after) = (&self.design, *before);
        match action {
            Action::Look(n) => after.orders[n].saw = Some(before.available > 0),
            Action::Accept(n) => after.accept(design, n),
            Action::AcceptAgain(n) => {
                after.orders[n].replayed = true;
                if design.replay_takes {
                    after.available -= 1;
                }
            }
            Action::Fail(n) => after.end(design, n, Standing::Failed, Counts::Back),
            Action::Cancel(n) => after.end(design, n, Standing::Ended, Counts::Back),
            Action::Deliver(n) => after.end(design, n, Standing::Delivered, Counts::Sold),
            Action::LookAnew(n) => after.orders[n].saw_held = Some(before.orders[n].counts == Counts::Held),
            Action::PayAnew(n) => after.pay_anew(design, n),
            Action::LookForDue(n) => after.chores[n] = Some(before.orders.map(|order| order.due.is_some())),
            Action::Count(n) => {
                let saw = after.chores[n].take().unwrap_or_default();
                for (order, saw) in saw.into_iter().enumerate() {
                    let due = after.orders[order].due.or(design.counts_by_snapshot.then_some(Counts::Back));
                    if let (true, Some(becomes)) = (saw, due) {
                        after.count(order, becomes);
                    }
                }
            }
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ADDS_UP, |_: &Self, state: &State| {
                let held = state.orders.iter().filter(|order| order.counts == Counts::Held).count();
                let sold = state.orders.iter().filter(|order| order.counts == Counts::Sold).count();
                state.available + state.held + state.sold == PIECES
                    && usize::try_from(state.held) == Ok(held)
                    && usize::try_from(state.sold) == Ok(sold)
            }),
            Property::always(NEVER_BELOW, |_, state: &State| {
                state.available >= 0 && state.held >= 0 && state.sold >= 0
            }),
            Property::always(OPEN_HOLDS, |_, state: &State| {
                let holds = |order: &Order| order.counts == Counts::Held && order.due.is_none();
                state.orders.iter().all(|order| order.standing != Standing::Open || holds(order))
            }),
            Property::always(ENDED_LETS_GO, |_, state: &State| {
                let ended = |order: &Order| matches!(order.standing, Standing::Ended | Standing::Failed);
                let lets_go = |order: &Order| order.counts == Counts::Back || order.due == Some(Counts::Back);
                state.orders.iter().all(|order| !ended(order) || lets_go(order))
            }),
            Property::always(DELIVERED_HAS, |_, state: &State| {
                let has = |order: &Order| order.counts == Counts::Sold || order.due == Some(Counts::Sold);
                state.orders.iter().all(|order| order.standing != Standing::Delivered || has(order))
            }),
        ];
        if self.design == Design::default() {
            let sometimes = |name, what: fn(&Self, &State) -> bool| Property::sometimes(name, what);
            properties.push(sometimes("sold", |_, state| state.sold == PIECES));
            properties.push(sometimes("went back, and was taken by the other", |_, state| {
                state.orders.iter().any(|order| order.counts == Counts::Back) && state.held > 0
            }));
            properties.push(sometimes("paid anew, and it was gone", |_, state| {
                state.orders.iter().any(|order| order.paid_anew && order.standing == Standing::Failed)
            }));
            properties.push(sometimes("paid anew, and it was there", |_, state| {
                state.orders.iter().any(|order| order.paid_anew && order.standing == Standing::Open)
            }));
        }
        properties
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} available, {} held, {} sold; ", self.available, self.held, self.sold)?;
        let mut orders = self.orders.iter();
        orders.try_for_each(|order| {
            write!(f, "{:?}: {:?}, due {:?}; ", order.standing, order.counts, order.due)
        })
    }
}
