//! Orders for later: held, then charged as any other; cancelled at once before; and nobody's time runs meanwhile.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use store::accept::{Accept, Accepted, accept};
use store::call_off::{CalledOff, Whose, call_off_but};
use store::claim::{Claimed, claim};
use store::facts::{contradicting_orders, facts};
use store::later::let_go;
use store::list::{Filter, PageStart, later, page};
use store::moves::{Moved, carry_out};
use store::settle::settle;
use store::sweep::claim_due;
use store::{events, read};
use testbed::TestDatabase;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::orders::{HOUR, ends};

/// An order for so many hours from now, with these fields beside it; the lead time is half an hour.
fn order(hours: i64, beside: serde_json::Value) -> NewOrder {
    let wanted_at = OffsetDateTime::now_utc() + time::Duration::hours(hours);
    let mut body = json!({"customer_id": "ann", "wanted_at": wanted_at.format(&Rfc3339).unwrap(),
        "items": [{"item_id": "i", "item_name": "n", "quantity": 2, "price": 12.5}]});
    body.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    NewOrder::parse(&serde_json::from_str(&body.to_string()).unwrap()).unwrap()
}

async fn accepted(conn: &mut PgConnection, hours: i64) -> Result<NewOrder> {
    let order = order(hours, json!({}));
    let batch = [Accept { order: order.clone(), key: None }];
    assert!(matches!(accept(conn, &batch, HOUR).await?[..], [Accepted::New { .. }]));
    Ok(order)
}

/// Their time has come.
async fn comes(conn: &mut PgConnection, order: &NewOrder) -> Result<()> {
    sqlx::query(
        "WITH told AS (UPDATE order_details SET held_until = now() WHERE order_id = $1)
         UPDATE payments SET held_until = now() WHERE id = $1",
    )
    .bind(order.id)
    .execute(conn)
    .await?;
    Ok(())
}

async fn status(conn: &mut PgConnection, id: Uuid) -> Result<OrderStatus> {
    Ok(read::order(conn, id).await?.unwrap().status)
}

/// Where its own charge stands, and how often it was tried.
async fn charge(conn: &mut PgConnection, order: &NewOrder) -> Result<(String, i32)> {
    Ok(sqlx::query_as("SELECT status::text, attempts FROM shown_payments WHERE id = $1")
        .bind(order.id)
        .fetch_one(conn)
        .await?)
}

fn ask(order_id: Uuid, wanted: Wanted) -> Move {
    let (by, reason) = (Actor::Staff(None), Some("because".to_owned()));
    Move { request: Uuid::now_v7(), order_id, wanted, by, reason, expected: Expected::default() }
}

