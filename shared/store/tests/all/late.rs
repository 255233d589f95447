//! Charges whose time is over: nobody claims them to charge them, and each is called off once, with its order where it is the one
//! that decides it.

use std::time::Duration;

use anyhow::Result;
use domain::event::What;
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::{AdditionRequest, NewAddition};
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::{AttemptAction, AttemptOutcome};
use futures_util::future::try_join_all;
use serde_json::json;
use sqlx::PgConnection;
use store::additions::{Add, PayAnew, add, drop_failed, pay_anew, to_drop};
use store::call_off::{CalledOff, Whose, call_off_but, call_off_one};
use store::claim::{Claimed, Terms, claim};
use store::moves::{Moved, carry_out};
use store::settle::{Next, Settlement, settle};
use store::sweep::claim_due;
use store::{events, read};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{HOUR, accepted, claimed, confirmed, ends};

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

/// An order whose payment failed, and the charge that pays it anew.
async fn anew(conn: &mut PgConnection) -> Result<(NewOrder, Uuid)> {
    let order = accepted(conn, 1).await?.remove(0);
    let claim = claimed(conn, std::slice::from_ref(&order)).await?.remove(0);
    settle(conn, &[ends(&claim, AttemptOutcome::Declined)], HOUR).await?;
    let payment_id = Uuid::now_v7();
    let (by, expected) = (Actor::Unnamed, Expected::default());
    let ask = PayAnew { order_id: order.id, by, payment_id, reference: payment_id.to_string(), expected };
    assert!(matches!(pay_anew(conn, &ask).await?, Moved::Done { .. }));
    Ok((order, payment_id))
}

/// Its time is over, by so much.
async fn is_over(conn: &mut PgConnection, payment: Uuid, seconds: f64) -> Result<()> {
    sqlx::query(
        "WITH own AS (UPDATE open_charges SET expires_at = now() - $2 * interval '1 s' WHERE id = $1)
         UPDATE payments SET expires_at = now() - $2 * interval '1 s' WHERE id = $1",
    )
    .bind(payment)
    .bind(seconds)
    .execute(conn)
    .await?;
    Ok(())
}

/// Claimed, and to be tried again: the gateway turned it away unseen, or nobody knows.
async fn tried(conn: &mut PgConnection, payment: Uuid, outcome: AttemptOutcome) -> Result<Claimed> {
    let claim = claim(conn, &[payment], HOUR).await?.remove(0);
    let next = Next::Retry { delay: Duration::ZERO, spend: false, void: false };
    settle(conn, &[Settlement::new(&claim, outcome, next)], HOUR).await?;
    Ok(claim)
}

async fn called_off(conn: &mut PgConnection, whose: Whose) -> Result<(usize, usize)> {
    let CalledOff { voiding, ended } = call_off_but(conn, whose, HOUR, 10, &[]).await?;
    assert_eq!(call_off_but(conn, whose, HOUR, 10, &[]).await?, CalledOff::default(), "once");
    Ok((voiding, ended))
}

async fn status(conn: &mut PgConnection, order: &NewOrder) -> Result<OrderStatus> {
    Ok(read::order(conn, order.id).await?.unwrap().status)
}

async fn payment(conn: &mut PgConnection, id: Uuid) -> Result<(String, Option<String>)> {
    Ok(sqlx::query_as("SELECT status::text, failure_code FROM payments WHERE id = $1")
        .bind(id)
        .fetch_one(conn)
        .await?)
}

#[tokio::test]
async fn what_is_late_is_claimed_only_to_be_voided_before_any_sweep_has_seen_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let own = accepted(&mut conn, 1).await?.remove(0).payment_id();
    let (_, anew) = anew(&mut conn).await?;
    let paid = confirmed(&mut conn, 1).await?.remove(0);
    let addition = added(&mut conn, &paid).await?;
    let all = [own, anew, addition];
    sqlx::query("UPDATE open_charges SET due_at = now()").execute(&mut conn).await?;
    for late in all {
        is_over(&mut conn, late, 0.001).await?;
    }
    assert!(claim(&mut conn, &all, HOUR).await?.is_empty(), "by a message");
    assert!(claim_due(&mut conn, 10, HOUR).await?.is_empty(), "by the sweep");
    let trust = "UPDATE clock_trust SET until = now() + $1 * interval '1 h'";
    sqlx::query(trust).bind(-1.0).execute(&mut conn).await?;
    let believed = claim_due(&mut conn, 10, Duration::ZERO).await?;
    assert_eq!(believed.len(), 3, "by a clock that nobody believes no time is over");
    sqlx::query(trust).bind(1.0).execute(&mut conn).await?;
    assert!(claim_due(&mut conn, 10, HOUR).await?.is_empty(), "nor when its worker has died");
    for whose in [Whose::First, Whose::Anew, Whose::Additions] {
        assert_eq!(called_off(&mut conn, whose).await?, (1, 0), "who knows what that worker sent");
    }
    let voids = claim_due(&mut conn, 10, HOUR).await?;
    assert_eq!(voids.iter().map(|one| one.action).collect::<Vec<_>>(), [AttemptAction::Void; 3]);
    Ok(())
}

