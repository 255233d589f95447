//! The guarded moves, against a real PostgreSQL.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::on_the_way;
use domain::order::request::OrderRequest;
use domain::order::status::{LEGAL_MOVES, OrderStatus};
use domain::payment::{AttemptAction, AttemptOutcome, PaymentStatus};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use store::accept::{Accept, Accepted, IdempotencyKey, accept};
use store::claim::{Claimed, claim};
use store::events;
use store::names::{self, Forgotten};
use store::read;
use store::settle::{Next, Settlement, release, settle};
use store::sweep::claim_due;
use testbed::{TestDatabase, make_due, until};
use uuid::Uuid;

const GRACE: Duration = Duration::from_secs(3_600);
const LEASE: Duration = Duration::from_secs(3_600);
const DEADLINE: Duration = Duration::from_secs(300);

fn new_order() -> NewOrder {
    let body = json!({"customer_id": "c", "items": [
        {"item_id": "i", "item_name": "n", "quantity": 2, "price": 12.5}]})
    .to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
    NewOrder::parse(&request).unwrap()
}

fn keyed(order: NewOrder, key: &str, body: u8) -> Accept {
    let key =
        IdempotencyKey { principal: "p".into(), key: key.into(), request_hash: [body; 32], keep: GRACE };
    Accept { order, key: Some(key) }
}

fn plain(order: NewOrder) -> Accept {
    Accept { order, key: None }
}

async fn accepted(conn: &mut PgConnection, count: usize) -> Result<Vec<NewOrder>> {
    let orders: Vec<NewOrder> = std::iter::repeat_with(new_order).take(count).collect();
    let batch: Vec<Accept> = orders.iter().cloned().map(plain).collect();
    for answer in accept(conn, &batch, GRACE).await? {
        assert!(matches!(answer, Accepted::New { .. }));
    }
    Ok(orders)
}

async fn one_claimed(conn: &mut PgConnection, lease: Duration) -> Result<(NewOrder, Claimed)> {
    let order = accepted(conn, 1).await?.remove(0);
    let claimed = claim(conn, &[order.payment_id()], lease).await?.remove(0);
    Ok((order, claimed))
}

fn succeeded(claim: &Claimed) -> Settlement {
    Settlement::new(claim, AttemptOutcome::Succeeded, Next::Succeeded { gateway_id: "ch_1".into() })
}

/// Of a claim that is long over.
fn over(payment_id: Uuid) -> Settlement {
    let next = Next::Succeeded { gateway_id: "ch_1".into() };
    let (outcome, code, message) = (AttemptOutcome::Succeeded, None, None);
    Settlement { payment_id, is_own: true, epoch: 1, number: 1, outcome, code, message, next }
}

fn in_doubt(claim: &Claimed, delay: Duration, void: bool) -> Settlement {
    Settlement {
        outcome: AttemptOutcome::InDoubt,
        code: Some("timeout".into()),
        next: Next::Retry { delay, spend: true, void },
        ..succeeded(claim)
    }
}

async fn status(conn: &mut PgConnection, order: &NewOrder) -> Result<OrderStatus> {
    Ok(read::order(conn, order.id).await?.unwrap().status)
}

#[tokio::test]
async fn the_database_knows_the_same_legal_moves_as_the_table() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = accepted(&mut conn, 1).await?.remove(0);
    for from in OrderStatus::ALL {
        for to in OrderStatus::ALL {
            sqlx::query("ALTER TABLE orders DISABLE TRIGGER orders_legal_move").execute(&mut conn).await?;
            sqlx::query("UPDATE orders SET status = $1 WHERE id = $2")
                .bind(from)
                .bind(order.id)
                .execute(&mut conn)
                .await?;
            sqlx::query("ALTER TABLE orders ENABLE TRIGGER orders_legal_move").execute(&mut conn).await?;
            let moved = sqlx::query("UPDATE orders SET status = $1 WHERE id = $2")
                .bind(to)
                .bind(order.id)
                .execute(&mut conn)
                .await;
            let is_legal = from.may_become(to) || on_the_way(from, to).is_some();
            assert_eq!(moved.is_ok(), is_legal, "{from:?} -> {to:?}: {moved:?}");
        }
    }
    assert_eq!(LEGAL_MOVES.len(), 18);
    Ok(())
}

