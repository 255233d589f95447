//! `report.md`.

use std::fmt::Write;

use super::outcome::{Outcome, Report};
use super::plots;

/// Above and in the page: columns, and a row a script.
pub(super) const COLUMNS: [&str; 12] = [
    "script",
    "orders",
    "accepted",
    "503",
    "p50 ms",
    "p99 ms",
    "max ms",
    "drained after",
    "lost",
    "double",
    "inconsistent",
    "thresholds",
];

/// The cells of a script's row.
pub(super) fn cells(one: &Outcome) -> [String; 12] {
    let kept = one.thresholds.iter().filter(|threshold| threshold.kept).count();
    [
        one.scenario.to_owned(),
        one.orders.to_string(),
        one.accepted.to_string(),
        one.refused.to_string(),
        format!("{:.2}", one.accept.p50_ms),
        format!("{:.2}", one.accept.p99_ms),
        format!("{:.1}", one.accept.max_ms),
        one.drain_seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s")),
        one.lost.to_string(),
        one.double.to_string(),
        one.inconsistent.to_string(),
        format!("{kept} of {} kept", one.thresholds.len()),
    ]
}

/// One line about what was tested, and where.
pub(super) fn place(report: &Report) -> String {
    format!("{}, {} cores, k6 on the same ones. Written {}.", report.processor, report.cores, report.written)
}

/// What is to be known of one script apart from its row.
pub(super) fn facts(one: &Outcome) -> Vec<String> {
    let mut facts = vec![
        format!(
            "Tested: {}. {:.0} s, at most {:.0} accepted a second.",
            one.site, one.seconds, one.accepted_per_s_peak
        ),
        format!(
            "Ended: {} confirmed, {} with a failed payment; the backlog was {} at most and {} in the end.",
            one.confirmed, one.payment_failed, one.backlog_peak, one.backlog_end
        ),
        format!(
            "Each of the {} orders answered with 202 was asked for by its id: {} missing, {} unfinished.",
            one.asked.asked, one.asked.missing, one.asked.unfinished
        ),
    ];
    if let Some(books) = &one.reconciled {
        let broken = if books.broken.is_empty() { "none broken".to_owned() } else { books.broken.join("; ") };
        facts.push(format!(
            "Reconciled with the database, {} orders, every invariant: {broken}.",
            books.orders
        ));
    }
    if one.failed > 0 {
        facts.push(format!("{} answers were neither 202 nor 503, or there was none.", one.failed));
    }
    if one.dropped > 0 {
        facts.push(format!(
            "{} orders were not sent in time: all of k6's users waited for answers.",
            one.dropped
        ));
    }
    if !one.green {
        facts.push(format!("NOT GREEN: {}", one.crossed().join("; ")));
    }
    facts
}

/// The table alone.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    let row = |text: &mut String, cells: &[String]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    row(&mut text, &COLUMNS.map(str::to_owned));
    let _ = writeln!(text, "|{}", "---|".repeat(COLUMNS.len()));
    for outcome in &report.outcomes {
        row(&mut text, &cells(outcome));
    }
    text
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let verdict = if report.green { "All green." } else { "NOT GREEN." };
    let mut text = format!("# Load test\n\n{verdict} {}\n\n{}", place(report), table(report));
    for outcome in &report.outcomes {
        let _ = writeln!(text, "\n## {}\n\n{}.\n", outcome.scenario, outcome.says);
        for fact in facts(outcome) {
            let _ = writeln!(text, "- {fact}");
        }
        text.push('\n');
        for plot in plots::of(outcome) {
            let _ = writeln!(text, "![{}](plots/{})", plot.title, plot.file(outcome.scenario));
        }
        let _ = writeln!(text, "\n| threshold | limit | kept |\n|---|---|---|");
        for one in &outcome.thresholds {
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {} |",
                one.metric,
                one.limit,
                if one.kept { "yes" } else { "NO" }
            );
        }
    }
    text
}
