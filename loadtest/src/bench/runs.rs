//! The runs: one measurement each, on programs started for it, judged by the reconciliation.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reconcile::{Invariant, accepted_missing, reconcile};
use runtime::tasks::Stop;
use serde::Serialize;

use super::stack::{Services, Shape, Stack};
use super::traffic::Traffic;
use super::usage::{Cost, Memory};
use crate::gateway::fetch_ledger;
use crate::latency::{Percentiles, per_second};
use crate::load::{Accepted, Load, Pace, load};
use crate::settled::{post_to_confirmed, until_settled};

/// Longest wait for the last settlement; at a hundredth of the rate that is the goal, 200,000 orders take 2,000 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(2_000);

/// Orders accepted at saturation, nobody working on them.
#[derive(Debug, Clone, Serialize)]
pub struct AcceptRun {
    /// 202s a second.
    pub per_s: f64,
    /// From sending to the 202.
    pub accept: Percentiles,
    /// Processor time.
    pub cost: Cost,
    /// Statements, batches, bytes.
    pub traffic: Traffic,
    /// 202s without an order.
    pub lost: u64,
}

/// Orders from the first POST to the last CONFIRMED.
#[derive(Debug, Clone, Serialize)]
pub struct EndToEndRun {
    /// How many.
    pub orders: u64,
    /// Confirmed a second, over the whole time.
    pub per_s: f64,
    /// 202s a second, over the time in which they came.
    pub accepted_per_s: f64,
    /// From sending to the 202.
    pub accept: Percentiles,
    /// From sending to CONFIRMED: at saturation, how long the queue was.
    pub confirmed: Percentiles,
    /// Processor time.
    pub cost: Cost,
    /// Statements, batches, bytes.
    pub traffic: Traffic,
    /// Memory of each process at the end.
    pub memory: BTreeMap<String, Memory>,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// Orders at a fixed rate.
#[derive(Debug, Clone, Serialize)]
pub struct SteadyRun {
    /// Orders a second.
    pub rate: u32,
    /// From the intended time to the 202.
    pub accept: Percentiles,
    /// From the intended time to CONFIRMED.
    pub confirmed: Percentiles,
    /// Processor time.
    pub cost: Cost,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// What the reconciliation said of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// 202s without an order, or whose order has not ended.
    pub lost: u64,
    /// Keys or orders charged more than once.
    pub double: u64,
    /// Whether every invariant holds.
    pub clean: bool,
}

/// Measures acceptance for `time`.
pub(super) async fn accept(stack: &Stack, time: Duration) -> Result<AcceptRun> {
    let services = stack.services(Shape::ApiOnly).await?;
    let counts = services.counts().await?;
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Closed, None, Some(time))?, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, done.accepted.len() as u64);
    let traffic = services.counts().await?.since(&counts, done.accepted.len() as u64);
    let missing = accepted_missing(&services.ground.database_url, ids(&done)).await?;
    let run = AcceptRun {
        per_s: rate(&done, done.elapsed),
        accept: done.latencies.summary(),
        cost,
        traffic,
        // They have not ended, of course: there is no worker.
        lost: missing.iter().filter(|missing| missing.status.is_none()).count() as u64,
    };
    services.stop(stack).await?;
    Ok(run)
}

/// Measures `orders` orders end to end, `connections` requests at once.
pub(super) async fn end_to_end(
    stack: &Stack,
    shape: Shape,
    orders: u64,
    connections: usize,
) -> Result<EndToEndRun> {
    let mut services = stack.services(shape).await?;
    services.connections = connections;
    let counts = services.counts().await?;
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Closed, Some(orders), None)?, &Stop::new()).await?;
    let waited = until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, orders);
    let traffic = services.counts().await?.since(&counts, orders);
    let memory = services.memory(stack).into_iter().collect();
    let confirmed = confirmed(&services, &done.accepted).await?;
    let run = EndToEndRun {
        orders,
        per_s: rate(&done, done.elapsed + waited),
        accepted_per_s: rate(&done, done.elapsed),
        accept: done.latencies.summary(),
        confirmed,
        cost,
        traffic,
        memory,
        verdict: judge(&services, &done).await?,
    };
    services.stop(stack).await?;
    Ok(run)
}

/// Measures latencies at `rate` orders a second for `time`.
pub(super) async fn steady(stack: &Stack, shape: Shape, rate: u32, time: Duration) -> Result<SteadyRun> {
    let services = stack.services(shape).await?;
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Open { per_second: rate }, None, Some(time))?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, done.accepted.len() as u64);
    let run = SteadyRun {
        rate,
        accept: done.latencies.summary(),
        confirmed: confirmed(&services, &done.accepted).await?,
        cost,
        verdict: judge(&services, &done).await?,
    };
    services.stop(stack).await?;
    Ok(run)
}

/// All of them: what was declined or given up would make the figure a better one.
async fn confirmed(services: &Services, accepted: &[Accepted]) -> Result<Percentiles> {
    let confirmed = post_to_confirmed(&services.ground.database_url, accepted).await?.summary();
    let (confirmed_count, accepted) = (confirmed.count, accepted.len() as u64);
    ensure!(confirmed_count == accepted, "of {accepted} orders only {confirmed_count} were confirmed");
    Ok(confirmed)
}

pub(super) async fn judge(services: &Services, done: &Load) -> Result<Verdict> {
    let lost = accepted_missing(&services.ground.database_url, ids(done)).await?.len() as u64;
    let ledger = fetch_ledger(&services.gateway_url).await?;
    let report = reconcile(&services.ground.database_url, &ledger).await.context("cannot reconcile")?;
    if !report.is_clean() {
        eprintln!("\n{report}");
    }
    Ok(Verdict { lost, double: report.of(Invariant::ChargedOnce).violated, clean: report.is_clean() })
}

fn ids(done: &Load) -> impl Iterator<Item = uuid::Uuid> {
    done.accepted.iter().map(|accepted| accepted.id)
}

fn rate(done: &Load, time: Duration) -> f64 {
    per_second(done.accepted.len() as u64, time)
}
