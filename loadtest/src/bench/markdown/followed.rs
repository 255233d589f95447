//! What it costs to follow, and what the numbers come to.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::fmt;

use super::super::figures::{Figures, middle_cost};
use super::super::told::following::Who;
use super::super::usage::Cost;
use super::row;

impl Figures {
    pub(super) fn following(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.runs.following;
        if runs.is_empty() {
            return Ok(());
        }
        let costs = Who::ALL.map(|who| {
            let some: Vec<&Cost> = runs.iter().filter(|run| run.who == who).map(|run| &run.cost).collect();
            middle_cost(some.into_iter())
        });
        let [nobody, numbers, others] = &costs;
        let [first, second, third] = Who::ALL.map(Who::says);
        writeln!(
            f,
            "\n| CPU, us an order | {first} | {second} | more | {third} | more |\n|---|---:|---:|---:|---:|---:|"
        )?;
        for process in others.us_per_order.keys() {
            let of = |cost: &Cost| cost.us_per_order.get(process).copied().unwrap_or_default();
            let (bare, rolled, told) = (of(nobody), of(numbers), of(others));
            let (more, more_told) = (rolled - bare, told - bare);
            writeln!(
                f,
                "| {process} | {bare:.1} | {rolled:.1} | {more:+.1} | {told:.1} | {more_told:+.1} |"
            )?;
        }
        let bare = nobody.us_per_order_sum;
        let more = |cost: &Cost| {
            let (us, share) = (cost.us_per_order_sum - bare, (cost.us_per_order_sum / bare - 1.0) * 100.0);
            format!("{:.1} | {us:+.1} ({share:+.1} %)", cost.us_per_order_sum)
        };
        writeln!(f, "| all | {bare:.1} | {} | {} |", more(numbers), more(others))
    }

    /// Of each run by itself: it takes so long that there is mostly one.
    pub(super) fn numbers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs.numbers {
            writeln!(f, "\n| numbers, ms | p50 | p99 | p99.9 |\n|---|---:|---:|---:|")?;
            row(f, &format!("an order at {}/s, until they show it", run.rate), run.fresh)?;
            for (name, took) in &run.pages {
                row(f, name, *took)?;
            }
            writeln!(
                f,
                "\nread of {} orders at ten locations, {} hours, {:.0} MB; made anew of {} events in {:.0} s",
                run.orders, run.hours, run.megabytes, run.events, run.anew_seconds
            )?;
        }
        Ok(())
    }
}
