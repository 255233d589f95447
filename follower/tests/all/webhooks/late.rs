//! An endpoint of which too much waits follows by itself, keeps a bounded number of rows, and misses nothing.

use std::sync::Arc;

use anyhow::Result;
use domain::event::Event;
use follower::follow::{Following, Follows, Step, retry};
use follower::late::Late;
use follower::webhooks::Webhooks;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::json;
use sqlx::PgConnection;
use store::feed::Cursor;
use tokio::sync::Notify;
use uuid::Uuid;

use super::versions;
use crate::House;

/// Orders that wait for an endpoint until somebody empties it: nothing of them is ever due.
async fn fill(house: &House, webhook: Uuid, waiting: i64) -> Result<()> {
    let far = "INSERT INTO deliveries (webhook, subject, version, type, body, status, due_at)
               SELECT $1, gen_random_uuid(), 1, 'order.accepted', 'of nothing', 'waiting', now() + interval '1 day'
               FROM generate_series(1, $2)";
    sqlx::query(far).bind(webhook).bind(waiting).execute(&mut house.database.connect().await?).await?;
    Ok(())
}

async fn empty(house: &House, webhook: Uuid) -> Result<()> {
    let of_nothing = "DELETE FROM deliveries WHERE webhook = $1 AND body = 'of nothing'";
    sqlx::query(of_nothing).bind(webhook).execute(&mut house.database.connect().await?).await?;
    Ok(())
}

/// Something more happens to an order, so many times at once.
async fn happens(house: &House, order: Uuid, times: i32) -> Result<()> {
    let wish = "INSERT INTO order_events (subject, at, version, what, actor)
                SELECT $1, now(), last + by, 'cancel_wished', 'a test'
                FROM generate_series(1, $2) by, (SELECT max(version) AS last FROM order_events WHERE subject = $1) of_it";
    sqlx::query(wish).bind(order).bind(times).execute(&mut house.database.connect().await?).await?;
    Ok(())
}

async fn count(house: &House, what: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(what).fetch_one(&mut house.database.connect().await?).await?)
}

const LATE: &str = "SELECT count(*) FROM late_webhooks";
const ROWS: &str = "SELECT count(*) FROM deliveries WHERE body <> 'of nothing'";

fn late(house: &House) -> Late {
    Late::new(house.database.database().session(), Arc::new(Notify::new()))
}

#[tokio::test]
async fn an_endpoint_of_which_too_much_waits_has_no_more_rows_until_there_is_room_and_then_all_of_it()
-> Result<()> {
    let mut house = House::new().await?;
    let (slow, _) = house.webhook("/slow", json!({})).await?;
    house.webhook("/well", json!({})).await?;
    let before = house.order().await?;
    fill(&house, slow, 998).await?;
    house.follow().await?;
    assert_eq!((count(&house, ROWS).await?, count(&house, LATE).await?), (2, 0), "999 orders wait");
    fill(&house, slow, 1).await?;
    let meanwhile = house.order().await?;
    house.follow().await?;
    assert_eq!((count(&house, ROWS).await?, count(&house, LATE).await?), (3, 1), "1,000 do");
    assert_eq!(late(&house).run_once().await?, 0, "there is no room");
    happens(&house, before, 1).await?;
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/slow"), before)?, [1]);
    assert_eq!(versions(&house.receiver.came("/well"), before)?, [1, 2]);

    empty(&house, slow).await?;
    // Another one, which has not looked a moment ago.
    assert_eq!(late(&house).run_once().await?, 1);
    assert_eq!(count(&house, LATE).await?, 0, "it has come as far as the others");
    let after = house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    for path in ["/slow", "/well"] {
        let came = house.receiver.came(path);
        for (order, told) in [(before, vec![1, 2]), (meanwhile, vec![1]), (after, vec![1])] {
            assert_eq!(versions(&came, order)?, told, "{path}");
        }
    }
    house.api.stop().await
}

#[tokio::test]
async fn one_that_is_disabled_goes_on_where_it_was_and_one_that_is_removed_is_late_no_more() -> Result<()> {
    let mut house = House::new().await?;
    let (slow, _) = house.webhook("/slow", json!({})).await?;
    fill(&house, slow, 1_000).await?;
    let before = house.order().await?;
    house.follow().await?;
    let path = format!("/webhooks/{slow}");
    assert_eq!(house.ask(Method::PATCH, &path, json!({"disabled": true})).await?.0, 200);
    empty(&house, slow).await?;
    assert_eq!((late(&house).run_once().await?, count(&house, ROWS).await?), (0, 0), "nothing is for it now");
    assert_eq!(house.ask(Method::PATCH, &path, json!({"disabled": false})).await?.0, 200);
    assert_eq!((late(&house).run_once().await?, count(&house, LATE).await?), (1, 0));
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/slow"), before)?, [1], "it happened before that");

    fill(&house, slow, 1_000).await?;
    house.order().await?;
    house.follow().await?;
    assert_eq!(count(&house, LATE).await?, 1);
    assert_eq!(house.ask(Method::DELETE, &path, json!({})).await?.0, 204);
    assert_eq!(
        (late(&house).run_once().await?, count(&house, LATE).await?),
        (0, 0),
        "it would hold what happens"
    );
    house.api.stop().await
}

