//! The protocol with one safeguard taken away, each with the promise that then falls: what shows that the safeguard
//! is needed, and that the checker would notice if it went missing.

use crate::design::{Design, Scope};
use crate::promises;
use crate::protocol::Protocol;

/// One safeguard less.
#[derive(Clone, Copy, Debug)]
pub struct Weakening {
    /// As `--show` takes it.
    pub name: &'static str,
    /// The protocol without it.
    pub protocol: Protocol,
    /// The promise that falls.
    pub falls: &'static str,
}

/// Every one of them.
pub fn all() -> Vec<Weakening> {
    let full = Design::full();
    let deep =
        |name, falls, design| Weakening { name, falls, protocol: Protocol { design, scope: Scope::DEEP } };
    let cancel =
        |name, falls, design| Weakening { name, falls, protocol: Protocol { design, scope: Scope::CANCEL } };
    let kitchen =
        |name, falls, design| Weakening { name, falls, protocol: Protocol { design, scope: Scope::KITCHEN } };
    let additions = |name, falls, design| Weakening {
        name,
        falls,
        protocol: Protocol { design, scope: Scope::ADDITIONS },
    };
    let late =
        |name, falls, design| Weakening { name, falls, protocol: Protocol { design, scope: Scope::LATE } };
    vec![
        deep(
            "answer_before_commit",
            promises::TOLD_IS_DURABLE,
            Design { answer_before_commit: true, ..full },
        ),
        deep("new_key_per_try", promises::CHARGED_ONCE, Design { new_key_per_try: true, ..full }),
        deep(
            "fail_without_asking",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { fail_without_asking: true, ..full },
        ),
        deep(
            "look_up_instead_of_void",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { look_up_instead_of_void: true, ..full },
        ),
        deep("doubt_confirms", promises::CONFIRMED_WAS_CHARGED, Design { doubt_confirms: true, ..full }),
        cancel("no_guard", promises::FINAL_STAYS, Design { no_guard: true, ..full }),
        cancel("no_epoch_guard", promises::NUMBERS_ARE_FREE, Design { no_epoch_guard: true, ..full }),
        deep(
            "no_epoch_guard_in_the_queue",
            promises::TRIES_HAVE_ROWS,
            Design { no_epoch_guard: true, ..full },
        ),
        deep("no_sweep", promises::ACCEPTED_ENDS, Design { no_sweep: true, ..full }),
        deep("no_lease", promises::NOBODY_IS_OVERTAKEN, Design { no_lease: true, ..full }),
        cancel(
            "call_before_attempt_row",
            promises::WRITTEN_BEFORE_ASKED,
            Design { call_before_attempt_row: true, ..full },
        ),
        deep("call_before_claim", promises::WRITTEN_BEFORE_ASKED, Design { call_before_claim: true, ..full }),
        cancel(
            "call_before_claim_and_cancel",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { call_before_claim: true, ..full },
        ),
        deep("abandoned_unwritten", promises::TRIES_HAVE_ROWS, Design { abandoned_unwritten: true, ..full }),
        deep(
            "abandoned_under_new_epoch",
            promises::ANSWERS_ARE_KEPT,
            Design { abandoned_under_new_epoch: true, ..full },
        ),
        deep(
            "release_unguarded_and_late_overwrites",
            promises::NOTHING_IS_OVERWRITTEN,
            Design { release_unguarded: true, late_overwrites: true, ..full },
        ),
        deep("queue_row_stays", promises::CHARGE_IS_IN_ONE_PLACE, Design { queue_row_stays: true, ..full }),
        deep(
            "payment_unguarded",
            promises::CHARGE_IS_IN_ONE_PLACE,
            Design { payment_unguarded: true, ..full },
        ),
        cancel(
            "cancel_kills_and_claimed_is_closed",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { cancel_kills: true, claimed_is_closed: true, ..full },
        ),
        deep(
            "ack_before_settle_and_no_sweep",
            promises::ACCEPTED_ENDS,
            Design { ack_before_settle: true, no_sweep: true, ..full },
        ),
        deep("outage_counts", promises::OUTAGE_FAILS_NOTHING, Design { outage_counts: true, ..full }),
        deep(
            "misconfigured_counts",
            promises::OUTAGE_FAILS_NOTHING,
            Design { misconfigured_counts: true, ..full },
        ),
        deep("pending_is_done", promises::CONFIRMED_WAS_CHARGED, Design { pending_is_done: true, ..full }),
        cancel(
            "pending_refund_is_done",
            promises::REFUNDED_WAS_GIVEN,
            Design { pending_is_done: true, ..full },
        ),
        deep("message_makes_payment", promises::CHARGED_ONCE, Design { message_makes_payment: true, ..full }),
        deep(
            "decline_forgotten",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { decline_forgotten: true, ..full },
        ),
        cancel("new_key_per_refund", promises::REFUNDED_ONCE, Design { new_key_per_refund: true, ..full }),
        cancel(
            "settle_resurrects",
            promises::MOVES_ARE_LEGAL,
            Design { cancel_kills: true, settle_resurrects: true, ..full },
        ),
        cancel(
            "cancel_kills_and_no_late_capture",
            promises::FINISHED_KEEPS_NOTHING,
            Design { cancel_kills: true, late_capture_ignored: true, ..full },
        ),
        cancel(
            "finish_leaves_payments_and_no_late_capture",
            promises::FINISHED_KEEPS_NOTHING,
            Design { finish_leaves_payments: true, late_capture_ignored: true, ..full },
        ),
        cancel("wish_read_before", promises::WISH_IS_GRANTED, Design { wish_read_before: true, ..full }),
        cancel("wish_told_as_done", promises::CANCELLED_STAYS, Design { wish_told_as_done: true, ..full }),
        cancel(
            "refund_in_second_transaction",
            promises::FINISHED_KEEPS_NOTHING,
            Design { refund_in_second_transaction: true, ..full },
        ),
        cancel(
            "declined_refund_fails",
            promises::REFUNDED_WAS_GIVEN,
            Design { declined_refund_fails: true, ..full },
        ),
        cancel(
            "unsent_from_snapshot",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { unsent_from_snapshot: true, ..full },
        ),
        cancel(
            "unsent_from_snapshot_and_no_late_capture",
            promises::FINISHED_KEEPS_NOTHING,
            Design { unsent_from_snapshot: true, late_capture_ignored: true, ..full },
        ),
        cancel(
            "doubt_counts_as_unsent",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { doubt_counts_as_unsent: true, ..full },
        ),
        cancel(
            "abandoned_counts_as_unsent",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { abandoned_counts_as_unsent: true, ..full },
        ),
        kitchen("no_show_unguarded", promises::KEPT_STAYS, Design { no_show_unguarded: true, ..full }),
        kitchen("sweep_unguarded", promises::ACCEPTED_OR_REJECTED, Design { sweep_unguarded: true, ..full }),
        kitchen("cancel_unguarded", promises::MOVES_ARE_LEGAL, Design { cancel_unguarded: true, ..full }),
        additions(
            "late_capture_ignored",
            promises::FINISHED_KEEPS_NOTHING,
            Design { late_capture_ignored: true, ..full },
        ),
        additions(
            "late_capture_from_snapshot",
            promises::FINISHED_KEEPS_NOTHING,
            Design { late_capture_from_snapshot: true, ..full },
        ),
        additions(
            "refunds_from_snapshot",
            promises::FINISHED_KEEPS_NOTHING,
            Design { refunds_from_snapshot: true, ..full },
        ),
        additions(
            "batch_follows_one",
            promises::FINISHED_KEEPS_NOTHING,
            Design { batch_follows_one: true, ..full },
        ),
        additions("held_is_claimed", promises::ADDED_AFTER_PAID, Design { held_is_claimed: true, ..full }),
        additions("held_forgotten", promises::ACCEPTED_ENDS, Design { held_forgotten: true, ..full }),
        additions("let_go_undecided", promises::ADDED_AFTER_PAID, Design { let_go_undecided: true, ..full }),
        additions(
            "let_go_charges_all",
            promises::ADDED_AFTER_PAID,
            Design { let_go_charges_all: true, ..full },
        ),
        additions(
            "let_go_fails_what_may_be_sent",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { let_go_fails_what_may_be_sent: true, ..full },
        ),
        additions("pays_anew_early", promises::LINES_ARE_PAID_ONCE, Design { pays_anew_early: true, ..full }),
        additions(
            "held_is_claimed_and_refund_uncounted",
            promises::REFUNDED_ONCE,
            Design { held_is_claimed: true, refund_uncounted: true, ..full },
        ),
        additions(
            "held_is_claimed_and_addition_decides",
            promises::CONFIRMED_WAS_CHARGED,
            Design { held_is_claimed: true, addition_decides: true, ..full },
        ),
        late("late_is_claimed", promises::LATE_IS_NOT_CHARGED, Design { late_is_claimed: true, ..full }),
        late("late_forgotten", promises::ACCEPTED_ENDS, Design { late_forgotten: true, ..full }),
        late(
            "late_counts_as_unsent",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { late_counts_as_unsent: true, ..full },
        ),
        late(
            "late_addition_ends_order",
            promises::MOVES_ARE_LEGAL,
            Design { late_addition_ends_order: true, ..full },
        ),
    ]
}
