//! What somebody else holds (an operator's session, a program that hangs) holds up nobody but those who ask for it.

use anyhow::Result;
use serde_json::json;
use sqlx::Connection;
use testbed::{Client, until};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api;

/// Status and `Retry-After` of a cancellation.
async fn cancel(client: Client, id: Uuid) -> Result<(u16, bool)> {
    let url = format!("{}/api/v1/orders/{id}/cancel", client.api);
    let answer = client.http.post(url).json(&json!({})).send().await?;
    Ok((answer.status().as_u16(), answer.headers().contains_key("retry-after")))
}

async fn all(asked: JoinSet<Result<(u16, bool)>>) -> Result<Vec<(u16, bool)>> {
    asked.join_all().await.into_iter().collect()
}

/// More requests than there are movers, all for orders that are held; then as many for others.
#[tokio::test]
async fn who_asks_for_a_held_order_is_told_503_and_strangers_are_served() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let orders = client.orders(20, 20).await?;
    let (held, others) = orders.split_at(5);
    let mut operator = database.connect().await?;
    let mut session = operator.begin().await?;
    sqlx::query("SELECT id FROM orders WHERE id = ANY($1) FOR UPDATE")
        .bind(held)
        .execute(&mut *session)
        .await?;

    let (mut unlucky, mut lucky) = (JoinSet::new(), JoinSet::new());
    for id in held.iter().chain(held) {
        unlucky.spawn(cancel(client.clone(), *id));
    }
    // They are with the movers.
    let mut eye = database.connect().await?;
    until("somebody waits for the operator", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut eye)
        .await?;
        Ok((waiting > 0).then_some(()))
    })
    .await?;
    for id in others {
        lucky.spawn(cancel(client.clone(), *id));
    }
    assert!(all(lucky).await?.iter().all(|answer| *answer == (200, false)), "strangers");
    assert!(all(unlucky).await?.iter().all(|answer| *answer == (503, true)), "who asked for it");
    session.rollback().await?;
    // Should the last try of one of those have met just this moment, it is 409.
    assert!([200, 409].contains(&cancel(client.clone(), held[0]).await?.0));
    client.until_status(held[0], "CANCELLED").await?;
    pipeline.stop().await
}

/// A writer that hangs before its commit has reserved a key: whoever comes with that key has to wait, and nobody else.
#[tokio::test]
async fn a_key_that_somebody_is_just_giving_away_holds_up_no_other_order() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    let post = |key: String| {
        let request = client.http.post(format!("{}/api/v1/orders", client.api));
        let request = request.header("idempotency-key", key).json(&Client::an_order());
        async move {
            let answer = request.send().await?;
            anyhow::Ok((answer.status().as_u16(), answer.headers().contains_key("retry-after")))
        }
    };
    assert_eq!(post("first".to_owned()).await?.0, 202);
    let mut writer = database.connect().await?;
    let mut hanging = writer.begin().await?;
    sqlx::query(
        "INSERT INTO names (named, until, kind, scope, name, hash)
         SELECT gen_random_uuid(), until, kind, scope, 'held', hash FROM names WHERE name = 'first'",
    )
    .execute(&mut *hanging)
    .await?;
    let mut asked = JoinSet::new();
    for n in 0..40 {
        asked.spawn(post(if n == 20 { "held".to_owned() } else { format!("key-{n}") }));
    }
    let mut answers = all(asked).await?;
    answers.sort_unstable();
    assert_eq!(answers.pop(), Some((503, true)));
    assert!(answers.iter().all(|answer| *answer == (202, false)), "{answers:?}");
    hanging.rollback().await?;
    assert_eq!(post("held".to_owned()).await?.0, 202);
    pipeline.stop().await
}
