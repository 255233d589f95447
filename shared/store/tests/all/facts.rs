//! What operators are told of the whole is what stands in the tables.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::request::OrderRequest;
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use serde_json::json;
use sqlx::PgConnection;
use store::accept::{Accept, accept};
use store::claim::claim;
use store::deadline::reject_unanswered;
use store::facts::{Facts, contradicting_orders, facts};
use store::settle::{Next, Settlement, settle};
use testbed::{TestDatabase, make_due};
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3_600);
const MANY: i64 = 1_000;

pub(crate) async fn accepted(conn: &mut PgConnection) -> Result<NewOrder> {
    let body = json!({"customer_id": "c", "items": [
        {"item_id": "i", "item_name": "n", "quantity": 1, "price": 12.5}]})
    .to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body)?;
    let order = NewOrder::parse(&request).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    accept(conn, &[Accept { order: order.clone(), key: None }], HOUR).await?;
    Ok(order)
}

/// Claims it and settles the try so.
async fn tried(conn: &mut PgConnection, payment_id: Uuid, outcome: AttemptOutcome, next: Next) -> Result<()> {
    let claimed = claim(conn, &[payment_id], HOUR).await?.remove(0);
    let settlement = Settlement::new(&claimed, outcome, next);
    assert_eq!(settle(conn, &[settlement], HOUR).await?, [payment_id]);
    Ok(())
}

async fn due_since(conn: &mut PgConnection, payment_id: Uuid, seconds: i32) -> Result<()> {
    sqlx::query(
        "WITH own AS (UPDATE open_charges SET due_at = now() - $2 * interval '1 s' WHERE id = $1)
         UPDATE payments SET due_at = now() - $2 * interval '1 s' WHERE id = $1",
    )
    .bind(payment_id)
    .bind(seconds)
    .execute(conn)
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_is_open_due_and_in_doubt_is_told() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let nothing = Facts {
        oldest_due_seconds: 0.0,
        oldest_open_seconds: [("charge", 0.0), ("refund", 0.0)],
        payments: [("held", 0), ("pending", 0), ("processing", 0), ("waiting", 0)],
        in_doubt: 0,
        refused_refunds: 0,
        unanswered_seconds: 0.0,
        orders: vec![],
        oldest: vec![],
    };
    assert_eq!(facts(&mut conn, MANY).await?, nothing);

    let (waits, doubted, done) =
        (accepted(&mut conn).await?, accepted(&mut conn).await?, accepted(&mut conn).await?);
    let again = Next::Retry { delay: HOUR, spend: true, void: false };
    tried(&mut conn, done.payment_id(), AttemptOutcome::InDoubt, again.clone()).await?;
    due_since(&mut conn, done.payment_id(), 0).await?;
    tried(
        &mut conn,
        done.payment_id(),
        AttemptOutcome::Succeeded,
        Next::Succeeded { gateway_id: "ch".into() },
    )
    .await?;
    tried(&mut conn, doubted.payment_id(), AttemptOutcome::InDoubt, again.clone()).await?;
    // The gateway was away at the next try: that says nothing of the one before.
    due_since(&mut conn, doubted.payment_id(), 0).await?;
    tried(&mut conn, doubted.payment_id(), AttemptOutcome::Unavailable, again).await?;
    let seen = facts(&mut conn, MANY).await?;
    assert_eq!(seen.payments, [("held", 0), ("pending", 1), ("processing", 0), ("waiting", 1)]);
    assert_eq!((seen.in_doubt, seen.oldest_due_seconds), (1, 0.0), "nothing is due for an hour");

    due_since(&mut conn, doubted.payment_id(), 90).await?;
    let seen = facts(&mut conn, MANY).await?;
    assert!((90.0..100.0).contains(&seen.oldest_due_seconds), "{}", seen.oldest_due_seconds);

    // Under way again, and still nobody knows.
    claim(&mut conn, &[doubted.payment_id()], HOUR).await?;
    let seen = facts(&mut conn, MANY).await?;
    assert_eq!(seen.payments, [("held", 0), ("pending", 1), ("processing", 1), ("waiting", 0)]);
    assert_eq!(seen.in_doubt, 1);
    let mut orders = seen.orders;
    orders.sort_by_key(|(status, _)| status.as_str());
    assert_eq!(orders, [(OrderStatus::PaymentProcessing, 1), (OrderStatus::Pending, 1)]);
    due_since(&mut conn, waits.payment_id(), 30).await?;
    assert_eq!(
        facts(&mut conn, 1).await?.payments.iter().map(|(_, count)| count).sum::<i64>(),
        1,
        "no more than the limit"
    );
    Ok(())
}

