//! What people do to products is told by the feed as what happens to orders is: each change once, a product's by their versions.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use domain::catalogue::product::Product;
use domain::event::What;
use domain::money::Money;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::PgConnection;
use store::catalogue::Changed;
use store::catalogue::products::{change, delete, insert};
use store::feed::{Cursor, Read, Start, read, start, tick};
use store::stock::counted::{self, Change, Counted};
use testbed::TestDatabase;
use uuid::Uuid;

fn product(body: &Value) -> Product {
    Product::parse(&serde_json::from_str(&body.to_string()).unwrap()).unwrap()
}

async fn priced(conn: &mut PgConnection, id: Uuid, minor: i64) -> Result<()> {
    let rule = |before: &Product| -> Result<Product, Infallible> {
        Ok(Product { price: Money::from_minor(minor, before.currency()), ..before.clone() })
    };
    let done = change(conn, id, "max", rule).await?;
    ensure!(matches!(done, Changed::Done(_)), "{done:?}");
    Ok(())
}

async fn counted(conn: &mut PgConnection, id: Uuid, item: Uuid, what: counted::What) -> Result<bool> {
    let ask = Change { id, item, what, quantity: 3, by: "max".to_owned(), reason: None };
    Ok(matches!(counted::change(conn, &ask).await?, Counted::Done(_)))
}

/// What is told from here on: whose, version, what.
async fn told(conn: &mut PgConnection, cursor: &mut Cursor) -> Result<Vec<(Uuid, i32, What)>> {
    tick(conn).await?;
    let mut told = Vec::new();
    loop {
        match read(conn, cursor, 7).await? {
            Read::Page { events, next } => {
                told.extend(events.iter().map(|event| (event.subject, event.version, event.what)));
                *cursor = next;
            }
            Read::UpToDate => return Ok(told),
            Read::Gone { .. } => anyhow::bail!("gone"),
        }
    }
}

#[tokio::test]
async fn each_change_of_a_product_is_told_once_and_what_changes_nothing_is_not() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut cursor = start(&mut conn, Start::Latest).await?;
    let latte = product(&json!({"name": "Latte", "price": 4, "tracked": true}));
    for _ in 0..2 {
        insert(&mut conn, &latte, "max").await?;
    }
    for minor in [400, 300, 150, 149, 74, 74] {
        priced(&mut conn, latte.id, minor).await?;
    }
    let named = change(&mut conn, latte.id, "max", |before| -> Result<_, Infallible> {
        Ok(Product { name: "Caffe Latte".to_owned(), ..before.clone() })
    });
    assert!(matches!(named.await?, Changed::Done(_)));
    let refused = change(&mut conn, latte.id, "max", |_| Err("no")).await?;
    assert!(matches!(refused, Changed::Refused("no")));
    let request = Uuid::now_v7();
    for what in [counted::What::Set, counted::What::Set] {
        assert!(counted(&mut conn, request, latte.id, what).await?);
    }
    for what in [counted::What::Add, counted::What::Count, counted::What::Ship] {
        assert!(counted(&mut conn, Uuid::now_v7(), latte.id, what).await?);
    }
    assert!(!counted(&mut conn, Uuid::now_v7(), latte.id, counted::What::Ship).await?, "there are none left");
    assert!(matches!(
        delete(&mut conn, latte.id, "max", |_| Ok::<_, Infallible>(())).await?,
        Changed::Done(())
    ));
    let expected = [
        What::ProductMade,
        What::PriceChanged,
        What::PriceChanged,
        What::PriceChanged,
        What::PriceDropped,
        What::ProductChanged,
        What::StockSet,
        What::StockAdded,
        What::StockSet,
        What::StockShipped,
        What::ProductDeleted,
    ];
    let expected: Vec<_> = (1..).zip(expected).map(|(version, what)| (latte.id, version, what)).collect();
    assert_eq!(told(&mut conn, &mut cursor).await?, expected);
    assert_eq!(told(&mut conn, &mut cursor).await?, []);
    Ok(())
}

#[tokio::test]
async fn many_who_change_products_at_once_leave_no_gap_and_are_told_of_in_order() -> Result<()> {
    const WRITERS: u64 = 12;
    const ROUNDS: usize = 25;
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let mut cursor = start(&mut conn, Start::Latest).await?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let one = product(&json!({"name": Uuid::now_v7(), "price": 4, "tracked": true}));
        insert(&mut conn, &one, "max").await?;
        ids.push(one.id);
    }
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let write = async |writer: u64| -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed + writer);
        let mut conn = database.connect().await?;
        for round in 0..ROUNDS {
            let id = ids[random.random_range(0..ids.len())];
            if random.random_bool(0.5) {
                // A price that nobody else sets: each changes something.
                let own = i64::try_from(writer)? * 1_000 + i64::try_from(round)? + 1;
                priced(&mut conn, id, own).await?;
            } else {
                ensure!(counted(&mut conn, Uuid::now_v7(), id, counted::What::Add).await?);
            }
        }
        Ok(())
    };
    let is_written = AtomicBool::new(false);
    let written = async {
        let done = try_join_all((0..WRITERS).map(write)).await;
        is_written.store(true, Ordering::SeqCst);
        done
    };
    let mut seen: HashMap<Uuid, i32> = HashMap::new();
    let mut take = |events: Vec<(Uuid, i32, What)>| -> Result<()> {
        for (product, version, _) in events {
            let last = seen.entry(product).or_default();
            ensure!(version == *last + 1, "{product} has {version} after {last}");
            *last = version;
        }
        Ok(())
    };
    let followed = async {
        let mut is_last = false;
        loop {
            take(told(&mut conn, &mut cursor).await?)?;
            if is_last {
                return Ok::<_, anyhow::Error>(());
            }
            is_last = is_written.load(Ordering::SeqCst);
        }
    };
    let (written, followed) = tokio::join!(written, followed);
    written?;
    followed?;
    let events: i32 = seen.values().sum();
    assert_eq!(events, i32::try_from(WRITERS)? * i32::try_from(ROUNDS)? + 3);
    Ok(())
}
