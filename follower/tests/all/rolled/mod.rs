//! Numbers: each event counts once, whoever dies or races; a stay counts where it began, however late it ends.
#![expect(clippy::disallowed_methods, reason = "tasks of a test, which end with it")]

mod counted;
mod rebuilt;

use std::sync::Arc;

use anyhow::Result;
use domain::event::Event;
use domain::gateway::Ledger;
use follower::follow::{Following, Follows};
use follower::roll_up::RollUp;
use futures_util::future::BoxFuture;
use reconcile::{Invariant, reconcile};
use sqlx::PgConnection;
use store::feed::Start;
use testbed::TestDatabase;
use testbed::numbers::{hours, told};

/// The same with pages that part orders.
#[derive(Debug)]
struct Slowly;

impl Follows for Slowly {
    const NAME: &'static str = RollUp::NAME;
    const PAGE: u32 = 3;
    const START: Start = RollUp::START;

    fn take<'c>(conn: &'c mut PgConnection, events: &'c [Event]) -> BoxFuture<'c, sqlx::Result<()>> {
        RollUp::take(conn, events)
    }
}

fn rolls<F: Follows>(follows: F, database: &TestDatabase) -> Following<F> {
    Following::new(follows, database.database().session(), Arc::default())
}

/// Whether every number is what the events come to; how many there are.
async fn true_cells(database: &TestDatabase) -> Result<u64> {
    let report = reconcile(database.url(), &Ledger::default()).await?;
    let check = report.of(Invariant::NumbersTrue);
    assert_eq!(check.violated, 0, "{:#?}", check.examples);
    Ok(check.checked)
}

/// So many orders, with five events each.
async fn many(conn: &mut PgConnection, orders: usize) -> Result<()> {
    for _ in 0..orders {
        told(
            conn,
            &[
                ("PENDING", "2026-03-31T10:00:00Z"),
                ("PAYMENT_PROCESSING", "2026-03-31T10:00:01Z"),
                ("CONFIRMED", "2026-03-31T10:00:02Z"),
                ("ACCEPTED", "2026-03-31T10:16:00Z"),
                ("PREPARING", "2026-03-31T10:31:00Z"),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn accepted(conn: &mut PgConnection) -> Result<i64> {
    let all = hours(conn).await?;
    Ok(all.iter().flat_map(|(_, hour)| hour.orders.values()).map(|orders| orders.accepted).sum())
}

/// Whether somebody here waits for a lock of this kind.
async fn somebody_waits(conn: &mut PgConnection, kind: &str) -> Result<Option<i32>> {
    Ok(sqlx::query_scalar(
        "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = $1
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(kind)
    .fetch_optional(conn)
    .await?)
}
