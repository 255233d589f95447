//! Keys that come again: what a storm of replays costs, and moves that were sent twice.

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::request::OrderRequest;
use domain::order::status::OrderStatus;
use futures_util::future::try_join_all;
use serde_json::json;
use sqlx::PgConnection;
use store::accept::{Accept, Accepted, IdempotencyKey, accept};
use store::events;
use store::keyed::Keyed;
use store::moves::{Moved, carry_out};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{HOUR, confirmed};

/// What one group commit may hold.
const STORM: usize = 256;

fn key(name: &str, asked: u8) -> IdempotencyKey {
    IdempotencyKey { principal: "p".into(), key: name.into(), request_hash: [asked; 32], keep: HOUR }
}

fn new_order(more: &serde_json::Value) -> NewOrder {
    let mut body = json!({"customer_id": "ann", "items": [
        {"item_id": "i", "item_name": "n", "quantity": 2, "price": 12.5}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = body.to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
    NewOrder::parse(&request).unwrap()
}

/// New orders under the same keys each time.
fn storm(more: &serde_json::Value) -> Vec<Accept> {
    (0..STORM).map(|n| Accept { order: new_order(more), key: Some(key(&n.to_string(), 1)) }).collect()
}

/// Transactions that this database has seen; outside of one, each statement is one.
async fn transactions(conn: &mut PgConnection) -> Result<i64> {
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await?;
    Ok(sqlx::query_scalar("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(conn)
        .await?)
}

#[tokio::test]
async fn a_storm_of_replays_costs_no_more_statements_than_one_and_new_orders_among_it_are_accepted()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    for more in [json!({}), json!({"fulfilment": "pickup"})] {
        let mut first = storm(&more);
        first.iter_mut().for_each(|one| one.key.as_mut().unwrap().key.push_str(&more.to_string()));
        accept(&mut conn, &first, HOUR).await?;
        let again = || -> Vec<Accept> {
            first.iter().map(|one| Accept { order: new_order(&more), key: one.key.clone() }).collect()
        };
        // What is asked for the first time is prepared.
        accept(&mut conn, &again(), HOUR).await?;
        let mut batch = again();
        batch[STORM / 2].key = Some(key(&format!("new {more}"), 1));
        let before = transactions(&mut conn).await?;
        let answers = accept(&mut conn, &batch, HOUR).await?;
        let statements = transactions(&mut conn).await? - before;
        // Ours, and now and then one of a server's own processes.
        assert!(statements <= 8, "{statements} for {STORM} replays");
        for (place, (answer, first)) in answers.iter().zip(&first).enumerate() {
            match answer {
                Accepted::New { .. } => assert_eq!(place, STORM / 2),
                Accepted::Replay(order) => {
                    assert_eq!((order.id, order.total), (first.order.id, first.order.total))
                }
                other => panic!("{place}: {other:?}"),
            }
        }
    }
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
    assert_eq!(orders, 2 * (STORM as i64 + 1));
    Ok(())
}

fn move_to(order: &NewOrder, wanted: Wanted) -> Move {
    let reason = Some("because".to_owned());
    Move {
        request: Uuid::now_v7(),
        order_id: order.id,
        wanted,
        by: Actor::Staff(None),
        reason,
        expected: Expected::default(),
    }
}

async fn under(conn: &mut PgConnection, ask: &Move, key: &IdempotencyKey) -> Result<Moved> {
    Ok(carry_out(conn, Keyed { ask, key: Some(key) }).await?)
}

#[tokio::test]
async fn a_move_sent_again_under_its_key_is_done_once_even_where_it_would_be_legal_again() -> Result<()> {
    use OrderStatus::{Accepted, Preparing};
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let order = confirmed(&mut conn, 1).await?.remove(0);
    let begin = || move_to(&order, Wanted::Status(Preparing));
    let back = || move_to(&order, Wanted::Status(Accepted));
    assert!(matches!(under(&mut conn, &begin(), &key("begin", 1)).await?, Moved::Done { .. }));
    let first = back();
    // The second run of one request is no replay: nobody was answered yet.
    for _ in 0..2 {
        assert!(matches!(under(&mut conn, &first, &key("back", 2)).await?, Moved::Done { .. }));
    }
    assert!(matches!(under(&mut conn, &begin(), &key("again", 1)).await?, Moved::Done { .. }));
    // Both would be legal: the order is PREPARING.
    let Moved::Replayed { whole } = under(&mut conn, &back(), &key("back", 2)).await? else {
        panic!("replayed")
    };
    assert_eq!(whole.order.status, Preparing);
    assert!(matches!(under(&mut conn, &back(), &key("back", 3)).await?, Moved::KeyReused));
    // Neither would be.
    assert!(matches!(under(&mut conn, &begin(), &key("begin", 1)).await?, Moved::Replayed { .. }));
    assert!(matches!(under(&mut conn, &begin(), &key("begin", 3)).await?, Moved::KeyReused));
    let refused = under(&mut conn, &begin(), &key("new", 1)).await?;
    assert!(
        matches!(refused, Moved::Refused { refusal: Refusal::SameStatus, status: Preparing }),
        "{refused:?}"
    );
    // What was refused leaves no key behind.
    assert!(matches!(under(&mut conn, &back(), &key("new", 2)).await?, Moved::Done { .. }));
    assert_eq!(events::history(&mut conn, order.id).await?.len(), 8, "each once, and the implicit one");
    Ok(())
}

#[tokio::test]
async fn a_key_of_an_order_is_none_of_a_move_and_the_other_way_round() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let [one, other] = confirmed(&mut conn, 2).await?.try_into().unwrap();
    let mut by_key = async |name: &str, asked| {
        let batch = [Accept { order: new_order(&json!({})), key: Some(key(name, asked)) }];
        anyhow::Ok(accept(&mut conn, &batch, HOUR).await?.remove(0))
    };
    assert!(matches!(by_key("order", 1).await?, Accepted::New { .. }));
    let mut kitchen = database.connect().await?;
    let take = |order| move_to(order, Wanted::Accept);
    for asked in [1, 2] {
        assert!(matches!(under(&mut kitchen, &take(&one), &key("order", asked)).await?, Moved::KeyReused));
    }
    assert!(matches!(under(&mut kitchen, &take(&one), &key("move", 1)).await?, Moved::Done { .. }));
    assert!(matches!(under(&mut kitchen, &take(&other), &key("move", 2)).await?, Moved::KeyReused));
    for asked in [1, 2] {
        assert!(matches!(by_key("move", asked).await?, Accepted::KeyReused));
    }
    Ok(())
}

#[tokio::test]
async fn of_many_that_send_the_same_move_at_once_one_moves_and_all_are_told_so() -> Result<()> {
    let database = TestDatabase::new().await?;
    let order = confirmed(&mut database.connect().await?, 1).await?.remove(0);
    let sent = (0..12).map(|_| async {
        under(&mut database.connect().await?, &move_to(&order, Wanted::Cancel), &key("k", 1)).await
    });
    let (mut done, mut replayed) = (0, 0);
    for moved in try_join_all(sent).await? {
        match moved {
            Moved::Done { .. } => done += 1,
            Moved::Replayed { .. } => replayed += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((done, replayed), (1, 11));
    let mut conn = database.connect().await?;
    let refunds: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE kind = 'refund'")
        .fetch_one(&mut conn)
        .await?;
    assert_eq!(refunds, 1);
    Ok(())
}