#[tokio::test]
async fn until_its_time_nobody_claims_it_or_counts_its_time_and_then_it_is_as_any_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 24).await?;
    assert_eq!(charge(&mut conn, &order).await?, ("held".to_owned(), 0));
    assert!(claim(&mut conn, &[order.id], HOUR).await?.is_empty(), "by a message");
    sqlx::query("UPDATE payments SET created_at = now() - interval '1 d'").execute(&mut conn).await?;
    assert!(claim_due(&mut conn, 10, HOUR).await?.is_empty(), "by a sweep");
    for whose in [Whose::First, Whose::Anew, Whose::Additions] {
        assert_eq!(call_off_but(&mut conn, whose, HOUR, 10, &[]).await?, CalledOff::default(), "{whose:?}");
    }
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 0, "too early");
    let refused = carry_out(&mut conn, &ask(order.id, Wanted::Accept)).await?;
    assert!(matches!(refused, Moved::Refused { refusal: Refusal::IllegalMove, .. }), "{refused:?}");
    assert_eq!(contradicting_orders(&mut conn, 10).await?, 0);
    assert_eq!(facts(&mut conn, 10).await?.payments[0], ("held", 1));

    comes(&mut conn, &order).await?;
    sqlx::query("UPDATE clock_trust SET until = now() - interval '1 s'").execute(&mut conn).await?;
    assert_eq!(
        let_go(&mut conn, HOUR, 10, &[]).await?,
        0,
        "by a clock that nobody believes no time has come"
    );
    sqlx::query("UPDATE clock_trust SET until = now() + interval '1 h'").execute(&mut conn).await?;
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 1);
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 0, "once");
    assert_eq!(status(&mut conn, order.id).await?, OrderStatus::PaymentProcessing);
    let claimed = claim_due(&mut conn, 10, HOUR).await?;
    assert_eq!(
        claimed.iter().map(|one| (one.payment_id, one.queued)).collect::<Vec<_>>(),
        [(order.id, false)]
    );
    let oldest = facts(&mut conn, 10).await?.oldest_open_seconds[0].1;
    assert!(oldest < 60.0, "it has been open since its time came, not since it was ordered: {oldest} s");
    let settlement = ends(&claimed[0], AttemptOutcome::Succeeded);
    assert_eq!(settle(&mut conn, &[settlement], Duration::from_secs(300)).await?, [order.id]);
    let whole = read::whole(&mut conn, order.id).await?.unwrap();
    assert_eq!(whole.order.status, OrderStatus::Confirmed);
    assert_eq!(whole.order.accept_by.unwrap() - whole.order.updated_at, time::Duration::minutes(5));
    let history = events::history(&mut conn, order.id).await?;
    let moves: Vec<_> = history.iter().map(|event| (event.version, event.to, event.actor.as_str())).collect();
    use OrderStatus::{Confirmed, PaymentProcessing, Pending};
    assert_eq!(
        moves,
        [(1, Some(Pending), "api"), (2, Some(PaymentProcessing), "sweep"), (3, Some(Confirmed), "worker")]
    );
    assert_eq!(contradicting_orders(&mut conn, 10).await?, 0);
    Ok(())
}

#[tokio::test]
async fn its_charge_has_its_time_from_when_it_is_let_go_and_may_fail_and_be_paid_anew_as_any_other()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (declined, late) = (accepted(&mut conn, 2).await?, accepted(&mut conn, 3).await?);
    for order in [&declined, &late] {
        comes(&mut conn, order).await?;
    }
    assert_eq!(let_go(&mut conn, HOUR, 1, &[]).await?, 1, "no more than is asked for");
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 1);
    let claims = claim(&mut conn, &[declined.id], HOUR).await?;
    settle(&mut conn, &[ends(&claims[0], AttemptOutcome::Declined)], HOUR).await?;
    assert_eq!(status(&mut conn, declined.id).await?, OrderStatus::PaymentFailed);
    sqlx::query("UPDATE payments SET expires_at = now() WHERE id = $1")
        .bind(late.id)
        .execute(&mut conn)
        .await?;
    assert!(claim(&mut conn, &[late.id], HOUR).await?.is_empty(), "its time is over");
    let called_off = call_off_but(&mut conn, Whose::Anew, HOUR, 10, &[]).await?;
    assert_eq!(called_off, CalledOff { voiding: 0, ended: 1 });
    assert_eq!(status(&mut conn, late.id).await?, OrderStatus::PaymentFailed);
    assert_eq!(contradicting_orders(&mut conn, 10).await?, 0);
    Ok(())
}

#[tokio::test]
async fn cancelled_before_its_time_it_ends_at_once_and_after_it_as_any_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (held, pending, claimed) =
        (accepted(&mut conn, 2).await?, accepted(&mut conn, 2).await?, accepted(&mut conn, 2).await?);
    for order in [&pending, &claimed] {
        comes(&mut conn, order).await?;
    }
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 2);
    let claims: Vec<Claimed> = claim(&mut conn, &[claimed.id], HOUR).await?;
    for (order, wishes, left) in
        [(&held, false, "failed"), (&pending, false, "failed"), (&claimed, true, "processing")]
    {
        let moved = carry_out(&mut conn, &ask(order.id, Wanted::Cancel)).await?;
        assert!(matches!(moved, Moved::Done { wish, .. } if wish == wishes), "{moved:?}");
        assert_eq!(charge(&mut conn, order).await?, (left.to_owned(), i32::from(wishes)));
    }
    comes(&mut conn, &held).await?;
    assert_eq!(let_go(&mut conn, HOUR, 10, &[]).await?, 0, "it is not held any more");
    settle(&mut conn, &[ends(&claims[0], AttemptOutcome::Succeeded)], HOUR).await?;
    for order in [&held, &pending, &claimed] {
        assert_eq!(status(&mut conn, order.id).await?, OrderStatus::Cancelled);
    }
    let refunds: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE kind = 'refund'")
        .fetch_one(&mut conn)
        .await?;
    assert_eq!(refunds, 1, "of what was charged before the wish was granted");
    assert_eq!(contradicting_orders(&mut conn, 10).await?, 0);
    Ok(())
}