#[tokio::test]
async fn the_database_knows_the_same_moves_of_payments_as_the_code() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (order, claim) = one_claimed(&mut conn, LEASE).await?;
    settle(&mut conn, &[succeeded(&claim)], DEADLINE).await?;
    for from in PaymentStatus::ALL {
        for to in PaymentStatus::ALL {
            let moves = "UPDATE payments SET status = $1, due_at = CASE WHEN $1 IN ('held', 'due', 'succeeded', 'failed') THEN NULL ELSE now() END
                 WHERE id = $2";
            sqlx::query("ALTER TABLE payments DISABLE TRIGGER USER").execute(&mut conn).await?;
            sqlx::query(moves).bind(from).bind(order.payment_id()).execute(&mut conn).await?;
            sqlx::query("ALTER TABLE payments ENABLE TRIGGER USER").execute(&mut conn).await?;
            let moved = sqlx::query(moves).bind(to).bind(order.payment_id()).execute(&mut conn).await;
            assert_eq!(moved.is_ok(), from.may_become(to), "{from:?} -> {to:?}: {moved:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn accepting_the_same_batch_twice_is_accepting_it_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let batch = [plain(new_order()), keyed(new_order(), "k", 1), plain(new_order())];
    let first = accept(&mut conn, &batch, GRACE).await?;
    let second = accept(&mut conn, &batch, GRACE).await?;
    for (first, second) in first.iter().zip(&second) {
        let (Accepted::New { created_at: a }, Accepted::New { created_at: b }) = (first, second) else {
            panic!("{first:?} {second:?}")
        };
        assert_eq!(a, b);
    }
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM shown_payments), (SELECT count(*) FROM order_events),
                (SELECT count(*) FROM names)",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(counts, (3, 3, 3, 1));
    Ok(())
}

/// The second run of a batch whose first answer was lost may come late: what was charged meanwhile stays charged.
#[tokio::test]
async fn accepting_again_what_was_charged_since_queues_no_charge() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let batch = [plain(new_order())];
    accept(&mut conn, &batch, GRACE).await?;
    let claim = claim(&mut conn, &[batch[0].order.payment_id()], LEASE).await?.remove(0);
    settle(&mut conn, &[succeeded(&claim)], DEADLINE).await?;
    assert!(matches!(accept(&mut conn, &batch, GRACE).await?[..], [Accepted::New { .. }]));
    let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM open_charges").fetch_one(&mut conn).await?;
    assert_eq!(queued, 0);
    Ok(())
}

/// Rows of a table that this transaction has read.
async fn rows_read(conn: &mut PgConnection, table: &str) -> sqlx::Result<i64> {
    let read =
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = $1";
    sqlx::query_scalar(read).bind(table).fetch_one(conn).await
}

/// Writers keep their plans. One that was made while the queue was empty, as it mostly is, is used in the rush.
#[tokio::test]
async fn plans_of_an_empty_queue_walk_through_no_full_one() -> Result<()> {
    const NAMED: usize = 100;
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut session = database.database().session();
    let mut all_read = async |orders: &[NewOrder]| -> Result<[i64; 4]> {
        let hints: Vec<_> = orders.iter().map(|order| order.payment_id()).collect();
        let read = session.run(&hints[..], |conn, hints| {
            Box::pin(async move {
                let mut tx = conn.begin().await?;
                let claims = claim(&mut tx, hints, LEASE).await?;
                let claiming = rows_read(&mut tx, "open_charges").await?;
                let settlements: Vec<_> = if claims.is_empty() {
                    vec![over(hints[0])]
                } else {
                    claims.iter().map(succeeded).collect()
                };
                assert_eq!(settle(&mut tx, &settlements, DEADLINE).await?.len(), claims.len());
                let settling = rows_read(&mut tx, "open_charges").await? - claiming;
                let before = rows_read(&mut tx, "payment_attempts").await?;
                assert_eq!(read::attempts(&mut tx, hints[0]).await?.len(), 1);
                let attempts = rows_read(&mut tx, "payment_attempts").await? - before;
                let before = rows_read(&mut tx, "order_events").await?;
                assert_eq!(events::history(&mut tx, hints[0]).await?.len(), 3);
                let history = rows_read(&mut tx, "order_events").await? - before;
                tx.commit().await?;
                Ok([claiming, settling, attempts, history])
            })
        });
        Ok(read.await?)
    };
    // The rush is over, and everything was cleared away, when somebody comes once more for what is settled.
    let (order, claim) = one_claimed(&mut conn, LEASE).await?;
    settle(&mut conn, &[succeeded(&claim)], DEADLINE).await?;
    sqlx::query("VACUUM (ANALYZE)").execute(&mut conn).await?;
    all_read(&[order]).await?;
    sqlx::query(
        "WITH queued AS (
             INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
             SELECT gen_random_uuid(), 1, now(), now() + interval '1 h', 'USD' FROM generate_series(1, 20000)
         ), noted AS (
             INSERT INTO order_events (subject, at, version, what, actor)
             SELECT gen_random_uuid(), now(), 1, 'cancel_wished', 'test' FROM generate_series(1, 20000))
         INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome)
         SELECT gen_random_uuid(), now(), now(), 1, 1, 'charge', 'declined' FROM generate_series(1, 20000)",
    )
    .execute(&mut conn)
    .await?;
    let orders = accepted(&mut conn, NAMED).await?;
    let [claiming, settling, attempts, history] = all_read(&orders).await?;
    let few = 4 * i64::try_from(NAMED)?;
    assert!(
        claiming <= few && settling <= few,
        "{claiming} rows read to claim {NAMED}, {settling} to settle them"
    );
    assert!(attempts <= 4, "{attempts} rows read to show one try");
    assert!(history <= 8, "{history} rows read to show three events");
    Ok(())
}

