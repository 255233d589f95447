//! Random sequences: whoever there is asks for whatever can be asked for, at any time and several at once, while workers
//! claim, die, charge, settle and sweep, through a gateway with every fault. Then all is brought to rest, and the books
//! are compared.
//!
//! The seed decides who asks for what; who wins a race it does not decide. One that failed belongs to [`SEEDS`].

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::{AdditionRequest, NewAddition};
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::PgConnection;
use store::additions::{Add, PayAnew, add, pay_anew};
use store::claim::claim;
use store::moves::{Moved, carry_out};
use testbed::make_due;
use uuid::Uuid;
use worker::sweep::Chores;

use crate::Bench;

/// Always tried.
const SEEDS: [u64; 2] = [1, 2];
/// Others are drawn for so long, and then until orders have ended in each of [`ENDS`].
const DRAWN_FOR: Duration = Duration::from_secs(5);
/// A test in which no order ends so would pass whatever is wrong.
const ENDS: [&str; 2] = ["REJECTED", "CANCELLED"];
/// In about every second sequence an order is rejected, so not one in so many does not happen.
const MOST_SEQUENCES: usize = 40;
/// Steps of a sequence, orders in it, and requests at once.
const STEPS: usize = 40;
const ORDERS: usize = 5;
const AT_ONCE: usize = 3;
/// Rounds until all is at rest: a charge, an addition let go and charged, refunds of both, and some to spare.
const MOST_ROUNDS: u32 = 20;
/// A lease that is over at the next statement.
const OVER: Duration = Duration::from_nanos(1);

/// What was promised to whoever asked.
#[derive(Debug)]
struct Promise {
    order: Uuid,
    /// The request, as its event knows it; of an addition and a payment the payment's id.
    request: Uuid,
    is_payment: bool,
}

#[tokio::test]
async fn whatever_is_asked_in_whatever_order_the_books_agree_in_the_end() -> Result<()> {
    let mut bench = Bench::with(|settings| {
        settings.circuit_breaker_failure_threshold = 100_000;
        settings.payment_retry_attempts = 2;
    })
    .await?;
    let started = Instant::now();
    let (mut run, mut promises) = (0, 0);
    let mut ends: Vec<(String, i64)> = Vec::new();
    let seen = |ends: &[(String, i64)]| ENDS.iter().all(|end| ends.iter().any(|(name, _)| name == end));
    while run < SEEDS.len() || started.elapsed() < DRAWN_FOR || !seen(&ends) {
        assert!(run < MOST_SEQUENCES, "{run} sequences, and orders ended only in {ends:?}");
        let seed = SEEDS.get(run).copied().unwrap_or_else(rand::random);
        println!("seed {seed}");
        promises += sequence(&mut bench, seed).await.with_context(|| format!("seed {seed}"))?;
        run += 1;
        ends = sqlx::query_as("SELECT status::text, count(*) FROM shown_orders GROUP BY 1 ORDER BY 1")
            .fetch_all(&mut bench.database.connect().await?)
            .await?;
    }
    println!("{run} sequences; {promises} requests granted; orders: {ends:?}");
    // A test in which nothing is granted would pass whatever is wrong.
    assert!(promises > run * STEPS / 10, "{promises} requests granted in {run} sequences");
    Ok(())
}

/// One sequence, to its end. Says how many requests were granted.
async fn sequence(bench: &mut Bench, seed: u64) -> Result<usize> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut chores = Chores::new(bench.database.database().session(), &bench.settings);
    bench
        .faults(
            json!({"success_rate": 0.7, "error_rate": 0.15, "error_after_rate": 0.15, "malformed_rate": 0.05,
            "control_error_rate": 0.1}),
        )
        .await?;
    let orders = bench.accept(ORDERS).await?;
    let mut promises = Vec::new();
    for _ in 0..STEPS {
        let asks: Vec<StdRng> =
            (0..dice.random_range(0..=AT_ONCE)).map(|_| StdRng::seed_from_u64(dice.random())).collect();
        let database = bench.database.clone();
        let asking = try_join_all(asks.into_iter().map(async |mut dice| {
            let order = &orders[dice.random_range(0..ORDERS)];
            ask(&mut database.connect().await?, order, &mut dice).await
        }));
        let (granted, worked) = tokio::join!(asking, work(bench, &mut chores, &orders, &mut dice));
        worked?;
        promises.extend(granted?.into_iter().flatten());
    }
    bench.client.no_faults().await?;
    rest(bench, &mut chores).await?;
    bench.reconciles().await?;
    kept(&mut bench.database.connect().await?, &promises).await?;
    Ok(promises.len())
}

