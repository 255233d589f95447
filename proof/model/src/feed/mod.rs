//! A third model: how what has happened is followed. Transactions write events of a subject; a process notes ticks, each a
//! snapshot; a reader goes from tick to tick, or through several at once, and inside by subject and version. It is walked through before it is
//! built, because the obvious ways (the last id seen, whatever is below xmin) lose events or turn them round.
//!
//! What readers do with an event, and how long anything takes, is not here.

mod design;
mod loss;
pub mod promises;
mod reader;
mod show;
pub mod state;
mod ticks;
mod writers;

use stateright::{Model, Property};

pub use self::design::{Design, Loss, Scope, weakenings};
pub use self::state::State;

/// A design within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// What is checked.
    pub design: Design,
    /// How far.
    pub scope: Scope,
}

/// One step. Transactions, and processes, are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A transaction gets its id.
    Begin(usize),
    /// It has the lock of the next subject, and writes an event.
    Write(usize),
    /// It commits, and is no longer in the list of those that run.
    Commit(usize),
    /// Then its locks go.
    End(usize),
    /// It fails, or its connection is lost.
    RollBack(usize),
    /// Somebody takes the lock for a tick, and a snapshot.
    Snapshot,
    /// It commits the tick.
    Tick(usize),
    /// It dies before.
    TickerDies(usize),
    /// Somebody takes the lock for the cursor, and reads a page.
    Read,
    /// The same, a page of all that there is up to the end of this tick.
    ReadThrough(u8),
    /// It commits the page's effects, and the cursor.
    Take(usize),
    /// A weakened reader commits the second half.
    Finish(usize),
    /// It dies before.
    ReaderDies(usize),
    /// The primary is lost; this many commits had reached the standby.
    Lose(u8),
}

impl Model for Feed {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.writers_may(state, actions);
        self.tickers_may(state, actions);
        self.readers_may(state, actions);
        self.fate_may(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = *before;
        let state = &mut after;
        match action {
            Action::Begin(index) => Self::begin(state, index),
            Action::Write(index) => self.write(state, index),
            Action::Commit(index) => self.commit(state, index),
            Action::End(index) => Self::end(state, index),
            Action::RollBack(index) => Self::roll_back(state, index),
            Action::Snapshot => self.take_snapshot(state),
            Action::Tick(ticker) => self.tick(state, ticker),
            Action::TickerDies(ticker) => state.tickers[ticker] = None,
            Action::Read => self.read(state),
            Action::ReadThrough(end) => self.read_through(state, end),
            Action::Take(reader) => self.take(state, reader),
            Action::Finish(reader) => self.finish(state, reader),
            Action::ReaderDies(reader) => state.readers[reader] = None,
            Action::Lose(kept) => self.lose(state, kept),
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::always();
        if self.design == Design::default() {
            properties.extend(promises::sometimes(self));
        }
        properties
    }
}
