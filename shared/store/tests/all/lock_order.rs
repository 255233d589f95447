//! One order of locks: however those meet who move orders and their payments, none waits for another that waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::channel::document::Document;
use domain::channel::told::Told;
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::{AdditionRequest, NewAddition};
use domain::order::details::Handover;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::payment_method::PaymentMethod;
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};
use store::additions::{Add, PayAnew, add, drop_failed, pay_anew, release_held, to_drop};
use store::call_off::{Whose, call_off_but};
use store::channel_told::{Tell, tell};
use store::claim::{Claimed, claim};
use store::deadline::{Unanswered, reject_unanswered};
use store::moves::{Moved, carry_out};
use store::settle::{Next, Settlement, release, settle};
use store::sweep::claim_due;
use testbed::{TestDatabase, make_due, until};
use uuid::Uuid;

use crate::orders::{HOUR, accepted, claimed, confirmed, ends};

/// Steps of all actors together.
const STEPS: usize = 2_500;
/// Few, so that everybody meets.
const ORDERS: usize = 12;
/// What channels told otherwise.
static TOLD: AtomicUsize = AtomicUsize::new(0);
/// Actors at once.
const ACTORS: u64 = 10;

#[tokio::test]
async fn thousands_of_steps_of_everybody_at_once_meet_no_deadlock() -> Result<()> {
    let database = TestDatabase::new().await?;
    let steps = AtomicUsize::new(0);
    let orders = std::sync::Mutex::new(Vec::new());
    let actor = async |seed: u64| -> Result<()> {
        let mut conn = writer(&database).await?;
        let mut dice = StdRng::seed_from_u64(seed);
        while steps.fetch_add(1, Ordering::Relaxed) < STEPS {
            let met: Vec<NewOrder> = orders.lock().unwrap().clone();
            if let Some(new) = act(&mut conn, &met, &mut dice).await? {
                let mut all = orders.lock().unwrap();
                all.extend(new);
                let many = all.len();
                all.drain(..many.saturating_sub(ORDERS));
            }
        }
        Ok(())
    };
    try_join_all((0..ACTORS).map(actor)).await.context("somebody was refused")?;
    // What somebody's server process counted, whoever was told.
    let mut conn = database.connect().await?;
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut conn).await.ok();
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut conn)
            .await?;
    assert_eq!(deadlocks, 0);
    let (paid_anew, additions): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE kind = 'charge' AND added IS NULL AND id <> order_id AND status = 'succeeded'),
                count(*) FILTER (WHERE added IS NOT NULL AND status IN ('succeeded', 'failed')) FROM payments",
    )
    .fetch_one(&mut conn)
    .await?;
    assert!(TOLD.load(Ordering::Relaxed) > 0, "no channel met anybody");
    assert!(paid_anew > 0 && additions > 0, "{paid_anew} paid anew, {additions} additions: nobody met");
    Ok(())
}

/// A connection that plans as writers do: joins that hash would lock rows in the sequence in which they lie. But without the
/// writers' impatience, so that a deadlock shows as one, and a busy machine does not.
async fn writer(database: &TestDatabase) -> Result<PgConnection> {
    let mut conn = database.connect().await?;
    sqlx::raw_sql(
        "SET statement_timeout = '60s'; SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         SET enable_hashjoin = off; SET enable_mergejoin = off",
    )
    .execute(&mut conn)
    .await?;
    Ok(conn)
}

