//! Rows that nobody of ours holds: a session of an operator's takes some open orders, and lets them be.

use std::time::Duration;

use anyhow::Result;
use sqlx::Connection;
use store::Database;
use tokio::time::sleep;

use super::Injector;
use crate::fault::Kind;

/// Orders that it takes.
const ORDERS: i64 = 8;
/// Of so many of the newest.
const OF: i64 = 200;

impl Injector {
    pub(super) async fn hold_locks(&self, lasts: Duration) -> Result<()> {
        let mark = self.begin(Kind::HeldLocks, "orders");
        // Of a database that is away, or that dies meanwhile, nothing is held.
        let _ = hold(&self.fleet.database_url, lasts).await;
        self.end(mark);
        Ok(())
    }
}

async fn hold(database_url: &str, lasts: Duration) -> Result<()> {
    let mut conn = Database::new(database_url, "operator")?.connect().await?;
    let mut session = conn.begin().await?;
    sqlx::query(
        "SELECT id FROM orders
         WHERE id = ANY(ARRAY(SELECT id FROM orders ORDER BY id DESC LIMIT $1))
             AND status NOT IN ('PAYMENT_FAILED', 'DELIVERED', 'REJECTED', 'CANCELLED')
         ORDER BY random() LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(OF)
    .bind(ORDERS)
    .execute(&mut *session)
    .await?;
    sleep(lasts).await;
    session.rollback().await?;
    Ok(())
}