/// What a worker does next: one time in five it dies of it.
async fn work(bench: &mut Bench, chores: &mut Chores, orders: &[NewOrder], dice: &mut StdRng) -> Result<()> {
    let order = &orders[dice.random_range(0..ORDERS)];
    match dice.random_range(0..10) {
        0..4 => drop(bench.sweep().await?),
        4 => drop(hurry(bench).await?),
        // Claims whatever the order has, and dies before or after the gateway has heard of it.
        5 | 6 => {
            let mut conn = bench.database.connect().await?;
            let payments: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM shown_payments WHERE order_id = $1")
                .bind(order.id)
                .fetch_all(&mut conn)
                .await?;
            for claimed in claim(&mut conn, &payments, OVER).await? {
                if dice.random_bool(0.5) {
                    let _ = bench.till.gateway.ask(&claimed).await;
                }
            }
        }
        // The kitchen's time is up.
        7 => {
            sqlx::query(
                "UPDATE payments SET answer_by = now() WHERE order_id = $1 AND answer_by IS NOT NULL",
            )
            .bind(order.id)
            .execute(&mut bench.database.connect().await?)
            .await?;
            chores.reject_late().await?;
        }
        _ => chores.tend_additions().await?,
    }
    Ok(())
}

/// Somebody asks for something.
async fn ask(conn: &mut PgConnection, order: &NewOrder, dice: &mut StdRng) -> Result<Option<Promise>> {
    let by = match dice.random_range(0..8) {
        0 => Actor::Customer("somebody else".to_owned()),
        1..4 => Actor::Customer(order.customer_id.clone()),
        4 => Actor::Unnamed,
        _ => Actor::Staff(Some("bo".to_owned())),
    };
    let (order_id, request) = (order.id, Uuid::now_v7());
    let stranger = !by.may_see(&order.customer_id, order.location());
    let (moved, is_payment) = match dice.random_range(0..10) {
        0 | 1 => {
            let addition = addition(request, dice)?;
            (add(conn, &Add { order_id, by, addition, expected: Expected::default() }).await?, true)
        }
        2 => {
            let ask = PayAnew {
                order_id,
                by,
                payment_id: request,
                reference: request.to_string(),
                expected: Expected::default(),
            };
            (pay_anew(conn, &ask).await?, true)
        }
        _ => {
            let wanted = wanted(dice);
            let reason = dice.random_bool(0.5).then(|| "because".to_owned());
            (
                carry_out(
                    conn,
                    &Move { request, order_id, wanted, by, reason, expected: Expected::default() },
                )
                .await?,
                false,
            )
        }
    };
    ensure!(!stranger || matches!(moved, Moved::NotFound), "a stranger was told {moved:?}");
    // A wish is a promise that its end keeps, under the same request; unless one was wished before.
    let granted = matches!(moved, Moved::Done { wish: false, .. });
    Ok(granted.then_some(Promise { order: order_id, request, is_payment }))
}

fn wanted(dice: &mut StdRng) -> Wanted {
    use OrderStatus::{Accepted, Delivered, Preparing, Ready};
    match dice.random_range(0..20) {
        0..5 => Wanted::Accept,
        5 => Wanted::Reject,
        6 => Wanted::Cancel,
        // What a kitchen does, in any order; and whatever else there is.
        7..15 => Wanted::Status([Accepted, Preparing, Ready, Delivered][dice.random_range(0..4)]),
        _ => Wanted::Status(OrderStatus::ALL[dice.random_range(0..OrderStatus::ALL.len())]),
    }
}

/// An article of its own, or one that the order may have.
fn addition(payment_id: Uuid, dice: &mut StdRng) -> Result<NewAddition> {
    let (article, price) = if dice.random_bool(0.5) { ("Burger", 12.99) } else { ("Soup", 7.5) };
    let body = json!({"payment_reference": payment_id, "items": [
        {"item_id": "item_001", "item_name": article, "quantity": dice.random_range(1..4), "price": price}]})
    .to_string();
    let request: AdditionRequest<'_> = serde_json::from_str(&body)?;
    let addition = NewAddition::parse(&request, payment_id, Currency::USD);
    let addition = addition.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    Ok(NewAddition { payment_id, ..addition })
}

/// Makes what waits due now.
async fn hurry(bench: &Bench) -> Result<()> {
    make_due(&mut bench.database.connect().await?).await
}

/// Works until there is nothing more to do.
async fn rest(bench: &mut Bench, chores: &mut Chores) -> Result<()> {
    let mut rounds = 0;
    loop {
        hurry(bench).await?;
        let swept = bench.sweep().await?;
        chores.tend_additions().await?;
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM shown_payments
             WHERE due_at IS NOT NULL OR status = 'held' OR (added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL)",
        )
        .fetch_one(&mut bench.database.connect().await?)
        .await?;
        if open == 0 {
            return Ok(());
        }
        // All faults are over, so each round brings something to its end.
        rounds += 1;
        ensure!(rounds < MOST_ROUNDS, "{open} payments do not come to rest; {swept} were swept last");
    }
}

/// Each promise stands in the order's history or among its payments, once.
async fn kept(conn: &mut PgConnection, promises: &[Promise]) -> Result<()> {
    for promise in promises {
        let table = if promise.is_payment {
            "SELECT count(*) FROM payments WHERE order_id = $1 AND id = $2"
        } else {
            "SELECT count(*) FROM order_events WHERE subject = $1 AND request = $2"
        };
        let count: i64 =
            sqlx::query_scalar(table).bind(promise.order).bind(promise.request).fetch_one(&mut *conn).await?;
        ensure!(count == 1, "{promise:?} stands there {count} times");
    }
    Ok(())
}
