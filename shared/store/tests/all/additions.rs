//! What is added to orders, and who has to wait for whom: against a real PostgreSQL.

use anyhow::Result;
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::{AdditionRequest, NewAddition};
use domain::order::moves::{Actor, Expected};
use domain::payment::AttemptOutcome;
use serde_json::json;
use sqlx::PgConnection;
use store::additions::{Add, add, release_held};
use store::moves::Moved;
use store::settle::settle;
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{HOUR, accepted, claimed, ends};

/// Adds a coffee, under a reference that nothing else has.
async fn added(conn: &mut PgConnection, order: &NewOrder) -> Result<Uuid> {
    let body = json!({"payment_reference": Uuid::now_v7(), "items": [
        {"item_id": "c", "item_name": "coffee", "quantity": 1, "price": 4.99}]})
    .to_string();
    let request: AdditionRequest<'_> = serde_json::from_str(&body)?;
    let addition = NewAddition::parse(&request, order.id, Currency::USD).unwrap();
    let payment_id = addition.payment_id;
    let ask = Add { order_id: order.id, by: Actor::Unnamed, addition, expected: Expected::default() };
    assert!(matches!(add(conn, &ask).await?, Moved::Done { .. }));
    Ok(payment_id)
}

#[tokio::test]
async fn an_addition_does_not_wait_for_those_of_other_orders() -> Result<()> {
    const AT_ONCE: u32 = 4;
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = accepted(&mut conn, AT_ONCE as usize + 1).await?;
    let (paid, undecided) = orders.split_last().unwrap();
    // Older, and as many as are let go at once: nobody knows yet what becomes of their orders.
    for order in undecided {
        added(&mut conn, order).await?;
    }
    let addition = added(&mut conn, paid).await?;
    assert_eq!(release_held(&mut conn, HOUR, AT_ONCE, &[]).await?, 0, "no order is decided");
    let claim = claimed(&mut conn, std::slice::from_ref(paid)).await?.remove(0);
    settle(&mut conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?;
    assert_eq!(release_held(&mut conn, HOUR, AT_ONCE, &[]).await?, 1);
    let from_now: bool = sqlx::query_scalar(
        "SELECT bool_and(expires_at > now() + interval '59 min') FROM payments WHERE added IS NOT NULL AND status = 'pending'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert!(from_now, "its time begins when it is let go");
    let due: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM payments WHERE due_at <= now() AND added IS NOT NULL AND NOT voiding",
    )
    .fetch_all(&mut conn)
    .await?;
    assert_eq!(due, [addition]);
    Ok(())
}
