//! Ready is an api whose primary takes orders, whatever its readers are busy with.

use anyhow::Result;
use sqlx::Connection;
use testbed::until;
use tokio::task::JoinSet;

#[tokio::test]
async fn slow_lists_on_every_connection_for_reads_make_no_api_unready() -> Result<()> {
    let (database, pipeline) = crate::api().await?;
    let client = &pipeline.client;
    client.order(&testbed::Client::an_order()).await?;
    let mut conn = database.connect().await?;
    let mut looker = database.connect().await?;
    let mut locked = conn.begin().await?;
    // Every list that has an order looks there, and no order is written there that has no details.
    sqlx::query("LOCK TABLE order_details IN ACCESS EXCLUSIVE MODE").execute(&mut *locked).await?;
    let mut lists = JoinSet::new();
    for _ in 0..8 {
        let list = client.http.get(format!("{}/api/v1/orders", client.api)).send();
        lists.spawn(async move { list.await.map(|answer| answer.status()) });
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("lists are stuck on all that they may have", async || {
        let stuck: i64 = sqlx::query_scalar(waiting).fetch_one(&mut looker).await?;
        Ok((stuck == 6).then_some(()))
    })
    .await?;
    let ready = client.http.get(format!("{}/ready", client.api)).send().await?;
    let (status, body) = (ready.status(), ready.json::<serde_json::Value>().await?);
    assert_eq!((status.as_u16(), &body["database"]), (200, &"up".into()), "{body}");
    assert_eq!(body.get("replica"), None, "there is none: {body}");
    client.order(&testbed::Client::an_order()).await?;
    locked.rollback().await?;
    while let Some(list) = lists.join_next().await {
        assert!(matches!(list??.as_u16(), 200 | 503), "answered, or told to come again");
    }
    pipeline.stop().await
}
