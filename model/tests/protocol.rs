//! The protocol keeps every promise in every state, and each weakening breaks the promise that it is listed with.
//! `-- --nocapture` prints the counts, and the shortest way to each broken promise.

use model::design::{Design, Scope};
use model::protocol::Protocol;
use model::{promises, search, weakenings};

/// Every promise, in every state within the scope; and everything that should happen does, somewhere.
fn holds(name: &str, design: Design, scope: Scope) {
    let walk = search::walk(Protocol { design, scope });
    println!("{name}: {walk}");
    assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{name}: {walk}");
}

#[test]
fn one_order_and_many_faults() {
    holds("deep", Design::full(), Scope::DEEP);
}

#[test]
fn two_orders_that_share_workers_and_queue() {
    holds("wide", Design::full(), Scope::WIDE);
}

#[test]
fn an_order_that_may_be_cancelled_at_any_moment() {
    holds("cancel", Design::full(), Scope::CANCEL);
}

/// A message is a hint and nothing more: what acknowledging it too early loses, the sweep finds.
#[test]
fn acknowledging_too_early_loses_nothing_while_the_sweep_runs() {
    holds("ack_before_settle", Design { ack_before_settle: true, ..Design::full() }, Scope::DEEP);
}

/// Behind one key and a look at the status, no money depends on the epoch; our own books do.
#[test]
fn the_epoch_keeps_the_books_not_the_money() {
    let design = Design { no_epoch_guard: true, ..Design::full() };
    let walk = search::walk(Protocol { design, scope: Scope { faults: 3, ..Scope::DEEP } });
    println!("no_epoch_guard: {walk}");
    let books = [promises::NOBODY_IS_OVERTAKEN, promises::NUMBERS_ARE_FREE, promises::WRITTEN_BEFORE_ASKED];
    assert_eq!(walk.broken, books);
}

/// A promise that nothing can break would prove nothing.
#[test]
fn every_promise_falls_without_some_safeguard() {
    let weakenings = weakenings::all();
    for promise in promises::always() {
        assert!(weakenings.iter().any(|one| one.falls == promise.name), "nothing breaks {}", promise.name);
    }
}

fn breaks(name: &str) {
    let weakening = weakenings::all().into_iter().find(|one| one.name == name).unwrap();
    let Some(path) = search::shortest(weakening.protocol, weakening.falls) else {
        panic!(
            "{name} does not break \"{}\": is the safeguard needed, or the checker blind?",
            weakening.falls
        )
    };
    println!("{name} breaks \"{}\":\n{}", weakening.falls, search::tell(path));
}

macro_rules! weakenings {
    ($($name:ident)*) => {
        mod without_it_breaks {
            $(#[test] fn $name() { super::breaks(stringify!($name)); })*
        }

        #[test]
        fn every_weakening_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(tested.as_slice(), weakenings::all().iter().map(|one| one.name).collect::<Vec<_>>());
        }
    };
}

weakenings! {
    answer_before_commit
    new_key_per_try
    fail_without_asking
    look_up_instead_of_void
    doubt_confirms
    no_guard
    no_epoch_guard
    no_sweep
    no_lease
    call_before_attempt_row
    ack_before_settle_and_no_sweep
    outage_counts
    message_makes_payment
    decline_forgotten
    new_key_per_refund
    cancel_kills
    settle_resurrects
    cancel_leaves_payment
}
