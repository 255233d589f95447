//! How the statements are written, and each safeguard that may be taken away.

use super::promises::{
    ANSWERS_ARE_KEPT, CHARGE_IS_IN_ONE_PLACE, CLOSED_WAS_NEVER_SENT, FINISHED_KEEPS_NOTHING,
    FINISHED_STARTS_NOTHING, KEPT_IS_PAID, MOVES_ARE_LEGAL, NO_DEADLOCK, NOBODY_WAITS_IN_VAIN, SHOWN_STAYS,
    VERSIONS_HAVE_NO_GAP, WISH_IS_GRANTED,
};
use super::{Scope, Statements};

/// How the statements are written. The default is how they should be; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// What ends an order lists what was taken in the statement that locks the order.
    pub one_statement: bool,
    /// What ends an order locks it before its charges.
    pub order_first: bool,
    /// Who changes an order goes on to the other charges without its own, if that has left the queue meanwhile.
    pub own_looked_for_once: bool,
    /// A look for it is two statements: the payments, and then the queue.
    pub payments_looked_before_queue: bool,
    /// Each look takes every charge that it sees; the last is the one after a look that held the own one.
    pub looks_take_all: bool,
    /// Of such looks there is one.
    pub looks_once: bool,
    /// There are two, whatever the first held.
    pub looks_twice: bool,
    /// Who adds a charge locks the order alone.
    pub adds_unlocked: bool,
    /// Who adds a charge looks for the order's own once, and may not hold it.
    pub adds_looks_once: bool,
    /// A settlement reads by a join, without a lock, whether the order is finished.
    pub late_by_join: bool,
    /// In the same way, whether it is to be cancelled.
    pub wish_by_join: bool,
    /// A settlement leaves an order that has changed since its statement began.
    pub settle_gives_up: bool,
    /// A settlement moves only an order that its statement saw as the charge's row in the queue says that it is stored.
    pub settle_expects_noted: bool,
    /// A settlement moves the order that it waited for without another look at it.
    pub settle_unguarded: bool,
    /// A settlement takes the charge out of the queue in a transaction of its own, before all else.
    pub in_two_transactions: bool,
    /// A settlement that finds another's claim looks for the row of its try in the same statement.
    pub late_in_one_statement: bool,
    /// Whether the order's own charge is under way is what the first look saw, not what it locked.
    pub under_way_from_snapshot: bool,
    /// What ends an order takes its own charge out of the queue, claimed or not.
    pub claimed_is_closed: bool,
    /// A wish is noted without that the order is `PAYMENT_PROCESSING`.
    pub wish_leaves_pending: bool,
    /// So is an addition.
    pub addition_leaves_pending: bool,
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
    /// Who calls an addition off lists it without a lock, and looks no more.
    pub called_off_unlocked: bool,
    /// Whether it was ever sent is what the statement saw that locked it.
    pub looked_in_one_statement: bool,
    /// What changes an order counts from the version that its statement saw when it began.
    pub version_from_snapshot: bool,
}

/// Each safeguard that may be taken away, with the promise that then falls.
pub fn weakenings() -> Vec<(&'static str, Statements, &'static str)> {
    let full = Design::default();
    let all = Design { looks_take_all: true, ..full };
    let unseen = Design { under_way_from_snapshot: true, ..full };
    let added = |name, design, falls| (name, Statements { design, scope: Scope::ADDED_TO }, falls);
    let late = |name, design, falls| (name, Statements { design, scope: Scope::LATE }, falls);
    let tried = |name, design, falls| (name, Statements { design, scope: Scope::TRIED_AGAIN }, falls);
    vec![
        added("one_statement", Design { one_statement: true, ..full }, FINISHED_KEEPS_NOTHING),
        added("order_first", Design { order_first: true, ..full }, NO_DEADLOCK),
        added("own_looked_for_once", Design { own_looked_for_once: true, ..full }, FINISHED_KEEPS_NOTHING),
        added("looks_take_all", all, NO_DEADLOCK),
        added("looks_once", Design { looks_once: true, ..all }, FINISHED_KEEPS_NOTHING),
        added("looks_twice", Design { looks_twice: true, ..all }, FINISHED_KEEPS_NOTHING),
        added("adds_unlocked", Design { adds_unlocked: true, ..full }, FINISHED_KEEPS_NOTHING),
        added("adds_looks_once", Design { adds_looks_once: true, ..full }, FINISHED_KEEPS_NOTHING),
        added("late_by_join", Design { late_by_join: true, ..full }, FINISHED_KEEPS_NOTHING),
        added("wish_by_join", Design { wish_by_join: true, ..full }, WISH_IS_GRANTED),
        added("settle_gives_up", Design { settle_gives_up: true, ..full }, NOBODY_WAITS_IN_VAIN),
        added("settle_expects_noted", Design { settle_expects_noted: true, ..full }, NOBODY_WAITS_IN_VAIN),
        added("in_two_transactions", Design { in_two_transactions: true, ..full }, CHARGE_IS_IN_ONE_PLACE),
        added("claimed_is_closed", Design { claimed_is_closed: true, ..unseen }, CLOSED_WAS_NEVER_SENT),
        added("settle_unguarded", Design { settle_unguarded: true, ..unseen }, MOVES_ARE_LEGAL),
        tried("late_in_one_statement", Design { late_in_one_statement: true, ..full }, ANSWERS_ARE_KEPT),
        tried("wish_leaves_pending", Design { wish_leaves_pending: true, ..full }, SHOWN_STAYS),
        tried("addition_leaves_pending", Design { addition_leaves_pending: true, ..full }, SHOWN_STAYS),
        added("takes_held", Design { takes_held: true, ..full }, FINISHED_KEEPS_NOTHING),
        added(
            "takes_held_and_addition_decides",
            Design { takes_held: true, addition_decides: true, ..full },
            KEPT_IS_PAID,
        ),
        added("let_go_unlocked", Design { let_go_unlocked: true, ..full }, FINISHED_STARTS_NOTHING),
        added(
            "let_go_by_join_and_end_leaves_held",
            Design { let_go_by_join: true, end_leaves_held: true, ..full },
            FINISHED_STARTS_NOTHING,
        ),
        late("called_off_unlocked", Design { called_off_unlocked: true, ..full }, CLOSED_WAS_NEVER_SENT),
        late(
            "looked_in_one_statement",
            Design { looked_in_one_statement: true, ..full },
            CLOSED_WAS_NEVER_SENT,
        ),
        added("version_from_snapshot", Design { version_from_snapshot: true, ..full }, VERSIONS_HAVE_NO_GAP),
    ]
}
