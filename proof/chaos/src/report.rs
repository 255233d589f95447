//! What a run came to: for people as Markdown (a terminal shows it just as well), for machines as JSON.
#![expect(clippy::float_arithmetic, reason = "shares and seconds for people; no money")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::check::Checks;
use crate::fault::Kind;
use crate::happened::Happened;
use crate::recovery::{Answers, Spread, Times};
use crate::steps::Stepped;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Makes the same run again.
    pub seed: u64,
    /// Whether every invariant holds.
    pub green: bool,
    /// Orders sent, and those answered 202.
    pub offered: u64,
    /// As above.
    pub accepted: u64,
    /// Orders that were paid; those whose client was never answered are among them.
    pub confirmed: i64,
    /// Orders whose payment failed in the end.
    pub failed: i64,
    /// What happened to orders, by kind.
    pub happened: Happened,
    /// Accepted orders that are not there, or have not ended.
    pub lost: u64,
    /// Keys or orders that the gateway charged more than once.
    pub double_charged: u64,
    /// Whether our payments and the gateway's books are the same.
    pub ledger_equal: bool,
    /// Whether nothing was left to be done.
    pub drained: bool,
    /// What struck how often.
    pub faults: BTreeMap<String, usize>,
    /// From a worker's kill until its payments were settled: one in a hundred took longer than this.
    pub recovery_p99_s: f64,
    /// From the first order until all was quiet.
    pub seconds: f64,
    /// From the last fault until all was quiet.
    pub quiet_after_s: f64,
    /// Attempts of which nobody knew at first whether they charged.
    pub in_doubt: i64,
    /// What the programs were told.
    pub settings: Vec<String>,
    /// Requests that met no 202, by what they met instead.
    pub other_answers: BTreeMap<String, u64>,
    /// How people fared with their orders after the 202.
    pub steps: Stepped,
    /// Orders given up by clients without a key, and replays told the same.
    pub given_up: u64,
    /// As above.
    pub replayed: u64,
    /// Every invariant.
    pub checks: Checks,
    /// How long things took.
    pub times: Times,
}

impl Report {
    /// Writes `report.json` and `report.md`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("report.md", self.to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, offered, accepted, confirmed, failed, given_up, replayed, .. } = self;
        let verdict = if self.green { "green: every invariant holds" } else { "RED: promises were broken" };
        writeln!(f, "# Chaos run, seed {seed}: {verdict}\n")?;
        writeln!(f, "{offered} orders sent, {accepted} accepted, {confirmed} paid, {failed} unpaid; ")?;
        writeln!(
            f,
            "lost {}, charged twice {}, in {:.0} s; quiet {:.1} s after the last fault.\n",
            self.lost, self.double_charged, self.seconds, self.quiet_after_s
        )?;
        let others = self.other_answers.iter().map(|(what, count)| format!("{what}: {count}"));
        let others = others.collect::<Vec<_>>().join(", ");
        writeln!(f, "Requests that met no 202: {}.", if others.is_empty() { "none" } else { &others })?;
        writeln!(
            f,
            "Given up by clients without a key: {given_up}. Replays told the same: {replayed}. \
             Attempts in doubt at first: {}.\n",
            self.in_doubt
        )?;
        writeln!(f, "## What happened to orders\n\n| what | times |\n|---|---:|")?;
        self.happened.iter().try_for_each(|(what, count)| writeln!(f, "| {what} | {count} |"))?;
        let list = |counts: &BTreeMap<String, u64>| {
            let all: Vec<String> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        writeln!(f, "\nThe kitchen's first word on an order: {}.", list(&self.steps.kitchen))?;
        writeln!(f, "Requests after the 202 that nobody answered: {}.", list(&self.steps.unanswered))?;
        writeln!(f, "\n## Faults\n\n| fault | times |\n|---|---:|")?;
        for kind in Kind::all() {
            if let Some(count) = self.faults.get(&kind.name()) {
                writeln!(f, "| {} | {count} |", kind.name())?;
            }
        }
        writeln!(f, "\n## Invariants\n\n```text\n{}```\n", self.checks)?;
        self.write_times(f)?;
        writeln!(f, "## Settings\n\n```text\n{}\n```", self.settings.join("\n"))
    }
}

impl Report {
    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Times\n\n```text")?;
        let Times { answers, .. } = &self.times;
        let row = |f: &mut fmt::Formatter<'_>, what: &str, spread: &Spread| {
            if spread.count == 0 { Ok(()) } else { writeln!(f, "{what:<42}{spread}") }
        };
        row(f, "a killed worker's payment until settled", &self.times.killed_worker_to_settled)?;
        row(f, "a killed worker's payment until taken up", &self.times.killed_worker_to_claimed)?;
        row(f, "a stopped worker's payment until settled", &self.times.stopped_worker_to_settled)?;
        row(f, "an order from when the gateway is well", &self.times.gateway_well_to_ended)?;
        row(f, "an unpublished order until claimed", &self.times.unpublished_to_claimed)?;
        row(f, "any order until claimed", &self.times.accepted_to_claimed)?;
        row(f, "any order until its end", &self.times.accepted_to_ended)?;
        row(f, "a paid order until the kitchen took it", &self.times.paid_to_taken)?;
        for (step, took) in &self.steps.took {
            row(f, &format!("a person's {step}, until answered"), took)?;
        }
        for (phase, Answers { spread, at_first }) in answers {
            row(f, &format!("202 while broken: {phase}"), spread)?;
            if *at_first < spread.count {
                let share = *at_first as f64 * 100.0 / spread.count as f64;
                writeln!(f, "{:<42}{share:>7.2} % at the first request", "")?;
            }
        }
        writeln!(f, "```\n")
    }
}

/// Seconds, to the millisecond.
pub fn seconds(length: Duration) -> f64 {
    length.as_millis() as f64 / 1_000.0
}
