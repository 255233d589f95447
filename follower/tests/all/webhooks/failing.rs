//! Endpoints that fail: their orders' next ones wait, what was tried for long enough is parked, and who fails for days is disabled.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::versions;
use crate::House;

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