#[tokio::test]
async fn what_has_no_time_of_its_own_is_late_by_the_workers_setting() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let own: Vec<Uuid> = accepted(&mut conn, 2).await?.iter().map(NewOrder::payment_id).collect();
    let (_, anew) = anew(&mut conn).await?;
    sqlx::query(
        "UPDATE open_charges SET due_at = now(), created_at = now() - interval '61 min' WHERE id = $1",
    )
    .bind(own[0])
    .execute(&mut conn)
    .await?;
    sqlx::query("UPDATE payments SET created_at = now() - interval '61 min' WHERE id = $1")
        .bind(anew)
        .execute(&mut conn)
        .await?;
    let terms = Terms { lease: HOUR, age: Some(HOUR) };
    assert!(claim_due(&mut conn, 10, terms).await?.is_empty());
    let claims = claim(&mut conn, &[own[0], own[1], anew], terms).await?;
    assert_eq!(claims.iter().map(|one| one.payment_id).collect::<Vec<_>>(), [own[1]]);
    // A time of its own goes before that.
    is_over(&mut conn, own[0], -60.0).await?;
    assert_eq!(claim_due(&mut conn, 10, terms).await?.len(), 1);
    Ok(())
}

/// Hundreds of late ones, longest due first, must not hold up what comes behind them.
#[tokio::test]
async fn late_ones_stand_in_nobodys_way() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = accepted(&mut conn, 21).await?;
    let (fresh, late) = orders.split_last().unwrap();
    sqlx::query("UPDATE open_charges SET due_at = now() - interval '1 s'").execute(&mut conn).await?;
    for order in late {
        is_over(&mut conn, order.payment_id(), 1.0).await?;
    }
    sqlx::query("UPDATE open_charges SET due_at = now() WHERE id = $1")
        .bind(fresh.payment_id())
        .execute(&mut conn)
        .await?;
    let claims = claim_due(&mut conn, 5, HOUR).await?;
    assert_eq!(claims.iter().map(|one| one.payment_id).collect::<Vec<_>>(), [fresh.payment_id()]);
    Ok(())
}

#[tokio::test]
async fn a_late_addition_is_taken_off_and_its_order_goes_on() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = confirmed(&mut conn, 4).await?;
    let mut additions = Vec::new();
    for order in &orders {
        additions.push(added(&mut conn, order).await?);
    }
    let [unclaimed, turned_away, doubtful, under_way] = additions[..] else { unreachable!() };
    tried(&mut conn, turned_away, AttemptOutcome::Unavailable).await?;
    tried(&mut conn, doubtful, AttemptOutcome::InDoubt).await?;
    let sent = claim(&mut conn, &[under_way], HOUR).await?.remove(0);
    for addition in &additions {
        is_over(&mut conn, *addition, 1.0).await?;
    }
    assert_eq!(called_off(&mut conn, Whose::Anew).await?, (0, 0), "it pays nothing anew");
    assert_eq!(called_off(&mut conn, Whose::Additions).await?, (2, 2));
    for ended in [unclaimed, turned_away] {
        assert_eq!(payment(&mut conn, ended).await?, ("failed".to_owned(), Some("expired".to_owned())));
    }
    // Of the two that may have been sent, one had landed.
    let void = claim_due(&mut conn, 10, HOUR).await?.remove(0);
    assert_eq!((void.payment_id, void.action), (doubtful, AttemptAction::Void));
    settle(&mut conn, &[ends(&void, AttemptOutcome::Voided), ends(&sent, AttemptOutcome::Succeeded)], HOUR)
        .await?;
    for order in to_drop(&mut conn, 10, &[]).await? {
        drop_failed(&mut conn, order).await?;
    }
    for (order, total) in orders.iter().zip([2_500, 2_500, 2_500, 2_999]) {
        let stands = read::order(&mut conn, order.id).await?.unwrap();
        assert_eq!((stands.status, stands.total.minor()), (OrderStatus::Confirmed, total));
    }
    let last = events::history(&mut conn, orders[0].id).await?.pop().unwrap();
    assert_eq!((last.what, last.actor.as_str()), (What::AdditionDropped, "sweep"));
    Ok(())
}

