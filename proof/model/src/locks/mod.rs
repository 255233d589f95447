//! A fourth model, of locks alone: who locks several orders in one transaction. [`rows`](crate::rows) has one order and all that
//! its statements see; whether two transactions that meet on two orders can each wait for the other depends on nothing but the
//! sequence in which they lock, so that is all there is here: each is a list of rows.

mod design;

use std::fmt;

use stateright::{Model, Property};

pub use self::design::{Design, Scope, weakenings};

/// Of each of two orders: what it came with, the charge that pays it anew, two additions, and its own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// The charge that an order came with: final, or in the queue.
    Own(u8),
    /// The charge that paid it anew. It has the kitchen's deadline.
    Anew(u8),
    /// An addition's, the first or the second.
    Added(u8, u8),
    /// The order's.
    Order(u8),
    /// Those of the own charge's old tries, which go when it was tried for days.
    Tries(u8),
}

/// One lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waits for it.
    Take(Row),
    /// `SKIP LOCKED`: where somebody has it, this transaction leaves its order alone, and keeps what it holds.
    Try(Row),
}

impl Row {
    const fn order(self) -> u8 {
        match self {
            Self::Own(order)
            | Self::Anew(order)
            | Self::Added(order, _)
            | Self::Order(order)
            | Self::Tries(order) => order,
        }
    }

    const fn bit(self) -> u16 {
        let place = match self {
            Self::Own(_) => 0,
            Self::Anew(_) => 1,
            Self::Added(_, which) => 2 + which,
            Self::Order(_) => 4,
            Self::Tries(_) => 5,
        };
        1 << (place + 6 * self.order())
    }
}

/// Who comes, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The sweep of deadlines, or of charges that are late, in which the first order is overdue for longer.
    Sweep,
    /// Another worker's, in which the second is.
    SweepBack,
    /// Who moves, adds to or takes lines off the first order.
    Kitchen,
    /// The same of the second.
    OtherKitchen,
    /// A worker that settles an addition of each.
    Settle,
    /// Another, whose additions' ids stand in the opposite order.
    SettleBack,
    /// A worker that settles the charge that pays the second order anew, which moves it, and an addition of the first.
    SettleAnew,
    /// One that settles another addition of the first, and of the second, where that may be claimed.
    SettleBesides,
    /// A worker that settles a try of either order's own charge, after many.
    SettleOld,
    /// One that comes late with the tries before these: their leases ran out.
    SettleLate,
    /// A worker that settles the charges that pay either order anew, and moves both.
    SettleBothAnew,
}

/// How many there are.
const ALL: usize = 11;

/// How far each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    at: u8,
    /// Rows, as bits.
    holds: u16,
    /// Orders that it leaves alone, as bits.
    leaves: u8,
}

/// All of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State([Transaction; ALL]);

/// What the checker walks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locks {
    /// In which sequence they lock.
    pub design: Design,
    /// Who comes.
    pub scope: Scope,
}

/// No two transactions wait for each other, in whatever circle.
pub const NO_DEADLOCK: &str = "no deadlock";

impl Locks {
    /// The next lock of `who`; none: it is over. What it leaves alone is passed over.
    fn next(&self, state: &State, who: Who) -> Option<Step> {
        let mine = state.0[who as usize];
        self.design.steps(who).get(usize::from(mine.at)).copied()
    }

    fn waits_for(&self, state: &State, who: Who) -> Option<Who> {
        match self.next(state, who)? {
            Step::Take(row) if state.0[who as usize].leaves & (1 << row.order()) == 0 => {
                self.holder(state, row).filter(|holder| *holder != who)
            }
            _ => None,
        }
    }

    fn holder(&self, state: &State, row: Row) -> Option<Who> {
        self.scope.who.iter().copied().find(|who| state.0[*who as usize].holds & row.bit() != 0)
    }

    fn is_deadlocked(&self, state: &State) -> bool {
        self.scope.who.iter().any(|first| {
            let mut at = *first;
            for _ in 0..ALL {
                match self.waits_for(state, at) {
                    None => return false,
                    Some(holder) if holder == *first => return true,
                    Some(holder) => at = holder,
                }
            }
            false
        })
    }
}

impl Model for Locks {
    type State = State;
    type Action = Who;

    fn init_states(&self) -> Vec<State> {
        vec![State([Transaction { at: 0, holds: 0, leaves: 0 }; ALL])]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Who>) {
        let may = |who: &Who| self.next(state, *who).is_some() && self.waits_for(state, *who).is_none();
        actions.extend(self.scope.who.iter().copied().filter(may));
    }

    fn next_state(&self, before: &State, who: Who) -> Option<State> {
        let mut after = *before;
        let step = self.next(before, who)?;
        let (Step::Take(row) | Step::Try(row)) = step;
        let is_free = self.holder(before, row).is_none_or(|holder| holder == who);
        let mine = &mut after.0[who as usize];
        mine.at += 1;
        if mine.leaves & (1 << row.order()) == 0 {
            if is_free {
                mine.holds |= row.bit();
            } else {
                mine.leaves |= 1 << row.order();
            }
        }
        if usize::from(mine.at) == self.design.steps(who).len() {
            mine.holds = 0;
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties =
            vec![Property::always(NO_DEADLOCK, |locks: &Self, state: &State| !locks.is_deadlocked(state))];
        if self.design == Design::default() {
            properties.push(Property::sometimes("somebody waits", |locks: &Self, state: &State| {
                locks.scope.who.iter().any(|who| locks.waits_for(state, *who).is_some())
            }));
            if self.scope.who.contains(&Who::Sweep) {
                properties.push(Property::sometimes("an order is left alone", |_, state: &State| {
                    state.0[Who::Sweep as usize].leaves != 0
                }));
            }
        }
        properties
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = (0..2).flat_map(|order| {
            let added = [Row::Added(order, 0), Row::Added(order, 1)];
            [Row::Own(order), Row::Anew(order)]
                .into_iter()
                .chain(added)
                .chain([Row::Order(order), Row::Tries(order)])
        });
        for mine in self.0.iter().filter(|mine| mine.holds != 0) {
            let held: Vec<_> = rows.clone().filter(|row| mine.holds & row.bit() != 0).collect();
            write!(f, "one at step {} holds {held:?}; ", mine.at)?;
        }
        Ok(())
    }
}
