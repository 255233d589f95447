//! Stock: taken once, in the order of arrival, by all lines or none; given back or sold once, whoever ends the order and
//! whoever counts it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::catalogue::menu::Menu;
use domain::catalogue::product::Product;
use domain::location::Locations;
use domain::order::NewOrder;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Refusal, Wanted};
use domain::order::request::CartRef;
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use serde_json::{Value, json};
use sqlx::PgConnection;
use store::accept::{Accept, Accepted, IdempotencyKey, accept_stocked};
use store::additions::{Add, PayAnew, add, drop_failed, pay_anew};
use store::catalogue::products;
use store::claim::claim;
use store::keyed::Keyed;
use store::moves::{Moved, carry_out};
use store::settle::{Next, Settlement, settle};
use store::stock::carts::{self, Fill, Filled};
use store::stock::counted::{self, Change, Counted, What};
use store::stock::facts::{StockFacts, facts};
use store::stock::holds::{Due, Settled};
use store::stock::{Short, holds};
use testbed::TestDatabase;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(3_600);

/// Products that are counted, by their ids.
struct Shop(HashMap<Uuid, Product>);

impl Menu for Shop {
    fn product(&self, id: Uuid) -> Option<&Product> {
        self.0.get(&id)
    }
}

impl Shop {
    /// So many products, with so many of each.
    async fn open(conn: &mut PgConnection, products: usize, each: i64) -> Result<(Self, Vec<Uuid>)> {
        let (mut shop, mut ids) = (HashMap::new(), Vec::new());
        for _ in 0..products {
            let body = json!({"name": Uuid::now_v7(), "price": 2, "tracked": true}).to_string();
            let product = Product::parse(&serde_json::from_str(&body)?).unwrap();
            products::insert(conn, &product, "max").await?;
            put_in(conn, product.id, What::Set, each).await?;
            ids.push(product.id);
            shop.insert(product.id, product);
        }
        Ok((Self(shop), ids))
    }

    fn order(&self, lines: &[(Uuid, u32)]) -> NewOrder {
        let lines: Vec<Value> =
            lines.iter().map(|(id, quantity)| json!({"product_id": id, "quantity": quantity})).collect();
        let body = json!({"customer_id": "c", "items": lines}).to_string();
        NewOrder::parse_with(&serde_json::from_str(&body).unwrap(), &Locations::default(), self).unwrap()
    }

    fn accept(&self, lines: &[(Uuid, u32)]) -> Accept {
        Accept { order: self.order(lines), key: None }
    }
}

async fn put_in(conn: &mut PgConnection, item: Uuid, what: What, quantity: i64) -> Result<Counted> {
    let ask = Change { id: Uuid::now_v7(), item, what, quantity, by: "max".into(), reason: None };
    Ok(counted::change(conn, &ask).await?)
}

/// Available, held, sold.
async fn stock(conn: &mut PgConnection, item: Uuid) -> Result<(i64, i64, i64)> {
    let one = counted::of(conn, &[item]).await?;
    let one = one.first().context("it is not counted")?;
    Ok((one.available, one.held, one.sold))
}

/// available + held + sold = what was put in, for each item; and what is held is what orders hold.
async fn adds_up(database: &TestDatabase) -> Result<()> {
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM stock s WHERE
            available + held + sold <> (SELECT sum(change) FROM stock_changes WHERE item = s.id)
            OR held <> (SELECT coalesce(sum(quantity), 0) FROM holds WHERE item = s.id AND state = 'held')
            OR sold <> (SELECT coalesce(sum(quantity), 0) FROM holds WHERE item = s.id AND state = 'sold')",
    )
    .fetch_one(&mut database.connect().await?)
    .await?;
    assert_eq!(wrong, 0, "items that do not add up");
    Ok(())
}

fn told(accepted: &[Accepted]) -> String {
    let letter = |one: &Accepted| match one {
        Accepted::New { .. } => 'N',
        Accepted::Replay(_) => 'R',
        Accepted::OutOfStock(_) => 'o',
        _ => '?',
    };
    accepted.iter().map(letter).collect()
}

fn keyed(order: NewOrder, key: &str) -> Accept {
    let key = key.to_owned();
    let key = IdempotencyKey { principal: "p".into(), key, request_hash: [7; 32], keep: SOON };
    Accept { order, key: Some(key) }
}