/// It was only called off while it was under way, and then its worker gave it back unsent.
#[tokio::test]
async fn a_late_addition_that_turns_out_unsent_ends_then() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    let addition = added(&mut conn, &order).await?;
    let claim = claim(&mut conn, &[addition], HOUR).await?.remove(0);
    is_over(&mut conn, addition, 1.0).await?;
    assert_eq!(called_off(&mut conn, Whose::Additions).await?, (1, 0));
    let next = Next::Retry { delay: HOUR, spend: false, void: false };
    settle(&mut conn, &[Settlement::new(&claim, AttemptOutcome::Unavailable, next)], HOUR).await?;
    assert_eq!(call_off_one(&mut conn, Whose::Additions, HOUR, addition).await?.ended, 1);
    assert_eq!(payment(&mut conn, addition).await?.0, "failed");
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_paid_anew_too_late_ends_as_by_its_first_charge() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(anew(&mut conn).await?);
    }
    let [unclaimed, turned_away, doubtful, wished, young] = &orders[..] else { unreachable!() };
    tried(&mut conn, turned_away.1, AttemptOutcome::Unavailable).await?;
    tried(&mut conn, doubtful.1, AttemptOutcome::InDoubt).await?;
    let sent = claim(&mut conn, &[wished.1], HOUR).await?.remove(0);
    let (wanted, by) = (Wanted::Cancel, Actor::Staff(Some("bo".into())));
    let (request, reason, expected) = (Uuid::now_v7(), None, Expected::default());
    let wish = Move { request, order_id: wished.0.id, wanted, by, reason, expected };
    assert!(matches!(carry_out(&mut conn, &wish).await?, Moved::Done { wish: true, .. }));
    let next = Next::Retry { delay: HOUR, spend: false, void: false };
    settle(&mut conn, &[Settlement::new(&sent, AttemptOutcome::Unavailable, next)], HOUR).await?;
    for (_, late) in [unclaimed, turned_away, doubtful, wished] {
        is_over(&mut conn, *late, 1.0).await?;
    }
    is_over(&mut conn, young.1, -60.0).await?;
    assert_eq!(called_off(&mut conn, Whose::Additions).await?, (0, 0), "nothing was added");
    assert_eq!(called_off(&mut conn, Whose::Anew).await?, (1, 3));
    for (order, stands) in [
        (unclaimed, OrderStatus::PaymentFailed),
        (turned_away, OrderStatus::PaymentFailed),
        (doubtful, OrderStatus::PaymentProcessing),
        (wished, OrderStatus::Cancelled),
        (young, OrderStatus::PaymentProcessing),
    ] {
        assert_eq!(status(&mut conn, &order.0).await?, stands);
    }
    for order in [unclaimed, turned_away] {
        assert_eq!(payment(&mut conn, order.1).await?, ("failed".to_owned(), Some("expired".to_owned())));
        let last = events::history(&mut conn, order.0.id).await?.pop().unwrap();
        assert_eq!((last.actor.as_str(), last.reason.as_deref()), ("sweep", Some("expired")));
    }
    let last = events::history(&mut conn, wished.0.id).await?.pop().unwrap();
    assert_eq!((last.to, last.actor.as_str()), (Some(OrderStatus::Cancelled), "staff:bo"));
    // The doubtful one had landed after all.
    let void = claim_due(&mut conn, 10, HOUR).await?.into_iter().find(|one| one.payment_id == doubtful.1);
    settle(&mut conn, &[ends(&void.unwrap(), AttemptOutcome::Succeeded)], HOUR).await?;
    assert_eq!(status(&mut conn, &doubtful.0).await?, OrderStatus::Confirmed);
    Ok(())
}

#[tokio::test]
async fn many_sweeps_at_once_end_each_of_them_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut orders = Vec::new();
    for _ in 0..20 {
        let (order, late) = anew(&mut conn).await?;
        is_over(&mut conn, late, 1.0).await?;
        orders.push(order);
    }
    let sweeps = (0..4).map(async |_| {
        let (mut conn, mut ended) = (database.connect().await?, 0);
        loop {
            let found = call_off_but(&mut conn, Whose::Anew, HOUR, 3, &[]).await?;
            if found.found() == 0 {
                return anyhow::Ok(ended);
            }
            ended += found.ended;
        }
    });
    assert_eq!(try_join_all(sweeps).await?.iter().sum::<usize>(), 20);
    for order in &orders {
        let failed = events::history(&mut conn, order.id).await?;
        let failed = failed.iter().filter(|event| event.to == Some(OrderStatus::PaymentFailed)).count();
        assert_eq!(failed, 2, "by the first charge, and by this one");
    }
    Ok(())
}
