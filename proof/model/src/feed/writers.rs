//! Transactions that write events. An id is taken before the subject's row is waited for, so ids may run against
//! versions; a commit takes its transaction out of the list of those that run, and only then are its locks gone.

use super::state::{Event, Read, Stage, State, Transaction, WRITES};
use super::{Action, Feed};

impl Feed {
    pub(super) fn writers_may(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, subjects) in self.scope.transactions.iter().enumerate() {
            let one = &state.transactions[index];
            match one.stage {
                // Of those that write the same, it makes no difference which is first.
                Stage::New if index > 0 && self.scope.transactions[index - 1] == *subjects => {
                    if state.transactions[index - 1].stage != Stage::New {
                        actions.push(Action::Begin(index));
                    }
                }
                Stage::New => actions.push(Action::Begin(index)),
                Stage::Running => {
                    match subjects.get(one.written()) {
                        None => actions.push(Action::Commit(index)),
                        Some(subject) if self.is_locked(state, index, *subject) => {}
                        Some(_) => actions.push(Action::Write(index)),
                    }
                    if !subjects.is_empty() {
                        actions.push(Action::RollBack(index));
                    }
                }
                Stage::Left | Stage::Unlocked => actions.push(Action::End(index)),
                Stage::Committed | Stage::RolledBack | Stage::Lost => {}
            }
        }
    }

    /// Whether somebody else holds the row of this subject.
    fn is_locked(&self, state: &State, index: usize, subject: u8) -> bool {
        let others = (0..).zip(&state.transactions).zip(self.scope.transactions);
        others.filter(|((other, _), _)| *other != index).any(|((_, other), subjects)| {
            let holds = matches!(other.stage, Stage::Running | Stage::Left);
            holds && subjects[..other.written()].contains(&subject)
        })
    }

    pub(super) fn begin(state: &mut State, index: usize) {
        state.given += 1;
        state.transactions[index] =
            Transaction { stage: Stage::Running, id: state.given, ..state.transactions[index] };
    }

    /// The row's lock is free: the next version is one more than its newest.
    pub(super) fn write(&self, state: &mut State, index: usize) {
        let write = state.transactions[index].written();
        let subject = self.scope.transactions[index][write];
        let versions = state.transactions.iter().zip(self.scope.transactions);
        let of_subject = versions.flat_map(|(one, subjects)| one.versions.into_iter().zip(*subjects));
        let newest = of_subject.filter(|(_, of)| **of == subject).map(|(version, _)| version).max();
        let version = newest.unwrap_or(0) + 1;
        state.transactions[index].versions[write] = version;
        if self.design.handed_over {
            Self::take_effect(state, Read { subject, version, name: Event::name(index as u8, write as u8) });
        }
    }

    pub(super) fn commit(&self, state: &mut State, index: usize) {
        let writes = !self.scope.transactions[index].is_empty();
        if self.design.locks_go_first {
            state.transactions[index].stage = Stage::Unlocked;
            return;
        }
        state.ended = state.ended.max(state.transactions[index].id);
        state.transactions[index].stage = if writes { Stage::Left } else { Stage::Committed };
        if writes {
            state.transactions[index].place = state.logged(&self.scope);
        }
    }

    /// Its locks go (or, where they went first, it leaves the list).
    pub(super) fn end(state: &mut State, index: usize) {
        state.ended = state.ended.max(state.transactions[index].id);
        state.transactions[index].stage = Stage::Committed;
    }

    pub(super) fn roll_back(state: &mut State, index: usize) {
        state.ended = state.ended.max(state.transactions[index].id);
        state.transactions[index] =
            Transaction { stage: Stage::RolledBack, id: 0, versions: [0; WRITES], place: 0 };
    }
}