/// One step of whoever it is; the orders that came to be by it.
async fn act(
    conn: &mut PgConnection,
    orders: &[NewOrder],
    dice: &mut StdRng,
) -> Result<Option<Vec<NewOrder>>> {
    let Some(order) = orders.get(dice.random_range(0..orders.len().max(1))) else {
        return Ok(Some(of_channel(conn, ORDERS).await?));
    };
    match dice.random_range(0..100) {
        0..6 => return Ok(Some(of_channel(conn, 2).await?)),
        6..32 => work(conn, dice).await?,
        32..40 => {
            sqlx::query("UPDATE payments SET answer_by = now() WHERE id = $1 AND answer_by IS NOT NULL")
                .bind(order.payment_id())
                .execute(&mut *conn)
                .await?;
        }
        40..48 => drop(reject_unanswered(conn, 8).await?),
        48..56 => drop(release_held(conn, HOUR, 8, &[]).await?),
        56..62 => {
            for order_id in to_drop(conn, 4, &[]).await? {
                drop_failed(conn, order_id).await?;
            }
        }
        62..66 => {
            let whose = [Whose::First, Whose::Anew, Whose::Additions][dice.random_range(0..3)];
            call_off_but(conn, whose, Duration::ZERO, 4, &[]).await?;
        }
        66..70 => {
            let told = Told {
                handover: Handover { note: Some(Uuid::now_v7().to_string()), ..Handover::default() },
                imported: RawValue::from_string("{}".to_owned())?,
                method: PaymentMethod::Card,
                document: Document::default(),
                wanted: None,
            };
            let by = Actor::Service("eats".to_owned());
            let told = tell(conn, &Tell { request: Uuid::now_v7(), order_id: order.id, by, told }).await?;
            if let Moved::Done { .. } = told {
                TOLD.fetch_add(1, Ordering::Relaxed);
            }
        }
        70..80 => drop(add(conn, &addition(order, dice)?).await?),
        80..88 => {
            let (payment_id, reference) = (Uuid::now_v7(), Uuid::now_v7().to_string());
            let ask = PayAnew {
                order_id: order.id,
                by: Actor::Unnamed,
                payment_id,
                reference,
                expected: Expected::default(),
            };
            pay_anew(conn, &ask).await?;
        }
        _ => {
            let wanted =
                [Wanted::Accept, Wanted::Reject, Wanted::Cancel, Wanted::Status(OrderStatus::Preparing)];
            let (wanted, reason) = (wanted[dice.random_range(0..4)], Some("because".to_owned()));
            let by = Actor::Staff(Some("bo".to_owned()));
            carry_out(
                conn,
                &Move {
                    request: Uuid::now_v7(),
                    order_id: order.id,
                    wanted,
                    by,
                    reason,
                    expected: Expected::default(),
                },
            )
            .await?;
        }
    }
    Ok(None)
}

/// So many orders, as if a channel had sent them.
async fn of_channel(conn: &mut PgConnection, count: usize) -> Result<Vec<NewOrder>> {
    let orders = accepted(conn, count).await?;
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    sqlx::query(
        "INSERT INTO order_details (order_id, channel, channel_order_id, paid_elsewhere, handover)
         SELECT id, 'eats', id::text, false, '{}' FROM unnest($1::uuid[]) AS id",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(orders)
}

/// Claims what is due, or was left, and settles it in one batch, or gives it back; sometimes late, when another has it.
async fn work(conn: &mut PgConnection, dice: &mut StdRng) -> Result<()> {
    let lease = if dice.random_bool(0.1) { Duration::ZERO } else { Duration::from_millis(50) };
    let claims = claim_due(conn, 8, lease).await?;
    if dice.random_bool(0.2) {
        // As `make_due`, but without waiting for anybody, as time does.
        sqlx::query(
            "UPDATE payments SET due_at = now() WHERE id = ANY(ARRAY(
                 SELECT id FROM payments WHERE due_at IS NOT NULL FOR UPDATE SKIP LOCKED))",
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query(
            "UPDATE open_charges SET due_at = now() WHERE id = ANY(ARRAY(SELECT id FROM open_charges FOR UPDATE SKIP LOCKED))",
        )
        .execute(&mut *conn)
        .await?;
    }
    let (back, mut done): (Vec<Claimed>, Vec<Claimed>) =
        claims.into_iter().partition(|_| dice.random_bool(0.1));
    release(conn, &back.into_iter().map(|one| (one, Duration::ZERO)).collect::<Vec<_>>()).await?;
    let batch: Vec<Settlement> = done.drain(..).map(|one| ended(&one, dice)).collect();
    settle(conn, &batch, Duration::from_millis(20)).await?;
    Ok(())
}

fn ended(claim: &Claimed, dice: &mut StdRng) -> Settlement {
    let fails = claim.refund_of.is_none() && dice.random_bool(0.4);
    let outcome = if fails { AttemptOutcome::Declined } else { AttemptOutcome::Succeeded };
    let settlement = ends(claim, outcome);
    let next = Next::Retry { delay: Duration::ZERO, spend: false, void: false };
    if dice.random_bool(0.15) {
        Settlement { next, ..ends(claim, AttemptOutcome::InDoubt) }
    } else {
        settlement
    }
}

