//! Who reads takes a lock, reads a page behind the cursor, and commits what it led to together with the cursor. A cursor
//! that is kept elsewhere is checked first: it names a tick and an event, and they must be there as they were.

use super::state::{Cursor, Event, Page, Place, Read, State, Take, WRITTEN};
use super::{Action, Feed, Loss};

impl Feed {
    pub(super) fn readers_may(&self, state: &State, actions: &mut Vec<Action>) {
        let locked = !self.design.follower_without_lock && state.readers.iter().any(Option::is_some);
        let free = state.readers.iter().any(Option::is_none);
        let news = !self.stands(state) || self.next(state).is_some();
        if free && !locked && news && !state.told_gone {
            actions.push(Action::Read);
            actions.extend(self.ends(state).map(Action::ReadThrough));
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
        self.put_in_hand(state, &[event], event, place);
    }

    /// Ticks through which a page may go: of several it takes all, as if the snapshots between had not been noted.
    fn ends(&self, state: &State) -> impl Iterator<Item = u8> {
        let within = |place: Place| place.tick == state.cursor.place.tick;
        let begins = self.design.ticks()
            && self.stands(state)
            && self.next(state).is_some_and(|(_, place)| !within(place) || self.design.through_from_within);
        let last = state.ticks().last().map_or(0, |(number, _)| number);
        (state.cursor.place.tick + 1..=last).filter(move |_| begins)
    }

    /// All behind the cursor up to the end of this tick, by subject and version.
    pub(super) fn read_through(&self, state: &mut State, end: u8) {
        let inside = |event: &Event| (state.cursor.place.tick + 1..=end).any(|tick| state.is_in(tick, event));
        let mut events: Vec<Event> = state.events(&self.scope).filter(inside).collect();
        let by_id = |event: &Event| if self.design.through_by_id { event.tx } else { 0 };
        events.sort_by_key(|event| (by_id(event), event.subject, event.version));
        if self.design.through_cut_short {
            events.truncate(1);
        }
        let of_the_end =
            events.iter().filter(|event| self.design.through_cut_short || state.is_in(end, event));
        let last =
            of_the_end.copied().map(|event| (self.place(end, &event), event)).max_by_key(|(place, _)| *place);
        if let Some((place, last)) = last {
            self.put_in_hand(state, &events, last, place);
        }
    }

    fn put_in_hand(&self, state: &mut State, events: &[Event], last: Event, place: Place) {
        let to = Cursor { place, tx: last.tx, tick: state.tick(place.tick) };
        let mut in_hand = [None; WRITTEN];
        for (slot, Event { subject, version, name, .. }) in in_hand.iter_mut().zip(events) {
            *slot = Some(Read { subject: *subject, version: *version, name: *name });
        }
        if let Some(free) = state.readers.iter_mut().find(|page| page.is_none()) {
            *free = Some(Page { events: in_hand, to, half: false });
        }
    }

    /// What the page led to, and the cursor, in one transaction; a weakened reader has two, of which this is the first.
    pub(super) fn take(&self, state: &mut State, reader: usize) {
        let Some(page) = state.readers[reader] else { return };
        if !self.design.cursor_before_effects {
            Self::take_effects(state, &page);
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
            Self::take_effects(state, &page);
        } else {
            state.cursor = page.to;
        }
    }

    pub(super) fn take_effects(state: &mut State, page: &Page) {
        page.events.into_iter().flatten().for_each(|read| Self::take_effect(state, read));
    }

    pub(super) fn take_effect(state: &mut State, Read { subject, version, name }: Read) {
        if state.read.has(name) {
            state.twice = true;
            return;
        }
        state.read = state.read.with(name);
        let newest = &mut state.versions_read[usize::from(subject)];
        state.out_of_order |= version != *newest + 1;
        *newest = version.max(*newest);
    }
}
