//! Whose an order was is forgotten: afterwards no table has a word of it, and nothing that its channel sends again brings it back.

use anyhow::{Context, Result, anyhow};
use domain::channel::dialect::Incoming;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::money::Currency;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::problems::Problem;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use store::accept::{Accept, accept};
use store::additions::{Add, add};
use store::channel_told::{Tell, tell};
use store::forget::{Forgot, forget};
use store::moves::{Moved, carry_out};
use store::{read, refused};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::HOUR;

/// In every text that somebody typed.
const SEED: &str = "Zq7";

fn channel() -> Result<ChannelName> {
    ChannelName::parse("eats").map_err(|(code, _)| anyhow!(code))
}

fn document(note: &str) -> Result<Incoming> {
    let body = json!({
        "channelOrderId": "A-1", "_id": "d-1", "note": note, "pickupTime": "2026-01-31T18:00:00Z",
        "customer": {"name": "Zq7 Byron", "phoneNumber": "+44 20 Zq7", "note": "Zq7 rings"},
        "deliveryAddress": {"street": "Zq7 Street", "city": "Zq7ville", "postalCode": "Zq7"},
        "items": [
            {"name": "Burger", "plu": "B", "quantity": 1, "price": 5, "remark": "Zq7 no nuts",
             "subItems": [{"name": "Ice", "quantity": 1, "price": 1, "remark": "Zq7 crushed",
                           "subItems": [{"name": "Straw", "quantity": 1, "price": 0, "remark": "Zq7 bent"}]}]},
            {"name": "Burger", "plu": "B", "quantity": 1, "price": 5}],
        "statusHistory": [{"by": "Zq7"}]
    })
    .to_string();
    let (document, settings) = (serde_json::from_str(&body)?, ChannelSettings::default());
    // The channel took the money: it is confirmed from the start.
    let order = PlainOrder::parse(channel()?, document, &settings, Some(true));
    let priced = order.and_then(|order| order.priced(&PriceList::default(), &settings, HOUR));
    priced.map_err(|problems| anyhow!("{problems:?}"))
}

/// Tables in which the seed stands, as text or as bytes.
async fn seeded(conn: &mut PgConnection) -> Result<Vec<String>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .fetch_all(&mut *conn)
    .await?;
    let bytes: String = SEED.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for table in tables {
        let look = format!(
            "SELECT count(*) FROM \"{table}\" t WHERE t::text LIKE '%{SEED}%' OR t::text LIKE '%{bytes}%'"
        );
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(look)).fetch_one(&mut *conn).await?;
        if count > 0 {
            found.push(table);
        }
    }
    Ok(found)
}

async fn to(conn: &mut PgConnection, order_id: Uuid, wanted: Wanted) -> Result<()> {
    let (request, by) = (Uuid::now_v7(), Actor::Staff(None));
    let ask = Move { request, order_id, wanted, by, reason: None, expected: Expected::default() };
    let moved = carry_out(conn, &ask).await?;
    anyhow::ensure!(matches!(moved, Moved::Done { .. }), "{moved:?}");
    Ok(())
}

/// A charge that is final, without a gateway.
async fn charged(conn: &mut PgConnection) -> Result<()> {
    for sql in [
        "UPDATE payments SET status = 'processing' WHERE status = 'pending'",
        "UPDATE payments SET status = 'succeeded', due_at = NULL WHERE status = 'processing'",
    ] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_table_has_a_word_of_whose_an_order_was_and_nothing_brings_it_back() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let first = document("Zq7 at the gate")?;
    let order_id = first.order.id;
    accept(&mut conn, &[Accept { order: first.order, key: None }], HOUR).await?;
    // Told otherwise, added to, and refused once.
    let by = Actor::Service("eats".to_owned());
    let told = document("Zq7 at the door")?.told().context("a document")?;
    let ask = Tell { request: Uuid::now_v7(), order_id, by, told };
    assert!(matches!(tell(&mut conn, &ask).await?, Moved::Done { .. }));
    let more = json!({"payment_reference": "more", "items": [
        {"item_id": "B", "item_name": "Burger", "plu": "B", "quantity": 2, "price": 5, "note": "Zq7 no salt"}]})
    .to_string();
    let addition = NewAddition::parse(&serde_json::from_str(&more)?, order_id, Currency::USD);
    let addition = addition.map_err(|problems| anyhow!("{problems:?}"))?;
    let added =
        add(&mut conn, &Add { order_id, by: Actor::Unnamed, addition, expected: Expected::default() })
            .await?;
    assert!(matches!(added, Moved::Done { .. }), "{added:?}");
    let wrong = [Problem { code: "total_mismatch", detail: "wrong".into(), attr: "total".into() }];
    // The second one is of another order, in which the number stands for something else.
    for (id, who) in [("A-1", SEED), ("A-2", "somebody")] {
        let body = json!({"channelOrderId": id, "customer": {"name": who}, "table": "A-1"}).to_string();
        refused::keep(&mut conn, &channel()?, body.as_bytes(), false, None, &wrong).await?;
    }
    let everywhere = ["order_details", "order_events", "orders", "payments", "refused_documents"];
    assert_eq!(seeded(&mut conn).await?, everywhere);
    let before = read::whole(&mut conn, order_id).await?.context("an order")?;

    assert_eq!(forget(&mut conn, Uuid::now_v7(), "house").await?, Forgot::NotFound);
    let under_way = |status| Ok::<_, anyhow::Error>(Forgot::UnderWay(status));
    assert_eq!(forget(&mut conn, order_id, "house").await?, under_way(OrderStatus::Confirmed)?);
    for status in [OrderStatus::Preparing, OrderStatus::Ready, OrderStatus::Delivered] {
        to(&mut conn, order_id, Wanted::Status(status)).await?;
    }
    let open = forget(&mut conn, order_id, "house").await?;
    assert_eq!(open, under_way(OrderStatus::Delivered)?, "its addition is still to be charged");
    charged(&mut conn).await?;
    for _ in 0..2 {
        assert_eq!(forget(&mut conn, order_id, "house").await?, Forgot::Done);
        assert_eq!(seeded(&mut conn).await?, Vec::<String>::new());
    }
    let after = read::whole(&mut conn, order_id).await?.context("an order")?;
    assert_eq!(after.order.total, before.order.total);
    assert_eq!(after.events.len(), before.events.len() + 5, "four moves, and one that says so");
    assert_eq!(refused::list(&mut conn, &channel()?).await?.len(), 1, "that of another order");
    let lines: Vec<serde_json::Value> = serde_json::from_str(after.order.items.get())?;
    assert_eq!((lines.len(), &lines[2]["quantity"]), (3, &json!(2)), "lines that were not alike stay so");

    // Its document comes again, late.
    let again = document("Zq7 at the door")?.told().context("a document")?;
    let (ruling, _) =
        store::channel_told::look(&mut conn, order_id, &Actor::Unnamed, &again).await?.context("an order")?;
    assert_eq!(ruling, domain::channel::told::Ruling::Nothing);
    assert_eq!(seeded(&mut conn).await?, Vec::<String>::new());
    Ok(())
}
