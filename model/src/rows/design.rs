//! How the statements are written, and each safeguard that may be taken away.

use super::promises::{
    FINISHED_KEEPS_NOTHING, KEPT_IS_PAID, MOVES_ARE_LEGAL, NO_DEADLOCK, NOBODY_WAITS_IN_VAIN, WISH_IS_GRANTED,
};

/// How the statements are written. The default is how they should be; each switch leaves one thing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Design {
    /// What ends an order lists what was taken in the statement that locks the order.
    pub one_statement: bool,
    /// What ends an order locks it before its charges.
    pub order_first: bool,
    /// What ends an order closes charges, too, that it did not lock before it.
    pub closes_unlocked: bool,
    /// A settlement reads by a join, without a lock, whether the order is finished.
    pub late_by_join: bool,
    /// In the same way, whether it is to be cancelled.
    pub wish_by_join: bool,
    /// A settlement that ends the order gives back the payment that it settles, and no other.
    pub gives_back_one: bool,
    /// What lands on an order whose payment failed is not given back.
    pub failed_keeps: bool,
    /// A settlement leaves an order that has changed since its statement began.
    pub settle_gives_up: bool,
    /// A claim moves the order that it waited for without another look at it.
    pub claim_unguarded: bool,
    /// An addition's charge decides the order like the order's own.
    pub addition_decides: bool,
}

/// Each safeguard that may be taken away, with the promise that then falls.
pub fn weakenings() -> Vec<(&'static str, Design, &'static str)> {
    let full = Design::default();
    vec![
        ("one_statement", Design { one_statement: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("order_first", Design { order_first: true, ..full }, NO_DEADLOCK),
        ("closes_unlocked", Design { closes_unlocked: true, ..full }, NO_DEADLOCK),
        ("late_by_join", Design { late_by_join: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("wish_by_join", Design { wish_by_join: true, ..full }, WISH_IS_GRANTED),
        ("gives_back_one", Design { gives_back_one: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("failed_keeps", Design { failed_keeps: true, ..full }, FINISHED_KEEPS_NOTHING),
        ("settle_gives_up", Design { settle_gives_up: true, ..full }, NOBODY_WAITS_IN_VAIN),
        ("claim_unguarded", Design { claim_unguarded: true, ..full }, MOVES_ARE_LEGAL),
        ("addition_decides", Design { addition_decides: true, ..full }, KEPT_IS_PAID),
    ]
}
