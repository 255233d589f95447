//! The kitchen has until its deadline; then the order is rejected, once, whoever is at it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use domain::event::What;
use domain::order::NewOrder;
use domain::order::moves::{Refusal, Wanted};
use domain::order::status::OrderStatus;
use futures_util::future::{join_all, try_join_all};
use store::deadline::{Unanswered, reject_unanswered};
use store::events;
use store::moves::Moved;
use testbed::TestDatabase;
use uuid::Uuid;

use super::{moved, refunds, refusal};
use crate::orders::confirmed;

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
