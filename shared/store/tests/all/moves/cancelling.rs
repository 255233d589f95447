//! Orders are cancelled, before their charge, while it is under way and after it: no money of a cancelled order is kept.

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::{Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::{AttemptAction, AttemptOutcome};
use sqlx::PgConnection;
use store::claim::claim;
use store::events;
use store::moves::{Moved, carry_out};
use store::read;
use store::settle::settle;
use store::sweep::claim_due;
use testbed::{TestDatabase, make_due, until};
use uuid::Uuid;

use super::{another_charge, ask, moved, refunds, refusal, status};
use crate::orders::{HOUR, accepted, claimed, confirmed, ends};

#[tokio::test]
async fn a_wish_that_was_granted_before_its_answer_was_heard_knows_itself_again() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let claim = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
    let wish = ask(order.id, Wanted::Cancel);
    assert!(matches!(carry_out(&mut conn, &wish).await?, Moved::Done { wish: true, .. }));
    settle(&mut conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?;
    assert!(matches!(carry_out(&mut conn, &wish).await?, Moved::Done { wish: false, .. }));
    let other = moved(&mut conn, &order, Wanted::Cancel).await?;
    assert_eq!(refusal(&other), Some((Refusal::SameStatus, OrderStatus::Cancelled)));
    Ok(())
}

/// A claim moves no row of its order; whatever is noted with the order next, the move stands before it.
#[tokio::test]
async fn what_was_shown_while_a_charge_was_under_way_stays_what_it_was() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for wishes in [false, true] {
        let order = accepted(&mut conn, 1).await?.remove(0);
        let claims = claimed(&mut conn, std::slice::from_ref(&order)).await?;
        let shown = read::order(&mut conn, order.id).await?.unwrap();
        assert_eq!((shown.status, shown.version), (OrderStatus::PaymentProcessing, 2));
        let last = events::history(&mut conn, order.id).await?.pop().unwrap();
        assert_eq!(
            (last.version, last.to, last.at),
            (2, Some(shown.status), shown.updated_at),
            "in its history, too"
        );
        if wishes {
            let Moved::Done { wish: true, .. } = moved(&mut conn, &order, Wanted::Cancel).await? else {
                panic!()
            };
        }
        settle(&mut conn, &[ends(&claims[0], AttemptOutcome::Succeeded)], HOUR).await?;
        let history = events::history(&mut conn, order.id).await?;
        assert_eq!((history[1].version, history[1].to), (2, Some(OrderStatus::PaymentProcessing)));
        assert_eq!(history[1].at, shown.updated_at, "since the claim");
        let versions: Vec<i32> = history.iter().map(|event| event.version).collect();
        assert_eq!(versions, (1..=if wishes { 5 } else { 3 }).collect::<Vec<_>>());
        let ended = read::order(&mut conn, order.id).await?.unwrap();
        assert_eq!(ended.version, *versions.last().unwrap());
    }
    Ok(())
}

#[tokio::test]
async fn cancelling_what_nobody_claimed_ends_its_payment_too() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let Moved::Done { whole, wish: false } = moved(&mut conn, &order, Wanted::Cancel).await? else {
        panic!()
    };
    assert_eq!(whole.order.status, OrderStatus::Cancelled);
    assert!(claim(&mut conn, &[order.payment_id()], HOUR).await?.is_empty(), "it is final");
    make_due(&mut conn).await?;
    assert!(claim_due(&mut conn, 10, HOUR).await?.is_empty());
    assert!(refunds(&mut conn, &order).await?.is_empty(), "nothing was taken");
    Ok(())
}

