//! Webhooks: each endpoint is told what it chose, in the order in which it happened, signed; what fails holds up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use domain::event::Event;
use follower::follow::{Following, Follows, Step, retry};
use follower::webhooks::Webhooks;
use futures_util::future::BoxFuture;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use store::deliveries::{self, Key};
use testbed::people::{of, token_at};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::receiver::Came;
use crate::{House, follows};

/// Whether one of its signatures was made with this secret.
fn is_signed(came: &Came, secret: &str) -> Result<bool> {
    let key = B64.decode(secret.strip_prefix("whsec_").context("no secret")?)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = format!("{}.{}.{}", came.id, came.timestamp, came.body);
    Ok(came.signature.split(' ').any(|one| {
        let tag = one.strip_prefix("v1,").and_then(|tag| B64.decode(tag).ok()).unwrap_or_default();
        hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    }))
}

fn versions(came: &[Came], order: Uuid) -> Result<Vec<i64>> {
    let mut versions = Vec::new();
    for one in came {
        let (subject, version) = one.of()?;
        if subject == order.to_string() {
            assert_eq!(one.id, format!("{order}_{version}"));
            versions.push(version);
        }
    }
    Ok(versions)
}

#[tokio::test]
async fn each_endpoint_is_told_what_it_chose_in_order_and_signed() -> Result<()> {
    let mut house = House::new().await?;
    let before = house.order().await?;
    house.follow().await?;
    let (all, secret) = house.webhook("/all", json!({})).await?;
    house.webhook("/moves", json!({"types": ["order.moved"]})).await?;
    house.webhook("/channel", json!({"channels": ["DishDash"]})).await?;
    let orders = [house.order().await?, house.order().await?];
    for order in orders {
        house.cancel(order).await?;
    }
    house.follow().await?;
    house.deliver().await?;
    let came = house.receiver.came("/all");
    for order in orders {
        assert_eq!(versions(&came, order)?, [1, 2]);
        assert_eq!(versions(&house.receiver.came("/moves"), order)?, [2]);
    }
    assert_eq!(versions(&came, before)?, [0; 0], "it is told of what happens since it was made");
    assert!(house.receiver.came("/channel").is_empty());
    for one in &came {
        assert!(is_signed(one, &secret)?);
        assert!(!one.body.contains("customer_123"), "nobody is named");
    }
    assert_eq!(house.listed(all, "taken").await?.len(), 4);

    // One secret follows another: both are good, until the next one.
    let secrets = format!("/webhooks/{all}/secrets");
    let mut known = vec![secret];
    for good in [[true, true, false], [false, true, true]] {
        let (status, made) = house.ask(Method::POST, &secrets, json!({})).await?;
        assert_eq!(status, 201);
        known.push(made["secret"].as_str().context("no secret")?.to_owned());
        let (status, told) = house.ask(Method::POST, &format!("/webhooks/{all}/test"), json!({})).await?;
        assert_eq!(status, 202);
        house.deliver().await?;
        let came = house.receiver.came("/all");
        let test = came.iter().find(|one| told["event"] == one.id.as_str()).context("no test")?;
        for (secret, good) in known.iter().zip(good) {
            assert_eq!(is_signed(test, secret)?, good);
        }
    }
    house.api.stop().await
}

#[tokio::test]
async fn what_fails_holds_back_its_order_alone_is_parked_in_the_end_and_sent_again_when_told() -> Result<()> {
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    let (bad, good) = (house.order().await?, house.order().await?);
    let failing = format!("{bad}_1");
    house.receiver.answer(&failing, 500);
    for order in [bad, good] {
        house.cancel(order).await?;
    }
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/in"), good)?, [1, 2], "others go on");
    assert_eq!(versions(&house.receiver.came("/in"), bad)?, [1], "its order's next waits");
    for _ in 0..6 {
        house.hurry().await?;
        house.deliver().await?;
    }
    // Parked, it stands in nobody's way.
    assert_eq!(versions(&house.receiver.came("/in"), bad)?, [1, 1, 1, 1, 1, 1, 1, 2]);
    let parked = house.listed(webhook, "parked").await?;
    assert_eq!(parked, [(failing.clone(), vec!["500".to_owned(); 7])]);
    house.hurry().await?;
    house.deliver().await?;
    assert_eq!(house.receiver.came("/in").len(), 10, "nothing is sent again by itself");

    house.receiver.answer(&failing, 204);
    let replay = format!("/webhooks/{webhook}/replay");
    let (_, none) = house.ask(Method::POST, &replay, json!({"to": "2020-01-01T00:00:00Z"})).await?;
    let (_, one) = house.ask(Method::POST, &replay, json!({"event": failing})).await?;
    assert_eq!((&none["replayed"], &one["replayed"]), (&json!(0), &json!(1)));
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/in"), bad)?.last(), Some(&1));
    assert_eq!(house.listed(webhook, "parked").await?, []);
    assert_eq!(house.listed(webhook, "taken").await?.len(), 4);
    house.api.stop().await
}

