//! The kitchen moves orders, and ends them; each request takes effect once.

use anyhow::Result;
use domain::event::What;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use store::claim::claim;
use store::events;
use store::moves::{Moved, carry_out};
use store::read;
use store::settle::settle;
use testbed::{TestDatabase, until};
use uuid::Uuid;

use super::{another_charge, ask, moved, refunds, refusal, status};
use crate::orders::{HOUR, confirmed, ends};

#[tokio::test]
async fn the_kitchen_moves_an_order_to_its_end_and_each_move_is_in_the_history() -> Result<()> {
    use OrderStatus::{Accepted, Delivered, Preparing, Ready};
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    let way = [
        Wanted::Accept,
        Wanted::Status(Preparing),
        Wanted::Status(Accepted),
        Wanted::Status(Preparing),
        Wanted::Status(Ready),
        Wanted::Status(Delivered),
    ];
    for wanted in way {
        let Moved::Done { whole, wish: false } = moved(&mut conn, &order, wanted).await? else {
            panic!("{wanted:?} was refused")
        };
        assert_eq!(whole.order.status, wanted.to());
    }
    for to in OrderStatus::ALL {
        let expected = if to == Delivered { Refusal::SameStatus } else { Refusal::IllegalMove };
        let moved = moved(&mut conn, &order, Wanted::Status(to)).await?;
        assert_eq!(refusal(&moved), Some((expected, Delivered)), "DELIVERED to {to:?}");
    }
    let history = events::history(&mut conn, order.id).await?;
    let to: Vec<_> = history.iter().skip(3).filter_map(|event| event.to).collect();
    assert_eq!(to, way.map(Wanted::to));
    assert!(history.iter().skip(3).all(|event| event.actor == "staff:bo"));
    assert_eq!(history.iter().map(|event| event.version).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert!(refunds(&mut conn, &order).await?.is_empty());
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE answer_by IS NOT NULL")
        .fetch_one(&mut conn)
        .await?;
    assert_eq!(open, 0, "the kitchen has answered");
    Ok(())
}

#[tokio::test]
async fn a_request_that_took_effect_knows_itself_again() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    let accept = ask(order.id, Wanted::Accept);
    for _ in 0..2 {
        assert!(matches!(carry_out(&mut conn, &accept).await?, Moved::Done { .. }));
    }
    let other = moved(&mut conn, &order, Wanted::Accept).await?;
    assert_eq!(refusal(&other), Some((Refusal::SameStatus, OrderStatus::Accepted)));
    assert_eq!(events::history(&mut conn, order.id).await?.len(), 4);
    Ok(())
}

/// To and fro a second run would be legal again: the step back that took effect must not be taken twice.
#[tokio::test]
async fn a_step_back_that_took_effect_is_not_taken_again_after_somebody_went_on() -> Result<()> {
    use OrderStatus::{Accepted, Preparing};
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    moved(&mut conn, &order, Wanted::Status(Preparing)).await?;
    let back = ask(order.id, Wanted::Status(Accepted));
    assert!(matches!(carry_out(&mut conn, &back).await?, Moved::Done { .. }));
    let on = ask(order.id, Wanted::Status(Preparing));
    assert!(matches!(carry_out(&mut conn, &on).await?, Moved::Done { .. }));
    assert!(matches!(carry_out(&mut conn, &back).await?, Moved::Done { .. }));
    assert_eq!(status(&mut conn, &order).await?, Preparing);
    moved(&mut conn, &order, Wanted::Status(Accepted)).await?;
    assert!(matches!(carry_out(&mut conn, &on).await?, Moved::Done { .. }));
    assert_eq!(status(&mut conn, &order).await?, Accepted);
    Ok(())
}

#[tokio::test]
async fn a_refused_request_keeps_no_lock() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut conn, mut other) = (database.connect().await?, database.connect().await?);
    let order = confirmed(&mut conn, 1).await?.remove(0);
    moved(&mut conn, &order, Wanted::Status(OrderStatus::Delivered)).await?;
    moved(&mut conn, &order, Wanted::Status(OrderStatus::Pending)).await?;
    sqlx::query("SET lock_timeout = '1s'").execute(&mut other).await?;
    assert!(matches!(moved(&mut other, &order, Wanted::Accept).await?, Moved::Done { .. }));
    Ok(())
}

/// Whoever reads for the answer may have to wait; nobody waits for whoever reads.
#[tokio::test]
async fn what_a_move_is_answered_is_read_after_its_commit() -> Result<()> {
    use sqlx::Connection;
    let database = TestDatabase::new().await?;
    let (mut conn, mut holder) = (database.connect().await?, database.connect().await?);
    let order = confirmed(&mut conn, 1).await?.remove(0);
    // Moves do not touch it; what is shown of an order is read from it.
    let mut hold = holder.begin().await?;
    sqlx::query("LOCK TABLE payment_attempts").execute(&mut *hold).await?;
    let take = moved(&mut conn, &order, Wanted::Accept);
    let others = async {
        let mut other = database.connect().await?;
        until("it is committed", async || {
            Ok((status(&mut other, &order).await? == OrderStatus::Accepted).then_some(()))
        })
        .await?;
        sqlx::query("SELECT FROM orders WHERE id = $1 FOR UPDATE NOWAIT")
            .bind(order.id)
            .execute(&mut other)
            .await?;
        hold.rollback().await?;
        anyhow::Ok(())
    };
    let (taken, others) = tokio::join!(take, others);
    others?;
    assert!(matches!(taken?, Moved::Done { .. }));
    Ok(())
}

