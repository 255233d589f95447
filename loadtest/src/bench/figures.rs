//! The figures: medians over the runs, shares of the limits, and what `report.json` holds.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use serde::Serialize;

use super::feed::FeedRun;
use super::limits::{Limit, PartOf};
use super::long::{BackupRun, SoakRun};
use super::numbers::NumbersRun;
use super::runs::{AcceptRun, EndToEndRun, SteadyRun, Verdict};
use super::scale::{BacklogRun, ScaleRun};
use super::shop::StockRun;
use super::shop::catalogue::CatalogueRun;
use super::tokens::TokensRun;
use super::tokens::bad::BadTokensRun;
use super::told::following::FollowingRun;
use super::told::streams::StreamsRun;
use super::told::webhooks::WebhooksRun;
use super::usage::{Cost, Memory};
use crate::latency::{Percentiles, median};

/// Of `e2e_200k_per_s`.
pub(super) const LARGE: u64 = 200_000;
/// Of `accept_p99_ms_at_500` and `confirmed_p99_ms_at_500`: sixty times the 500 orders a minute that were asked for.
pub(super) const RATE: u32 = 500;

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// As the kernel calls the processor.
    pub processor: String,
    /// Threads that run at once.
    pub cores: usize,
    /// PostgreSQL's version.
    pub postgres: String,
}

/// All runs.
#[derive(Debug, Default, Serialize)]
pub struct Runs {
    /// Accepted, workers off.
    pub accept: Vec<AcceptRun>,
    /// End to end.
    pub e2e: Vec<EndToEndRun>,
    /// End to end, the larger number.
    pub large: Vec<EndToEndRun>,
    /// At a fixed rate.
    pub steady: Vec<SteadyRun>,
    /// End to end in one process.
    pub standalone: Vec<EndToEndRun>,
    /// At a fixed rate in one process.
    pub standalone_steady: Vec<SteadyRun>,
    /// Beside finished orders.
    pub scale: Vec<ScaleRun>,
    /// What had been due for long.
    pub backlog: Vec<BacklogRun>,
    /// What has happened, read.
    pub feed: Vec<FeedRun>,
    /// For long.
    pub soak: Vec<SoakRun>,
    /// Beside a long transaction.
    pub backup: Vec<BackupRun>,
    /// What is shown, by turns.
    pub tokens: Vec<TokensRun>,
    /// Honest orders beside bad tokens.
    pub bad_tokens: Vec<BadTokensRun>,
    /// What is counted, bought and refused.
    pub stock: Vec<StockRun>,
    /// The catalogue, read.
    pub catalogue: Vec<CatalogueRun>,
    /// Webhooks, delivered.
    pub webhooks: Vec<WebhooksRun>,
    /// People who watch.
    pub streams: Vec<StreamsRun>,
    /// Orders of which others are told, by turns.
    pub following: Vec<FollowingRun>,
    /// What has happened, counted.
    pub numbers: Vec<NumbersRun>,
    /// The parts alone, by run.
    pub limits: Vec<Vec<Limit>>,
}

/// What `report.json` holds. A figure that was not measured is null.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Orders accepted a second at saturation, workers off.
    pub accepted_per_s: Option<f64>,
    /// Its 99th percentile of latency.
    pub accept_p99_ms_at_saturation: Option<f64>,
    /// Orders a second from the first POST to the last CONFIRMED.
    pub e2e_per_s: Option<f64>,
    /// The same for the larger number of orders.
    pub e2e_200k_per_s: Option<f64>,
    /// `e2e_per_s` as a share of the composed limit.
    pub share_of_limit: Option<f64>,
    /// Orders a second, if each cost what the frozen parts cost alone and no core ever idled.
    pub composed_limit_per_s: Option<f64>,
    /// `e2e_per_s` as a share of the own limit.
    pub share_of_own_limit: Option<f64>,
    /// The same as the composed limit, of today's own parts.
    pub own_limit_per_s: Option<f64>,
    /// At the fixed rate, intended time to 202.
    pub accept_p99_ms_at_500: Option<f64>,
    /// At the fixed rate, intended time to CONFIRMED.
    pub confirmed_p99_ms_at_500: Option<f64>,
    /// Peak resident memory of api and worker together, end to end.
    pub rss_mb_api_worker: Option<f64>,
    /// Of standalone: orders a second end to end.
    pub standalone_e2e_per_s: Option<f64>,
    /// Of standalone: peak resident memory.
    pub standalone_rss_mb: Option<f64>,
    /// 202s without an order, or whose order did not end, over all runs.
    pub lost: u64,
    /// Keys or orders charged more than once, over all runs.
    pub double: u64,
    /// Whether every invariant held in every run.
    pub clean: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// Medians of the limits.
    pub limits: Vec<Limit>,
    /// Every run.
    pub runs: Runs,
}