#[tokio::test]
async fn while_the_charge_is_under_way_a_cancellation_is_a_wish_and_its_end_grants_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for (outcome, given_back) in [
        (AttemptOutcome::Succeeded, vec!["cancelled".to_owned()]),
        (AttemptOutcome::Declined, vec![]),
        (AttemptOutcome::Voided, vec![]),
    ] {
        let order = accepted(&mut conn, 1).await?.remove(0);
        let claim = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
        for _ in 0..2 {
            let Moved::Done { whole, wish: true } = moved(&mut conn, &order, Wanted::Cancel).await? else {
                panic!("no wish")
            };
            assert_eq!(whole.order.status, OrderStatus::PaymentProcessing);
            assert_eq!(whole.order.cancel_wish.unwrap().by, "staff:bo");
        }
        assert_eq!(settle(&mut conn, &[ends(&claim, outcome)], HOUR).await?, [order.payment_id()]);
        assert_eq!(status(&mut conn, &order).await?, OrderStatus::Cancelled, "{outcome:?}");
        assert_eq!(refunds(&mut conn, &order).await?, given_back, "{outcome:?}");
        let history = events::history(&mut conn, order.id).await?;
        let last = history.iter().rfind(|event| event.to.is_some()).unwrap();
        assert_eq!((last.actor.as_str(), last.reason.as_deref()), ("staff:bo", Some("because")));
        assert_eq!(read::order(&mut conn, order.id).await?.unwrap().accept_by, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_wish_turns_the_next_try_into_a_void_at_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let claim = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
    settle(&mut conn, &[ends(&claim, AttemptOutcome::InDoubt)], HOUR).await?;
    assert!(claim_due(&mut conn, 10, HOUR).await?.is_empty(), "its next try is an hour off");
    moved(&mut conn, &order, Wanted::Cancel).await?;
    let next = claim_due(&mut conn, 10, HOUR).await?.remove(0);
    assert_eq!(next.action, AttemptAction::Void);
    Ok(())
}

/// Both wait for the same row when it is let go; the first in the queue goes first. The settlement's statement began
/// before the cancellation committed, so it has to look at the rows as they are, not as it first saw them.
#[tokio::test]
async fn a_settlement_that_waited_for_a_cancellation_sees_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for cancel_first in [true, false] {
        let order = accepted(&mut conn, 1).await?.remove(0);
        let claim = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
        let (cancelled, settled) = in_turn(
            &database,
            order.payment_id(),
            cancel_first,
            async |conn| moved(conn, &order, Wanted::Cancel).await,
            async |conn| Ok(settle(conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?),
        )
        .await?;
        assert!(matches!(cancelled, Moved::Done { wish, .. } if wish == cancel_first), "{cancelled:?}");
        assert_eq!(settled, [order.payment_id()]);
        assert_eq!(status(&mut conn, &order).await?, OrderStatus::Cancelled);
        assert_eq!(refunds(&mut conn, &order).await?, ["cancelled"], "cancelled first: {cancel_first}");
    }
    Ok(())
}

/// The same with a charge that is not the one that the order waits for.
#[tokio::test]
async fn a_charge_that_lands_on_an_order_that_just_ended_is_given_back() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for end in [Wanted::Reject, Wanted::Cancel] {
        for end_first in [true, false] {
            let order = confirmed(&mut conn, 1).await?.remove(0);
            let more = another_charge(&mut conn, &order).await?;
            let claim = claim(&mut conn, &[more], HOUR).await?.remove(0);
            let (_, settled) = in_turn(
                &database,
                more,
                end_first,
                async |conn| moved(conn, &order, end).await,
                async |conn| Ok(settle(conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?),
            )
            .await?;
            assert_eq!(settled, [more]);
            assert_eq!(status(&mut conn, &order).await?, end.to());
            let mut reasons = refunds(&mut conn, &order).await?;
            reasons.sort_unstable();
            let own = if end == Wanted::Reject { "rejected" } else { "cancelled" };
            let second = if end_first { "late_capture" } else { own };
            let mut expected = [own, second];
            expected.sort_unstable();
            assert_eq!(reasons, expected, "{end:?} first: {end_first}");
        }
    }
    Ok(())
}

/// Lets two pieces of work wait for a payment's row, the one or the other first in the queue, then lets both go.
async fn in_turn<A, B>(
    database: &TestDatabase,
    payment: Uuid,
    a_first: bool,
    a: impl AsyncFnOnce(&mut PgConnection) -> Result<A>,
    b: impl AsyncFnOnce(&mut PgConnection) -> Result<B>,
) -> Result<(A, B)> {
    use sqlx::Connection;
    let mut holder = database.connect().await?;
    let (mut first, mut second) = (database.connect().await?, database.connect().await?);
    let mut hold = holder.begin().await?;
    for table in ["open_charges", "payments"] {
        let charge = sqlx::AssertSqlSafe(format!("SELECT FROM {table} WHERE id = $1 FOR UPDATE"));
        sqlx::query(charge).bind(payment).execute(&mut *hold).await?;
    }
    let waiting = async |count: i64| {
        until("somebody waits", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut database.connect().await?)
            .await?;
            Ok((waiting == count).then_some(()))
        })
        .await
    };
    let release = async {
        waiting(2).await?;
        hold.rollback().await?;
        anyhow::Ok(())
    };
    let wait_if = async |waits: bool| if waits { waiting(1).await } else { Ok(()) };
    let a = async {
        wait_if(!a_first).await?;
        a(&mut first).await
    };
    let b = async {
        wait_if(a_first).await?;
        b(&mut second).await
    };
    let (a, b, released) = tokio::join!(a, b, release);
    released?;
    Ok((a?, b?))
}

#[tokio::test]
async fn cancellations_claims_and_settlements_that_race_never_keep_money_of_a_cancelled_order() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let orders = accepted(&mut database.connect().await?, 400).await?;
    let cancel = async |orders: &[NewOrder]| -> Result<()> {
        let mut conn = database.connect().await?;
        for order in orders {
            assert!(matches!(moved(&mut conn, order, Wanted::Cancel).await?, Moved::Done { .. }));
        }
        Ok(())
    };
    let work = async |part: usize| -> Result<()> {
        let mut conn = database.connect().await?;
        for orders in orders.chunks(20).skip(part).step_by(2) {
            for claim in claimed(&mut conn, orders).await? {
                settle(&mut conn, &[ends(&claim, AttemptOutcome::Succeeded)], HOUR).await?;
            }
        }
        Ok(())
    };
    let (early, late) = orders.split_at(200);
    let (a, b, c, d) = tokio::join!(cancel(early), cancel(late), work(0), work(1));
    for done in [a, b, c, d] {
        done?;
    }
    let mut conn = database.connect().await?;
    // What was passed over while its row was locked: a retry of the sweep's.
    make_due(&mut conn).await?;
    let rest = claim_due(&mut conn, 1_000, HOUR).await?;
    let rest: Vec<_> = rest
        .iter()
        .filter(|claim| claim.refund_of.is_none())
        .map(|claim| ends(claim, AttemptOutcome::Succeeded))
        .collect();
    settle(&mut conn, &rest, HOUR).await?;
    let (cancelled, charged, refunded, wrong): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM orders WHERE status = 'CANCELLED'),
                count(*) FILTER (WHERE kind = 'charge' AND status = 'succeeded'),
                count(*) FILTER (WHERE kind = 'refund'),
                count(*) FILTER (WHERE kind = 'charge' AND status NOT IN ('succeeded', 'failed'))
         FROM shown_payments",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!((cancelled, wrong), (400, 0));
    assert_eq!(charged, refunded, "every charge has its refund");
    assert!((1..400).contains(&charged), "{charged} of 400 were charged: no race");
    Ok(())
}