fn addition(order: &NewOrder, dice: &mut StdRng) -> Result<Add> {
    let body = json!({"payment_reference": Uuid::now_v7(), "items": [
        {"item_id": "c", "item_name": "coffee", "quantity": dice.random_range(1..4), "price": 4.99}]})
    .to_string();
    let request: AdditionRequest<'_> = serde_json::from_str(&body)?;
    let addition = NewAddition::parse(&request, order.id, Currency::USD);
    let addition = addition.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    Ok(Add { order_id: order.id, by: Actor::Unnamed, addition, expected: Expected::default() })
}

/// The kitchen holds what the order came with and is about to lock the charge that paid it anew, which has the deadline.
#[tokio::test]
async fn the_sweep_waits_for_no_kitchen_that_is_at_an_order_paid_anew() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    let own = claimed(&mut conn, std::slice::from_ref(&order)).await?.remove(0);
    settle(&mut conn, &[ends(&own, AttemptOutcome::Declined)], HOUR).await?;
    let (payment_id, reference) = (Uuid::now_v7(), "again".to_owned());
    pay_anew(
        &mut conn,
        &PayAnew {
            order_id: order.id,
            by: Actor::Unnamed,
            payment_id,
            reference,
            expected: Expected::default(),
        },
    )
    .await?;
    let anew = claim(&mut conn, &[payment_id], HOUR).await?.remove(0);
    settle(&mut conn, &[ends(&anew, AttemptOutcome::Succeeded)], Duration::ZERO).await?;

    let mut kitchen = database.connect().await?;
    let mut at_it = kitchen.begin().await?;
    let lock = "SELECT id FROM payments WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(order.payment_id()).execute(&mut *at_it).await?;
    // It would wait for ever: the kitchen does nothing meanwhile.
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered::default());
    sqlx::query(lock).bind(payment_id).execute(&mut *at_it).await?;
    at_it.rollback().await?;
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered { found: 1, rejected: 1 });
    Ok(())
}

/// Two workers settle additions of the same two orders, and their payments stand in opposite order: both wait for the order that
/// comes first, which a third party holds, and neither holds the other one.
#[tokio::test]
async fn two_workers_that_settle_additions_lock_their_orders_one_after_the_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for round in 0..8 {
        let mut orders = confirmed(&mut conn, 2).await?;
        orders.sort_unstable_by_key(|order| order.id);
        let mut dice = StdRng::seed_from_u64(round);
        let mut batches: [Vec<Settlement>; 2] = Default::default();
        for batch in &mut batches {
            for order in &orders {
                let ask = addition(order, &mut dice)?;
                add(&mut conn, &ask).await?;
                let claim = claim(&mut conn, &[ask.addition.payment_id], HOUR).await?.remove(0);
                batch.push(ends(&claim, AttemptOutcome::Succeeded));
            }
            batch.shuffle(&mut dice);
        }
        let mut stranger = database.connect().await?;
        let mut holds = stranger.begin().await?;
        sqlx::query("SELECT id FROM orders WHERE id = $1 FOR UPDATE")
            .bind(orders[0].id)
            .execute(&mut *holds)
            .await?;
        let workers = batches.iter().map(async |batch| {
            let mut conn = database.connect().await?;
            anyhow::Ok(settle(&mut conn, batch, HOUR).await?.len())
        });
        let let_go = async {
            until("both wait", async || {
                let waiting: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                )
                .fetch_one(&mut conn)
                .await?;
                Ok((waiting == 2).then_some(()))
            })
            .await?;
            // Nobody holds the other order.
            let other = "SELECT id FROM orders WHERE id = $1 FOR UPDATE NOWAIT";
            sqlx::query(other).bind(orders[1].id).execute(&mut conn).await?;
            holds.rollback().await?;
            anyhow::Ok(())
        };
        let (settled, let_go) = tokio::join!(try_join_all(workers), let_go);
        let_go?;
        assert_eq!(settled?, [2, 2]);
        make_due(&mut conn).await?;
    }
    Ok(())
}

