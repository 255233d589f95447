//! The report for people: a few tables.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

mod followed;

use std::fmt::{self, Write};

use super::figures::{Figures, middle, middle_cost, middle_percentiles};
use super::runs::{EndToEndRun, SteadyRun};
use super::tokens::{Shown, TokensRun};
use super::traffic::Mean;
use super::usage::Cost;
use crate::latency::{Percentiles, median};

/// Above this share of others the figures are not worth quoting.
const QUIET: f64 = 0.1;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "{} cores ({}), PostgreSQL {}\n", machine.cores, machine.processor, machine.postgres)?;
        self.speed(f)?;
        self.latencies(f)?;
        self.limits_beside(f)?;
        self.costs(f)?;
        self.traffic(f)?;
        self.memory(f)?;
        self.tokens(f)?;
        self.scale(f)?;
        self.told(f)?;
        self.long(f)?;
        let held = if self.clean { "every invariant held" } else { "INVARIANTS ARE BROKEN, see above" };
        writeln!(f, "lost {}, double {}; {held}", self.lost, self.double)?;
        let busiest = self.all_costs().map(|cost| cost.others_share).fold(0.0, f64::max);
        if busiest > QUIET {
            writeln!(
                f,
                "\nNOT QUIET: up to {:.0} % of the processor time went to others; do not quote this",
                busiest * 100.0
            )?;
        }
        Ok(())
    }
}

