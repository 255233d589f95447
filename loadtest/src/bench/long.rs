//! What only time shows: memory over an hour of load, and what a backup costs those who work beside it.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reconcile::connect;
use runtime::tasks::Stop;
use serde::Serialize;
use sqlx::{Connection as _, Executor as _};

use super::runs::{PATIENCE, Verdict, judge};
use super::stack::{Services, Shape, Stack};
use super::usage::{Cost, Memory};
use crate::latency::{Percentiles, per_second};
use crate::load::{Load, OnFault, Pace, Plan, load};
use crate::settled::{post_to_confirmed, until_settled};

/// Between looks at memory. Metrics are read as often, as Prometheus would.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Looks that the report shows.
const SHOWN: usize = 7;
/// Requests at once at each api of a soak: enough to keep it busy, so few that no queue grows without end.
const AT_ONCE: usize = 16;

/// Memory under load, as fast as it goes, for long.
#[derive(Debug, Clone, Serialize)]
pub struct SoakRun {
    /// How long, in seconds.
    pub seconds: u64,
    /// Orders accepted at each api.
    pub orders: BTreeMap<&'static str, u64>,
    /// MB resident, fair share of what is shared, by process: even steps from the first look to the last.
    pub megabytes: BTreeMap<&'static str, Vec<f64>>,
    /// What the reconciliation said of each database.
    pub verdicts: [Verdict; 2],
}

/// The same load without and with a transaction of somebody else's that lasts as long.
#[derive(Debug, Clone, Serialize)]
pub struct BackupRun {
    /// Orders a second.
    pub rate: u32,
    /// How long each, in seconds.
    pub seconds: u64,
    /// Without it.
    pub alone: Beside,
    /// With it.
    pub beside: Beside,
}

/// How the work went.
#[derive(Debug, Clone, Serialize)]
pub struct Beside {
    /// 99th percentile of a claim's transaction, in ms, between the bounds of the metric's buckets.
    pub claim_p99_ms: f64,
    /// From the intended time to CONFIRMED.
    pub confirmed: Percentiles,
    /// Processor time.
    pub cost: Cost,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// Loads two apis and two workers over one database, of which one each serves no metrics, and a standalone over another.
pub(super) async fn soak(stack: &Stack, time: Duration) -> Result<SoakRun> {
    let mut served = stack.services(Shape::Separate).await?;
    let mut silent = stack.beside(&served)?;
    silent.until_ready().await?;
    let mut whole = stack.services(Shape::Standalone).await?;
    for services in [&mut served, &mut silent, &mut whole] {
        services.connections = AT_ONCE;
    }
    let plan = |services: &Services| {
        let plan = services.plan(Pace::Closed, None, Some(time))?;
        anyhow::Ok(Plan { on_fault: OnFault::CarryOn, ..plan })
    };
    let stop = Stop::new();
    let (plans, mut looks) = ([plan(&served)?, plan(&silent)?, plan(&whole)?], Vec::new());
    let watching = async {
        let (started, mut ticks) = (Instant::now(), tokio::time::interval(LOOK_EVERY));
        while started.elapsed() < time {
            ticks.tick().await;
            looks.push(look(&served, &silent, &whole));
            if looks.len() % 20 == 1 {
                eprintln!("soak: after {} s {:.1?}", started.elapsed().as_secs(), looks.last());
            }
            for services in [&served, &whole] {
                services.counts().await?;
            }
        }
        anyhow::Ok(())
    };
    let (first, second, third, watched) =
        tokio::join!(load(&plans[0], &stop), load(&plans[1], &stop), load(&plans[2], &stop), watching);
    watched.context("while watching")?;
    let (mut first, second, third) = (first?, second?, third?);
    let orders = [("api", &first), ("api, no metrics", &second), ("standalone", &third)];
    let orders = orders.map(|(name, load): (_, &Load)| (name, load.accepted.len() as u64)).into();
    first.accepted.extend(second.accepted);
    let mut verdicts = Vec::new();
    for (services, load) in [(&served, &first), (&whole, &third)] {
        until_settled(&services.ground.database_url, PATIENCE, &stop).await?;
        verdicts.push(judge(services, load).await?);
    }
    silent.end().await?;
    served.stop(stack).await?;
    whole.stop(stack).await?;
    Ok(SoakRun {
        seconds: time.as_secs(),
        orders,
        megabytes: steps(&looks),
        verdicts: [verdicts[0], verdicts[1]],
    })
}

type Look = BTreeMap<&'static str, f64>;

fn look(served: &Services, silent: &Services, whole: &Services) -> Look {
    let of = |services: &Services, name| Memory::of(services.pid_of(name)).pss_mb;
    [
        ("api", of(served, "api")),
        ("api, no metrics", of(silent, "api")),
        ("worker", of(served, "worker")),
        ("worker, no metrics", of(silent, "worker")),
        ("gateway-mock", of(served, "gateway-mock")),
        ("standalone", of(whole, "standalone")),
    ]
    .into()
}

/// Some looks of many, evenly spread, by process.
fn steps(looks: &[Look]) -> BTreeMap<&'static str, Vec<f64>> {
    let mut by_name: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for at in 0..SHOWN {
        let Some(look) = looks.get(at * looks.len().saturating_sub(1) / (SHOWN - 1)) else { continue };
        for (name, megabytes) in look {
            by_name.entry(name).or_default().push(*megabytes);
        }
    }
    by_name
}

