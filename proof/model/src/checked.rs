//! The protocol as the checker takes it: where it begins, what can happen, what follows, what must hold.

use stateright::{Model, Property};

use crate::action::Action;
use crate::design::Design;
use crate::protocol::Protocol;
use crate::state::State;
use crate::{ending, promises};

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = *before;
        self.step(&mut after, action);
        if self.design == Design::full() {
            assert!(ending::rank(before) < ending::rank(&after), "{action:?} leads no nearer to the end");
            assert!(!after.wrongs.no_room, "{action:?} finds no room for another payment");
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::always();
        if self.design == Design::full() {
            properties.extend(promises::sometimes(&self.scope));
        }
        properties
    }
}