#[tokio::test]
async fn for_one_that_answers_quickly_more_is_claimed_than_is_sent_at_once_until_it_fails() -> Result<()> {
    let mut house = House::with(|settings| settings.webhook_concurrency = 2).await?;
    house.webhook("/in", json!({})).await?;
    let most_begun = async |house: &mut House| -> Result<usize> {
        house.follow().await?;
        house.delivery.look().await?;
        let mut most = 0;
        loop {
            let begun = house.delivery.run_once().await?.begun;
            house.delivery.finish().await?;
            most = most.max(begun);
            if begun == 0 {
                return Ok(most);
            }
        }
    };
    house.api.client.orders(60, 8).await?;
    assert!((3..=16).contains(&most_begun(&mut house).await?), "more and more");
    assert_eq!(house.receiver.came("/in").len(), 60);
    house.receiver.answer("/in", 500);
    house.api.client.orders(60, 8).await?;
    most_begun(&mut house).await?;
    house.api.client.orders(10, 8).await?;
    assert_eq!(most_begun(&mut house).await?, 1, "one after the other, once it fails");
    house.api.stop().await
}

/// Whoever adds waits for the first to end; the next steps forward meanwhile, and must not end unseen.
#[tokio::test]
async fn what_is_added_while_one_ends_and_the_next_is_sent_is_not_left_behind() -> Result<()> {
    let house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    let subject = house.order().await?;
    let new = |version: i32| deliveries::New {
        key: Key { webhook, subject, version },
        kind: "order.moved".to_owned(),
        body: "{}".to_owned(),
    };
    let claim = async |conn: &mut PgConnection| {
        deliveries::claim(conn, &[(webhook, 5)], Duration::from_secs(60)).await
    };
    let taken = |one: &deliveries::Claimed| deliveries::Tried {
        key: one.key,
        epoch: one.epoch,
        at: time::OffsetDateTime::now_utc(),
        took_ms: 1,
        status: Some(200),
        fault: None,
        next: deliveries::Next::Taken,
    };
    let (mut ends, mut adds) = (house.database.connect().await?, house.database.connect().await?);
    let mut sends = house.database.connect().await?;
    deliveries::add(&mut ends, &[new(5), new(6)]).await?;
    let fifth = claim(&mut ends).await?;
    assert_eq!(fifth[0].key.version, 5);
    let mut tx = ends.begin().await?;
    deliveries::end(&mut tx, &[taken(&fifth[0])]).await?;
    adds.execute("BEGIN").await?;
    let seventh = [new(7)];
    let (added, ()) = tokio::join!(deliveries::add(&mut adds, &seventh), async {
        let waits = async || -> Result<Option<()>> {
            let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
                .fetch_one(&mut sends)
                .await?;
            Ok((waiting > 0).then_some(()))
        };
        testbed::until("who adds waits", waits).await.expect("it does");
        tx.commit().await.expect("it is committed");
    });
    added?;
    // The sixth is sent before what was added is committed, if anybody can.
    let mut sent = Vec::new();
    for commit in [false, true, false] {
        for one in claim(&mut sends).await? {
            sent.push(one.key.version);
            deliveries::end(&mut sends, &[taken(&one)]).await?;
        }
        if !commit && sent.len() < 2 {
            adds.execute("COMMIT").await?;
        }
    }
    assert_eq!(sent, [6, 7]);
    house.api.stop().await
}

