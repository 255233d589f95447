//! A refused document that cannot be kept: it is to come again, else it would be lost.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::api;
use crate::orders::channel_settings::inside;
use crate::orders::dialects::{document, speaks};
use crate::orders::from_channels::post;

#[tokio::test]
async fn what_is_refused_and_cannot_be_kept_now_comes_again_and_is_kept_then() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = &pipeline.client;
    inside(&database, client, async |internal| {
        speaks(internal, "deliverect", json!({})).await?;
        let mut order = document("deliverect", "all_charges_cash")?;
        order["discounts"] = json!("WELCOME");
        let kept = async || -> Result<usize> {
            let (_, list) = internal.ask(Method::GET, "deliverect/refused").await?;
            Ok(list["refused"].as_array().map_or(0, Vec::len))
        };
        let mut holds = database.connect().await?;
        holds.execute("BEGIN; LOCK TABLE refused_documents").await?;
        let (status, problem): (u16, Value) = post(client, "/channels/deliverect/orders", &order).await?;
        assert_eq!(status, 503, "{problem}");
        holds.execute("ROLLBACK").await?;
        assert_eq!(kept().await?, 0);
        let (status, problem) = post(client, "/channels/deliverect/orders", &order).await?;
        assert_eq!((status, kept().await?), (422, 1), "{problem}");
        Ok(())
    })
    .await?;
    pipeline.stop().await
}
