//! What people do with orders, and how that races with the workers: against a real PostgreSQL.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use domain::event::What;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::{AttemptAction, AttemptOutcome};
use futures_util::future::{join_all, try_join_all};
use sqlx::PgConnection;
use store::additions::{PayAnew, pay_anew};
use store::call_off::{CalledOff, call_off};
use store::claim::{Claimed, claim};
use store::deadline::{Unanswered, reject_unanswered};
use store::events;
use store::moves::{Moved, carry_out};
use store::read;
use store::settle::{Next, Settlement, release, settle};
use store::sweep::claim_due;
use testbed::{TestDatabase, make_due, until};
use uuid::Uuid;

use crate::orders::{HOUR, accepted, claimed, confirmed, ends};

fn ask(order_id: Uuid, wanted: Wanted) -> Move {
    let reason = Some("because".to_owned());
    Move {
        request: Uuid::now_v7(),
        order_id,
        wanted,
        by: Actor::Staff(Some("bo".into())),
        reason,
        expected: Expected::default(),
    }
}

async fn moved(conn: &mut PgConnection, order: &NewOrder, wanted: Wanted) -> Result<Moved> {
    Ok(carry_out(conn, &ask(order.id, wanted)).await?)
}

fn refusal(moved: &Moved) -> Option<(Refusal, OrderStatus)> {
    match moved {
        Moved::Refused { refusal, status } => Some((*refusal, *status)),
        _ => None,
    }
}

async fn status(conn: &mut PgConnection, order: &NewOrder) -> Result<OrderStatus> {
    Ok(read::order(conn, order.id).await?.unwrap().status)
}

/// The reasons of an order's refunds.
async fn refunds(conn: &mut PgConnection, order: &NewOrder) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT reason FROM payments WHERE order_id = $1 AND kind = 'refund'")
        .bind(order.id)
        .fetch_all(conn)
        .await?)
}

/// A further charge of an order, as an addition makes one.
async fn another_charge(conn: &mut PgConnection, order: &NewOrder) -> Result<Uuid> {
    Ok(sqlx::query_scalar(
        "INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency, added)
         VALUES (gen_random_uuid(), $1, 100, now(), now(), 'charge', 'pending', 'USD', '[]') RETURNING id",
    )
    .bind(order.id)
    .fetch_one(conn)
    .await?)
}

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

#[tokio::test]
async fn an_unanswered_order_is_rejected_by_one_of_many_sweeps() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = confirmed(&mut conn, 300).await?;
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered::default(), "they have an hour");
    // Of an order that moved on by some other way the question is merely closed.
    sqlx::query("UPDATE orders SET status = 'ACCEPTED' WHERE id = $1")
        .bind(orders[0].id)
        .execute(&mut conn)
        .await?;
    sqlx::query("UPDATE payments SET answer_by = now()").execute(&mut conn).await?;
    let sweeps = (0..4).map(async |_| {
        let mut conn = database.connect().await?;
        let mut all = Unanswered::default();
        loop {
            let swept = reject_unanswered(&mut conn, 16).await?;
            if swept.found == 0 {
                return anyhow::Ok(all);
            }
            all = Unanswered { found: all.found + swept.found, rejected: all.rejected + swept.rejected };
        }
    });
    let all = try_join_all(sweeps).await?;
    assert_eq!(all.iter().map(|one| one.found).sum::<usize>(), 300);
    assert_eq!(all.iter().map(|one| one.rejected).sum::<usize>(), 299);
    for order in &orders[1..] {
        assert_eq!(refunds(&mut conn, order).await?, ["accept_deadline"]);
    }
    let last = events::history(&mut conn, orders[1].id).await?.pop().unwrap();
    assert_eq!((last.what, last.actor.as_str()), (What::RefundOwed, "sweep"));
    Ok(())
}

#[tokio::test]
async fn whoever_is_late_is_told_so_before_the_sweep_comes() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    sqlx::query("UPDATE payments SET answer_by = now()").execute(&mut conn).await?;
    for wanted in [Wanted::Accept, Wanted::Status(OrderStatus::Preparing)] {
        let refused = moved(&mut conn, &order, wanted).await?;
        assert_eq!(refusal(&refused), Some((Refusal::DeadlinePassed, OrderStatus::Confirmed)));
    }
    assert_eq!(reject_unanswered(&mut conn, 10).await?.rejected, 1);
    Ok(())
}