impl Figures {
    fn speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs;
        writeln!(f, "| orders a second | median | each run |\n|---|---:|---|")?;
        if let Some(accepted) = self.accepted_per_s {
            let each = runs.accept.iter().map(|run| run.per_s);
            writeln!(f, "| accepted, workers off | {accepted:.0} | {} |", list(each))?;
        }
        for (name, runs) in [
            ("end to end", &runs.e2e),
            ("end to end", &runs.large),
            ("standalone, end to end", &runs.standalone),
        ] {
            let (Some(per_s), Some(first)) = (middle(runs, |run| run.per_s), runs.first()) else { continue };
            let each = list(runs.iter().map(|run| run.per_s));
            writeln!(f, "| {name}, {} orders | {per_s:.0} | {each} |", first.orders)?;
        }
        writeln!(f)
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs;
        writeln!(f, "| latency, ms | p50 | p99 | p99.9 |\n|---|---:|---:|---:|")?;
        if !runs.accept.is_empty() {
            row(f, "accept at saturation", middle_percentiles(&runs.accept, |run| run.accept))?;
        }
        let steady = |f: &mut fmt::Formatter<'_>, name: &str, runs: &[SteadyRun]| -> fmt::Result {
            let Some(first) = runs.first() else { return Ok(()) };
            let rate = first.rate;
            row(f, &format!("{name}accept at {rate}/s"), middle_percentiles(runs, |run| run.accept))?;
            row(
                f,
                &format!("{name}POST to CONFIRMED at {rate}/s"),
                middle_percentiles(runs, |run| run.confirmed),
            )
        };
        steady(f, "", &runs.steady)?;
        steady(f, "standalone, ", &runs.standalone_steady)?;
        writeln!(f)
    }

    fn limits_beside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limits.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "| limit | orders/s | us an order | accepted/s is | end to end is |\n|---|---:|---:|---:|---:|"
        )?;
        let share = |ours: Option<f64>, of: f64| {
            ours.map_or("-".to_owned(), |ours| format!("{:.0} %", ours / of * 100.0))
        };
        for limit in &self.limits {
            let (accepted, e2e) =
                (share(self.accepted_per_s, limit.per_s), share(self.e2e_per_s, limit.per_s));
            let (name, per_s, us) = (limit.name, limit.per_s, limit.us_per_order);
            writeln!(f, "| {name} | {per_s:.0} | {us:.1} | {accepted} | {e2e} |")?;
        }
        for (name, ceiling) in [
            ("composed limit: the frozen parts together", self.composed_limit_per_s),
            ("own limit: today's parts together", self.own_limit_per_s),
        ] {
            let Some(ceiling) = ceiling else { continue };
            let us = self.machine.cores as f64 * 1_000_000.0 / ceiling;
            let e2e = share(self.e2e_per_s, ceiling);
            writeln!(f, "| {name}, every core busy | {ceiling:.0} | {us:.1} | - | {e2e} |")?;
        }
        writeln!(f)
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs;
        let e2e = |runs: &[EndToEndRun]| middle_cost(runs.iter().map(|run| &run.cost));
        let mut rows = Vec::new();
        if !runs.accept.is_empty() {
            rows.push(("accepting".to_owned(), middle_cost(runs.accept.iter().map(|run| &run.cost))));
        }
        for (name, some) in [("", &runs.e2e), ("", &runs.large), ("standalone, ", &runs.standalone)] {
            if let Some(first) = some.first() {
                rows.push((format!("{name}{} end to end", first.orders), e2e(some)));
            }
        }
        for (name, some) in [("", &runs.steady), ("standalone, ", &runs.standalone_steady)] {
            if let Some(first) = some.first() {
                let cost = middle_cost(some.iter().map(|run| &run.cost));
                rows.push((format!("{name}{}/s", first.rate), cost));
            }
        }
        writeln!(f, "| CPU, us an order (= s per million, ms per 1,000) | all | each |\n|---|---:|---|")?;
        for (name, cost) in rows {
            let mut each = String::new();
            for (process, us) in &cost.us_per_order {
                write!(each, "{}{process} {us:.1}", if each.is_empty() { "" } else { ", " })?;
            }
            writeln!(f, "| {name} | {:.0} | {each} |", cost.us_per_order_sum)?;
        }
        writeln!(f)
    }

    /// Of the last run of each: these differ little from run to run.
    fn traffic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| traffic | WAL bytes an order | times per 1,000 orders, and mean |\n|---|---:|---|")?;
        let accept = self.runs.accept.last().map(|run| ("accepting".to_owned(), &run.traffic));
        let e2e = [("", &self.runs.e2e), ("", &self.runs.large), ("standalone, ", &self.runs.standalone)];
        let e2e = e2e.into_iter().filter_map(|(name, runs)| {
            runs.last().map(|run| (format!("{name}{} end to end", run.orders), &run.traffic))
        });
        for (name, traffic) in accept.into_iter().chain(e2e) {
            let histogram = |(name, of): (&String, &Mean)| match name.strip_suffix("_seconds") {
                Some(what) => format!("{what} {:.1} ({:.2} ms)", of.per_1000_orders, of.mean * 1_000.0),
                None => format!("{name} {:.1} ({:.1})", of.per_1000_orders, of.mean),
            };
            let each: Vec<String> = traffic.histograms.iter().map(histogram).collect();
            writeln!(f, "| {name} | {:.0} | {} |", traffic.wal_bytes_per_order, each.join(", "))?;
        }
        writeln!(f)
    }

    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| memory, MB | peak RSS | PSS |\n|---|---:|---:|")?;
        let all = [("", &self.runs.e2e), ("", &self.runs.large), ("standalone: ", &self.runs.standalone)];
        for (shape, runs) in all {
            let Some(first) = runs.first() else { continue };
            for process in first.memory.keys() {
                let of = |pick: fn(&super::usage::Memory) -> f64| {
                    median(runs.iter().filter_map(|run| run.memory.get(process)).map(pick))
                };
                let (rss, pss) = (of(|memory| memory.peak_rss_mb), of(|memory| memory.pss_mb));
                writeln!(f, "| {shape}{process}, after {} orders | {rss:.1} | {pss:.1} |", first.orders)?;
            }
        }
        writeln!(f)
    }

    fn tokens(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs.tokens;
        let of = |shown, figure: fn(&TokensRun) -> f64| {
            median(runs.iter().filter(|run| run.shown == shown).map(figure))
        };
        let program: fn(&TokensRun) -> f64 =
            |run| run.cost.us_per_order.get("standalone").copied().unwrap_or_default();
        let all: fn(&TokensRun) -> f64 = |run| {
            let us = |name: &str| run.cost.us_per_order.get(name).copied().unwrap_or_default();
            us("standalone") + us("postgres")
        };
        let (bare, bare_all) = (of(Shown::Nothing, program), of(Shown::Nothing, all));
        if !runs.is_empty() {
            writeln!(
                f,
                "| shown with every order | CPU, us: standalone | more | with PostgreSQL | more | one check alone |"
            )?;
            writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
            for shown in Shown::ALL {
                let (us, all, check) = (of(shown, program), of(shown, all), of(shown, |run| run.check_us));
                let more = |now: f64, before: f64| {
                    format!("{:+.1} ({:+.1} %)", now - before, (now / before - 1.0) * 100.0)
                };
                let (more, more_all) = (more(us, bare), more(all, bare_all));
                let says = shown.says();
                writeln!(f, "| {says} | {us:.1} | {more} | {all:.1} | {more_all} | {check:.1} |")?;
            }
            writeln!(f)?;
        }
        for run in &self.runs.bad_tokens {
            let (rate, bad, many) = (run.rate, run.bad_per_s, run.many_bad_per_s);
            writeln!(f, "| accepting at {rate}/s, ms | p50 | p99 | p99.9 |\n|---|---:|---:|---:|")?;
            row(f, "alone", run.alone)?;
            row(f, &format!("beside {bad:.0} bad tokens a second from one address"), run.beside)?;
            row(f, &format!("beside {many:.0} bad tokens a second from many"), run.beside_many)?;
            writeln!(f)?;
        }
        Ok(())
    }

    fn scale(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs.scale;
        if !runs.is_empty() {
            writeln!(
                f,
                "| finished orders | end to end/s | get, ms (p50, p99) | a customer's page | newest | the kitchen's | CPU, us an order | WAL, bytes an order | MB |"
            )?;
            writeln!(f, "|---:|---:|---|---|---|---|---:|---:|---|")?;
        }
        let of = |one: Percentiles| format!("{:.2}, {:.2}", one.p50_ms, one.p99_ms);
        for run in runs {
            let sizes = run.megabytes.iter().map(|(table, mb)| {
                let rewritten = run.rewritten_megabytes.as_ref().and_then(|of| of.get(table));
                let rewritten = rewritten.map_or(String::new(), |mb| format!(" (anew {mb:.0})"));
                format!("{table} {mb:.0}{rewritten}")
            });
            let sizes = sizes.collect::<Vec<_>>().join(", ");
            let (get, customer, newest, board) =
                (of(run.get), of(run.customer), of(run.newest), of(run.board));
            let (finished, per_s) = (run.finished, run.per_s);
            let (cpu, wal) = (run.cost.us_per_order_sum, run.traffic.wal_bytes_per_order);
            writeln!(
                f,
                "| {finished} | {per_s:.0} | {get} | {customer} | {newest} | {board} | {cpu:.0} | {wal:.0} | {sizes} |"
            )?;
        }
        for run in &self.runs.backlog {
            let ([tenth, half, end], peak) = (run.worker_mb, run.worker_peak_rss_mb);
            writeln!(
                f,
                "\n{} due payments: {:.0}/s; the worker has {tenth:.0} MB after a tenth, {half:.0} MB after a half, \
                 {end:.0} MB at the end, {peak:.0} MB at most",
                run.payments, run.per_s
            )?;
        }
        for run in &self.runs.feed {
            let (events, per_s, stalled, stalled_per_s) =
                (run.events, run.per_s, run.stalled_events, run.stalled_per_s);
            writeln!(
                f,
                "\n{events} events of the feed read at {per_s:.0}/s; {stalled} of one tick at {stalled_per_s:.0}/s"
            )?;
        }
        for run in &self.runs.stock {
            writeln!(
                f,
                "\none product bought at {:.0}/s, {:.0} % of {:.0}/s without stock; refused at {:.0}/s; twenty products an order {:.0}/s, {} deadlocks",
                run.bought_per_s,
                run.share * 100.0,
                run.plain_per_s,
                run.refused_per_s,
                run.many_per_s,
                run.deadlocks
            )?;
        }
        for run in &self.runs.catalogue {
            writeln!(
                f,
                "\npages of the catalogue {:.0}/s ({}), filtered {:.0}/s ({}), beside {:.0} changes/s; a change is seen within {:.0} ms",
                run.pages_per_s,
                run.pages,
                run.filtered_per_s,
                run.filtered,
                run.changes_per_s,
                run.seen_within_ms
            )?;
        }
        writeln!(f)
    }

    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs.webhooks {
            let share = run.beside_dead_per_s / run.per_s * 100.0;
            writeln!(
                f,
                "\n{} webhooks delivered at {:.0}/s, beside nine dead endpoints {:.0}/s ({share:.0} %); at {} orders/s told within {}, beside nine dead ones {}",
                run.deliveries, run.per_s, run.beside_dead_per_s, run.rate, run.told, run.told_beside_dead
            )?;
        }
        for run in &self.runs.streams {
            let more = run.with.pss_mb - run.before.pss_mb;
            writeln!(
                f,
                "\n{} streams: the api has {:.0} MB (PSS), {more:.0} more than before, and had {:.0} at most; at {} changes/s seen within {}",
                run.streams, run.with.pss_mb, run.with.peak_rss_mb, run.rate, run.seen
            )?;
        }
        self.following(f)?;
        self.numbers(f)?;
        writeln!(f)
    }

    fn long(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs.soak {
            let orders = run.orders.iter().map(|(name, orders)| format!("{name} {orders}"));
            let orders = orders.collect::<Vec<_>>().join(", ");
            writeln!(
                f,
                "| {} s at {:.0}/s ({orders}) | MB, from the start to the end |",
                run.seconds,
                run.per_s()
            )?;
            writeln!(f, "|---|---|")?;
            for (process, megabytes) in &run.megabytes {
                let each: Vec<String> = megabytes.iter().map(|mb| format!("{mb:.1}")).collect();
                writeln!(f, "| {process} | {} |", each.join(", "))?;
            }
            writeln!(f)?;
        }
        for run in &self.runs.backup {
            writeln!(
                f,
                "| {} s at {}/s | claims, p99 ms | POST to CONFIRMED, p50 and p99 ms | us an order |",
                run.seconds, run.rate
            )?;
            writeln!(f, "|---|---:|---|---|")?;
            for (name, of) in [("alone", &run.alone), ("beside a long transaction", &run.beside)] {
                let each = of.cost.us_per_order.iter().map(|(process, us)| format!("{process} {us:.1}"));
                let each = each.collect::<Vec<_>>().join(", ");
                let (claim, p50, p99) = (of.claim_p99_ms, of.confirmed.p50_ms, of.confirmed.p99_ms);
                writeln!(f, "| {name} | {claim:.2} | {p50:.2}, {p99:.2} | {each} |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn all_costs(&self) -> impl Iterator<Item = &Cost> {
        let runs = &self.runs;
        let e2e = runs.e2e.iter().chain(&runs.large).chain(&runs.standalone).map(|run| &run.cost);
        let steady = runs.steady.iter().chain(&runs.standalone_steady).map(|run| &run.cost);
        let steady = steady.chain(runs.backup.iter().flat_map(|run| [&run.alone.cost, &run.beside.cost]));
        let tokens = runs.tokens.iter().map(|run| &run.cost);
        let tokens = tokens.chain(runs.following.iter().map(|run| &run.cost));
        runs.accept.iter().map(|run| &run.cost).chain(e2e).chain(steady).chain(tokens)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, of: Percentiles) -> fmt::Result {
    writeln!(f, "| {name} | {:.2} | {:.2} | {:.2} |", of.p50_ms, of.p99_ms, of.p999_ms)
}

fn list(figures: impl Iterator<Item = f64>) -> String {
    figures.map(|figure| format!("{figure:.0}")).collect::<Vec<_>>().join(", ")
}