impl Figures {
    pub(super) fn new(machine: Machine, runs: Runs) -> Self {
        let limits = median_limits(&runs.limits);
        let composed_limit = ceiling(&machine, &limits, PartOf::is_composed);
        let own_limit = ceiling(&machine, &limits, PartOf::is_own);
        let e2e = middle(&runs.e2e, |run| run.per_s);
        let share_of = |limit: Option<f64>| e2e.zip(limit).map(|(e2e, limit)| e2e / limit);
        // A figure keeps to its name, whatever else was measured.
        let large: Vec<&EndToEndRun> = runs.large.iter().filter(|run| run.orders == LARGE).collect();
        let at_500: Vec<&SteadyRun> = runs.steady.iter().filter(|run| run.rate == RATE).collect();
        let verdicts: Vec<Verdict> = verdicts(&runs);
        let lost_at_once: u64 =
            runs.accept.iter().map(|run| run.lost).chain(runs.scale.iter().map(|run| run.lost)).sum();
        Self {
            accepted_per_s: middle(&runs.accept, |run| run.per_s),
            accept_p99_ms_at_saturation: middle(&runs.accept, |run| run.accept.p99_ms),
            e2e_per_s: e2e,
            e2e_200k_per_s: middle(&large, |run| run.per_s),
            share_of_limit: share_of(composed_limit),
            composed_limit_per_s: composed_limit,
            share_of_own_limit: share_of(own_limit),
            own_limit_per_s: own_limit,
            accept_p99_ms_at_500: middle(&at_500, |run| run.accept.p99_ms),
            confirmed_p99_ms_at_500: middle(&at_500, |run| run.confirmed.p99_ms),
            rss_mb_api_worker: peak(runs.e2e.iter().chain(&runs.large), &["api", "worker"]),
            standalone_e2e_per_s: middle(&runs.standalone, |run| run.per_s),
            standalone_rss_mb: peak(runs.standalone.iter(), &["standalone"]),
            lost: lost_at_once + verdicts.iter().map(|verdict| verdict.lost).sum::<u64>(),
            double: verdicts.iter().map(|verdict| verdict.double).sum::<u64>()
                + runs.backlog.iter().map(|run| run.double).sum::<u64>(),
            clean: lost_at_once == 0
                && verdicts.iter().all(|verdict| verdict.clean && verdict.lost == 0)
                && runs.backlog.iter().all(|run| run.clean),
            machine,
            limits,
            runs,
        }
    }
}

/// The median over runs; `None` of none.
pub(super) fn middle<Run>(runs: &[Run], figure: impl Fn(&Run) -> f64) -> Option<f64> {
    (!runs.is_empty()).then(|| median(runs.iter().map(figure)))
}

/// Medians of each percentile by itself.
pub(super) fn middle_percentiles<Run>(runs: &[Run], of: impl Fn(&Run) -> Percentiles) -> Percentiles {
    let figure = |pick: fn(Percentiles) -> f64| median(runs.iter().map(|run| pick(of(run))));
    Percentiles {
        count: runs.first().map_or(0, |run| of(run).count),
        p50_ms: figure(|one| one.p50_ms),
        p99_ms: figure(|one| one.p99_ms),
        p999_ms: figure(|one| one.p999_ms),
        max_ms: figure(|one| one.max_ms),
    }
}