/// Cannot work off any order's second event.
#[derive(Debug)]
struct Refuses;

impl Follows for Refuses {
    const NAME: &'static str = Webhooks::NAME;

    fn begin<'c>(conn: &'c mut PgConnection, cursor: &'c Cursor) -> BoxFuture<'c, sqlx::Result<()>> {
        Webhooks::begin(conn, cursor)
    }

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            if events.iter().any(|event| event.version == 2) {
                sqlx::query("SELECT 1 / 0").execute(&mut *conn).await?;
            }
            Webhooks::take(conn, events).await
        })
    }
}

#[tokio::test]
async fn nobody_is_late_for_what_is_aside_and_who_is_late_waits_for_it() -> Result<()> {
    let mut house = House::new().await?;
    let (slow, _) = house.webhook("/slow", json!({})).await?;
    let (well, _) = house.webhook("/well", json!({})).await?;
    fill(&house, slow, 1_000).await?;
    let bad = house.order().await?;
    house.follow().await?;
    assert_eq!(count(&house, LATE).await?, 1);
    happens(&house, bad, 2).await?;
    let mut refuses = Following::new(Refuses, house.database.database().session(), Arc::new(Notify::new()));
    while refuses.run_once().await? != Step::UpToDate {}

    fill(&house, well, 1_000).await?;
    let good = house.order().await?;
    house.follow().await?;
    assert_eq!(count(&house, LATE).await?, 1, "something is aside that the other one is to be told, too");
    empty(&house, slow).await?;
    assert_eq!(late(&house).run_once().await?, 0, "what is next is aside");

    empty(&house, well).await?;
    assert_eq!(retry::<Webhooks>(&mut house.database.connect().await?).await?, (1, 0));
    let mut late = late(&house);
    while late.run_once().await? > 0 {}
    assert_eq!(count(&house, LATE).await?, 0);
    house.deliver().await?;
    for path in ["/slow", "/well"] {
        let came = house.receiver.came(path);
        assert_eq!(versions(&came, bad)?, [1, 2, 3], "{path}");
        assert_eq!(versions(&came, good)?, [1], "{path}");
    }
    house.api.stop().await
}

/// Stops within ticks.
#[derive(Debug)]
struct Small;

impl Follows for Small {
    const NAME: &'static str = Webhooks::NAME;
    const PAGE: u32 = 3;

    fn begin<'c>(conn: &'c mut PgConnection, cursor: &'c Cursor) -> BoxFuture<'c, sqlx::Result<()>> {
        Webhooks::begin(conn, cursor)
    }

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Webhooks::take(conn, events)
    }
}

/// Two processes follow, and let the late ones go on, while endpoints run full and empty again, at any moment.
#[tokio::test]
async fn endpoints_part_and_join_at_any_moment_and_each_is_told_everything_once_and_in_order() -> Result<()> {
    const STEPS: usize = 300;
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut house = House::new().await?;
    let mut endpoints = Vec::new();
    for path in ["/a", "/b", "/c"] {
        endpoints.push((path, house.webhook(path, json!({})).await?.0, false));
    }
    let small = || Following::new(Small, house.database.database().session(), Arc::new(Notify::new()));
    let (mut one, mut other) = (small(), small());
    let (mut late_here, mut late_there) = (late(&house), late(&house));
    let (mut orders, mut parted, mut joined, mut before) = (vec![(house.order().await?, 1)], 0, 0, 0);
    for _ in 0..STEPS {
        match dice.random_range(0..10) {
            0 => orders.push((house.order().await?, 1)),
            1..=3 => {
                let more = dice.random_range(1..=5);
                let at = dice.random_range(0..orders.len());
                happens(&house, orders[at].0, more).await?;
                orders[at].1 += i64::from(more);
            }
            4..=5 => {
                let at = dice.random_range(0..endpoints.len());
                let (_, webhook, is_full) = &mut endpoints[at];
                if *is_full {
                    empty(&house, *webhook).await?
                } else {
                    fill(&house, *webhook, 1_000).await?
                }
                *is_full = !*is_full;
            }
            6 => house.deliver().await?,
            _ => {
                let steps = tokio::join!(
                    one.run_once(),
                    other.run_once(),
                    late_here.run_once(),
                    late_there.run_once()
                );
                let _ = (steps.0?, steps.1?, steps.2?, steps.3?);
                let now = count(&house, LATE).await?;
                parted += (now - before).max(0);
                joined += (before - now).max(0);
                before = now;
            }
        }
    }
    for (_, webhook, _) in &endpoints {
        empty(&house, *webhook).await?;
    }
    loop {
        house.follow().await?;
        let went_on = late_here.run_once().await?;
        house.deliver().await?;
        if went_on == 0 && count(&house, LATE).await? == 0 {
            break;
        }
    }
    house.deliver().await?;
    for (path, ..) in endpoints {
        let came = house.receiver.came(path);
        for (order, last) in &orders {
            assert_eq!(versions(&came, *order)?, (1..=*last).collect::<Vec<_>>(), "{path}, seed {seed}");
        }
    }
    eprintln!("parted {parted}, joined {joined}, {} orders", orders.len());
    assert!(parted >= 3 && joined >= 1, "parted {parted}, joined {joined}: too seldom to mean anything");
    house.api.stop().await
}