#[tokio::test]
async fn a_batch_takes_what_there_is_in_the_order_of_arrival_and_a_refusal_leaves_nothing_behind()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 2, 5).await?;
    let (tea, cake) = (ids[0], ids[1]);
    let batch = [
        shop.accept(&[(tea, 2)]),
        shop.accept(&[(tea, 1), (cake, 6)]), // never: all lines or none
        keyed(shop.order(&[(tea, 2), (cake, 1)]), "a"),
        keyed(shop.order(&[(tea, 2), (cake, 1)]), "a"), // the same again
        keyed(shop.order(&[(tea, 2)]), "b"),            // one is left
        keyed(shop.order(&[(tea, 2)]), "b"),
        shop.accept(&[(tea, 1), (cake, 2)]),
        shop.accept(&[(tea, 1)]),
    ];
    let done = accept_stocked(&mut conn, &batch, SOON).await?;
    assert_eq!(told(&done), "NoNRooNo");
    let Accepted::OutOfStock(shorts) = &done[1] else { unreachable!() };
    assert_eq!(shorts, &[Short { item: cake, wanted: 6, available: 5 }]);
    assert_eq!((stock(&mut conn, tea).await?, stock(&mut conn, cake).await?), ((0, 5, 0), (2, 3, 0)));
    let events = "order_events JOIN orders ON orders.id = subject"; // products have events, too
    for table in ["orders", "open_charges", events] {
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&mut conn)
            .await?;
        assert_eq!(rows, 3, "{table}");
    }

    // Once more, because the answer was lost: the same, and nothing is taken twice.
    let again = accept_stocked(&mut conn, &batch, SOON).await?;
    assert_eq!(
        (told(&again).replace('R', "N"), told(&done).replace('R', "N")),
        ("NoNNooNo".into(), "NoNNooNo".into())
    );
    assert_eq!(stock(&mut conn, tea).await?, (0, 5, 0));
    // A key that came to nothing may be used again once there is enough.
    put_in(&mut conn, tea, What::Add, 2).await?;
    assert_eq!(told(&accept_stocked(&mut conn, &batch[4..6], SOON).await?), "NR");
    assert_eq!(stock(&mut conn, tea).await?, (0, 7, 0));
    adds_up(&database).await
}

#[tokio::test]
async fn writers_that_want_the_same_in_any_order_sell_what_there_is_and_never_wait_for_each_other()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 20, 200).await?;
    let writers = (0..4_usize).map(|writer| {
        let (database, shop, ids) = (&database, &shop, &ids);
        async move {
            let mut session = database.database().session();
            let mut accepted = 0;
            for round in 0..20 {
                let lines = |order: usize| -> Vec<(Uuid, u32)> {
                    let turn = |n: usize| ids[(n * 7 + order * 3 + writer * 5 + round) % 20];
                    (0..20).map(|n| (turn(n), 1)).collect()
                };
                let batch: Vec<Accept> = (0..4).map(|order| shop.accept(&lines(order))).collect();
                let done = session
                    .run(&batch[..], |conn, batch| Box::pin(accept_stocked(conn, batch, SOON)))
                    .await?;
                accepted += done.iter().filter(|one| matches!(one, Accepted::New { .. })).count();
            }
            anyhow::Ok(accepted)
        }
    });
    let accepted: usize = futures_util::future::try_join_all(writers).await?.into_iter().sum();
    assert_eq!(accepted, 200, "320 wanted them");
    for id in ids {
        assert_eq!(stock(&mut conn, id).await?, (0, 200, 0));
    }
    adds_up(&database).await?;
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut conn)
            .await?;
    assert_eq!(deadlocks, 0);
    Ok(())
}

/// Its charge ends so.
async fn charged(conn: &mut PgConnection, payment: Uuid, next: Next) -> Result<()> {
    let claimed = claim(conn, &[payment], SOON).await?.remove(0);
    let outcome = if next == Next::Failed { AttemptOutcome::Declined } else { AttemptOutcome::Succeeded };
    assert_eq!(settle(conn, &[Settlement::new(&claimed, outcome, next)], SOON).await?.len(), 1);
    Ok(())
}

fn paid() -> Next {
    Next::Succeeded { gateway_id: "ch".into() }
}