/// Two charges were tried for days. A worker comes late with tries of both, whose leases ran out, while another settles those that
/// follow: rows of old tries go, and both would remove them, each in the sequence in which its batch came.
#[tokio::test]
async fn who_comes_late_removes_no_rows_of_tries_that_are_another_workers_business() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut orders = accepted(&mut conn, 2).await?;
    orders.sort_unstable_by_key(|order| order.id);
    claimed(&mut conn, &orders).await?;
    let tried =
        "INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome)
                 SELECT id, now(), now(), number, 1, 'charge', 'unavailable'
                 FROM open_charges CROSS JOIN generate_series(1, 21) number";
    sqlx::query(tried).execute(&mut conn).await?;
    sqlx::query("UPDATE open_charges SET attempts = 22").execute(&mut conn).await?;
    let again = async |conn: &mut PgConnection| -> Result<Vec<Settlement>> {
        make_due(conn).await?;
        let mut claims = claim(conn, &[orders[0].id, orders[1].id], HOUR).await?;
        claims.sort_unstable_by_key(|claim| claim.payment_id);
        Ok(claims.iter().map(|claim| ends(claim, AttemptOutcome::Declined)).collect())
    };
    let mut late = again(&mut conn).await?;
    late.reverse();
    let current = again(&mut conn).await?;
    let number = late[0].number;
    assert!(number > 2 * store::settle::KEPT, "{number}");

    let mut stranger = database.connect().await?;
    let mut holds = stranger.begin().await?;
    let lock = "SELECT number FROM payment_attempts WHERE payment_id = $1 AND number < 20 FOR UPDATE";
    sqlx::query(lock).bind(orders[1].id).execute(&mut *holds).await?;
    let is_late_done = AtomicUsize::new(0);
    let settled = async |batch: &[Settlement]| -> Result<usize> {
        let mut conn = writer(&database).await?;
        Ok(settle(&mut conn, batch, HOUR).await?.len())
    };
    let waiting = async |conn: &mut PgConnection| -> Result<i64> {
        let ask = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        Ok(sqlx::query_scalar(ask).fetch_one(conn).await?)
    };
    let (mut eye, mut another_eye) = (database.connect().await?, database.connect().await?);
    let comes_late = async {
        let moved = settled(&late).await;
        is_late_done.store(1, Ordering::Relaxed);
        moved
    };
    let comes_after = async {
        until("the late one has done all it can", async || {
            let done = is_late_done.load(Ordering::Relaxed) == 1;
            Ok((done || waiting(&mut eye).await? == 1).then_some(()))
        })
        .await?;
        settled(&current).await
    };
    let let_go = async {
        until("whoever comes after waits", async || {
            let both = 2 - i64::try_from(is_late_done.load(Ordering::Relaxed))?;
            Ok((waiting(&mut another_eye).await? == both).then_some(()))
        })
        .await?;
        holds.rollback().await?;
        anyhow::Ok(())
    };
    let (late, current, let_go) = tokio::join!(comes_late, comes_after, let_go);
    let_go?;
    assert_eq!((late?, current?), (0, 2));
    Ok(())
}

/// An operator gives late orders more time: whoever locks several payments takes them by their ids, not as they became late.
#[tokio::test]
async fn more_time_is_given_to_one_order_after_the_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut orders = confirmed(&mut conn, 2).await?;
    orders.sort_unstable_by_key(|order| order.id);
    for (order, ago) in orders.iter().zip([1.0, 2.0]) {
        sqlx::query("UPDATE payments SET answer_by = now() - $2 * interval '1 min' WHERE id = $1")
            .bind(order.payment_id())
            .bind(ago)
            .execute(&mut conn)
            .await?;
    }
    let mut stranger = database.connect().await?;
    let mut holds = stranger.begin().await?;
    let lock = "SELECT id FROM payments WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(orders[0].payment_id()).execute(&mut *holds).await?;
    let trusts = async {
        let mut conn = writer(&database).await?;
        Ok::<_, anyhow::Error>(store::clock::trust(&mut conn, HOUR).await?)
    };
    let let_go = async {
        until("it waits", async || {
            let ask = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(ask).fetch_one(&mut conn).await?;
            Ok((waiting == 1).then_some(()))
        })
        .await?;
        // It holds the other one no sooner.
        let other = "SELECT id FROM payments WHERE id = $1 FOR UPDATE NOWAIT";
        let free = sqlx::query(other).bind(orders[1].payment_id()).execute(&mut conn).await;
        holds.rollback().await?;
        anyhow::Ok(free?)
    };
    let (put_off, free) = tokio::join!(trusts, let_go);
    free.context("the other order is held")?;
    assert_eq!(put_off?, 2);
    Ok(())
}