#[tokio::test]
async fn who_cancels_and_who_lets_go_wait_for_each_other_and_one_of_them_is_first() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut one, mut other) = (database.connect().await?, database.connect().await?);
    let order = accepted(&mut one, 2).await?;
    comes(&mut one, &order).await?;
    // Somebody is just cancelling: it is passed over.
    let mut cancelling = one.begin().await?;
    sqlx::query("SELECT FROM payments WHERE id = $1 FOR UPDATE")
        .bind(order.id)
        .execute(&mut *cancelling)
        .await?;
    assert_eq!(let_go(&mut other, HOUR, 10, &[]).await?, 0);
    cancelling.rollback().await?;
    // It is just being let go: whoever cancels waits, and sees it as it is then.
    let mut letting_go = one.begin().await?;
    assert_eq!(let_go(&mut letting_go, HOUR, 10, &[]).await?, 1);
    let asked = ask(order.id, Wanted::Cancel);
    let (moved, ()) = tokio::try_join!(async { anyhow::Ok(carry_out(&mut other, &asked).await?) }, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(letting_go.commit().await?)
    })?;
    assert!(matches!(moved, Moved::Done { wish: false, .. }), "{moved:?}");
    assert_eq!(charge(&mut one, &order).await?, ("failed".to_owned(), 0));
    let history = events::history(&mut one, order.id).await?;
    assert_eq!(history.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3]);
    Ok(())
}

#[tokio::test]
async fn they_are_listed_apart_soonest_first_and_among_the_pending() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut hours = Vec::new();
    for after in [5, 2, 9, 3] {
        hours.push((after, accepted(&mut conn, after).await?.id));
    }
    let cancelled = accepted(&mut conn, 4).await?;
    carry_out(&mut conn, &ask(cancelled.id, Wanted::Cancel)).await?;
    let soon = order(0, json!({}));
    let by_hand = order(6, json!({"payment": {"method": "on_delivery"}}));
    let batch = [&soon, &by_hand].map(|order| Accept { order: order.clone(), key: None });
    accept(&mut conn, &batch, HOUR).await?;
    assert_eq!(charge(&mut conn, &soon).await?.0, "pending", "sooner than it takes");
    hours.push((6, by_hand.id));
    hours.sort_unstable();
    let expected: Vec<Uuid> = hours.iter().map(|(_, id)| *id).collect();
    let (mut met, mut after) = (Vec::new(), None);
    loop {
        let found = later(&mut conn, &[], after, 2).await?;
        met.extend(found.orders.iter().map(|order| order.id));
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(met, expected);
    assert!(later(&mut conn, &["soho".to_owned()], None, 10).await?.orders.is_empty());
    let pending = Filter { statuses: vec![OrderStatus::Pending], ..Filter::default() };
    let found = page(&mut conn, &pending, PageStart::Offset(0), 20).await?;
    assert_eq!((found.orders.len(), found.total.orders), (5, 5), "four that wait, and one that does not");
    let confirmed = Filter { statuses: vec![OrderStatus::Confirmed], ..Filter::default() };
    let found = page(&mut conn, &confirmed, PageStart::Offset(0), 20).await?;
    let [order] = &found.orders[..] else { anyhow::bail!("one is confirmed") };
    let held_until = order.details.as_ref().unwrap().held_until.unwrap();
    let by = order.accept_by.unwrap();
    assert_eq!(by - held_until, domain::limits::ACCEPT_IN, "the kitchen's time counts from then");
    Ok(())
}
