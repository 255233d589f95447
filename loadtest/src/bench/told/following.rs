//! What it costs the plain order that it is followed: end to end, by turns with nobody who follows, with a follower that rolls up and has
//! nobody to tell, and with an endpoint that is told everything and the exchange on.

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

/// Who follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Who {
    /// Nobody.
    Nobody,
    /// A follower that rolls up, and looks in vain for webhooks.
    Numbers,
    /// The same, with a webhook and an exchange that are told everything.
    Others,
}

impl Who {
    /// In turn.
    pub const ALL: [Self; 3] = [Self::Nobody, Self::Numbers, Self::Others];

    /// For people.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Nobody => "nobody follows",
            Self::Numbers => "numbers are rolled up",
            Self::Others => "others are told, too",
        }
    }
}

/// Orders end to end, and following them.
#[derive(Debug, Clone, Serialize)]
pub struct FollowingRun {
    /// Who follows.
    pub who: Who,
    /// How many orders.
    pub orders: u64,
    /// Processor time, until all is followed.
    pub cost: Cost,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// Measures all in turn.
pub(in super::super) async fn price(
    stack: &Stack,
    orders: u64,
    connections: usize,
) -> Result<Vec<FollowingRun>> {
    let mut runs = Vec::new();
    for who in Who::ALL {
        runs.push(one(stack, orders, connections, who).await.with_context(|| who.says())?);
    }
    Ok(runs)
}

async fn one(stack: &Stack, orders: u64, connections: usize, who: Who) -> Result<FollowingRun> {
    let (mut services, manager) = start(stack, Shape::Separate).await?;
    services.warm_up(Shape::Separate).await?;
    services.connections = connections;
    let receiver = Receiver::start(false).await?;
    if who == Who::Others {
        webhook(&services, &manager, &receiver.url(), &[]).await?;
        let exchange = format!("events.{}", services.ground.database);
        let told =
            [("EVENTS_AMQP_URL", services.ground.broker.amqp_url.clone()), ("EVENTS_EXCHANGE", exchange)];
        let follower = follower(stack, &services.ground, &told).await?;
        services.take_in(follower);
    } else if who == Who::Numbers {
        let follower = follower(stack, &services.ground, &[]).await?;
        services.take_in(follower);
    }
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Closed, Some(orders), None)?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    if who == Who::Others {
        receiver.until(usize::try_from(orders * EVENTS)?, PATIENCE).await?;
    }
    if who != Who::Nobody {
        until_followed(&services.ground.database_url).await?;
    }
    let cost = services.usage(stack)?.since(&before, orders);
    let verdict = judge(&services, &done).await?;
    services.stop(stack).await?;
    Ok(FollowingRun { who, orders, cost, verdict })
}

/// Waits until no follower has moved for a while: all is rolled up, and the exchange was told.
async fn until_followed(database_url: &str) -> Result<()> {
    let (mut conn, started) = (connect(database_url).await?, Instant::now());
    let moved = "SELECT count(*) FROM feed_cursors WHERE moved_at > now() - interval '500 ms'";
    while count(&mut conn, moved).await? > 0 {
        ensure!(started.elapsed() < PATIENCE, "the followers never come to rest");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(conn.close().await?)
}
