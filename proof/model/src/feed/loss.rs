//! The primary is lost, and its standby takes over with the first so many commits of the log. What came after them is gone
//! for good; ids and the numbers of ticks are given a second time.

use super::state::{EVENTS, PROCESSES, Stage, State, Transaction, WRITES};
use super::{Action, Feed, Loss};

impl Feed {
    pub(super) fn fate_may(&self, state: &State, actions: &mut Vec<Action>) {
        if self.scope.may_lose() && !state.lost {
            actions.extend((0..=state.log).map(Action::Lose));
        }
    }

    pub(super) fn lose(&self, state: &mut State, kept: u8) {
        state.lost = true;
        for one in &mut state.transactions {
            match one.stage {
                Stage::Left | Stage::Committed if one.place <= kept => {
                    *one = Transaction { stage: Stage::Committed, place: 0, ..*one };
                }
                Stage::Running | Stage::Left | Stage::Unlocked | Stage::Committed => {
                    *one = Transaction { stage: Stage::Lost, id: 0, versions: [0; WRITES], place: 0 };
                }
                Stage::New | Stage::RolledBack | Stage::Lost => {}
            }
        }
        for tick in &mut state.ticks {
            *tick = tick.filter(|tick| tick.place <= kept);
        }
        state.tickers = [None; PROCESSES];
        if self.scope.loss == Loss::CursorInside {
            self.undo_reads(state, kept);
        }
        // No id below a kept tick's xmax is given again: the end of the highest of them stands in the log before the tick.
        let known = state.ticks().map(|(_, tick)| tick.snapshot.xmax - 1);
        state.ended = known.chain(state.transactions.iter().map(|one| one.id)).max().unwrap_or(0);
        (state.given, state.log) = (state.ended, 0);
    }

    /// Cursor and effects are what the kept part of the log makes them.
    fn undo_reads(&self, state: &mut State, kept: u8) {
        state.readers = [None; PROCESSES];
        let takes = std::mem::replace(&mut state.takes, [None; EVENTS]);
        let new = State::new();
        state.cursor = new.cursor;
        if !self.design.effects_elsewhere {
            (state.read, state.versions_read) = (new.read, new.versions_read);
        }
        for take in takes.into_iter().flatten().filter(|take| take.place <= kept) {
            state.cursor = take.page.to;
            if !self.design.effects_elsewhere {
                Self::take_effects(state, &take.page);
            }
        }
    }
}
