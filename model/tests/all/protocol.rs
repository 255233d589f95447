//! The protocol keeps every promise in every state, and each weakening breaks the promise that it is listed with.

use model::design::{Design, Scope};
use model::protocol::Protocol;
use model::{promises, rows, search, weakenings};
use stateright::{Expectation, Model};

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

#[test]
fn the_kitchen_the_clock_and_the_customer_at_once() {
    holds("kitchen", Design::full(), Scope::KITCHEN);
}

#[test]
fn an_order_that_grows_and_may_be_paid_anew() {
    holds("additions", Design::full(), Scope::ADDITIONS);
}

/// A claim that finds a wish, or a finished order, and voids instead of charging saves a charge and its refund. No promise
/// depends on it, because the settlement decides.
#[test]
fn a_claim_may_ignore_the_wish() {
    let design = Design { claim_ignores_wish: true, ..Design::full() };
    holds("claim_ignores_wish", design, Scope::CANCEL);
    holds("claim_ignores_wish", design, Scope::ADDITIONS);
}

/// Nor does the money depend on the wish itself: a cancellation that does not wait for the charge leaves it to be given
/// back when it lands. The wish is there so that less is charged in vain.
#[test]
fn late_capture_makes_up_for_a_cancellation_that_does_not_wait() {
    let design = Design { cancel_kills: true, ..Design::full() };
    holds("cancel_kills", design, Scope::CANCEL);
    holds("cancel_kills", design, Scope::ADDITIONS);
}

/// Either of two is enough for a payment that an order left behind when it ended: the claim voids it, or its settlement gives it back.
#[test]
fn a_payment_that_was_left_behind_is_voided_or_given_back() {
    let voided = Design { finish_leaves_payments: true, ..Design::full() };
    holds("finish_leaves_payments", Design { late_capture_ignored: true, ..voided }, Scope::CANCEL);
    holds("finish_leaves_payments", Design { claim_ignores_wish: true, ..voided }, Scope::CANCEL);
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
    settle_resurrects
    cancel_kills_and_no_late_capture
    finish_leaves_payments
    wish_read_before
    wish_told_as_done
    refund_in_second_transaction
    declined_refund_fails
    sweep_unguarded
    cancel_unguarded
    late_capture_ignored
    late_capture_from_snapshot
    refunds_from_snapshot
    no_unique_refund
    batch_moves_one
    addition_decides
}

/// One layer down: the statements of whatever meets on an order, lock by lock.
#[test]
fn statements_that_wait_for_each_others_rows() {
    let walk = search::walk_plain(rows::Design::default());
    println!("rows: {walk}");
    assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{walk}");
}

#[test]
fn each_statement_needs_its_locks_and_its_place() {
    for (name, design, falls) in rows::weakenings() {
        let path = search::shortest(design, falls);
        println!(
            "{name} breaks \"{falls}\":\n{}",
            search::tell(path.unwrap_or_else(|| panic!("{name} does not")))
        );
    }
    for promise in rows::Design::default().properties() {
        let falls = rows::weakenings().iter().any(|(_, _, falls)| *falls == promise.name);
        assert!(falls || promise.expectation == Expectation::Sometimes, "nothing breaks {}", promise.name);
    }
}
