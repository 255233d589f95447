//! What has happened is followed without a gap, without anything twice, and in order; and each weakening breaks the promise
//! that it is listed with.

use model::feed::{Design, Feed, Loss, Scope, weakenings};
use model::search;
use stateright::{Expectation, Model};

fn holds(name: &str, design: Design, scope: Scope) {
    let walk = search::walk_plain(Feed { design, scope });
    println!("feed {name}: {walk}");
    assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{name}: {walk}");
}

#[test]
fn one_subject_that_several_write_to() {
    holds("one", Design::default(), Scope::ONE);
}

#[test]
fn two_subjects_and_a_transaction_that_writes_both() {
    holds("two", Design::default(), Scope::TWO);
}

#[test]
fn a_lost_primary_and_a_reader_that_keeps_its_cursor_elsewhere() {
    holds("outside", Design::default(), Scope::OUTSIDE);
}

/// A cursor in the database is lost and kept with what it stands for: it needs no check.
#[test]
fn a_lost_primary_and_a_reader_that_keeps_its_cursor_there() {
    holds("inside", Design::default(), Scope::INSIDE);
}

/// Three that write, and nobody else.
const WRITERS: Scope = Scope { transactions: &[&[0], &[0], &[0]], loss: Loss::Never };

/// A tick whose number is one more than the highest that its own snapshot shows, and unique, is refused if another came
/// between. Then the lock only saves the refusal.
#[test]
fn a_number_by_the_ticks_own_snapshot_does_for_the_lock() {
    holds("tick_without_lock", Design { tick_without_lock: true, ..Design::default() }, WRITERS);
    holds("snapshot_before_lock", Design { snapshot_before_lock: true, ..Design::default() }, WRITERS);
}

/// And the other way round: under the lock a number may come from a sequence.
#[test]
fn the_lock_does_for_the_number() {
    holds("number_apart", Design { number_apart: true, ..Design::default() }, WRITERS);
}

/// A tick that is there as it was brings all that it showed, and so the cursor's last event with it.
#[test]
fn the_tick_stands_for_its_events() {
    holds("event_unchecked", Design { event_unchecked: true, ..Design::default() }, Scope::OUTSIDE);
}

/// A promise that nothing can break would prove nothing.
#[test]
fn every_promise_of_the_feed_falls_without_some_safeguard() {
    for promise in (Feed { design: Design::default(), scope: Scope::OUTSIDE }).properties() {
        let falls = weakenings().iter().any(|(_, _, falls)| *falls == promise.name);
        assert!(falls || promise.expectation == Expectation::Sometimes, "nothing breaks {}", promise.name);
    }
}

fn breaks(name: &str) {
    let (_, feed, falls) = weakenings().into_iter().find(|(one, ..)| *one == name).unwrap();
    let path = search::shortest(feed, falls).unwrap_or_else(|| panic!("{name} does not break \"{falls}\""));
    println!("{name} breaks \"{falls}\":\n{}", search::tell(path));
}

macro_rules! weakenings {
    ($($name:ident)*) => {
        mod without_it_breaks {
            $(#[test] fn $name() { super::breaks(stringify!($name)); })*
        }

        #[test]
        fn every_weakening_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(tested.as_slice(), weakenings().iter().map(|(name, ..)| *name).collect::<Vec<_>>());
        }
    };
}

weakenings! {
    last_id_seen
    below_xmin_by_id
    tick_by_xmin
    by_id_inside_a_tick
    through_cut_short
    through_from_within
    through_by_id
    tick_without_lock_and_number_apart
    snapshot_before_lock_and_number_apart
    follower_without_lock
    cursor_before_effects
    cursor_after_effects
    handed_over
    locks_go_first
    effects_elsewhere
    resume_unchecked
    tick_unchecked
    time_unchecked
}