async fn go(conn: &mut PgConnection, order_id: Uuid, wanted: Wanted) -> Result<OrderStatus> {
    let by = Actor::Staff(Some("bo".into()));
    let reason = Some("why not".to_owned());
    let ask = Move { request: Uuid::now_v7(), order_id, wanted, by, reason, expected: Expected::default() };
    match carry_out(conn, &ask).await? {
        Moved::Done { whole, .. } => Ok(whole.order.status),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Counts what is due, by several at once.
async fn count(database: &TestDatabase) -> Result<u64> {
    let (mut one, mut other) = (database.connect().await?, database.connect().await?);
    let (one, other) = tokio::join!(holds::settle(&mut one, 2), holds::settle(&mut other, 2));
    Ok(one? + other?)
}

#[tokio::test]
async fn what_an_order_holds_goes_back_or_is_sold_once_whatever_ends_it() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 52).await?;
    let tea = ids[0];
    let orders: Vec<Accept> = (0..6).map(|_| shop.accept(&[(tea, 3)])).collect();
    accept_stocked(&mut conn, &orders, SOON).await?;
    assert_eq!(stock(&mut conn, tea).await?, (34, 18, 0));
    let id = |n: usize| orders[n].order.id;
    assert_eq!(count(&database).await?, 0, "nothing has ended");
    charged(&mut conn, id(0), Next::Failed).await?;
    assert_eq!(go(&mut conn, id(1), Wanted::Cancel).await?, OrderStatus::Cancelled);
    for n in 2..6 {
        charged(&mut conn, id(n), paid()).await?;
    }
    assert_eq!(go(&mut conn, id(2), Wanted::Reject).await?, OrderStatus::Rejected);
    for (n, last) in [(3, Wanted::Status(OrderStatus::Delivered)), (4, Wanted::NoShow { refund: true })] {
        for status in [OrderStatus::Preparing, OrderStatus::Ready] {
            go(&mut conn, id(n), Wanted::Status(status)).await?;
        }
        go(&mut conn, id(n), last).await?;
    }
    assert_eq!(stock(&mut conn, tea).await?, (34, 18, 0), "nobody waits for the row of what everybody wants");
    let mut counted = 0;
    while let some @ 1.. = count(&database).await? {
        counted += some;
    }
    assert_eq!((counted, stock(&mut conn, tea).await?), (5, (46, 3, 3)));
    // Of what has failed, no more comes back when it is cancelled.
    assert_eq!(go(&mut conn, id(0), Wanted::Cancel).await?, OrderStatus::Cancelled);
    assert_eq!((count(&database).await?, stock(&mut conn, tea).await?), (0, (46, 3, 3)));
    adds_up(&database).await
}

async fn anew(conn: &mut PgConnection, order_id: Uuid, reference: &str) -> Result<Moved> {
    let payment_id = domain::payment::new_payment_id(order_id);
    let (by, expected) = (Actor::Unnamed, Expected::default());
    Ok(pay_anew(conn, &PayAnew { order_id, by, payment_id, reference: reference.to_owned(), expected })
        .await?)
}

#[tokio::test]
async fn who_pays_anew_takes_again_what_went_back_or_is_refused() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 5).await?;
    let tea = ids[0];
    // Before it was counted, and after.
    for counted_before in [false, true] {
        let order = shop.accept(&[(tea, 3)]);
        let id = order.order.id;
        accept_stocked(&mut conn, &[order], SOON).await?;
        charged(&mut conn, id, Next::Failed).await?;
        if counted_before {
            assert_eq!((count(&database).await?, stock(&mut conn, tea).await?), (1, (5, 0, 0)));
            accept_stocked(&mut conn, &[shop.accept(&[(tea, 3)])], SOON).await?;
            let refused = anew(&mut conn, id, "first").await?;
            assert!(matches!(refused, Moved::Refused { refusal: Refusal::OutOfStock, .. }), "{refused:?}");
            assert_eq!(stock(&mut conn, tea).await?, (2, 3, 0));
            put_in(&mut conn, tea, What::Add, 1).await?;
        }
        let done = anew(&mut conn, id, "again").await?;
        assert!(matches!(done, Moved::Done { .. }), "{done:?}");
        assert_eq!(count(&database).await?, 0, "it holds it again");
        let expected = if counted_before { (0, 6, 0) } else { (2, 3, 0) };
        assert_eq!(stock(&mut conn, tea).await?, expected);
        if !counted_before {
            assert_eq!(go(&mut conn, id, Wanted::Cancel).await?, OrderStatus::Cancelled);
            assert_eq!((count(&database).await?, stock(&mut conn, tea).await?), (1, (5, 0, 0)));
        }
    }
    adds_up(&database).await
}

