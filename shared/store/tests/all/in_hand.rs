//! What is paid when it is handed over: it comes in once or never, whoever ends the order at the same moment.

use std::time::Duration;

use anyhow::Result;
use domain::order::NewOrder;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use store::accept::{Accept, accept};
use store::additions::{Add, add};
use store::collect::{Collect, collect};
use store::moves::{Moved, carry_out};
use testbed::TestDatabase;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(3_600);

fn an_order() -> NewOrder {
    let body = r#"{"customer_id":"c","payment":{"method":"on_delivery"},
        "items":[{"item_id":"i","item_name":"n","quantity":2,"price":12.5}]}"#;
    NewOrder::parse(&serde_json::from_str(body).unwrap()).unwrap()
}

fn collecting(order_id: Uuid) -> Collect {
    let (by, expected) = (Actor::Staff(Some("bo".into())), Expected::default());
    Collect { request: Uuid::now_v7(), order_id, by, amount_minor: None, expected }
}

#[tokio::test]
async fn money_comes_in_once_or_never_whoever_ends_the_order_meanwhile() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conns = [database.connect().await?, database.connect().await?, database.connect().await?];
    let (mut came, mut never) = (0, 0);
    for round in 0..60 {
        let order = an_order();
        let order_id = order.id;
        accept(&mut conns[0], &[Accept { order: order.clone(), key: None }], SOON).await?;
        let body = r#"{"payment_reference":"more","items":[{"item_id":"t","item_name":"Tea","quantity":1,"price":2}]}"#;
        let addition =
            NewAddition::parse(&serde_json::from_str(body)?, order_id, order.total.currency()).unwrap();
        let (by, expected) = (Actor::Unnamed, Expected::default());
        add(&mut conns[0], &Add { order_id, by: by.clone(), addition, expected }).await?;
        let cancel = Move {
            request: Uuid::now_v7(),
            order_id,
            wanted: Wanted::Cancel,
            by,
            reason: None,
            expected: Expected::default(),
        };
        let (one, other) = (collecting(order_id), collecting(order_id));
        let [first, second, third] = &mut conns;
        // Neither always before the other.
        let head_start = Duration::from_micros(round * 40);
        let (cancelled, one, other) = tokio::join!(
            async {
                tokio::time::sleep(head_start).await;
                carry_out(first, &cancel).await
            },
            collect(second, &one),
            collect(third, &other),
        );
        assert!(matches!(cancelled?, Moved::Done { .. }));
        let is_done = |moved: &Moved| match moved {
            Moved::Done { .. } => true,
            Moved::Refused { refusal: Refusal::NothingDue, .. } => false,
            _ => panic!("{moved:?}"),
        };
        let done = [one?, other?].iter().filter(|moved| is_done(moved)).count();
        assert!(done <= 1, "the same money came in twice");
        let (succeeded, failed, events, collected): (i64, i64, i64, bool) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed'),
                    (SELECT count(*) FROM order_events WHERE subject = $1 AND what = 'collected'),
                    (SELECT collected FROM order_details WHERE order_id = $1)
             FROM payments WHERE order_id = $1",
        )
        .bind(order_id)
        .fetch_one(&mut conns[0])
        .await?;
        let expected = if done == 1 { (2, 0, 2, true) } else { (0, 2, 0, false) };
        assert_eq!((succeeded, failed, events, collected), expected);
        if done == 1 { came += 1 } else { never += 1 }
    }
    println!("{came} came in, {never} never did");
    let refunds: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE kind <> 'on_delivery'")
        .fetch_one(&mut conns[0])
        .await?;
    assert_eq!(refunds, 0, "no gateway is asked for anything");
    Ok(())
}
