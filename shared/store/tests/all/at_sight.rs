//! What an order's status alone forbids is refused while somebody else holds the order and its charge; all else waits for them.

use anyhow::Result;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use sqlx::Connection;
use store::moves::{Moved, carry_out};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{accepted, claimed, confirmed};

fn asks(order_id: Uuid, wanted: Wanted) -> Move {
    let (request, by) = (Uuid::now_v7(), Actor::Staff(Some("bo".into())));
    Move { request, order_id, wanted, by, reason: None, expected: Expected::default() }
}

#[tokio::test]
async fn a_kitchen_that_comes_too_early_waits_for_nobody_who_charges_the_order() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut worker, mut kitchen) = (database.connect().await?, database.connect().await?);
    let pending = accepted(&mut worker, 1).await?.remove(0).id;
    let processing = accepted(&mut worker, 1).await?;
    claimed(&mut worker, &processing).await?;
    let processing = processing[0].id;
    let paid = confirmed(&mut worker, 1).await?.remove(0).id;
    sqlx::query("SET lock_timeout = '50ms'").execute(&mut kitchen).await?;
    let mut held = worker.begin().await?;
    for what in ["open_charges", "payments", "orders"] {
        let all = sqlx::AssertSqlSafe(format!("SELECT FROM {what} FOR UPDATE"));
        sqlx::query(all).execute(&mut *held).await?;
    }
    let wanted = [Wanted::Accept, Wanted::Status(OrderStatus::Preparing), Wanted::Reject];
    for (id, at) in [(pending, OrderStatus::Pending), (processing, OrderStatus::PaymentProcessing)] {
        for wanted in wanted {
            let moved = carry_out(&mut kitchen, &asks(id, wanted)).await?;
            let Moved::Refused { refusal: Refusal::IllegalMove, status } = moved else {
                panic!("{wanted:?}: {moved:?}")
            };
            assert_eq!(status, at, "{wanted:?}");
        }
    }
    // What is legal, and what depends on who holds it, waits.
    for (id, wanted) in [(paid, Wanted::Accept), (paid, Wanted::Reject), (pending, Wanted::Cancel)] {
        let error = carry_out(&mut kitchen, &asks(id, wanted)).await.unwrap_err();
        let code = error.as_database_error().and_then(|refusal| refusal.code());
        assert_eq!(code.as_deref(), Some("55P03"), "{wanted:?}");
        sqlx::query("ROLLBACK").execute(&mut kitchen).await?;
    }
    // A version that nobody has seen is decided under locks, too; a stranger learns nothing.
    let expected = Expected::one_of(vec![9]);
    let early = Move { expected, ..asks(pending, Wanted::Accept) };
    assert!(carry_out(&mut kitchen, &early).await.is_err());
    sqlx::query("ROLLBACK").execute(&mut kitchen).await?;
    let stranger = Move { by: Actor::Customer("eve".into()), ..asks(pending, Wanted::Accept) };
    assert!(matches!(carry_out(&mut kitchen, &stranger).await?, Moved::NotFound));
    Ok(())
}
