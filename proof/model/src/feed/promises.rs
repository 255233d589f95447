//! What must hold of the feed in every state, and what must be seen to happen in some.

use stateright::Property;

use super::state::{Event, Stage, State};
use super::{Feed, Loss};

/// Once the cursor is behind a tick, all of that tick was read; and when everything has ended and was noted and read, that
/// is all that was committed.
pub const NOTHING_SKIPPED: &str = "nothing is skipped";
/// No event takes effect twice.
pub const NOTHING_TWICE: &str = "nothing comes twice";
/// Of each subject, the versions come one by one from the first.
pub const VERSIONS_IN_ORDER: &str = "versions in order";
/// What was rolled back is never read.
pub const NOTHING_ROLLED_BACK: &str = "nothing rolled back is read";
/// A reader that may go on has read nothing that a lost primary took with it; and none is told that without a loss.
pub const GONE_IS_TOLD: &str = "gone is told";

/// What must hold in every state.
pub(super) fn always() -> Vec<Property<Feed>> {
    vec![
        Property::always(NOTHING_SKIPPED, |feed: &Feed, state: &State| {
            let unread = |event: &Event| !state.read.has(event.name);
            let passed = |event: &Event| (1..state.cursor.place.tick).any(|tick| state.is_in(tick, event));
            let settled = feed.is_settled(state);
            let skipped = |event: Event| unread(&event) && (settled || passed(&event));
            !feed.stands(state) || !state.events(&feed.scope).any(skipped)
        }),
        Property::always(NOTHING_TWICE, |_, state: &State| !state.twice),
        Property::always(VERSIONS_IN_ORDER, |_, state: &State| !state.out_of_order),
        Property::always(NOTHING_ROLLED_BACK, |_, state: &State| !has_read(state, Stage::RolledBack)),
        Property::always(GONE_IS_TOLD, |feed: &Feed, state: &State| {
            let goes_on = feed.stands(state) && has_read(state, Stage::Lost);
            !goes_on && (state.lost || !state.told_gone)
        }),
    ]
}

/// What must be seen to happen.
pub(super) fn sometimes(feed: &Feed) -> Vec<Property<Feed>> {
    let mut properties = vec![
        Property::sometimes("all read", |feed: &Feed, state: &State| {
            let all = feed.scope.transactions.iter().map(|subjects| subjects.len()).sum::<usize>();
            feed.is_settled(state) && state.read.len() as usize == all
        }),
        Property::sometimes("read while an older transaction runs", |feed: &Feed, state: &State| {
            let older = |event: &Event| state.snapshot().xmin() < event.tx;
            state.events(&feed.scope).any(|event| state.read.has(event.name) && older(&event))
        }),
        Property::sometimes("ids against versions, in one tick", |feed: &Feed, state: &State| {
            let against = |one: &Event, other: &Event| {
                one.subject == other.subject && one.version < other.version && one.tx > other.tx
            };
            state.ticks().any(|(tick, _)| {
                let inside = || state.events(&feed.scope).filter(|event| state.is_in(tick, event));
                inside().any(|one| inside().any(|other| against(&one, &other)))
            })
        }),
    ];
    if feed.scope.may_lose() {
        properties.push(Property::sometimes("goes on after a loss", |_, state: &State| {
            let cursor_after = state.cursor.tick.is_some_and(|tick| tick.after_loss);
            cursor_after && state.cursor.place.tick > 1 && !state.told_gone
        }));
    }
    if feed.scope.loss == Loss::CursorOutside {
        properties.push(Property::sometimes("told gone", |_, state: &State| state.told_gone));
    }
    properties
}

/// Whether something was read whose transaction came to this.
fn has_read(state: &State, stage: Stage) -> bool {
    state.read.iter().any(|event| state.transactions[Event::writer(event)].stage == stage)
}

impl Feed {
    /// Everything that began has ended, a tick says so, and the reader is at its end.
    fn is_settled(&self, state: &State) -> bool {
        let ended = state
            .transactions
            .iter()
            .all(|one| matches!(one.stage, Stage::New | Stage::Committed | Stage::RolledBack | Stage::Lost));
        let noted = !self.design.ticks() || !self.has_news(state);
        let idle = state.tickers.iter().all(Option::is_none) && state.readers.iter().all(Option::is_none);
        ended && noted && idle && self.next(state).is_none()
    }
}
