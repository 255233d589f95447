//! The protocol keeps every promise in every state, and each weakening breaks the promise that it is listed with.

use model::design::{Design, Scope};
use model::protocol::Protocol;
use model::rows::Statements;
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

#[test]
fn a_charge_that_takes_too_long_and_may_be_cancelled() {
    holds("deadline", Design::full(), Scope::DEADLINE);
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

#[test]
fn an_order_that_grows_and_may_be_paid_anew_and_is_taken_or_too_late() {
    holds("anew", Design::full(), Scope::ANEW);
}

#[test]
fn any_charge_of_an_order_may_be_late() {
    holds("late", Design::full(), Scope::LATE);
}

/// Calling off what may be on its way saves a charge and its refund. No promise depends on it, because the settlement decides.
#[test]
fn nothing_need_be_called_off() {
    let design = Design { nothing_called_off: true, ..Design::full() };
    holds("nothing_called_off", design, Scope::CANCEL);
    holds("nothing_called_off", design, Scope::ADDITIONS);
}

/// Nor does the money depend on the wish itself: a cancellation that does not wait for the charge leaves it to be given
/// back when it lands. The wish is there so that less is charged in vain.
#[test]
fn late_capture_makes_up_for_a_cancellation_that_does_not_wait() {
    let design = Design { cancel_kills: true, ..Design::full() };
    holds("cancel_kills", design, Scope::CANCEL);
    holds("cancel_kills", design, Scope::ADDITIONS);
}

/// A payment that an order left behind when it ended is charged, and its settlement gives it back.
#[test]
fn a_payment_that_was_left_behind_is_given_back() {
    let design = Design { finish_leaves_payments: true, ..Design::full() };
    holds("finish_leaves_payments", design, Scope::CANCEL);
}

/// One that is held ends with its order, or by the sweep after it.
#[test]
fn an_addition_that_was_left_held_is_closed_by_the_sweep() {
    let design = Design { finish_leaves_held: true, ..Design::full() };
    holds("finish_leaves_held", design, Scope::ADDITIONS);
}

/// As long as an addition waits for its order to be paid, it is never settled while that waits for a charge, and nothing is
/// listed for a refund twice. Each is needed as soon as what is held may be claimed (`held_is_claimed_and_..`).
#[test]
fn that_additions_are_held_does_for_two_more_safeguards() {
    holds("addition_decides", Design { addition_decides: true, ..Design::full() }, Scope::ADDITIONS);
    holds("refund_uncounted", Design { refund_uncounted: true, ..Design::full() }, Scope::ADDITIONS);
    holds("refund_uncounted", Design { refund_uncounted: true, ..Design::full() }, Scope::CANCEL);
}

/// Behind one key and a look at the status, no money depends on the epoch; our own books do.
#[test]
fn the_epoch_keeps_the_books_not_the_money() {
    let design = Design { no_epoch_guard: true, ..Design::full() };
    let walk = search::walk(Protocol { design, scope: Scope { faults: 3, ..Scope::DEEP } });
    println!("no_epoch_guard: {walk}");
    let books = [
        promises::ANSWERS_ARE_KEPT,
        promises::NOBODY_IS_OVERTAKEN,
        promises::TRIES_HAVE_ROWS,
        promises::WRITTEN_BEFORE_ASKED,
    ];
    assert_eq!(walk.broken, books);
}

/// As long as only its holder gives a number back, a try that came too late shares its number with no other, and its answer can
/// be written over none.
#[test]
fn numbers_alone_tell_tries_apart() {
    holds("late_overwrites", Design { late_overwrites: true, ..Design::full() }, Scope::DEEP);
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
    no_epoch_guard_in_the_queue
    no_sweep
    no_lease
    call_before_attempt_row
    call_before_claim
    call_before_claim_and_cancel
    abandoned_unwritten
    abandoned_under_new_epoch
    release_unguarded_and_late_overwrites
    queue_row_stays
    payment_unguarded
    cancel_kills_and_claimed_is_closed
    ack_before_settle_and_no_sweep
    outage_counts
    misconfigured_counts
    pending_is_done
    pending_refund_is_done
    message_makes_payment
    decline_forgotten
    new_key_per_refund
    settle_resurrects
    cancel_kills_and_no_late_capture
    finish_leaves_payments_and_no_late_capture
    wish_read_before
    wish_told_as_done
    refund_in_second_transaction
    declined_refund_fails
    unsent_from_snapshot
    unsent_from_snapshot_and_no_late_capture
    doubt_counts_as_unsent
    abandoned_counts_as_unsent
    no_show_unguarded
    sweep_unguarded
    cancel_unguarded
    late_capture_ignored
    late_capture_from_snapshot
    refunds_from_snapshot
    batch_follows_one
    held_is_claimed
    held_forgotten
    let_go_undecided
    let_go_charges_all
    let_go_fails_what_may_be_sent
    pays_anew_early
    held_is_claimed_and_refund_uncounted
    held_is_claimed_and_addition_decides
    late_is_claimed
    late_forgotten
    late_counts_as_unsent
    late_addition_ends_order
}

/// One layer down: the statements of whatever meets on an order, lock by lock.
#[test]
fn statements_that_wait_for_each_others_rows() {
    for (name, scope) in rows::Scope::ALL {
        let walk = search::walk_plain(Statements { design: rows::Design::default(), scope });
        println!("rows, {name}: {walk}");
        assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{walk}");
    }
}

/// What is needed only as long as something else is missing. Only a settlement moves an order that waits for its own charge,
/// because what is added is held; and what is held is closed by the end of its order, or afterwards by what lets it go. Who ends
/// an order holds its charge in the queue when it asks whether that was ever claimed, so it need not ask once more when it takes
/// it out, and nobody ends one whose settlement is under way. And an own charge that slipped through between two statements of one
/// look is found by the next.
#[test]
fn statements_that_have_more_than_one_safeguard() {
    let full = rows::Design::default();
    for (name, design) in [
        ("addition_decides", rows::Design { addition_decides: true, ..full }),
        ("let_go_by_join", rows::Design { let_go_by_join: true, ..full }),
        ("end_leaves_held", rows::Design { end_leaves_held: true, ..full }),
        ("claimed_is_closed", rows::Design { claimed_is_closed: true, ..full }),
        ("settle_unguarded", rows::Design { settle_unguarded: true, ..full }),
        ("payments_looked_before_queue", rows::Design { payments_looked_before_queue: true, ..full }),
    ] {
        for (_, scope) in rows::Scope::ALL {
            let walk = search::walk_plain(Statements { design, scope });
            println!("{name}: {walk}");
            assert!(walk.broken.is_empty(), "{name}: {walk}");
        }
    }
}

#[test]
fn each_statement_needs_its_locks_and_its_place() {
    for (name, statements, falls) in rows::weakenings() {
        let path = search::shortest(statements, falls);
        println!(
            "{name} breaks \"{falls}\":\n{}",
            search::tell(path.unwrap_or_else(|| panic!("{name} does not")))
        );
    }
    for promise in (Statements { design: rows::Design::default(), scope: rows::Scope::ADDED_TO }).properties()
    {
        let falls = rows::weakenings().iter().any(|(_, _, falls)| *falls == promise.name);
        assert!(falls || promise.expectation == Expectation::Sometimes, "nothing breaks {}", promise.name);
    }
}
