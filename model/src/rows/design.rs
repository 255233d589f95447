//! How the statements are written, and each safeguard that may be taken away.

use super::promises::{
    FINISHED_KEEPS_NOTHING, FINISHED_STARTS_NOTHING, KEPT_IS_PAID, MOVES_ARE_LEGAL, NO_DEADLOCK,
    NOBODY_WAITS_IN_VAIN, VERSIONS_HAVE_NO_GAP, WISH_IS_GRANTED,
};

/// How the statements are written. The default is how they should be; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// What ends an order lists what was taken in the statement that locks the order.
    pub one_statement: bool,
    /// What ends an order locks it before its charges.
    pub order_first: bool,
    /// What ends an order looks for its charges once.
    pub looks_once: bool,
    /// Who adds a charge locks the order alone.
    pub adds_unlocked: bool,
    /// A settlement reads by a join, without a lock, whether the order is finished.
    pub late_by_join: bool,
    /// In the same way, whether it is to be cancelled.
    pub wish_by_join: bool,
    /// A settlement leaves an order that has changed since its statement began.
    pub settle_gives_up: bool,
    /// A claim moves the order that it waited for without another look at it.
    pub claim_unguarded: bool,
    /// A claim takes what is held, too.
    pub takes_held: bool,
    /// An addition's charge decides the order like the order's own.
    pub addition_decides: bool,
    /// Who lets an addition go lists it without a lock, and looks no more.
    pub let_go_unlocked: bool,
    /// Who lets an addition go goes by the order as it was before the addition was locked.
    pub let_go_by_join: bool,
    /// What ends an order leaves an addition that is held.
    pub end_leaves_held: bool,
    /// What changes an order counts from the version that its statement saw when it began.
    pub version_from_snapshot: bool,
}

/// Each safeguard that may be taken away, with the promise that then falls.
pub fn weakenings() -> Vec<(&'static str, Design, &'static str)> {
    let full = Design::default();
    vec![
        ("one_statement", Design { one_statement: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("order_first", Design { order_first: true, ..full }, NO_DEADLOCK),
        ("looks_once", Design { looks_once: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("adds_unlocked", Design { adds_unlocked: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("late_by_join", Design { late_by_join: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("wish_by_join", Design { wish_by_join: true, ..full }, WISH_IS_GRANTED),
        ("settle_gives_up", Design { settle_gives_up: true, ..full }, NOBODY_WAITS_IN_VAIN),
        ("takes_held", Design { takes_held: true, ..full }, FINISHED_KEEPS_NOTHING),
        (
            "takes_held_and_claim_unguarded",
            Design { takes_held: true, claim_unguarded: true, ..full },
            MOVES_ARE_LEGAL,
        ),
        (
            "takes_held_and_addition_decides",
            Design { takes_held: true, addition_decides: true, ..full },
            KEPT_IS_PAID,
        ),
        ("let_go_unlocked", Design { let_go_unlocked: true, ..full }, FINISHED_STARTS_NOTHING),
        (
            "let_go_by_join_and_end_leaves_held",
            Design { let_go_by_join: true, end_leaves_held: true, ..full },
            FINISHED_STARTS_NOTHING,
        ),
        ("version_from_snapshot", Design { version_from_snapshot: true, ..full }, VERSIONS_HAVE_NO_GAP),
    ]
}