#[tokio::test]
async fn a_key_replays_for_the_same_body_and_is_refused_for_another_within_a_batch_and_across() -> Result<()>
{
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let batch = [keyed(new_order(), "k", 1), keyed(new_order(), "k", 1), keyed(new_order(), "k", 2)];
    let answers = accept(&mut conn, &batch, GRACE).await?;
    let first = batch[0].order.id;
    assert!(matches!(answers[0], Accepted::New { .. }));
    assert!(matches!(&answers[1], Accepted::Replay(order) if order.id == first));
    assert!(matches!(answers[2], Accepted::KeyReused));
    let later = accept(&mut conn, &[keyed(new_order(), "k", 1)], GRACE).await?;
    assert!(matches!(&later[0], Accepted::Replay(order) if order.id == first));
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
    assert_eq!(orders, 1);
    Ok(())
}

#[tokio::test]
async fn two_writers_with_the_same_keys_in_opposite_order_do_not_wait_for_each_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    let writer = async |reverse: bool| -> Result<usize> {
        let mut conn = database.connect().await?;
        let mut new = 0;
        for round in 0..30 {
            let mut batch: Vec<Accept> =
                (0..40).map(|k| keyed(new_order(), &format!("{round}-{k}"), 1)).collect();
            if reverse {
                batch.reverse();
            }
            let answers = accept(&mut conn, &batch, GRACE).await?;
            new += answers.iter().filter(|answer| matches!(answer, Accepted::New { .. })).count();
        }
        Ok(new)
    };
    let (one, other) = tokio::join!(writer(false), writer(true));
    assert_eq!(one? + other?, 30 * 40, "one order a key");
    Ok(())
}

#[tokio::test]
async fn only_one_claims_and_only_its_epoch_settles() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (order, first) = one_claimed(&mut conn, Duration::from_millis(1)).await?;
    assert_eq!((first.epoch, first.number, first.action), (1, 1, AttemptAction::Charge));
    assert_eq!(status(&mut conn, &order).await?, OrderStatus::PaymentProcessing);
    // The lease runs out; another takes over.
    let second = until("the lease has run out", async || {
        Ok(claim(&mut database.connect().await?, &[order.payment_id()], LEASE).await?.pop())
    })
    .await?;
    assert_eq!((second.epoch, second.number), (2, 2));
    assert!(claim(&mut conn, &[order.payment_id()], LEASE).await?.is_empty(), "it is held");
    assert!(settle(&mut conn, &[succeeded(&first)], DEADLINE).await?.is_empty(), "superseded");
    assert_eq!(status(&mut conn, &order).await?, OrderStatus::PaymentProcessing);
    assert_eq!(settle(&mut conn, &[succeeded(&second)], DEADLINE).await?, [order.payment_id()]);
    assert_eq!(status(&mut conn, &order).await?, OrderStatus::Confirmed);
    // The first one's try was closed as abandoned when it lost the lease, and then told the truth all the same.
    let attempts = read::attempts(&mut conn, order.id).await?;
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(AttemptOutcome::Succeeded), Some(AttemptOutcome::Succeeded)]);
    assert!(claim(&mut conn, &[order.payment_id()], LEASE).await?.is_empty(), "it is final");
    assert!(
        settle(&mut conn, &[succeeded(&second)], DEADLINE).await?.is_empty(),
        "settling twice moves nothing"
    );
    let history = events::history(&mut conn, order.id).await?;
    assert_eq!(history.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3]);
    Ok(())
}

#[tokio::test]
async fn an_abandoned_try_is_closed_when_its_payment_is_taken_over() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (order, _lost) = one_claimed(&mut conn, Duration::from_millis(1)).await?;
    until("the sweep takes it over", async || {
        Ok(claim_due(&mut database.connect().await?, 10, LEASE).await?.pop())
    })
    .await?;
    let attempts = read::attempts(&mut conn, order.id).await?;
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Abandoned));
    assert!(attempts[0].finished_at.is_some());
    assert_eq!(attempts[1].outcome, None, "under way");
    Ok(())
}

