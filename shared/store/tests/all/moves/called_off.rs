//! Charges whose time is over are called off, those that orders came in with.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::Wanted;
use domain::order::status::OrderStatus;
use domain::payment::{AttemptAction, AttemptOutcome};
use futures_util::future::try_join_all;
use sqlx::PgConnection;
use store::call_off::{CalledOff, call_off};
use store::claim::claim;
use store::events;
use store::settle::{Next, Settlement, settle};
use store::sweep::claim_due;
use testbed::TestDatabase;
use uuid::Uuid;

use super::{moved, status, turned_away};
use crate::orders::{HOUR, accepted};

/// An order whose id says that it is so old.
async fn aged(conn: &mut PgConnection, age: Duration) -> Result<NewOrder> {
    let mut order = accepted(conn, 1).await?.remove(0);
    let fresh = order.id;
    let millis = u128::from(u64::try_from(age.as_millis())?);
    order.id = Uuid::from_u128(fresh.as_u128() - (millis << 80));
    for (table, column) in [("orders", "id"), ("open_charges", "id"), ("order_events", "subject")] {
        let aged = format!("UPDATE {table} SET {column} = $1 WHERE {column} = $2");
        sqlx::query(sqlx::AssertSqlSafe(aged)).bind(order.id).bind(fresh).execute(&mut *conn).await?;
    }
    sqlx::query("UPDATE open_charges SET created_at = now() - $2 * interval '1 s' WHERE id = $1")
        .bind(order.id)
        .bind(age.as_secs_f64())
        .execute(conn)
        .await?;
    Ok(order)
}

#[tokio::test]
async fn a_charge_that_takes_too_long_is_called_off_and_ends_its_order_where_nothing_was_sent() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let long = Duration::from_secs(901);
    let [doubtful, unclaimed, tried, wished, tried_now] = [
        aged(&mut conn, long).await?,
        aged(&mut conn, long).await?,
        aged(&mut conn, long).await?,
        aged(&mut conn, long).await?,
        aged(&mut conn, long).await?,
    ];
    let young = aged(&mut conn, Duration::from_secs(899)).await?;
    for (order, outcome) in [(&doubtful, AttemptOutcome::InDoubt), (&tried, AttemptOutcome::Unavailable)] {
        let claim = claim(&mut conn, &[order.payment_id()], HOUR).await?.remove(0);
        let next = Next::Retry { delay: HOUR, spend: false, void: false };
        settle(&mut conn, &[Settlement::new(&claim, outcome, next)], HOUR).await?;
    }
    let wish = claim(&mut conn, &[wished.payment_id()], HOUR).await?.remove(0);
    moved(&mut conn, &wished, Wanted::Cancel).await?;
    settle(&mut conn, &[turned_away(&wish)], HOUR).await?;
    claim(&mut conn, &[tried_now.payment_id()], HOUR).await?;

    let quarter = Duration::from_secs(900);
    let found = call_off(&mut conn, quarter, 10).await?;
    assert_eq!(found, CalledOff { voiding: 2, ended: 3 });
    assert_eq!(call_off(&mut conn, quarter, 10).await?, CalledOff::default(), "once");
    for (order, stands) in [
        (&doubtful, OrderStatus::PaymentProcessing),
        (&tried_now, OrderStatus::PaymentProcessing),
        (&unclaimed, OrderStatus::PaymentFailed),
        (&tried, OrderStatus::PaymentFailed),
        (&wished, OrderStatus::Cancelled),
        (&young, OrderStatus::Pending),
    ] {
        assert_eq!(status(&mut conn, order).await?, stands);
    }
    for order in [&unclaimed, &tried] {
        let last = events::history(&mut conn, order.id).await?.pop().unwrap();
        assert_eq!((last.actor.as_str(), last.reason.as_deref()), ("sweep", Some("expired")));
    }
    let due = claim_due(&mut conn, 10, HOUR).await?;
    assert_eq!(
        due.iter().map(|one| (one.payment_id, one.action)).collect::<Vec<_>>(),
        [(doubtful.payment_id(), AttemptAction::Void)]
    );
    Ok(())
}

#[tokio::test]
async fn an_orders_own_time_counts_whatever_the_default_and_not_by_a_clock_that_nobody_believes() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = accepted(&mut conn, 3).await?;
    let expires = "UPDATE open_charges SET expires_at = now() + $2 * interval '1 s' WHERE id = $1";
    for (order, seconds) in [(&orders[0], -1.0), (&orders[1], 60.0)] {
        sqlx::query(expires).bind(order.payment_id()).bind(seconds).execute(&mut conn).await?;
    }
    let patient = aged(&mut conn, HOUR).await?;
    sqlx::query(expires).bind(patient.payment_id()).bind(60.0).execute(&mut conn).await?;
    let trust = "UPDATE clock_trust SET until = now() + $1 * interval '1 h'";
    sqlx::query(trust).bind(-1.0).execute(&mut conn).await?;
    assert_eq!(call_off(&mut conn, HOUR, 10).await?, CalledOff::default());
    sqlx::query(trust).bind(1.0).execute(&mut conn).await?;
    assert_eq!(call_off(&mut conn, Duration::from_secs(900), 10).await?, CalledOff { voiding: 0, ended: 1 });
    assert_eq!(status(&mut conn, &orders[0]).await?, OrderStatus::PaymentFailed);
    assert_eq!(status(&mut conn, &patient).await?, OrderStatus::Pending, "it has a time of its own");
    Ok(())
}

#[tokio::test]
async fn many_sweeps_that_call_off_at_once_end_each_order_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = accepted(&mut conn, 200).await?;
    sqlx::query("UPDATE open_charges SET expires_at = now()").execute(&mut conn).await?;
    let sweeps = (0..4).map(async |_| {
        let mut conn = database.connect().await?;
        let mut ended = 0;
        loop {
            let found = call_off(&mut conn, HOUR, 16).await?;
            if found.found() == 0 {
                return anyhow::Ok(ended);
            }
            ended += found.ended;
        }
    });
    assert_eq!(try_join_all(sweeps).await?.iter().sum::<usize>(), 200);
    for order in &orders {
        assert_eq!(events::history(&mut conn, order.id).await?.len(), 3);
    }
    Ok(())
}