#[tokio::test]
async fn what_is_added_takes_stock_too_and_gives_it_back_for_good_where_its_charge_fails() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 2, 4).await?;
    let (tea, cake) = (ids[0], ids[1]);
    let order = shop.accept(&[(tea, 1)]);
    let (id, currency) = (order.order.id, order.order.total.currency());
    accept_stocked(&mut conn, &[order], SOON).await?;
    charged(&mut conn, id, paid()).await?;
    let addition = |reference: &str, quantity: u32| {
        let items = json!([{"product_id": tea, "quantity": quantity}, {"product_id": cake, "quantity": 1}]);
        let body = json!({"payment_reference": reference, "items": items}).to_string();
        let addition =
            NewAddition::parse_with(&serde_json::from_str(&body).unwrap(), id, currency, &shop).unwrap();
        Add { order_id: id, by: Actor::Unnamed, addition, expected: Expected::default() }
    };
    let refused = add(&mut conn, &addition("many", 4)).await?;
    assert!(matches!(refused, Moved::Refused { refusal: Refusal::OutOfStock, .. }), "{refused:?}");
    assert_eq!((stock(&mut conn, tea).await?, stock(&mut conn, cake).await?), ((3, 1, 0), (4, 0, 0)));
    let fails = addition("fails", 2);
    for _ in 0..2 {
        // Twice, because an answer was lost.
        assert!(matches!(add(&mut conn, &fails).await?, Moved::Done { .. }));
        assert_eq!((stock(&mut conn, tea).await?, stock(&mut conn, cake).await?), ((1, 3, 0), (3, 1, 0)));
    }
    charged(&mut conn, fails.addition.payment_id, Next::Failed).await?;
    drop_failed(&mut conn, id).await?;
    while count(&database).await? > 0 {}
    assert_eq!((stock(&mut conn, tea).await?, stock(&mut conn, cake).await?), ((3, 1, 0), (4, 0, 0)));
    assert!(matches!(add(&mut conn, &addition("fits", 3)).await?, Moved::Done { .. }));
    assert_eq!(go(&mut conn, id, Wanted::Reject).await?, OrderStatus::Rejected);
    while count(&database).await? > 0 {}
    assert_eq!((stock(&mut conn, tea).await?, stock(&mut conn, cake).await?), ((4, 0, 0), (4, 0, 0)));
    adds_up(&database).await
}

#[tokio::test]
async fn people_put_in_and_take_out_and_each_time_it_is_written_down() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 10).await?;
    let tea = ids[0];
    accept_stocked(&mut conn, &[shop.accept(&[(tea, 4)])], SOON).await?;
    for (what, quantity, expected) in [
        (What::Add, 5, Some((11, 4, 0))),
        (What::Ship, 12, None),
        (What::Ship, 1, Some((10, 4, 0))),
        (What::Count, 3, None), // four of them are held
        (What::Count, 12, Some((8, 4, 0))),
        (What::Set, 0, Some((0, 4, 0))),
    ] {
        let done = put_in(&mut conn, tea, what, quantity).await?;
        assert_eq!(matches!(done, Counted::Done(_)), expected.is_some(), "{what:?} {quantity}: {done:?}");
        if let Some(expected) = expected {
            assert_eq!(stock(&mut conn, tea).await?, expected, "{what:?} {quantity}");
        }
        adds_up(&database).await?;
    }
    let ask = Change {
        id: Uuid::now_v7(),
        item: tea,
        what: What::Add,
        quantity: 7,
        by: "max".into(),
        reason: None,
    };
    for _ in 0..2 {
        assert!(matches!(counted::change(&mut conn, &ask).await?, Counted::Done(_)));
    }
    assert_eq!(stock(&mut conn, tea).await?, (7, 4, 0), "the same request is carried out once");
    assert!(matches!(put_in(&mut conn, Uuid::now_v7(), What::Add, 1).await?, Counted::NotTracked));
    adds_up(&database).await
}

