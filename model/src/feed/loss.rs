//! The primary is lost, and its standby takes over with the first so many commits of the log. What came after them is gone
//! for good; ids and the numbers of ticks are given a second time.

use super::Action;
use super::Feed;
use super::state::{PROCESSES, Stage, State, Transaction, WRITES};

impl Feed {
    pub(super) fn fate_may(&self, state: &State, actions: &mut Vec<Action>) {
        if self.scope.loss && !state.lost {
            actions.extend((0..=state.log).map(Action::Lose));
        }
    }

    pub(super) fn lose(state: &mut State, kept: u8) {
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
        // Every id below a tick's xmax had ended or begun before it, in the log too: none of them is given again.
        let known = state.ticks().map(|(_, tick)| tick.snapshot.xmax - 1);
        state.ended = known.chain(state.transactions.iter().map(|one| one.id)).max().unwrap_or(0);
        (state.given, state.log) = (state.ended, 0);
    }
}
