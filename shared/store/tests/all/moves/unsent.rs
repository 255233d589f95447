//! What no gateway ever looked at ends with its cancellation; what one may have looked at does not.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::{AttemptAction, AttemptOutcome};
use sqlx::PgConnection;
use store::additions::{PayAnew, pay_anew};
use store::claim::claim;
use store::events;
use store::moves::Moved;
use store::settle::{release, settle};
use testbed::{TestDatabase, make_due};
use uuid::Uuid;

use super::{moved, status, turned_away};
use crate::orders::{HOUR, accepted, claimed, ends};

/// Where the charge of an order stands: its status, its tries, and whether it waits in the queue.
async fn charge(conn: &mut PgConnection, order: &NewOrder) -> Result<(String, i32, bool)> {
    Ok(sqlx::query_as(
        "SELECT status::text, attempts, EXISTS (SELECT FROM open_charges WHERE id = $1) FROM shown_payments WHERE id = $1",
    )
    .bind(order.payment_id())
    .fetch_one(conn)
    .await?)
}

#[tokio::test]
async fn what_no_gateway_ever_looked_at_ends_with_its_cancellation_at_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for (tries, wished) in [(0, false), (1, false), (3, false), (1, true)] {
        let order = accepted(&mut conn, 1).await?.remove(0);
        let hints = [order.payment_id()];
        if wished {
            // The wish came while its first try was under way, which then came to nothing.
            let claim = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
            assert!(matches!(
                moved(&mut conn, &order, Wanted::Cancel).await?,
                Moved::Done { wish: true, .. }
            ));
            settle(&mut conn, &[turned_away(&claim)], HOUR).await?;
        } else {
            for _ in 0..tries {
                let claim = claim(&mut conn, &hints, HOUR).await?.remove(0);
                settle(&mut conn, &[turned_away(&claim)], HOUR).await?;
            }
            // Given back before anything was sent: no try.
            let claims = claim(&mut conn, &hints, HOUR).await?;
            assert_eq!(release(&mut conn, &[(claims[0].clone(), Duration::ZERO)]).await?, 1);
        }
        let Moved::Done { whole, wish: false } = moved(&mut conn, &order, Wanted::Cancel).await? else {
            panic!("a wish")
        };
        assert_eq!(whole.order.status, OrderStatus::Cancelled);
        assert_eq!(charge(&mut conn, &order).await?, ("failed".to_owned(), tries, false));
        make_due(&mut conn).await?;
        assert!(claim(&mut conn, &hints, HOUR).await?.is_empty(), "it is gone");
        let history = events::history(&mut conn, order.id).await?;
        let to: Vec<_> = history.iter().filter_map(|event| event.to).collect();
        use OrderStatus::{Cancelled, PaymentProcessing, Pending};
        assert_eq!(to, [Pending, PaymentProcessing, Cancelled]);
    }
    Ok(())
}

/// A dead worker may have sent its try; so may one whose answer nobody could read.
#[tokio::test]
async fn what_a_gateway_may_have_looked_at_is_still_a_wish() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let [abandoned, doubtful]: [NewOrder; 2] = accepted(&mut conn, 2).await?.try_into().unwrap();
    claim(&mut conn, &[abandoned.payment_id()], Duration::ZERO).await?;
    let claims = claimed(&mut conn, std::slice::from_ref(&doubtful)).await?;
    settle(&mut conn, &[ends(&claims[0], AttemptOutcome::InDoubt)], HOUR).await?;
    for order in [&abandoned, &doubtful] {
        make_due(&mut conn).await?;
        let again = claim(&mut conn, &[order.payment_id()], HOUR).await?.remove(0);
        assert_eq!(again.number, 2);
        settle(&mut conn, &[turned_away(&again)], HOUR).await?;
        let wish = moved(&mut conn, order, Wanted::Cancel).await?;
        assert!(matches!(wish, Moved::Done { wish: true, .. }), "{wish:?}");
        assert_eq!(charge(&mut conn, order).await?, ("waiting".to_owned(), 2, true));
    }
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_paid_anew_and_was_never_sent_is_cancelled_at_once_too() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let claims = claimed(&mut conn, std::slice::from_ref(&order)).await?;
    settle(&mut conn, &[ends(&claims[0], AttemptOutcome::Declined)], HOUR).await?;
    let (payment_id, by) = (Uuid::now_v7(), Actor::Staff(None));
    pay_anew(
        &mut conn,
        &PayAnew { order_id: order.id, by, payment_id, reference: "2".into(), expected: Expected::default() },
    )
    .await?;
    let anew = claim(&mut conn, &[payment_id], HOUR).await?.remove(0);
    settle(&mut conn, &[turned_away(&anew)], HOUR).await?;
    let Moved::Done { wish: false, .. } = moved(&mut conn, &order, Wanted::Cancel).await? else {
        panic!("a wish")
    };
    assert_eq!(status(&mut conn, &order).await?, OrderStatus::Cancelled);
    make_due(&mut conn).await?;
    assert!(claim(&mut conn, &[payment_id], HOUR).await?.is_empty());
    Ok(())
}

/// Each charge waits for another try when its cancellation and its claim come at the same moment: one of them is first.
#[tokio::test]
async fn a_cancellation_and_a_claim_that_race_for_what_was_never_sent_leave_one_of_two_ends() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = accepted(&mut conn, 400).await?;
    for some in orders.chunks(100) {
        let claims = claimed(&mut conn, some).await?;
        settle(&mut conn, &claims.iter().map(turned_away).collect::<Vec<_>>(), HOUR).await?;
    }
    let cancel = async || -> Result<usize> {
        let mut conn = database.connect().await?;
        let mut at_once = 0;
        // From the other end, so that each is first somewhere and they meet between.
        for order in orders.iter().rev() {
            let moved = moved(&mut conn, order, Wanted::Cancel).await?;
            let Moved::Done { wish, .. } = moved else { panic!("{moved:?}") };
            at_once += usize::from(!wish);
        }
        Ok(at_once)
    };
    let work = async || -> Result<()> {
        let mut conn = database.connect().await?;
        for some in orders.chunks(2) {
            let claims = claimed(&mut conn, some).await?;
            let taken = claims.iter().filter(|claim| claim.action == AttemptAction::Charge);
            let taken: Vec<_> = taken.map(|claim| ends(claim, AttemptOutcome::Succeeded)).collect();
            settle(&mut conn, &taken, HOUR).await?;
        }
        Ok(())
    };
    let (at_once, worked) = tokio::join!(cancel(), work());
    worked?;
    let (cancelled, charged, refunded, both): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM orders WHERE status = 'CANCELLED'),
                count(*) FILTER (WHERE kind = 'charge' AND status = 'succeeded'),
                count(*) FILTER (WHERE kind = 'refund'),
                count(*) FILTER (WHERE kind = 'charge' AND status = 'failed' AND EXISTS (
                    SELECT FROM payment_attempts a WHERE a.payment_id = shown_payments.id AND a.outcome <> 'unavailable'))
         FROM shown_payments",
    )
    .fetch_one(&mut conn)
    .await?;
    println!("{} cancelled at once, {charged} charged and given back", at_once?);
    assert_eq!(
        (cancelled, both),
        (400, 0),
        "each has ended, none with a charge that somebody took to the gateway"
    );
    assert_eq!(charged, refunded);
    assert!((1..400).contains(&charged), "{charged} of 400 were charged: no race");
    Ok(())
}