/// A stranger's request under the same key is not finished: whoever waits for it holds nothing that others want.
#[tokio::test]
async fn who_waits_for_a_key_holds_no_stock_meanwhile() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 9).await?;
    let tea = ids[0];
    for (reference, fails) in [("added", false), ("anew", true)] {
        let order = shop.accept(&[(tea, 2)]);
        let (id, currency) = (order.order.id, order.order.total.currency());
        accept_stocked(&mut conn, &[order], SOON).await?;
        let key = keyed(shop.order(&[(tea, 1)]), reference).key.context("no key")?;
        let mut holder = database.connect().await?;
        let mut stranger = sqlx::Connection::begin(&mut holder).await?;
        sqlx::query("INSERT INTO names (named, kind, scope, name) VALUES ($1, 'idempotency_key', $2, $3)")
            .bind(Uuid::now_v7())
            .bind(&key.principal)
            .bind(&key.key)
            .execute(&mut *stranger)
            .await?;
        if fails {
            charged(&mut conn, id, Next::Failed).await?;
            while count(&database).await? > 0 {}
        }
        let mut waits = database.connect().await?;
        let waiter: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut waits).await?;
        let (by, expected) = (Actor::Unnamed, Expected::default());
        let waiting = async {
            if fails {
                let payment_id = domain::payment::new_payment_id(id);
                let ask = PayAnew { order_id: id, by, payment_id, reference: reference.to_owned(), expected };
                return pay_anew(&mut waits, Keyed { ask: &ask, key: Some(&key) }).await;
            }
            let items = json!([{"product_id": tea, "quantity": 1}]);
            let body = json!({"payment_reference": reference, "items": items}).to_string();
            let addition =
                NewAddition::parse_with(&serde_json::from_str(&body).unwrap(), id, currency, &shop).unwrap();
            let ask = Add { order_id: id, by, addition, expected };
            add(&mut waits, Keyed { ask: &ask, key: Some(&key) }).await
        };
        let others = async {
            testbed::until("it waits for the key", async || {
                let waits = sqlx::query_scalar::<_, bool>(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)",
                );
                Ok(waits.bind(waiter).fetch_one(&mut database.connect().await?).await?.then_some(()))
            })
            .await?;
            // What somebody else holds is not waited for.
            sqlx::query("SET lock_timeout = '100ms'").execute(&mut conn).await?;
            let done = accept_stocked(&mut conn, &[shop.accept(&[(tea, 1)])], SOON).await;
            sqlx::query("SET lock_timeout = 0").execute(&mut conn).await?;
            stranger.rollback().await?;
            anyhow::Ok(told(&done?))
        };
        let (waited, others) = tokio::join!(waiting, others);
        assert_eq!(others?, "N", "{reference}");
        let waited = waited?;
        assert!(matches!(waited, Moved::Done { .. }), "{waited:?}");
    }
    assert_eq!(stock(&mut conn, tea).await?, (2, 7, 0));
    adds_up(&database).await
}

#[tokio::test]
async fn what_is_sold_out_and_what_does_not_add_up_is_seen() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 3, 5).await?;
    // It was never there: that is not sold out.
    let (_, never) = Shop::open(&mut conn, 1, 0).await?;
    assert_eq!(facts(&mut conn, 100).await?, StockFacts { sold_out: 0, wrong: 0 });
    accept_stocked(&mut conn, &[shop.accept(&[(ids[0], 5), (ids[1], 4)])], SOON).await?;
    assert_eq!(facts(&mut conn, 100).await?, StockFacts { sold_out: 1, wrong: 0 });
    for (column, id) in [("available", ids[2]), ("sold", never[0])] {
        let change = format!("UPDATE stock SET {column} = {column} + 1 WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(change)).bind(id).execute(&mut conn).await?;
    }
    assert_eq!(facts(&mut conn, 100).await?, StockFacts { sold_out: 1, wrong: 2 });
    sqlx::query("UPDATE products SET deleted_at = now()").execute(&mut conn).await?;
    assert_eq!(facts(&mut conn, 100).await?, StockFacts { sold_out: 0, wrong: 2 });
    Ok(())
}

/// Of what carts held, it is told apart whether their time was over or somebody let go of them.
#[tokio::test]
async fn a_hold_that_expired_is_told_from_one_that_was_let_go() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 9).await?;
    let takes = shop.order(&[(ids[0], 2)]).takes;
    for owner in ["customer:ann", "customer:eve", "customer:bob"] {
        let lines = serde_json::value::to_raw_value(&json!([]))?;
        let (id, location, owner) = (Uuid::now_v7(), "main".to_owned(), owner.to_owned());
        let fill = Fill { owner, id, location, currency: "USD", lines, takes: takes.clone(), keep: SOON };
        assert!(matches!(carts::fill(&mut conn, &fill).await?, Filled::Done(_)));
    }
    assert!(carts::release(&mut conn, "customer:ann").await?);
    sqlx::query(
        "UPDATE holds SET due_at = now() WHERE owner = (SELECT id FROM carts WHERE owner = 'customer:eve')",
    )
    .execute(&mut conn)
    .await?;
    let due = Due { limit: 100, ..Due::default() };
    assert_eq!(holds::settle_due(&mut conn, &due).await?, Settled { holds: 2, expired: 1 });
    assert_eq!((stock(&mut conn, ids[0]).await?, facts(&mut conn, 100).await?.wrong), ((7, 2, 0), 0));
    Ok(())
}