/// Medians of each process's cost by itself; the sum is the median of the sums.
pub(super) fn middle_cost<'a>(costs: impl Iterator<Item = &'a Cost> + Clone) -> Cost {
    let figure = |pick: &dyn Fn(&Cost) -> f64| median(costs.clone().map(pick));
    let names = costs.clone().next().into_iter().flat_map(|cost| cost.us_per_order.keys());
    let of = |name: &String| figure(&|cost| cost.us_per_order.get(name).copied().unwrap_or(0.0));
    Cost {
        us_per_order: names.map(|name| (name.clone(), of(name))).collect(),
        us_per_order_sum: figure(&|cost| cost.us_per_order_sum),
        others_share: figure(&|cost| cost.others_share),
    }
}

/// Orders a second, if each cost what these parts cost alone and no core ever idled.
fn ceiling(machine: &Machine, limits: &[Limit], counts: fn(PartOf) -> bool) -> Option<f64> {
    let us: f64 = limits.iter().filter(|limit| counts(limit.part_of)).map(|limit| limit.us_per_order).sum();
    (us > 0.0).then(|| machine.cores as f64 * 1_000_000.0 / us)
}

fn median_limits(runs: &[Vec<Limit>]) -> Vec<Limit> {
    let Some(first) = runs.first() else { return Vec::new() };
    let of = |name, pick: fn(&Limit) -> f64| {
        median(runs.iter().flatten().filter(|limit| limit.name == name).map(pick))
    };
    let median = |limit: &Limit| Limit {
        per_s: of(limit.name, |limit| limit.per_s),
        us_per_order: of(limit.name, |limit| limit.us_per_order),
        ..limit.clone()
    };
    first.iter().map(median).collect()
}

fn verdicts(runs: &Runs) -> Vec<Verdict> {
    let e2e = runs.e2e.iter().chain(&runs.large).chain(&runs.standalone).map(|run| run.verdict);
    let steady = runs.steady.iter().chain(&runs.standalone_steady).map(|run| run.verdict);
    let backup = runs.backup.iter().flat_map(|run| [run.alone.verdict, run.beside.verdict]);
    let soak = runs.soak.iter().flat_map(|run| run.verdicts);
    let tokens = runs.tokens.iter().map(|run| run.verdict);
    let following = runs.following.iter().map(|run| run.verdict);
    e2e.chain(steady).chain(backup).chain(soak).chain(tokens).chain(following).collect()
}

/// The most that these processes had resident together in any run.
fn peak<'a>(runs: impl Iterator<Item = &'a EndToEndRun>, names: &[&str]) -> Option<f64> {
    let of = |run: &EndToEndRun| {
        let peaks =
            names.iter().filter_map(|name| run.memory.get(*name)).map(|memory: &Memory| memory.peak_rss_mb);
        peaks.sum::<f64>()
    };
    runs.map(of).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &'static str, us_per_order: f64, part_of: PartOf) -> Limit {
        Limit { name, per_s: 1_000_000.0 / us_per_order, us_per_order, part_of }
    }

    #[test]
    fn a_limit_is_what_its_parts_leave_room_for() {
        let machine = Machine { processor: String::new(), cores: 2, postgres: String::new() };
        let run = |a, b| {
            let (frozen, own) = (limit("a", a, PartOf::Composed), limit("today's a", a / 2.0, PartOf::Own));
            vec![frozen, own, limit("b", b, PartOf::Both), limit("c", 500.0, PartOf::Neither)]
        };
        let runs = Runs { limits: vec![run(20.0, 90.0), run(22.0, 1.0), run(20.0, 90.0)], ..Runs::default() };
        let figures = Figures::new(machine, runs);
        assert_eq!(figures.composed_limit_per_s.map(f64::round), Some(18_182.0));
        assert_eq!(figures.own_limit_per_s, Some(20_000.0));
        assert_eq!((figures.e2e_per_s, figures.share_of_limit, figures.clean), (None, None, true));
        let json = serde_json::to_value(&figures).unwrap();
        for key in ["accepted_per_s", "e2e_per_s", "e2e_200k_per_s", "share_of_limit", "accept_p99_ms_at_500"]
            .into_iter()
            .chain(["confirmed_p99_ms_at_500", "rss_mb_api_worker", "lost", "double"])
        {
            assert!(json.get(key).is_some(), "{key}");
        }
    }
}
