//! A payment that is tried for days keeps few rows of its tries, and what they say of its money.

use std::time::Duration;

use anyhow::Result;
use domain::payment::AttemptOutcome::{self, InDoubt, Misconfigured, Pending, Succeeded, Unavailable};
use sqlx::PgConnection;
use store::claim::claim;
use store::deadline::reject_unanswered;
use store::read::attempts;
use store::settle::{KEPT, Next, Settlement, settle};
use testbed::{TestDatabase, make_due};
use uuid::Uuid;

use crate::facts::accepted;

const HOUR: Duration = Duration::from_secs(3_600);
const AGAIN: Next = Next::Retry { delay: HOUR, spend: false, void: false };

/// Claims it and settles the try so, whenever it is due.
async fn tried(conn: &mut PgConnection, payment: Uuid, outcome: AttemptOutcome, next: Next) -> Result<()> {
    make_due(conn).await?;
    let claimed = claim(conn, &[payment], HOUR).await?.remove(0);
    assert_eq!(settle(conn, &[Settlement::new(&claimed, outcome, next)], HOUR).await?, [payment]);
    Ok(())
}

async fn kept(conn: &mut PgConnection, payment: Uuid) -> Result<Vec<(i32, AttemptOutcome)>> {
    let rows: Vec<(i32, AttemptOutcome)> =
        sqlx::query_as("SELECT number, outcome FROM payment_attempts WHERE payment_id = $1 ORDER BY number")
            .bind(payment)
            .fetch_all(conn)
            .await?;
    Ok(rows)
}

#[tokio::test]
async fn of_very_many_tries_the_first_and_the_last_are_kept_and_whatever_may_have_moved_money() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn).await?;
    for number in 1..=60 {
        let outcome = match number {
            // Looked at, perhaps, but nothing came of it; then one that may move money yet, and three in doubt.
            15 | 16 => Misconfigured,
            20 => Pending,
            25 | 30 | 35 => InDoubt,
            _ => Unavailable,
        };
        tried(&mut conn, order.payment_id(), outcome, AGAIN).await?;
    }
    let rows = kept(&mut conn, order.payment_id()).await?;
    let numbers: Vec<i32> = rows.iter().map(|(number, _)| *number).collect();
    let expected: Vec<i32> = (1..=KEPT).chain([15, 20, 25, 35]).chain(60 - KEPT + 1..=60).collect();
    assert_eq!(numbers, expected);

    // The end is a row like the others, and the first charge of an order that is kept as a payment has the same.
    tried(&mut conn, order.payment_id(), Succeeded, Next::Succeeded { gateway_id: "ch".into() }).await?;
    let shown = attempts(&mut conn, order.id).await?;
    assert_eq!(shown.last().map(|last| (last.number, last.outcome)), Some((61, Some(Succeeded))));
    assert_eq!(shown.len(), expected.len());

    // A refund has rows from the start; it is bounded alike.
    sqlx::query("UPDATE payments SET answer_by = now()").execute(&mut conn).await?;
    reject_unanswered(&mut conn, 1).await?;
    let refund: Uuid =
        sqlx::query_scalar("SELECT id FROM payments WHERE kind = 'refund'").fetch_one(&mut conn).await?;
    for _ in 0..50 {
        tried(&mut conn, refund, AttemptOutcome::Declined, AGAIN).await?;
    }
    let rows = kept(&mut conn, refund).await?;
    let numbers: Vec<i32> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=KEPT).chain(50 - KEPT + 1..=50).collect::<Vec<_>>());
    Ok(())
}
