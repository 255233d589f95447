//! What came of a request, and cannot be written down: because somebody else holds its row, or because the database refuses it.

use anyhow::Result;
use serde_json::json;
use sqlx::Executor;

use crate::House;

#[tokio::test]
async fn what_is_delivered_while_its_row_is_held_is_written_down_later_and_not_sent_again() -> Result<()> {
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    house.order().await?;
    house.follow().await?;
    house.delivery.look().await?;
    assert_eq!(house.delivery.run_once().await?.begun, 1);
    let mut holds = house.database.connect().await?;
    holds.execute("BEGIN; SELECT FROM deliveries FOR UPDATE").await?;
    assert!(house.delivery.finish().await.is_err(), "its row is held");
    assert!(house.listed(webhook, "taken").await?.is_empty());
    holds.execute("ROLLBACK").await?;
    // Were it forgotten, it would be sent again when its lease is over.
    house.delivery.finish().await?;
    house.hurry().await?;
    house.deliver().await?;
    assert_eq!(house.receiver.came("/in").len(), 1);
    assert_eq!(house.listed(webhook, "taken").await?[0].1, ["204"]);
    house.api.stop().await
}

#[tokio::test]
async fn what_the_database_refuses_to_write_down_holds_nothing_up_and_is_sent_again() -> Result<()> {
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    house.order().await?;
    house.follow().await?;
    house.delivery.look().await?;
    assert_eq!(house.delivery.run_once().await?.begun, 1);
    let mut conn = house.database.connect().await?;
    conn.execute("ALTER TABLE delivery_attempts RENAME TO hidden").await?;
    assert!(house.delivery.finish().await.is_err(), "it cannot be written down");
    assert_eq!(house.delivery.run_once().await?.ended, 0, "others go on");
    conn.execute("ALTER TABLE hidden RENAME TO delivery_attempts").await?;
    house.hurry().await?;
    house.deliver().await?;
    assert_eq!(house.receiver.came("/in").len(), 2);
    assert_eq!(house.listed(webhook, "taken").await?.len(), 1);
    house.api.stop().await
}