/// How many orders are accepted at the very moment of their deadline.
const RACES: usize = 10_000;
/// Kitchens at work.
const KITCHENS: usize = 6;

#[tokio::test]
async fn accepting_at_the_deadline_and_rejecting_at_it_never_both_happen() -> Result<()> {
    let database = TestDatabase::new().await?;
    let orders = confirmed(&mut database.connect().await?, RACES).await?;
    let done = AtomicBool::new(false);
    let kitchen = async |orders: &[NewOrder]| -> Result<usize> {
        let mut conn = database.connect().await?;
        let (mut taken, mut pace) = (0, 2.0);
        // A handful at a time: each is due within 5 ms of the moment at which its acceptance is carried out.
        for handful in orders.chunks(10) {
            let ids: Vec<Uuid> = handful.iter().map(|order| order.payment_id()).collect();
            sqlx::query(
                "UPDATE payments SET answer_by = clock_timestamp()
                     + (array_position($1, id) * $2 - 5 + random() * 10) * interval '1 ms' WHERE id = ANY($1)",
            )
            .bind(&ids)
            .bind(pace)
            .execute(&mut conn)
            .await?;
            let started = std::time::Instant::now();
            for order in handful {
                match moved(&mut conn, order, Wanted::Accept).await? {
                    Moved::Done { .. } => taken += 1,
                    Moved::Refused { refusal: Refusal::DeadlinePassed, status: OrderStatus::Confirmed }
                    | Moved::Refused { refusal: Refusal::IllegalMove, status: OrderStatus::Rejected } => {}
                    other => panic!("{other:?}"),
                }
            }
            pace = started.elapsed().as_secs_f64() * 1_000.0 / handful.len() as f64;
        }
        Ok(taken)
    };
    let sweep = async || -> Result<usize> {
        let mut conn = database.connect().await?;
        let mut rejected = 0;
        while !done.load(Ordering::Relaxed) {
            rejected += reject_unanswered(&mut conn, 64).await?.rejected;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(rejected)
    };
    let kitchens = async {
        let taken = join_all(orders.chunks(RACES.div_ceil(KITCHENS)).map(kitchen)).await;
        done.store(true, Ordering::Relaxed);
        taken.into_iter().sum::<Result<usize>>()
    };
    let (taken, one, other) = tokio::join!(kitchens, sweep(), sweep());
    let (taken, rejected) = (taken?, one? + other?);
    let mut conn = database.connect().await?;
    let late = reject_unanswered(&mut conn, 1_000).await?.rejected;
    let rejected = rejected + late;
    let (accepted, refunded, double): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE status = 'ACCEPTED'),
                count(*) FILTER (WHERE status = 'REJECTED' AND refunds = 1),
                count(*) FILTER (WHERE (status = 'ACCEPTED' AND refunds > 0) OR (status = 'REJECTED' AND refunds <> 1) OR version <> CASE status WHEN 'REJECTED' THEN 5 ELSE 4 END)
         FROM (SELECT o.status, o.version, (SELECT count(*) FROM payments p WHERE p.order_id = o.id AND p.id <> p.order_id AND p.kind = 'refund') AS refunds
               FROM orders o) AS o",
    )
    .fetch_one(&mut conn)
    .await?;
    println!("{accepted} accepted, {refunded} rejected");
    assert_eq!((accepted as usize, refunded as usize, double), (taken, rejected, 0));
    assert_eq!(taken + rejected, RACES);
    assert!(taken > RACES / 10 && rejected > RACES / 10, "{taken} taken, {rejected} rejected: no race");
    Ok(())
}

/// The gateway did not look at it; it is to be tried again at once.
fn turned_away(claim: &Claimed) -> Settlement {
    let again = Next::Retry { delay: Duration::ZERO, spend: false, void: false };
    Settlement::new(claim, AttemptOutcome::Unavailable, again)
}

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

/// The queue is walked by its indexes, however long it is.
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
