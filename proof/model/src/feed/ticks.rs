//! One process at a time takes a lock, then a new snapshot, and notes it as the next tick. What the tick's snapshot shows
//! and the one before did not is the tick's, for good: a snapshot shows all that earlier ones showed.

use super::state::{Snapshot, State, TICKS, Tick};
use super::{Action, Feed};

impl Feed {
    pub(super) fn tickers_may(&self, state: &State, actions: &mut Vec<Action>) {
        let locks = !self.design.tick_without_lock && !self.design.snapshot_before_lock;
        let locked = locks && state.tickers.iter().any(Option::is_some);
        let free = state.tickers.iter().any(Option::is_none);
        if self.design.ticks() && free && !locked && self.has_news(state) && next_number(state) <= TICKS as u8
        {
            actions.push(Action::Snapshot);
        }
        for (ticker, _) in state.tickers.iter().enumerate().filter(|(_, hand)| hand.is_some()) {
            actions.extend([Action::Tick(ticker), Action::TickerDies(ticker)]);
        }
    }

    /// Whether a tick would tell more than the last one.
    pub(super) fn has_news(&self, state: &State) -> bool {
        let last = state.ticks().last().map_or(State::new().snapshot(), |(_, tick)| tick.snapshot);
        self.noted(state) != last
    }

    fn noted(&self, state: &State) -> Snapshot {
        let snapshot = state.snapshot();
        if self.design.tick_by_xmin {
            return Snapshot { xmax: snapshot.xmin(), ..State::new().snapshot() };
        }
        snapshot
    }

    /// Under its lock, a process takes a new snapshot. A number of a sequence is drawn here, too.
    pub(super) fn take_snapshot(&self, state: &mut State) {
        let last = state.ticks().last().map_or(0, |(number, _)| number);
        let number = if self.design.number_apart { next_number(state) } else { last + 1 };
        let noted = self.noted(state);
        if let Some(free) = state.tickers.iter_mut().find(|hand| hand.is_none()) {
            *free = Some((number, noted));
        }
    }

    /// It commits the tick, and the lock goes. A number that is there already is refused.
    pub(super) fn tick(&self, state: &mut State, ticker: usize) {
        let Some((mut number, snapshot)) = state.tickers[ticker].take() else { return };
        if self.design.snapshot_before_lock && self.design.number_apart {
            // It waited for the lock before it drew a number.
            number = state.ticks().last().map_or(0, |(number, _)| number) + 1;
        }
        if state.tick(number).is_none() {
            let place = state.logged(&self.scope);
            state.ticks[usize::from(number) - 1] = Some(Tick { snapshot, after_loss: state.lost, place });
        }
    }
}

/// The next number that nobody has or is about to write.
fn next_number(state: &State) -> u8 {
    let written = state.ticks().map(|(number, _)| number);
    let in_hand = state.tickers.iter().flatten().map(|(number, _)| *number);
    written.chain(in_hand).max().unwrap_or(0) + 1
}
