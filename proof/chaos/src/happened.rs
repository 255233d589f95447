//! What happened to orders, by kind and how often: a run in which something never happened proves nothing about it.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::PgConnection;

use crate::check::Check;
use crate::sales::Sales;

/// From so many orders on, everything happens: the rarest of all that is counted here befalls about one in a thousand.
const ENOUGH_ORDERS: u64 = 10_000;

/// Orders to which it happened, by what.
pub type Happened = BTreeMap<String, i64>;

/// Each kind and what counts it: of orders' moves, then of payments, then of the stock.
const MOVES: [(&str, &str); 19] = [
    ("paid", "to_status = 'CONFIRMED'"),
    ("payment failed", "to_status = 'PAYMENT_FAILED'"),
    ("not charged in time, and nothing was sent", "to_status = 'PAYMENT_FAILED' AND reason = 'expired'"),
    ("held for later, and let go", "to_status = 'PAYMENT_PROCESSING' AND reason = 'its_time'"),
    ("paid anew", "from_status = 'PAYMENT_FAILED' AND to_status = 'PAYMENT_PROCESSING'"),
    ("cancelled before it was sent to be charged", "from_status = 'PENDING' AND to_status = 'CANCELLED'"),
    (
        "cancelled while it was being charged",
        "from_status = 'PAYMENT_PROCESSING' AND to_status = 'CANCELLED'",
    ),
    ("cancelled after its payment failed", "from_status = 'PAYMENT_FAILED' AND to_status = 'CANCELLED'"),
    (
        "cancelled after it was paid",
        "from_status IN ('CONFIRMED', 'ACCEPTED', 'PREPARING') AND to_status = 'CANCELLED'",
    ),
    (
        "taken by the kitchen",
        "from_status = 'CONFIRMED' AND to_status = 'ACCEPTED' AND reason IS DISTINCT FROM 'implicit'",
    ),
    ("taken by beginning with it", "what = 'moved' AND to_status = 'ACCEPTED' AND reason = 'implicit'"),
    ("taken a step back", "from_status = 'PREPARING' AND to_status = 'ACCEPTED'"),
    ("delivered", "to_status = 'DELIVERED'"),
    ("rejected by the kitchen", "to_status = 'REJECTED' AND actor <> 'sweep'"),
    ("rejected at the deadline", "to_status = 'REJECTED' AND actor = 'sweep'"),
    ("told otherwise by its channel", "what = 'told'"),
    (
        "called off by its channel",
        "to_status = 'CANCELLED' AND actor = 'service:customers' AND reason = 'the channel called it off'",
    ),
    ("nobody came for it", "from_status = 'READY' AND to_status = 'CANCELLED'"),
    ("its money stays", "what = 'kept'"),
];
const PAYMENTS: [(&str, &str); 11] = [
    ("free", "kind = 'free'"),
    ("to be paid in hand", "kind = 'on_delivery' AND added IS NULL"),
    ("paid to its channel", "kind = 'elsewhere'"),
    ("addition charged", "added IS NOT NULL AND status = 'succeeded'"),
    ("addition taken off", "dropped_at IS NOT NULL"),
    ("refund given: cancelled", "kind = 'refund' AND status = 'succeeded' AND reason = 'cancelled'"),
    ("refund given: rejected", "kind = 'refund' AND status = 'succeeded' AND reason = 'rejected'"),
    ("refund given: deadline", "kind = 'refund' AND status = 'succeeded' AND reason = 'accept_deadline'"),
    ("refund given: nobody came", "kind = 'refund' AND status = 'succeeded' AND reason = 'no_show'"),
    (LATE_CAPTURE, "kind = 'refund' AND status = 'succeeded' AND reason = 'late_capture'"),
    ("refund tried again", "kind = 'refund' AND status = 'succeeded' AND attempts > 1"),
];
const HOLDS: [(&str, &str); 4] = [
    ("stock sold", "state = 'sold'"),
    ("stock held to the end", "state = 'held'"),
    ("stock given back", "state = 'back'"),
    ("stock of an addition that came to nothing, given back", "state = 'dropped' AND part <> owner"),
];
/// What became of carts.
const CARTS: [&str; 4] = ["checked out", "let go", "left", "refused"];
/// Takes a charge that lands within the moment in which its order ends: shown, and not asked for.
const LATE_CAPTURE: &str = "refund given: charged too late";

/// Counts.
pub(crate) async fn count(conn: &mut PgConnection, sales: &Sales) -> Result<Happened> {
    let mut happened = Happened::new();
    for (table, kinds) in [("shown_events", &MOVES[..]), ("payments", &PAYMENTS[..]), ("holds", &HOLDS[..])] {
        for (kind, of) in kinds {
            let sql = format!("SELECT count(*) FROM {table} WHERE {of}");
            let count = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *conn).await?;
            happened.insert((*kind).to_owned(), count);
        }
    }
    for what in CARTS {
        let count = sales.carts.get(what).copied().unwrap_or_default();
        happened.insert(format!("cart {what}"), i64::try_from(count)?);
    }
    happened.insert("refused: out of stock".to_owned(), i64::try_from(sales.refusals())?);
    Ok(happened)
}

/// Each kind was met, unless the run was too short for that, or its gateway declines nothing.
pub(crate) fn check(happened: &Happened, accepted: u64, gateway_is_well: bool) -> Check {
    let mut check = Check::about_the_run("each kind of thing happened that can happen to an order");
    if accepted >= ENOUGH_ORDERS && !gateway_is_well {
        for (kind, count) in happened.iter().filter(|(kind, _)| *kind != LATE_CAPTURE) {
            check.look(*count > 0, || format!("never: {kind}"));
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_in_a_long_run_is_told() {
        let mut happened: Happened =
            MOVES.iter().chain(&PAYMENTS).map(|(kind, _)| ((*kind).to_owned(), 1)).collect();
        happened.insert(LATE_CAPTURE.to_owned(), 0);
        assert_eq!(check(&happened, ENOUGH_ORDERS, false).violated, 0);
        happened.insert("delivered".to_owned(), 0);
        assert_eq!(check(&happened, ENOUGH_ORDERS, false).examples, ["never: delivered"]);
        assert_eq!(check(&happened, ENOUGH_ORDERS - 1, false).violated, 0);
        assert_eq!(check(&happened, ENOUGH_ORDERS, true).violated, 0);
    }
}