#[tokio::test]
async fn refused_refunds_and_passed_deadlines_are_told() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn).await?;
    let paid = Next::Succeeded { gateway_id: "ch".into() };
    tried(&mut conn, order.payment_id(), AttemptOutcome::Succeeded, paid).await?;
    sqlx::query("UPDATE payments SET answer_by = now() - interval '40 s'").execute(&mut conn).await?;
    let seen = facts(&mut conn, MANY).await?;
    assert!((40.0..50.0).contains(&seen.unanswered_seconds), "{}", seen.unanswered_seconds);
    reject_unanswered(&mut conn, 10).await?;
    let refund_id: Uuid =
        sqlx::query_scalar("SELECT id FROM payments WHERE kind = 'refund'").fetch_one(&mut conn).await?;
    assert_eq!(facts(&mut conn, MANY).await?.refused_refunds, 0);
    let later = Next::Retry { delay: HOUR, spend: false, void: false };
    tried(&mut conn, refund_id, AttemptOutcome::Declined, later).await?;
    let seen = facts(&mut conn, MANY).await?;
    assert_eq!((seen.refused_refunds, seen.unanswered_seconds), (1, 0.0));
    assert_eq!(seen.orders, [(OrderStatus::Rejected, 1)]);
    // However long it rests between two tries, its age is seen; and that of no other kind.
    assert!(seen.oldest_open_seconds[1].1 < 40.0, "{seen:?}");
    sqlx::query("UPDATE payments SET created_at = now() - interval '1 hour'").execute(&mut conn).await?;
    let [(_, charge), (_, refund)] = facts(&mut conn, MANY).await?.oldest_open_seconds;
    assert!(charge == 0.0 && (3_600.0..3_700.0).contains(&refund), "{charge} {refund}");
    let young = accepted(&mut conn).await?;
    sqlx::query("UPDATE open_charges SET created_at = now() - interval '40 s' WHERE id = $1")
        .bind(young.id)
        .execute(&mut conn)
        .await?;
    let [(_, charge), (_, refund)] = facts(&mut conn, MANY).await?.oldest_open_seconds;
    assert!((40.0..50.0).contains(&charge) && refund > 3_599.0, "{charge} {refund}");
    let done = Next::Succeeded { gateway_id: "re".into() };
    make_due(&mut conn).await?;
    tried(&mut conn, refund_id, AttemptOutcome::Succeeded, done).await?;
    assert_eq!(facts(&mut conn, MANY).await?.oldest_open_seconds[1].1, 0.0);
    Ok(())
}

#[tokio::test]
async fn orders_that_contradict_their_payments_are_counted() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let charged = || (AttemptOutcome::Succeeded, Next::Succeeded { gateway_id: "ch".into() });
    let mut orders = Vec::new();
    for (outcome, next) in [charged(), (AttemptOutcome::Declined, Next::Failed), charged()] {
        let order = accepted(&mut conn).await?;
        tried(&mut conn, order.payment_id(), outcome, next).await?;
        orders.push(order.id);
    }
    orders.push(accepted(&mut conn).await?.id);
    assert_eq!(contradicting_orders(&mut conn, MANY).await?, 0);
    sqlx::query("ALTER TABLE orders DISABLE TRIGGER ALL").execute(&mut conn).await?;
    sqlx::query("ALTER TABLE payments DISABLE TRIGGER ALL").execute(&mut conn).await?;
    // Confirmed without a charge; failed with the money taken; waiting for what nobody will look at.
    for (place, wrong) in [
        "UPDATE orders SET status = 'CONFIRMED' WHERE id = $1 AND status = 'PAYMENT_FAILED'",
        "UPDATE orders SET status = 'PAYMENT_FAILED' WHERE id = $1 AND status = 'CONFIRMED'",
        "DELETE FROM open_charges WHERE id = $1",
    ]
    .into_iter()
    .enumerate()
    {
        let done = sqlx::query(wrong).bind(orders[place + 1]).execute(&mut conn).await?;
        assert_eq!(done.rows_affected(), 1, "{wrong}");
        assert_eq!(contradicting_orders(&mut conn, MANY).await?, 1 + place as i64, "{wrong}");
    }
    // Cancelled, and the money kept.
    let kept = accepted(&mut conn).await?;
    let (outcome, next) = charged();
    tried(&mut conn, kept.payment_id(), outcome, next).await?;
    sqlx::query("UPDATE orders SET status = 'CANCELLED' WHERE id = $1")
        .bind(kept.id)
        .execute(&mut conn)
        .await?;
    assert_eq!(contradicting_orders(&mut conn, MANY).await?, 4);
    // Paid, and still in the queue.
    let queued = accepted(&mut conn).await?;
    let (outcome, next) = charged();
    tried(&mut conn, queued.payment_id(), outcome, next).await?;
    let back = "INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency) VALUES ($1, 1, now(), now(), 'USD')";
    sqlx::query(back).bind(queued.id).execute(&mut conn).await?;
    assert_eq!(contradicting_orders(&mut conn, MANY).await?, 5);
    assert_eq!(contradicting_orders(&mut conn, 1).await?, 1, "only the newest are looked at");
    Ok(())
}

#[tokio::test]
async fn what_has_stood_longest_in_the_kitchen_is_told_by_where_it_stands() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = crate::orders::confirmed(&mut conn, 4).await?;
    for (order, (status, seconds)) in
        orders.iter().zip([("READY", 7_200), ("READY", 60), ("PREPARING", 600), ("DELIVERED", 9_000)])
    {
        for status in ["ACCEPTED", "PREPARING", "READY", "DELIVERED"].iter().take_while(|one| **one != status)
        {
            let on = sqlx::AssertSqlSafe(format!("UPDATE orders SET status = '{status}' WHERE id = $1"));
            sqlx::query(on).bind(order.id).execute(&mut conn).await?;
        }
        let there = format!(
            "UPDATE orders SET status = '{status}', updated_at = now() - interval '{seconds} s' WHERE id = $1"
        );
        sqlx::query(sqlx::AssertSqlSafe(there)).bind(order.id).execute(&mut conn).await?;
    }
    let mut oldest = facts(&mut conn, MANY).await?.oldest;
    oldest.sort_by_key(|(status, _)| status.as_str());
    let whole: Vec<(OrderStatus, i64)> = oldest.iter().map(|(status, age)| (*status, *age as i64)).collect();
    let near = |age: i64, is: i64| (is..is + 60).contains(&age);
    assert!(
        matches!(whole[..], [(OrderStatus::Preparing, a), (OrderStatus::Ready, b)] if near(a, 600) && near(b, 7_200)),
        "{whole:?}"
    );
    Ok(())
}