#[tokio::test]
async fn what_is_given_back_was_no_try_and_only_who_claimed_it_last_gives_it_back() -> Result<()> {
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    house.order().await?;
    house.follow().await?;
    let mut conn = house.database.connect().await?;
    let claim = async |conn: &mut PgConnection| -> Result<Option<(i32, i32)>> {
        let claimed = deliveries::claim(conn, &[(webhook, 5)], Duration::from_secs(60)).await?;
        Ok(claimed.first().map(|one| (one.epoch, one.attempt)))
    };
    assert_eq!(claim(&mut conn).await?, Some((1, 1)));
    let order: Uuid = sqlx::query_scalar("SELECT subject FROM deliveries").fetch_one(&mut conn).await?;
    let key = Key { webhook, subject: order, version: 1 };
    assert_eq!(claim(&mut conn).await?, None, "it is being sent");
    deliveries::give_back(&mut conn, &[(key, 1)]).await?;
    assert_eq!(claim(&mut conn).await?, Some((2, 1)));
    deliveries::give_back(&mut conn, &[(key, 1)]).await?;
    assert_eq!(claim(&mut conn).await?, None, "it is another one's by now");
    house.api.stop().await
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_who_says_that_it_is_gone_is_asked_no_more() -> Result<()> {
    let mut house = House::new().await?;
    let (moved, _) = house.webhook("/moved", json!({})).await?;
    let (gone, _) = house.webhook("/gone", json!({})).await?;
    house.receiver.answer("/moved", 307);
    house.receiver.answer("/gone", 410);
    house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    assert!(house.receiver.came("/elsewhere").is_empty());
    assert_eq!(house.listed(moved, "waiting").await?[0].1, ["307"]);
    let (_, shown) = house.ask(Method::GET, &format!("/webhooks/{gone}"), json!({})).await?;
    assert_eq!(shown["disabled_because"], "gone");
    house.order().await?;
    house.follow().await?;
    house.hurry().await?;
    house.deliver().await?;
    assert_eq!(house.receiver.came("/gone").len(), 1);

    // Enabled again it gets what was waiting, and not what happened meanwhile.
    house.receiver.answer("/gone", 200);
    let (status, _) =
        house.ask(Method::PATCH, &format!("/webhooks/{gone}"), json!({"disabled": false})).await?;
    assert_eq!(status, 200);
    house.deliver().await?;
    assert_eq!(house.receiver.came("/gone").len(), 2);
    let (status, _) = house.ask(Method::DELETE, &format!("/webhooks/{moved}"), json!({})).await?;
    assert_eq!(status, 204);
    let before = house.receiver.came("/moved").len();
    house.hurry().await?;
    house.deliver().await?;
    assert_eq!(house.receiver.came("/moved").len(), before);
    house.api.stop().await
}

impl House {
    /// Lets an endpoint's first failure be so long ago.
    async fn failing_for(&self, webhook: Uuid, how_long: &str) -> Result<()> {
        let set = "UPDATE webhooks SET failing_since = now() - $2::text::interval WHERE id = $1 AND failing_since IS NOT NULL";
        let set = sqlx::query(set).bind(webhook).bind(how_long);
        ensure!(
            set.execute(&mut self.database.connect().await?).await?.rows_affected() == 1,
            "it does not fail"
        );
        Ok(())
    }

    async fn shown(&self, webhook: Uuid) -> Result<Value> {
        Ok(self.ask(Method::GET, &format!("/webhooks/{webhook}"), json!({})).await?.1)
    }

    async fn try_again(&mut self) -> Result<()> {
        self.hurry().await?;
        self.deliver().await
    }
}

#[tokio::test]
async fn who_takes_nothing_for_five_days_is_disabled_and_goes_on_where_it_was_when_enabled() -> Result<()> {
    let mut house = House::new().await?;
    let (failing, _) = house.webhook("/failing", json!({})).await?;
    let (wavering, _) = house.webhook("/wavering", json!({})).await?;
    for path in ["/failing", "/wavering"] {
        house.receiver.answer(path, 500);
    }
    let first = house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    let (one, other) = (house.shown(failing).await?, house.shown(wavering).await?);
    assert!(one["failing_since"].is_string() && other["failing_since"].is_string(), "{one}");

    // Almost five days: one goes on failing, the other takes something, and fails again a day later.
    for webhook in [failing, wavering] {
        house.failing_for(webhook, "4 days 23 hours").await?;
    }
    house.receiver.answer("/wavering", 200);
    house.try_again().await?;
    assert_eq!(house.shown(failing).await?["disabled_at"], json!(null));
    assert_eq!(house.shown(wavering).await?["failing_since"], json!(null));
    house.receiver.answer("/wavering", 500);
    let second = house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    house.failing_for(wavering, "1 day 1 hour").await?;
    house.failing_for(failing, "5 days 1 minute").await?;
    assert_eq!(
        house.shown(failing).await?["disabled_at"],
        json!(null),
        "nobody is disabled while nothing is tried"
    );
    house.try_again().await?;
    let one = house.shown(failing).await?;
    assert_eq!(one["disabled_because"], "failing");
    assert!(one["disabled_at"].is_string() && one["failing_since"].is_string());
    assert_eq!(house.shown(wavering).await?["disabled_at"], json!(null));
    let mut conn = house.database.connect().await?;
    assert_eq!(store::deliveries::standing(&mut conn).await?.disabled, 1, "an alert tells of it");

    // Nothing is sent to it, and what happens is not kept for it.
    let before = house.receiver.came("/failing").len();
    let missed = house.order().await?;
    house.follow().await?;
    house.try_again().await?;
    assert_eq!(house.receiver.came("/failing").len(), before);

    // Enabled it gets what was waiting, and one more fault does not end it.
    let enable = json!({"disabled": false});
    let (_, enabled) = house.ask(Method::PATCH, &format!("/webhooks/{failing}"), enable).await?;
    assert_eq!((&enabled["disabled_at"], &enabled["failing_since"]), (&json!(null), &json!(null)));
    house.try_again().await?;
    assert_eq!(house.shown(failing).await?["disabled_at"], json!(null));
    assert_eq!(store::deliveries::standing(&mut conn).await?.disabled, 0);
    house.receiver.answer("/failing", 200);
    house.try_again().await?;
    let came = house.receiver.came("/failing");
    for (order, last) in [(first, true), (second, true), (missed, false)] {
        assert_eq!(versions(&came, order)?.last() == Some(&1), last);
    }
    assert_eq!(house.listed(failing, "taken").await?.len(), 2);
    house.api.stop().await
}

#[tokio::test]
async fn with_the_order_each_event_says_how_it_was_then_and_people_are_named_to_who_asked_alone() -> Result<()>
{
    let mut house = House::new().await?;
    let mut hooks = Vec::new();
    for payload in ["thin", "order", "full"] {
        let path = format!("/{payload}");
        hooks.push(house.webhook(&path, json!({"payload": payload})).await?.0);
        house.receiver.answer(&path, 500);
    }
    assert_eq!(house.shown(hooks[0]).await?["payload"], "thin");
    let placed = json!({"customer_id": "customer_123", "fulfilment": "pickup", "customer": {"name": "Ada L."},
        "adjustments": [{"kind": "tip", "amount": 1.10}], "payment": {"method": "on_delivery"},
        "items": [{"item_id": "i-1", "item_name": "Soup", "quantity": 2, "price": 12.99, "note": "no nuts"}]});
    let (status, placed) = house.ask(Method::POST, "/orders", placed).await?;
    ensure!(status == 202, "{placed}");
    let order: Uuid = placed["id"].as_str().context("no id")?.parse()?;
    let more = json!({"payment_reference": "more", "items": [{"item_id": "i-2", "item_name": "Tea", "quantity": 1, "price": 3.10}]});
    let (status, added) = house.ask(Method::POST, &format!("/orders/{order}/items"), more).await?;
    ensure!(status < 300, "{added}");
    house.cancel(order).await?;
    // All of it has happened before anything is written down, let alone sent.
    house.follow().await?;
    house.deliver().await?;
    for path in ["/thin", "/order", "/full"] {
        house.receiver.answer(path, 200);
    }
    house.try_again().await?;

    let (_, history) = house.ask(Method::GET, &format!("/orders/{order}/history"), json!({})).await?;
    let expected: Vec<i64> = history["history"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["version"].as_i64())
        .collect();
    let (thin, with_order, full) =
        (house.receiver.came("/thin"), house.receiver.came("/order"), house.receiver.came("/full"));
    for came in [&thin, &with_order, &full] {
        assert_eq!(versions(&came[1..], order)?, expected, "{history}");
    }
    assert_eq!(with_order[0].body, with_order[1].body, "each try sends the same");
    let mut status = None;
    let mut total = "27.08";
    for (nth, one) in with_order.iter().skip(1).enumerate() {
        let body: Value = serde_json::from_str(&one.body)?;
        let (data, then) = (&body["data"], &body["data"]["order"]);
        if data["to"].is_string() {
            status = Some(data["to"].clone());
        }
        match data["what"].as_str() {
            Some("added") => total = "30.18",
            Some("addition_dropped") => total = "27.08",
            _ => {}
        }
        assert_eq!(Some(&then["status"]), status.as_ref(), "{body}");
        assert!(one.body.contains(&format!("\"total\":{total},\"currency\":\"USD\"")), "{body}");
        assert_eq!(then["items"].as_array().map(Vec::len), Some(if total == "30.18" { 2 } else { 1 }));
        assert_eq!(then["adjustments"][0]["kind"], "tip");
        for text in [&thin[nth + 1].body, &one.body] {
            assert!(!text.contains("Ada") && !text.contains("customer_123") && !text.contains("nuts"));
        }
        assert!(!thin[nth + 1].body.contains("27.08") && !thin[nth + 1].body.contains("handover"));
        let people: Value = serde_json::from_str(&full[nth + 1].body)?;
        assert_eq!(people["data"]["order"], *then);
        let handover = &people["data"]["handover"];
        assert_eq!(
            (&handover["customer"]["name"], &handover["customer_id"]),
            (&json!("Ada L."), &json!("customer_123"))
        );
    }
    // What is forgotten is told to nobody, though it be sent again.
    let mut conn = house.database.connect().await?;
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM deliveries WHERE body LIKE '%Ada%' OR body LIKE '%customer_123%'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(kept, 0, "nobody is named in what is kept");
    sqlx::query("UPDATE order_details SET forgotten = true WHERE order_id = $1")
        .bind(order)
        .execute(&mut conn)
        .await?;
    sqlx::query("UPDATE deliveries SET status = 'parked', ended_at = now(), due_at = NULL WHERE webhook = $1 AND version = 1")
        .bind(hooks[2])
        .execute(&mut conn)
        .await?;
    house.ask(Method::POST, &format!("/webhooks/{}/replay", hooks[2]), json!({})).await?;
    house.deliver().await?;
    let again = house.receiver.came("/full").last().map(|one| one.body.clone()).context("nothing")?;
    assert!(again.ends_with("\"handover\":null}}") && !again.contains("Ada"), "{again}");
    house.api.stop().await
}

#[tokio::test]
async fn nine_endpoints_that_never_answer_do_not_slow_the_tenth() -> Result<()> {
    const ORDERS: usize = 40;
    let mut house = House::with(|settings| settings.webhook_concurrency = 4).await?;
    for dead in 0..9 {
        let path = format!("/dead/{dead}");
        house.receiver.answer(&path, 0);
        house.webhook(&path, json!({})).await?;
    }
    house.webhook("/alive", json!({})).await?;
    house.api.client.orders(ORDERS, 8).await?;
    house.follow().await?;
    house.delivery.look().await?;
    let receiver = house.receiver.clone();
    testbed::until("the tenth has everything", async || {
        house.delivery.run_once().await?;
        Ok((receiver.came("/alive").len() == ORDERS).then_some(()))
    })
    .await?;
    for dead in 0..9 {
        let came = house.receiver.came(&format!("/dead/{dead}"));
        assert_eq!(came.len(), 4, "a lane has room for so many, and none of them has ended");
    }
    house.receiver.release();
    house.delivery.finish().await?;
    house.api.stop().await
}

#[tokio::test]
async fn nothing_is_sent_to_what_only_this_machine_can_reach() -> Result<()> {
    let mut house = House::with(|settings| settings.webhook_networks.clear()).await?;
    let (by_address, _) = house.webhook("/in", json!({})).await?;
    let port = house.receiver.url.rsplit(':').next().context("no port")?.to_owned();
    let mut others = Vec::new();
    for url in [
        format!("http://localhost:{port}/in"),
        format!("https://localhost:{port}/in"),
        format!("https://[::ffff:127.0.0.1]:{port}/in"),
        format!("https://127.1:{port}/in"),
    ] {
        let (status, made) = house.ask(Method::POST, "/webhooks", json!({"url": url})).await?;
        assert_eq!(status, 201, "{made}");
        others.push(made["id"].as_str().context("no id")?.parse()?);
    }
    house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    assert!(house.receiver.came("/in").is_empty());
    for webhook in others.into_iter().chain([by_address]) {
        assert_eq!(house.listed(webhook, "waiting").await?[0].1, ["not_allowed"]);
    }
    house.api.stop().await
}

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

#[tokio::test]
async fn managers_see_to_webhooks_of_their_own_locations() -> Result<()> {
    let house = House::new().await?;
    let (id, secret) = house.webhook("/in", json!({"types": ["order.moved"]})).await?;
    let (_, list) = house.ask(Method::GET, "/webhooks", json!({})).await?;
    let text = list.to_string();
    assert!(text.contains(&id.to_string()) && !text.contains(&secret), "no secret is shown again");
    assert_eq!(list["webhooks"][0]["locations"], json!(["main"]), "a manager's are their own locations");
    let client = &house.api.client;
    let as_other = async |token: String, path: String| -> Result<u16> {
        let request = client.http.get(format!("{}/api/v1/webhooks{path}", client.api));
        Ok(request.bearer_auth(token).send().await?.status().as_u16())
    };
    let elsewhere = || token_at("moe", "manager", &["airport"]);
    for (token, status) in [(elsewhere()?, 404), (of("staff:bo")?, 403), (of("admin:root")?, 200)] {
        assert_eq!(as_other(token, format!("/{id}")).await?, status);
    }
    for (body, code) in [
        (json!({"url": "ftp://example.com"}), "no_url"),
        (json!({"url": "https://me:secret@example.com"}), "no_url"),
        (json!({}), "required"),
        (json!({"url": "https://a", "types": ["order.mov"]}), "unknown_type"),
        (json!({"url": "https://a", "locations": ["airport"]}), "unknown_location"),
        (json!({"url": "https://a", "secret": "mine"}), "unknown_field"),
        (json!({"url": "https://a", "payload": "fat"}), "unknown_payload"),
    ] {
        let (status, answer) = house.ask(Method::POST, "/webhooks", body).await?;
        assert_eq!((status, answer["errors"][0]["code"].as_str()), (422, Some(code)), "{answer}");
    }
    tokio::time::timeout(Duration::from_secs(20), house.api.stop()).await?
}

#[tokio::test]
async fn of_products_those_are_told_who_ask_for_them_where_they_are_sold() -> Result<()> {
    let mut house = House::new().await?;
    house.webhook("/orders", json!({})).await?;
    house.webhook("/both", json!({"types": ["product", "order"]})).await?;
    house.webhook("/drops", json!({"types": ["product.price_dropped"]})).await?;
    house.webhook("/channel", json!({"types": ["product"], "channels": ["DishDash"]})).await?;
    let (status, made) =
        house.ask(Method::POST, "/products", json!({"name": "Latte", "price": 4, "tracked": true})).await?;
    assert_eq!(status, 201, "{made}");
    let product: Uuid = made["id"].as_str().context("no id")?.parse()?;
    for price in [3, 1] {
        let (status, body) =
            house.ask(Method::PATCH, &format!("/products/{product}"), json!({"price": price})).await?;
        assert_eq!(status, 200, "{body}");
    }
    let stock = json!({"action": "add", "quantity": 5});
    assert_eq!(house.ask(Method::POST, &format!("/products/{product}/stock"), stock).await?.0, 200);
    let order = house.order().await?;
    house.follow().await?;
    house.deliver().await?;
    assert_eq!(versions(&house.receiver.came("/both"), product)?, [1, 2, 3, 4]);
    assert_eq!(versions(&house.receiver.came("/both"), order)?, [1]);
    assert_eq!(versions(&house.receiver.came("/drops"), product)?, [3]);
    assert_eq!(versions(&house.receiver.came("/orders"), order)?, [1]);
    assert_eq!(house.receiver.came("/orders").len(), 1, "who names no types knows orders only");
    assert!(house.receiver.came("/channel").is_empty(), "no product came by a channel");
    let told: serde_json::Value = serde_json::from_str(&house.receiver.came("/drops")[0].body)?;
    assert_eq!(
        (&told["source"], &told["type"]),
        (&json!("/api/v1/products"), &json!("product.price_dropped"))
    );
    assert_eq!(
        told["data"],
        json!({"product_id": product, "version": 3, "what": "price_dropped", "locations": ["main"]})
    );
    house.api.stop().await
}