/// Between the look at a cart and its order somebody puts other things in: that is not what they meant to order.
#[tokio::test]
async fn of_a_cart_that_was_changed_since_it_was_read_no_order_is_made() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 9).await?;
    let mut order = shop.order(&[(ids[0], 2)]);
    let mut versions = Vec::new();
    for _ in 0..2 {
        let (lines, location) = (serde_json::value::to_raw_value(&json!([]))?, "main".to_owned());
        let (id, owner, takes) = (Uuid::now_v7(), "customer:ann".to_owned(), order.takes.clone());
        let fill = Fill { owner, id, location, currency: "USD", lines, takes, keep: SOON };
        let filled = carts::fill(&mut conn, &fill).await?;
        let Filled::Done(cart) = filled else { panic!("{filled:?}") };
        versions.push(CartRef { id: cart.id, version: cart.version });
    }
    assert_eq!(versions[0].id, versions[1].id, "one cart");
    order.cart = Some(versions[0]);
    let done = accept_stocked(&mut conn, &[Accept { order: order.clone(), key: None }], SOON).await?;
    assert!(matches!(done[..], [Accepted::CartChanged]), "{done:?}");
    assert!(carts::read(&mut conn, "customer:ann").await?.is_some(), "it is there still");
    assert_eq!(stock(&mut conn, ids[0]).await?, (7, 2, 0));
    order.cart = Some(versions[1]);
    let done = accept_stocked(&mut conn, &[Accept { order, key: None }], SOON).await?;
    assert_eq!((told(&done), stock(&mut conn, ids[0]).await?), ("N".to_owned(), (7, 2, 0)));
    adds_up(&database).await
}

/// Between a take that fails and the look at what there is, somebody gives back: nobody is told "out of stock" of what is there.
#[tokio::test]
async fn what_is_given_back_between_a_take_and_the_look_is_taken_after_all() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let (shop, ids) = Shop::open(&mut conn, 1, 9).await?;
    // As if it were there for the look alone: the first take finds nothing.
    let once = "CREATE SEQUENCE takes;
        CREATE FUNCTION but_the_first() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF nextval('takes') = 1 THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER but_the_first BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION but_the_first()";
    sqlx::raw_sql(once).execute(&mut conn).await?;
    let from_now_on = "SELECT setval('takes', 1, false)";
    let mut order = shop.order(&[(ids[0], 2)]);
    let (lines, location) = (serde_json::value::to_raw_value(&json!([]))?, "main".to_owned());
    let owner = "customer:ann".to_owned();
    let takes = order.takes.clone();
    let fill = Fill { owner, id: Uuid::now_v7(), location, currency: "USD", lines, takes, keep: SOON };
    let filled = carts::fill(&mut conn, &fill).await?;
    let Filled::Done(cart) = filled else { panic!("{filled:?}") };
    assert_eq!(stock(&mut conn, ids[0]).await?, (7, 2, 0));

    sqlx::query("UPDATE holds SET due_at = now()").execute(&mut conn).await?;
    holds::settle_due(&mut conn, &Due { limit: 100, ..Due::default() }).await?;
    sqlx::query(from_now_on).execute(&mut conn).await?;
    order.cart = Some(CartRef { id: cart.id, version: cart.version });
    let accepted = accept_stocked(&mut conn, &[Accept { order, key: None }], SOON).await?;
    assert_eq!(told(&accepted), "N", "of a cart whose time was over");
    assert_eq!(stock(&mut conn, ids[0]).await?, (7, 2, 0));

    let body =
        json!({"customer_id": "c", "items": [{"product_id": ids[0], "quantity": 3}], "allow_partial": true});
    let some = NewOrder::parse_with(&serde_json::from_str(&body.to_string())?, &Locations::default(), &shop);
    let some = some.unwrap();
    sqlx::query(from_now_on).execute(&mut conn).await?;
    let accepted = accept_stocked(&mut conn, &[Accept { order: some, key: None }], SOON).await?;
    assert_eq!(told(&accepted), "N", "whole, though it may be cut");
    assert_eq!(stock(&mut conn, ids[0]).await?, (4, 5, 0));
    adds_up(&database).await
}
