//! Events become deliveries once each, whichever process dies at it; and those that cannot be worked off are put aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use domain::event::Event;
use follower::follow::{Following, Follows, Step, retry};
use follower::webhooks::Webhooks;
use futures_util::future::BoxFuture;
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::Notify;

use super::versions;
use crate::{House, follows};

/// Writes what webhooks lead to, and dies before it can commit, once.
#[derive(Debug)]
struct Dies;

static DEAD: AtomicBool = AtomicBool::new(false);

impl Follows for Dies {
    const NAME: &'static str = Webhooks::NAME;

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            Webhooks::take(&mut *conn, events).await?;
            if !DEAD.swap(true, Ordering::SeqCst) {
                sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(conn).await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_follower_that_dies_between_a_page_and_its_cursor_and_many_at_once_do_everything_once() -> Result<()>
{
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    house.api.client.orders(30, 8).await?;
    let mut dying = Following::new(Dies, house.database.database().session(), Arc::new(Notify::new()));
    // Its session runs it again on a new connection: the page takes effect then, and once.
    assert_eq!(dying.run_once().await?, Step::Followed(30));
    assert!(DEAD.load(Ordering::SeqCst));
    let orders = house.api.client.orders(600, 16).await?;
    let (mut one, mut other) = (follows(&house.database), follows(&house.database));
    let follow = async |following: &mut Following<Webhooks>| -> Result<usize> {
        let mut pages = 0;
        loop {
            match following.run_once().await? {
                Step::UpToDate => return Ok(pages),
                Step::Followed(_) => pages += 1,
                Step::Taken => tokio::task::yield_now().await,
                Step::Gone => anyhow::bail!("gone"),
            }
        }
    };
    let (by_one, by_other) = tokio::join!(follow(&mut one), follow(&mut other));
    assert!(by_one? + by_other? >= 3);
    house.deliver().await?;
    let came = house.receiver.came("/in");
    assert_eq!(came.len(), 630);
    for order in orders {
        assert_eq!(versions(&came, order)?, [1]);
    }
    assert_eq!(house.listed(webhook, "waiting").await?, []);
    house.api.stop().await
}

/// Cannot work off the second event of any order, until it is mended.
#[derive(Debug)]
struct Refuses;

static MENDED: AtomicBool = AtomicBool::new(false);

impl Follows for Refuses {
    const NAME: &'static str = Webhooks::NAME;

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        Box::pin(async move {
            if events.iter().any(|event| event.version == 2) && !MENDED.load(Ordering::SeqCst) {
                sqlx::query("SELECT 1 / 0").execute(&mut *conn).await?;
            }
            Webhooks::take(conn, events).await
        })
    }
}

#[tokio::test]
async fn what_cannot_be_worked_off_is_put_aside_with_what_is_behind_it_and_tried_again_when_told()
-> Result<()> {
    let mut house = House::new().await?;
    house.webhook("/in", json!({})).await?;
    let (bad, good) = (house.order().await?, house.order().await?);
    let mut refuses = Following::new(Refuses, house.database.database().session(), Arc::new(Notify::new()));
    let mut follow = async || -> Result<()> {
        while refuses.run_once().await? != Step::UpToDate {}
        Ok(())
    };
    follow().await?;
    let wish = "INSERT INTO order_events (subject, at, version, what, actor) VALUES ($1, now(), $2, 'cancel_wished', 'a test')";
    let mut conn = house.database.connect().await?;
    for version in [2, 3] {
        sqlx::query(wish).bind(bad).bind(version).execute(&mut conn).await?;
        follow().await?;
    }
    let later = house.order().await?;
    follow().await?;
    house.deliver().await?;
    let came = house.receiver.came("/in");
    for (order, told) in [(bad, vec![1]), (good, vec![1]), (later, vec![1])] {
        assert_eq!(versions(&came, order)?, told);
    }
    assert_eq!(retry::<Refuses>(&mut conn).await?, (0, 1), "nothing has changed");
    MENDED.store(true, Ordering::SeqCst);
    assert_eq!(retry::<Refuses>(&mut conn).await?, (1, 0));
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/in"), bad)?, [1, 2, 3], "in their order");
    house.api.stop().await
}
