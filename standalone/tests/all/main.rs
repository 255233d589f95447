//! The whole pipeline: in one process over both brokers, as separate processes, and as the one-command program. Every
//! test ends by reconciling with the gateway's ledger.

mod brokers;
mod budget;
mod channel_cancels;
mod channel_orders;
mod commands;
mod connections;
mod failover;
mod health;
mod leaks;
mod logs;
mod named_charges;
mod outages;
mod pipeline;
mod processes;
mod program;
mod races;
mod scrape;
mod secrets;
mod sink;
mod starting;
mod traces;
mod upgrade;

use anyhow::{Result, ensure};
use broker::Broker;
use reconcile::reconcile;
use testbed::{Client, TestDatabase, until};

/// Waits until all has ended, then compares every order with the ledger. Returns how many orders there were.
async fn settled(database_url: &str, client: &Client, broker: Option<&Broker>) -> Result<u64> {
    let database = store::Database::new(database_url, "test")?;
    let mut conn = database.connect().await?;
    until("all payments are final, and failed additions taken off", async || {
        let open: i64 = sqlx::query_scalar(
            // What was added while its order was not paid yet is charged a moment after that.
            "SELECT count(*) FROM shown_payments p
             WHERE due_at IS NOT NULL OR (added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL)
                OR (added IS NOT NULL AND status = 'held' AND EXISTS (
                       SELECT FROM shown_orders o
                       WHERE o.id = p.order_id AND o.status NOT IN ('PENDING', 'PAYMENT_PROCESSING')))",
        )
        .fetch_one(&mut conn)
        .await?;
        Ok((open == 0).then_some(()))
    })
    .await?;
    if let Some(broker) = broker {
        until("the queue is empty", async || Ok((broker.depth().await?.waiting == 0).then_some(()))).await?;
    }
    let report = reconcile(database_url, &client.ledger().await?).await?;
    ensure!(report.is_clean(), "\n{report}");
    Ok(report.orders())
}

/// Orders by status.
async fn count(database: &TestDatabase, status: &str) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM shown_orders WHERE status::text = $1")
        .bind(status)
        .fetch_one(&mut database.connect().await?)
        .await?)
}
