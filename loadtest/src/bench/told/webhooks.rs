//! Webhooks: how many a second are delivered, each durable and each order's in its order; how soon after the commit; and what nine
//! endpoints that do not answer cost the tenth.

use std::time::Duration;

use anyhow::{Context, Result};
use reconcile::connect;
use runtime::tasks::Stop;
use serde::Serialize;
use sqlx::{Connection, Executor};
use store::feed::tick;

use super::super::rows::Rows;
use super::super::runs::PATIENCE;
use super::super::stack::{Shape, Stack};
use super::receiver::Receiver;
use super::{count, follower, start, webhook};
use crate::latency::Percentiles;
use crate::load::{Pace, load};
use crate::settled::until_settled;

/// Endpoints that take connections and say nothing.
const DEAD: usize = 9;
/// What they are told at a fixed rate: one event an order.
const CONFIRMED: &str = "order.moved.CONFIRMED";

/// Webhooks, delivered.
#[derive(Debug, Clone, Serialize)]
pub struct WebhooksRun {
    /// Deliveries to one endpoint, of what had happened before.
    pub deliveries: usize,
    /// A second.
    pub per_s: f64,
    /// The same beside nine that do not answer.
    pub beside_dead_per_s: f64,
    /// Orders a second, of each of which one event is delivered.
    pub rate: u32,
    /// From the event's time to the receiver.
    pub told: Percentiles,
    /// The same beside nine that do not answer.
    pub told_beside_dead: Percentiles,
}

/// Measures all of it: some `events` of what has happened, and `rate` orders a second for `time`.
pub(in super::super) async fn measure(
    stack: &Stack,
    events: u64,
    rate: u32,
    time: Duration,
) -> Result<WebhooksRun> {
    let (deliveries, per_s) = drain(stack, events, 0).await.context("one endpoint")?;
    eprintln!("webhooks: {deliveries} delivered at {per_s:.0}/s");
    let (_, beside_dead_per_s) = drain(stack, events, DEAD).await.context("beside nine that are dead")?;
    eprintln!("webhooks: beside nine dead endpoints at {beside_dead_per_s:.0}/s");
    let told = steady(stack, rate, time, 0).await.context("at a fixed rate")?;
    let told_beside_dead =
        steady(stack, rate, time, DEAD).await.context("the same beside nine that are dead")?;
    Ok(WebhooksRun { deliveries, per_s, beside_dead_per_s, rate, told, told_beside_dead })
}

/// What happened while nobody followed, delivered: how much, and how much a second.
async fn drain(stack: &Stack, events: u64, dead: usize) -> Result<(usize, f64)> {
    let (services, manager) = start(stack, Shape::ApiOnly).await?;
    let (receiver, silent) = endpoints(dead).await?;
    for endpoint in silent.iter().chain([&receiver]) {
        webhook(&services, &manager, &endpoint.url(), &[]).await?;
    }
    // From now on what happens is to be told; and nobody tells it yet.
    follower(stack, &services.ground, &[]).await?.stop().await?;
    let mut rows = Rows::connect(&services.ground.database_url).await?;
    let mut conn = connect(&services.ground.database_url).await?;
    let happened = "SELECT count(*) FROM shown_events";
    while count(&mut conn, happened).await?.unsigned_abs() < events {
        rows.live().await?;
        tick(&mut conn).await?;
    }
    conn.execute("VACUUM (ANALYZE)").await?;
    let deliveries = usize::try_from(count(&mut conn, happened).await?)?;
    receiver.clear();
    let follower = follower(stack, &services.ground, &[]).await?;
    receiver.until(deliveries, PATIENCE).await?;
    let per_s = receiver.per_s()?;
    conn.close().await?;
    // Those that do not answer must not be waited for.
    drop(silent);
    follower.stop().await?;
    services.stop(stack).await?;
    Ok((deliveries, per_s))
}

/// How soon the receiver is told, at so many orders a second.
async fn steady(stack: &Stack, rate: u32, time: Duration, dead: usize) -> Result<Percentiles> {
    let (mut services, manager) = start(stack, Shape::Separate).await?;
    services.warm_up(Shape::Separate).await?;
    let (receiver, silent) = endpoints(dead).await?;
    for endpoint in silent.iter().chain([&receiver]) {
        webhook(&services, &manager, &endpoint.url(), &[CONFIRMED]).await?;
    }
    let follower = follower(stack, &services.ground, &[]).await?;
    let done = load(&services.plan(Pace::Open { per_second: rate }, None, Some(time))?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    receiver.until(done.accepted.len(), PATIENCE).await?;
    let told = receiver.latencies()?.summary();
    drop(silent);
    follower.stop().await?;
    services.stop(stack).await?;
    Ok(told)
}

/// One that answers, and so many that do not.
async fn endpoints(dead: usize) -> Result<(Receiver, Vec<Receiver>)> {
    let mut silent = Vec::with_capacity(dead);
    for _ in 0..dead {
        silent.push(Receiver::start(true).await?);
    }
    Ok((Receiver::start(false).await?, silent))
}