#[tokio::test]
async fn claims_that_race_share_the_payments_without_overlap() -> Result<()> {
    let database = TestDatabase::new().await?;
    let orders = accepted(&mut database.connect().await?, 200).await?;
    let hints: Vec<_> = orders.iter().map(|order| order.payment_id()).collect();
    let claimer = async || -> Result<Vec<_>> {
        let claimed = claim(&mut database.connect().await?, &hints, LEASE).await?;
        Ok(claimed.into_iter().map(|claim| claim.payment_id).collect())
    };
    let (a, b, c, d) = tokio::join!(claimer(), claimer(), claimer(), claimer());
    let mut all: Vec<_> = [a?, b?, c?, d?].concat();
    // What one was just claiming another passed over; together they may have left nothing twice.
    let claimed = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), claimed, "claimed twice");
    assert_eq!(claimed, 200);
    Ok(())
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_a_void_never_charges_again() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (order, first) = one_claimed(&mut conn, LEASE).await?;
    settle(&mut conn, &[in_doubt(&first, Duration::from_secs(3_600), false)], DEADLINE).await?;
    assert!(
        claim(&mut conn, &[order.payment_id()], LEASE).await?.is_empty(),
        "a hint does not hurry a retry"
    );
    assert!(claim_due(&mut conn, 10, LEASE).await?.is_empty());
    make_due(&mut conn).await?;
    let second = claim_due(&mut conn, 10, LEASE).await?.remove(0);
    assert_eq!((second.action, second.spent, second.number), (AttemptAction::Charge, 1, 2));
    settle(&mut conn, &[in_doubt(&second, Duration::ZERO, true)], DEADLINE).await?;
    let third = claim_due(&mut conn, 10, LEASE).await?.remove(0);
    assert_eq!((third.action, third.spent), (AttemptAction::Void, 2));
    let given_up = Settlement {
        outcome: AttemptOutcome::Voided,
        code: Some("retries_exhausted".into()),
        next: Next::Failed,
        ..succeeded(&third)
    };
    settle(&mut conn, &[given_up], DEADLINE).await?;
    assert_eq!(status(&mut conn, &order).await?, OrderStatus::PaymentFailed);
    let last = events::history(&mut conn, order.id).await?.pop().unwrap();
    assert_eq!(last.reason.as_deref(), Some("retries_exhausted"));
    Ok(())
}

#[tokio::test]
async fn a_released_claim_leaves_no_try_behind() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (order, first) = one_claimed(&mut conn, LEASE).await?;
    assert_eq!(release(&mut conn, &[(first.clone(), Duration::ZERO)]).await?, 1);
    assert!(read::attempts(&mut conn, order.id).await?.is_empty());
    assert_eq!(release(&mut conn, &[(first, Duration::ZERO)]).await?, 0, "once");
    let second = claim_due(&mut conn, 10, LEASE).await?.remove(0);
    assert_eq!(
        (second.number, second.spent, second.epoch),
        (1, 0, 2),
        "its number is used again, its epoch never"
    );
    Ok(())
}

#[tokio::test]
async fn an_unpublished_payment_becomes_due_by_itself() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = new_order();
    accept(&mut conn, &[plain(order.clone())], Duration::from_millis(1)).await?;
    let swept =
        until("it is due", async || Ok(claim_due(&mut database.connect().await?, 10, LEASE).await?.pop()))
            .await?;
    assert_eq!(swept.payment_id, order.payment_id());
    Ok(())
}

#[tokio::test]
async fn old_keys_are_forgotten_and_young_ones_are_not() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let [old, young] = [new_order(), new_order()];
    let mut batch = [keyed(old.clone(), "old", 1), keyed(young, "young", 1)];
    batch[0].key.as_mut().unwrap().keep = GRACE / 2;
    accept(&mut conn, &batch, GRACE).await?;
    let later = read::order(&mut conn, old.id).await?.unwrap().created_at + GRACE * 3 / 4;
    assert_eq!(names::forget(&mut conn, None, None, 100).await?.count, 0, "both are young");
    assert_eq!(names::forget(&mut conn, Some(later), None, 100).await?.count, 1);
    assert_eq!(names::forget(&mut conn, Some(later), None, 100).await?, Forgotten::default());
    let again = [keyed(new_order(), "old", 1), keyed(new_order(), "young", 1)];
    let answers = accept(&mut conn, &again, GRACE).await?;
    assert!(matches!(answers[..], [Accepted::New { .. }, Accepted::Replay(_)]), "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_answers_before_its_disk_has_it_is_refused() -> Result<()> {
    let database = TestDatabase::new().await?;
    let name: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut database.connect().await?).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} SET synchronous_commit = off")))
        .execute(&mut database.connect().await?)
        .await?;
    let refused = database.connect().await.err().map(|error| format!("{error:#}"));
    assert!(refused.as_deref().is_some_and(|said| said.contains("synchronous_commit=off")), "{refused:?}");
    Ok(())
}
