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
        deep("no_guard", promises::FINAL_STAYS, Design { no_guard: true, ..full }),
        deep("no_epoch_guard", promises::NUMBERS_ARE_FREE, Design { no_epoch_guard: true, ..full }),
        deep("no_sweep", promises::ACCEPTED_ENDS, Design { no_sweep: true, ..full }),
        deep("no_lease", promises::NOBODY_IS_OVERTAKEN, Design { no_lease: true, ..full }),
        deep(
            "call_before_attempt_row",
            promises::WRITTEN_BEFORE_ASKED,
            Design { call_before_attempt_row: true, ..full },
        ),
        deep(
            "ack_before_settle_and_no_sweep",
            promises::ACCEPTED_ENDS,
            Design { ack_before_settle: true, no_sweep: true, ..full },
        ),
        deep("outage_counts", promises::OUTAGE_FAILS_NOTHING, Design { outage_counts: true, ..full }),
        deep("message_makes_payment", promises::CHARGED_ONCE, Design { message_makes_payment: true, ..full }),
        deep(
            "decline_forgotten",
            promises::FAILED_WAS_NOT_CHARGED,
            Design { decline_forgotten: true, ..full },
        ),
        cancel("new_key_per_refund", promises::REFUNDED_ONCE, Design { new_key_per_try: true, ..full }),
        cancel("cancel_kills", promises::CANCELLED_KEEPS_NOTHING, Design { cancel_kills: true, ..full }),
        cancel(
            "settle_resurrects",
            promises::MOVES_ARE_LEGAL,
            Design { cancel_kills: true, settle_resurrects: true, ..full },
        ),
        cancel(
            "cancel_leaves_payment",
            promises::CANCELLED_KEEPS_NOTHING,
            Design { cancel_leaves_payment: true, ..full },
        ),
    ]
}
