//! Orders from channels in the store: mixed batches, lost answers, writers that meet, and the deadline of what is paid.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::request::OrderRequest;
use domain::order::status::OrderStatus;
use serde_json::json;
use sqlx::PgConnection;
use store::accept::{Accept, Accepted, IdempotencyKey, accept};
use store::deadline::reject_unanswered;
use store::moves::carry_out;
use store::read;
use testbed::TestDatabase;
use uuid::Uuid;

const GRACE: Duration = Duration::from_secs(3_600);

fn plain(more: &serde_json::Value) -> NewOrder {
    let mut body = json!({"customer_id": "c", "items": [
        {"item_id": "i", "item_name": "n", "quantity": 2, "price": 12.5}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = body.to_string();
    let request: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
    NewOrder::parse(&request).unwrap()
}

fn of_channel(name: &str, paid: bool, accept_in: Duration) -> NewOrder {
    let body =
        json!({"channelOrderId": name, "items": [{"name": "n", "plu": "p", "quantity": 1, "price": 5}]});
    let body = body.to_string();
    let channel = ChannelName::parse("dish").unwrap();
    let (document, settings) = (serde_json::from_str(&body).unwrap(), ChannelSettings::default());
    let order = PlainOrder::parse(channel, document, &settings, Some(paid)).unwrap();
    order.priced(&PriceList::default(), &settings, accept_in).unwrap().order
}

fn unkeyed(order: NewOrder) -> Accept {
    Accept { order, key: None }
}

async fn counts(conn: &mut PgConnection) -> Result<Vec<i64>> {
    let mut counts = Vec::new();
    for table in ["orders", "shown_payments", "order_events", "order_details", "names"] {
        let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        counts.push(sqlx::query_scalar(statement).fetch_one(&mut *conn).await?);
    }
    Ok(counts)
}

#[tokio::test]
async fn a_mixed_batch_is_written_whole_and_run_twice_is_as_good_as_once() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let key = IdempotencyKey { principal: "p".into(), key: "k".into(), request_hash: [1; 32], keep: GRACE };
    let batch = [
        unkeyed(plain(&json!({}))),
        unkeyed(plain(&json!({"fulfilment": "dine_in"}))),
        unkeyed(of_channel("1", false, GRACE)),
        unkeyed(of_channel("2", true, GRACE)),
        Accept { order: of_channel("3", true, GRACE), key: Some(key) },
    ];
    let mut times = Vec::new();
    // The second run is that of a writer whose first answer was lost.
    for _ in 0..2 {
        for answer in accept(&mut conn, &batch, GRACE).await? {
            let Accepted::New { created_at } = answer else { panic!("{answer:?}") };
            times.push(created_at);
        }
        assert_eq!(counts(&mut conn).await?, [5, 5, 5, 4, 4]);
    }
    assert_eq!(times[..5], times[5..]);
    for (one, status) in
        batch.iter().zip([OrderStatus::Pending; 3].into_iter().chain([OrderStatus::Confirmed; 2]))
    {
        let order = read::order(&mut conn, one.order.id).await?.context("it is there")?;
        assert_eq!(order.status, status);
        assert_eq!(order.is_paid_elsewhere(), status == OrderStatus::Confirmed);
        assert_eq!(order.accept_by, order.is_paid_elsewhere().then(|| order.created_at + GRACE));
    }
    Ok(())
}

#[tokio::test]
async fn of_one_name_twice_in_a_batch_and_of_a_taken_key_nothing_is_left() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let key = |hash| {
        Some(IdempotencyKey { principal: "p".into(), key: "k".into(), request_hash: [hash; 32], keep: GRACE })
    };
    let batch = [unkeyed(of_channel("1", false, GRACE)), unkeyed(of_channel("1", false, GRACE))];
    let answers = accept(&mut conn, &batch, GRACE).await?;
    assert!(matches!(&answers[..], [Accepted::New { .. }, Accepted::Replay(_)]), "{answers:?}");
    let first = Accept { order: of_channel("2", false, GRACE), key: key(1) };
    accept(&mut conn, &[first], GRACE).await?;
    // Its name is free, its key is not.
    let taken = Accept { order: of_channel("3", true, GRACE), key: key(2) };
    let answers = accept(&mut conn, &[taken], GRACE).await?;
    assert!(matches!(answers[..], [Accepted::KeyReused]), "{answers:?}");
    assert_eq!(counts(&mut conn).await?, [2, 2, 2, 2, 3]);
    let answers = accept(&mut conn, &[unkeyed(of_channel("3", true, GRACE))], GRACE).await?;
    assert!(matches!(answers[..], [Accepted::New { .. }]), "{answers:?}");
    // Who takes the money is compared when the document is (`told`); what was ordered is here.
    let again = accept(&mut conn, &[unkeyed(of_channel("3", false, GRACE))], GRACE).await?;
    assert!(matches!(&again[..], [Accepted::Replay(_)]), "{again:?}");
    let other = plain(&json!({"channel": "dish", "channel_order_id": "3"}));
    let other = accept(&mut conn, &[unkeyed(other)], GRACE).await?;
    assert!(matches!(other[..], [Accepted::ChannelIdReused(OrderStatus::Confirmed)]), "{other:?}");
    Ok(())
}

#[tokio::test]
async fn writers_that_meet_with_the_same_names_in_any_order_do_not_wait_for_each_other() -> Result<()> {
    let database = TestDatabase::new().await?;
    for round in 0..20 {
        let mut batches = [Vec::new(), Vec::new()];
        for n in 0..30 {
            let name = format!("{round}-{n}");
            let key = |n: i32| {
                Some(IdempotencyKey {
                    principal: "p".into(),
                    key: format!("{round}-{n}"),
                    request_hash: [1; 32],
                    keep: GRACE,
                })
            };
            // The keys of one run against the names of the other.
            batches[0].push(Accept { order: of_channel(&name, n % 3 == 0, GRACE), key: key(n) });
            batches[1].insert(0, Accept { order: of_channel(&name, n % 3 == 0, GRACE), key: key(29 - n) });
        }
        let (mut one, mut other) = (database.connect().await?, database.connect().await?);
        let (first, second) =
            tokio::join!(accept(&mut one, &batches[0], GRACE), accept(&mut other, &batches[1], GRACE));
        // Not a deadlock, which the server would end after a second.
        let (first, second) = (first?, second?);
        let new = |answers: &[Accepted]| {
            answers.iter().filter(|answer| matches!(answer, Accepted::New { .. })).count()
        };
        assert_eq!(new(&first) + new(&second), 30, "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_paid_elsewhere_is_either_taken_in_time_or_rejected_and_never_refunded() -> Result<()> {
    let database = TestDatabase::new().await?;
    let (mut kitchen, mut sweep) = (database.connect().await?, database.connect().await?);
    let soon = Duration::from_millis(60);
    let batch: Vec<Accept> = (0..100).map(|n| unkeyed(of_channel(&n.to_string(), true, soon))).collect();
    accept(&mut kitchen, &batch, GRACE).await?;
    let take = async {
        for one in &batch {
            let (request, order_id) = (Uuid::now_v7(), one.order.id);
            let ask = Move {
                request,
                order_id,
                wanted: Wanted::Accept,
                by: Actor::Staff(None),
                reason: None,
                expected: Expected::default(),
            };
            carry_out(&mut kitchen, &ask).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(())
    };
    let clock = async {
        for _ in 0..15 {
            reject_unanswered(&mut sweep, 256).await?;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        anyhow::Ok(())
    };
    let (taken, swept) = tokio::join!(take, clock);
    taken?;
    swept?;
    let late: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE o.status = 'ACCEPTED' AND e.at <= o.accept_by),
                count(*) FILTER (WHERE o.status = 'REJECTED' AND e.at >= o.accept_by),
                (SELECT count(*) FROM payments WHERE kind <> 'elsewhere')
         FROM orders o JOIN order_events e ON e.subject = o.id AND e.version = 2",
    )
    .fetch_all(&mut sweep)
    .await?;
    let (in_time, rejected, others) = late[0];
    assert_eq!((in_time + rejected, others), (100, 0), "{in_time} in time, {rejected} rejected");
    assert!(in_time > 0 && rejected > 0, "no race: {in_time} in time, {rejected} rejected");
    Ok(())
}