#[tokio::test]
async fn customers_see_and_cancel_their_own_orders_only() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    let by = |id: &str| Move { by: Actor::Customer(id.to_owned()), ..ask(order.id, Wanted::Cancel) };
    assert!(matches!(carry_out(&mut conn, &by("bob")).await?, Moved::NotFound));
    assert!(matches!(carry_out(&mut conn, &by("ann")).await?, Moved::Done { .. }));
    let nobodys = NewOrder { id: Uuid::now_v7(), ..order };
    assert!(matches!(moved(&mut conn, &nobodys, Wanted::Accept).await?, Moved::NotFound));
    Ok(())
}

#[tokio::test]
async fn what_is_not_as_it_was_seen_stays_and_what_was_done_before_is_done() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for wanted in [Wanted::Cancel, Wanted::Accept] {
        let order = confirmed(&mut conn, 1).await?.remove(0);
        let now = read::order(&mut conn, order.id).await?.unwrap().version;
        let seen = |version| Move { expected: Expected::one_of(vec![version]), ..ask(order.id, wanted) };
        let late = carry_out(&mut conn, &seen(now - 1)).await?;
        assert_eq!(refusal(&late), Some((Refusal::VersionChanged { now }, OrderStatus::Confirmed)));
        let in_time = seen(now);
        assert!(matches!(carry_out(&mut conn, &in_time).await?, Moved::Done { .. }));
        let then = read::order(&mut conn, order.id).await?.unwrap().version;
        assert!(then > now, "{then}");
        // Its answer was lost, and the same request is carried out again: it changed the version itself.
        assert!(matches!(carry_out(&mut conn, &in_time).await?, Moved::Done { .. }));
        assert_eq!(read::order(&mut conn, order.id).await?.unwrap().version, then);
    }
    Ok(())
}

#[tokio::test]
async fn a_rejected_order_gives_every_charge_back_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    for _ in 0..2 {
        let more = another_charge(&mut conn, &order).await?;
        let claim = claim(&mut conn, &[more], HOUR).await?.remove(0);
        settle(&mut conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?;
    }
    moved(&mut conn, &order, Wanted::Reject).await?;
    assert_eq!(refunds(&mut conn, &order).await?, ["rejected"; 3]);
    let more = sqlx::query("UPDATE payments SET refunded_minor = refunded_minor + 1 WHERE kind = 'charge'")
        .execute(&mut conn)
        .await;
    assert!(more.is_err(), "the database refuses to give back more than was taken");
    Ok(())
}

/// What was taken for an order that nobody came for goes back once, or stays and is said to.
#[tokio::test]
async fn an_order_that_nobody_came_for_gives_its_money_back_or_keeps_it() -> Result<()> {
    use OrderStatus::{Cancelled, Preparing, Ready};
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for refund in [true, false] {
        let order = confirmed(&mut conn, 1).await?.remove(0);
        let more = another_charge(&mut conn, &order).await?;
        let claim = claim(&mut conn, &[more], HOUR).await?.remove(0);
        settle(&mut conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?;
        let early = moved(&mut conn, &order, Wanted::NoShow { refund }).await?;
        assert_eq!(refusal(&early), Some((Refusal::IllegalMove, OrderStatus::Confirmed)));
        for to in [Preparing, Ready] {
            moved(&mut conn, &order, Wanted::Status(to)).await?;
        }
        let ask = ask(order.id, Wanted::NoShow { refund });
        for _ in 0..2 {
            assert!(
                matches!(carry_out(&mut conn, &ask).await?, Moved::Done { wish: false, .. }),
                "run twice"
            );
        }
        let other = moved(&mut conn, &order, Wanted::NoShow { refund: !refund }).await?;
        assert_eq!(refusal(&other), Some((Refusal::SameStatus, Cancelled)));
        let history = events::history(&mut conn, order.id).await?;
        let end = history.iter().rfind(|event| event.to.is_some()).unwrap();
        assert_eq!(
            (end.from, end.to, end.reason.as_deref()),
            (Some(Ready), Some(Cancelled), Some("no_show"))
        );
        let after: Vec<_> = history.iter().skip_while(|event| event.to != Some(Cancelled)).skip(1).collect();
        let what = if refund { What::RefundOwed } else { What::Kept };
        assert!(after.iter().all(|event| event.what == what && event.actor == "staff:bo"), "{after:?}");
        assert_eq!(after.iter().filter_map(|event| event.amount_minor).sum::<i64>(), 2_600);
        assert_eq!(refunds(&mut conn, &order).await?, vec!["no_show"; if refund { 2 } else { 0 }]);
    }
    let listed: i64 = sqlx::query_scalar("SELECT count(*) FROM in_kitchen").fetch_one(&mut conn).await?;
    assert_eq!(listed, 0, "it has left the kitchen");
    Ok(())
}
