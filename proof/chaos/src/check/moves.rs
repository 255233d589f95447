//! What customers and the kitchen were told about orders after the 202, against what became of these; and the kitchen's
//! deadline. Of the money, the reconciliation says all there is to say.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use domain::order::status::OrderStatus;
use domain::payment::PaymentStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Check, Evidence};
use crate::clock;
use crate::order::{added, paid_anew};
use crate::tally::{Answered, What};

/// Every order's events, as `(order, where it went)` and how often, and where it stands.
struct Lives {
    moves: HashMap<(Uuid, OrderStatus), u32>,
    status: HashMap<Uuid, OrderStatus>,
}

/// A payment that its client gave a name.
#[derive(sqlx::FromRow)]
struct Named {
    status: PaymentStatus,
    dropped: bool,
    /// It is no charge.
    in_hand: bool,
    /// Its article stands among the order's lines.
    in_lines: bool,
}

pub(super) async fn check(conn: &mut PgConnection, evidence: &Evidence<'_>) -> Result<Vec<Check>> {
    let lives = Lives::read(conn).await?;
    let mut checks = lives.check(evidence.answered);
    checks.extend(named(conn, evidence.answered).await?);
    checks.push(not_before_its_time(conn, evidence.settings.accept_deadline).await?);
    checks.push(not_after_its_own_time(conn, evidence.answered).await?);
    checks.push(none_forgotten(conn).await?);
    Ok(checks)
}

impl Lives {
    async fn read(conn: &mut PgConnection) -> Result<Self> {
        let events: Vec<(Uuid, OrderStatus)> =
            sqlx::query_as("SELECT subject, to_status FROM shown_events WHERE to_status IS NOT NULL")
                .fetch_all(&mut *conn)
                .await?;
        let mut moves = HashMap::with_capacity(events.len());
        for event in events {
            *moves.entry(event).or_default() += 1;
        }
        let status: Vec<(Uuid, OrderStatus)> =
            sqlx::query_as("SELECT id, status FROM shown_orders").fetch_all(conn).await?;
        Ok(Self { moves, status: status.into_iter().collect() })
    }

    fn check(&self, answered: &[Answered]) -> Vec<Check> {
        use OrderStatus::{Accepted, Cancelled, Delivered, Preparing, Rejected};
        let mut cancelled = Check::new("an order whose cancellation was answered 200 is cancelled");
        let mut noted = Check::new("a step of the kitchen's that was answered 200 is in the history");
        let mut taken = Check::new("an order that the kitchen took is never rejected");
        let mut ended =
            Check::new("an order that was rejected, delivered or not fetched, by an answer of 200, stays so");
        for Answered { id, number, what } in answered {
            let at = self.status.get(id).copied();
            let stands =
                || format!("order {id} (number {number}) is {}", at.map_or("not there", OrderStatus::as_str));
            match what {
                What::Cancelled => cancelled.look(at == Some(Cancelled), stands),
                What::Moved(to) => {
                    noted.look(self.moves.contains_key(&(*id, *to)), || {
                        format!("order {id} (number {number}) was never {}", to.as_str())
                    });
                    match to {
                        Accepted | Preparing => taken.look(at.is_some_and(|at| at != Rejected), stands),
                        Rejected | Delivered | Cancelled => ended.look(at == Some(*to), stands),
                        _ => {}
                    }
                }
                What::Added | What::PaidAnew | What::NotChargedAfter(_) => {}
            }
        }
        vec![cancelled, noted, taken, ended, self.once()]
    }

    /// A request whose answer was lost may still be on its way when the same, sent again, has been answered and the order has
    /// gone on, and back. Only its key says then that it has been carried out.
    fn once(&self) -> Check {
        use OrderStatus::{Cancelled, Delivered, Preparing, Ready, Rejected};
        let mut once =
            Check::new("a step that the kitchen asked for once, however often it sent it, was taken once");
        for ((id, to), times) in &self.moves {
            if matches!(to, Preparing | Ready | Delivered | Rejected | Cancelled) {
                once.look(*times == 1, || format!("order {id} became {} {times} times", to.as_str()));
            }
        }
        once
    }
}

/// Payments that were answered 200 by the name that their client gave them.
async fn named(conn: &mut PgConnection, answered: &[Answered]) -> Result<[Check; 2]> {
    let payments = read_named(conn).await?;
    let mut additions = Check::new(
        "an addition that was answered 200 is charged, or to be paid in hand, and among the lines; or failed and taken off",
    );
    let mut anew = Check::new("a new payment that was answered 200 is there, and is settled");
    for Answered { id, number, what } in answered {
        let find = |name| payments.get(&(*id, name));
        match what {
            What::Added => {
                let found = find(added(*number));
                let whole = found.is_some_and(|one| match one.status {
                    PaymentStatus::Succeeded => one.in_lines && !one.dropped,
                    PaymentStatus::Failed => one.dropped && !one.in_lines || one.in_hand,
                    // Nobody comes by to pay for it.
                    PaymentStatus::Due => one.in_hand && one.in_lines,
                    _ => false,
                });
                additions.look(whole, || {
                    let found = found.map(|one| (one.status, one.dropped, one.in_lines));
                    format!("order {id} (number {number}): (status, taken off, among the lines) is {found:?}")
                });
            }
            What::PaidAnew => {
                let status = find(paid_anew(*number)).map(|one| one.status);
                let settled = matches!(status, Some(PaymentStatus::Succeeded | PaymentStatus::Failed));
                anew.look(settled, || format!("order {id} (number {number}): its new payment is {status:?}"));
            }
            What::Cancelled | What::Moved(_) | What::NotChargedAfter(_) => {}
        }
    }
    Ok([additions, anew])
}