/// Measures `rate` orders a second for `time`, alone and then beside a transaction that keeps its view of the database all the
/// while, as `pg_dump` does.
pub(super) async fn backup(stack: &Stack, rate: u32, time: Duration) -> Result<BackupRun> {
    let alone = under_load(stack, rate, time, false).await.context("alone")?;
    let beside = under_load(stack, rate, time, true).await.context("beside a backup")?;
    Ok(BackupRun { rate, seconds: time.as_secs(), alone, beside })
}

async fn under_load(stack: &Stack, rate: u32, time: Duration, backed_up: bool) -> Result<Beside> {
    let services = stack.services(Shape::Separate).await?;
    let mut backup = connect(&services.ground.database_url).await?;
    if backed_up {
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        backup.execute("SELECT count(*) FROM orders").await?;
    }
    let claims = services.buckets("claim_commit_seconds").await?;
    let before = services.usage(stack)?;
    let done = load(&services.plan(Pace::Open { per_second: rate }, None, Some(time))?, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, done.accepted.len() as u64);
    let claim_p99_ms = p99(&services.buckets("claim_commit_seconds").await?, &claims) * 1_000.0;
    let confirmed = post_to_confirmed(&services.ground.database_url, &done.accepted).await?.summary();
    let verdict = judge(&services, &done).await?;
    if backed_up {
        backup.execute("COMMIT").await?;
    }
    backup.close().await?;
    services.stop(stack).await?;
    Ok(Beside { claim_p99_ms, confirmed, cost, verdict })
}

/// The 99th percentile of what was counted between two looks, as Prometheus reckons it: within its bucket in proportion.
fn p99(now: &[(f64, f64)], before: &[(f64, f64)]) -> f64 {
    let counted: Vec<(f64, f64)> = now
        .iter()
        .map(|(bound, count)| {
            let had = before.iter().find(|(other, _)| other == bound).map_or(0.0, |(_, count)| *count);
            (*bound, count - had)
        })
        .collect();
    let rank = counted.last().map_or(0.0, |(_, count)| count * 0.99);
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in counted {
        if count >= rank && count > below {
            return if bound.is_finite() {
                low + (bound - low) * (rank - below) / (count - below)
            } else {
                low
            };
        }
        (low, below) = (bound, count);
    }
    low
}

impl SoakRun {
    /// Orders a second at all apis together.
    pub(super) fn per_s(&self) -> f64 {
        per_second(self.orders.values().sum(), Duration::from_secs(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_of_what_came_between() {
        let (before, now) = (
            vec![(0.001, 50.0), (0.002, 50.0), (f64::INFINITY, 50.0)],
            vec![(0.001, 148.0), (0.002, 150.0), (f64::INFINITY, 150.0)],
        );
        assert_eq!(p99(&now, &before), 0.0015);
        let slow = vec![(0.001, 0.0), (0.002, 0.0), (f64::INFINITY, 9.0)];
        assert_eq!(p99(&slow, &[]), 0.002, "beyond the last bound nothing is known but that");
    }

    #[test]
    fn looks_are_spread_from_the_first_to_the_last() {
        let looks: Vec<Look> = (0..240).map(|at| Look::from([("api", f64::from(at))])).collect();
        let shown = &steps(&looks)["api"];
        assert_eq!((shown.len(), shown[0], shown[SHOWN - 1]), (SHOWN, 0.0, 239.0));
        assert!(steps(&[]).is_empty());
    }
}
