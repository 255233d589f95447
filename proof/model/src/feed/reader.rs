//! Who reads takes a lock, reads a page behind the cursor, and commits what it led to together with the cursor. A cursor
//! that is kept elsewhere is checked first: it names a tick and an event, and they must be there as they were.

use super::state::{Cursor, Event, Page, Place, State, Take};
use super::{Action, Feed, Loss};

impl Feed {
    pub(super) fn readers_may(&self, state: &State, actions: &mut Vec<Action>) {
        let locked = !self.design.follower_without_lock && state.readers.iter().any(Option::is_some);
        let free = state.readers.iter().any(Option::is_none);
        let news = !self.stands(state) || self.next(state).is_some();
        if free && !locked && news && !state.told_gone {
            actions.push(Action::Read);
        }
        for (reader, page) in state.readers.iter().enumerate() {
            match page {
                None => {}
                Some(Page { half: true, .. }) => {
                    actions.extend([Action::Finish(reader), Action::ReaderDies(reader)]);
                }
                Some(_) => actions.extend([Action::Take(reader), Action::ReaderDies(reader)]),
            }
        }
    }

    /// Whether the tick and the event that the cursor names are there as they were.
    pub(super) fn stands(&self, state: &State) -> bool {
        let Cursor { place, tx, tick } = state.cursor;
        if self.scope.loss != Loss::CursorOutside || self.design.resume_unchecked || place == Place::default()
        {
            return true;
        }
        let same_tick = match (state.tick(place.tick), tick) {
            (Some(there), Some(was)) => {
                let same_time = there.after_loss == was.after_loss || self.design.time_unchecked;
                there.snapshot == was.snapshot && same_time
            }
            _ => false,
        };
        let is_it = |event: &Event| {
            event.subject == place.subject && event.version == place.version && event.tx == tx
        };
        let same_event = state.events(&self.scope).any(|event| is_it(&event));
        (same_tick || self.design.tick_unchecked) && (same_event || self.design.event_unchecked)
    }

    /// The first event behind the cursor.
    pub(super) fn next(&self, state: &State) -> Option<(Event, Place)> {
        let behind = |place: &Place| *place > state.cursor.place;
        if self.design.ticks() {
            let ticks = state.ticks().filter(|(number, _)| *number >= state.cursor.place.tick);
            let of_tick = |(number, _)| {
                let inside = state.events(&self.scope).filter(move |event| state.is_in(number, event));
                inside.map(move |event| (event, self.place(number, &event)))
            };
            return ticks
                .flat_map(of_tick)
                .filter(|(_, place)| behind(place))
                .min_by_key(|(_, place)| *place);
        }
        let readable = |event: &Event| self.design.last_id_seen || event.tx < state.snapshot().xmin();
        let events = state.events(&self.scope).filter(readable);
        let places = events.map(|event| (event, self.place(0, &event)));
        places.filter(|(_, place)| behind(place)).min_by_key(|(_, place)| *place)
    }

    fn place(&self, tick: u8, event: &Event) -> Place {
        let by_id = self.design.by_id_inside_a_tick || !self.design.ticks();
        let id = if by_id { event.tx } else { 0 };
        Place { tick, id, subject: event.subject, version: event.version }
    }

    /// A page, or the news that there is nothing to go on from.
    pub(super) fn read(&self, state: &mut State) {
        if !self.stands(state) {
            state.told_gone = true;
            return;
        }
        let Some((event, place)) = self.next(state) else { return };
        let to = Cursor { place, tx: event.tx, tick: state.tick(place.tick) };
        if let Some(free) = state.readers.iter_mut().find(|page| page.is_none()) {
            *free = Some(Page { event: event.name, to, half: false });
        }
    }

    /// What the page led to, and the cursor, in one transaction; a weakened reader has two, of which this is the first.
    pub(super) fn take(&self, state: &mut State, reader: usize) {
        let Some(page) = state.readers[reader] else { return };
        if !self.design.cursor_before_effects {
            Self::take_effect(state, page.event, page.to.place);
        }
        if !self.design.cursor_after_effects {
            state.cursor = page.to;
        }
        let half = self.design.cursor_before_effects || self.design.cursor_after_effects;
        state.readers[reader] = half.then_some(Page { half, ..page });
        if self.scope.loss == Loss::CursorInside && !state.lost {
            let take = Take { page, place: state.logged(&self.scope) };
            if let Some(free) = state.takes.iter_mut().find(|take| take.is_none()) {
                *free = Some(take);
            }
        }
    }

    /// The second of two.
    pub(super) fn finish(&self, state: &mut State, reader: usize) {
        let Some(page) = state.readers[reader].take() else { return };
        if self.design.cursor_before_effects {
            Self::take_effect(state, page.event, page.to.place);
        } else {
            state.cursor = page.to;
        }
    }

    pub(super) fn take_effect(state: &mut State, event: u8, place: Place) {
        if state.read.has(event) {
            state.twice = true;
            return;
        }
        state.read = state.read.with(event);
        let newest = &mut state.versions_read[usize::from(place.subject)];
        state.out_of_order |= place.version != *newest + 1;
        *newest = place.version.max(*newest);
    }
}