async fn read_named(conn: &mut PgConnection) -> Result<HashMap<(Uuid, String), Named>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        order_id: Uuid,
        reference: String,
        #[sqlx(flatten)]
        named: Named,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT p.order_id, p.reference, p.status, p.dropped_at IS NOT NULL AS dropped, p.kind = 'on_delivery' AS in_hand,
                coalesce(o.items::jsonb @> jsonb_build_array(jsonb_build_object('item_id', p.reference)), false) AS in_lines
         FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.reference IS NOT NULL",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.order_id, row.reference), row.named)).collect())
}

/// By the database's clock, which is this machine's. A void after it is what should happen.
async fn not_after_its_own_time(conn: &mut PgConnection, answered: &[Answered]) -> Result<Check> {
    let tries: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT payment_id, (extract(epoch FROM max(started_at)) * 1000000)::bigint
         FROM payment_attempts WHERE action = 'charge' GROUP BY payment_id",
    )
    .fetch_all(conn)
    .await?;
    let tries: HashMap<Uuid, i64> = tries.into_iter().collect();
    let mut check = Check::new("no charge is begun after the time that its order named for it");
    for Answered { id, number, what } in answered {
        if let What::NotChargedAfter(until) = what {
            let begun = tries.get(id).copied().unwrap_or_default();
            check.look(begun <= *until, || {
                let late = clock::between(*until, begun);
                format!("order {id} (number {number}) was tried {late:?} after it")
            });
        }
    }
    Ok(check)
}

/// By the database's clock, to the microsecond: both moments are those of the transactions that decided.
async fn not_before_its_time(conn: &mut PgConnection, deadline: Duration) -> Result<Check> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT r.subject, (extract(epoch FROM r.at - max(c.at)) * 1000000)::bigint
         FROM order_events r JOIN order_events c ON c.subject = r.subject AND c.to_status = 'CONFIRMED'
         WHERE r.to_status = 'REJECTED' AND r.actor = 'sweep' GROUP BY r.subject, r.at",
    )
    .fetch_all(conn)
    .await?;
    let mut check = Check::new("the deadline rejects no order before its time");
    for (id, waited) in rows {
        check.look(waited >= clock::micros(deadline), || {
            format!("order {id} was rejected after {:?}", Duration::from_micros(waited.unsigned_abs()))
        });
    }
    Ok(check)
}

/// All is quiet and the last deadline has passed, so whoever is still waiting is waiting for ever.
async fn none_forgotten(conn: &mut PgConnection) -> Result<Check> {
    let rows: Vec<(Uuid, OrderStatus)> = sqlx::query_as(
        "SELECT o.id, o.status FROM orders o
         WHERE EXISTS (SELECT FROM order_events e WHERE e.subject = o.id AND e.to_status = 'CONFIRMED')",
    )
    .fetch_all(conn)
    .await?;
    let mut check = Check::new("no paid order waits for the kitchen beyond its deadline");
    for (id, status) in rows {
        check.look(status != OrderStatus::Confirmed, || {
            format!("order {id} is CONFIRMED, and nobody will look at it")
        });
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use testbed::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn a_charge_that_is_begun_after_its_own_time_is_seen_and_a_void_is_none() -> Result<()> {
        let database = TestDatabase::new().await?;
        let mut conn = database.connect().await?;
        const UNTIL: i64 = 1_700_000_000_000_000;
        let mut answered = Vec::new();
        for (number, tries) in [
            (0, &[][..]),
            (1, &[("charge", UNTIL), ("void", UNTIL + 1)]),
            (2, &[("charge", UNTIL), ("charge", UNTIL + 1)]),
        ] {
            let id = Uuid::now_v7();
            for (try_, (action, begun)) in (1..).zip(tries) {
                sqlx::query(
                    "INSERT INTO payment_attempts (payment_id, started_at, number, epoch, action)
                     VALUES ($1, 'epoch'::timestamptz + $2 * interval '1 us', $3, $3, $4::attempt_action)",
                )
                .bind(id)
                .bind(begun)
                .bind(try_)
                .bind(action)
                .execute(&mut conn)
                .await?;
            }
            answered.push(Answered { id, number, what: What::NotChargedAfter(UNTIL) });
        }
        let check = not_after_its_own_time(&mut conn, &answered).await?;
        assert_eq!((check.checked, check.violated), (3, 1), "{check:?}");
        assert!(check.examples[0].contains("(number 2)"), "{check:?}");
        Ok(())
    }
}
