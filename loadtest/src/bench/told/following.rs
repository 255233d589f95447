//! What it costs the plain order that others are told of it: end to end, by turns with nobody who is told, and with an endpoint that
//! is told everything and the exchange on.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use reconcile::connect;
use runtime::tasks::Stop;
use serde::Serialize;
use sqlx::Connection;

use super::super::runs::{PATIENCE, Verdict, judge};
use super::super::stack::{Shape, Stack};
use super::super::usage::Cost;
use super::receiver::Receiver;
use super::{LOOK_EVERY, count, follower, start, webhook};
use crate::load::{Pace, load};
use crate::settled::until_settled;

/// Events of an order that nothing happens to: accepted, being charged, confirmed.
const EVENTS: u64 = 3;

/// Orders end to end, and being told of them.
#[derive(Debug, Clone, Serialize)]
pub struct FollowingRun {
    /// Whether anybody is told.
    pub is_told: bool,
    /// How many orders.
    pub orders: u64,
    /// Processor time, until everybody was told.
    pub cost: Cost,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// Measures both in turn.
pub(in super::super) async fn price(
    stack: &Stack,
    orders: u64,
    connections: usize,
) -> Result<[FollowingRun; 2]> {
    let nobody = one(stack, orders, connections, false).await.context("nobody is told")?;
    Ok([nobody, one(stack, orders, connections, true).await.context("others are told")?])
}

async fn one(stack: &Stack, orders: u64, connections: usize, is_told: bool) -> Result<FollowingRun> {
    let (mut services, manager) = start(stack, Shape::Separate).await?;
    services.warm_up(Shape::Separate).await?;
    services.connections = connections;
    let receiver = Receiver::start(false).await?;
    if is_told {
        webhook(&services, &manager, &receiver.url(), &[]).await?;
        let exchange = format!("events.{}", services.ground.database);
        let told =
            [("EVENTS_AMQP_URL", services.ground.broker.amqp_url.clone()), ("EVENTS_EXCHANGE", exchange)];
        let follower = follower(stack, &services.ground, &told).await?;
        services.take_in(follower);
    }
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Closed, Some(orders), None)?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    if is_told {
        receiver.until(usize::try_from(orders * EVENTS)?, PATIENCE).await?;
        until_told(&services.ground.database_url).await?;
    }
    let cost = services.usage(stack)?.since(&before, orders);
    let verdict = judge(&services, &done).await?;
    services.stop(stack).await?;
    Ok(FollowingRun { is_told, orders, cost, verdict })
}

/// Waits until no follower has moved for a while: the exchange was told, too.
async fn until_told(database_url: &str) -> Result<()> {
    let (mut conn, started) = (connect(database_url).await?, Instant::now());
    let moved = "SELECT count(*) FROM feed_cursors WHERE moved_at > now() - interval '500 ms'";
    while count(&mut conn, moved).await? > 0 {
        ensure!(started.elapsed() < PATIENCE, "the followers never come to rest");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(conn.close().await?)
}
