//! The four plots of a script.

use super::outcome::Outcome;
use super::plot::{Axis, Line, Plot, Scale};
use super::series::Window;

const TIME: Axis = Axis { label: "seconds since the first order", scale: Scale::Span };

/// All of them.
pub(super) fn of(outcome: &Outcome) -> [Plot; 4] {
    let line = |name, value: fn(&Window) -> Option<f64>| Line {
        name,
        points: outcome.windows.iter().map(|one| (one.at_s, value(one))).collect(),
    };
    let over_time = |name, title, label, scale, lines| Plot {
        name,
        title,
        x: TIME,
        y: Axis { label, scale },
        lines,
        marks: outcome.phases.clone(),
    };
    #[expect(clippy::cast_precision_loss, reason = "a plot")]
    let backlog = |one: &Window| Some(one.backlog as f64);
    let mut rates = vec![
        line("accepted", |one| Some(one.accepted_per_s)),
        line("decided by the gateway", |one| Some(one.decided_per_s)),
    ];
    if outcome.refused + outcome.failed > 0 {
        rates.push(line("refused or failed", |one| Some(one.not_accepted_per_s)));
    }
    [
        over_time(
            "latency",
            "Latency of accepting, over time",
            "milliseconds",
            Scale::Log,
            vec![
                line("median", |one| one.p50_ms),
                line("99th percentile", |one| one.p99_ms),
                line("slowest", |one| one.max_ms),
            ],
        ),
        Plot {
            name: "percentiles",
            title: "Latency of accepting, by percentile",
            x: Axis { label: "percent of orders that were as quick or quicker", scale: Scale::Percent },
            y: Axis { label: "milliseconds", scale: Scale::Log },
            lines: vec![Line {
                name: "POST to answer",
                points: outcome.curve.iter().map(|(percent, millis)| (*percent, Some(*millis))).collect(),
            }],
            marks: Vec::new(),
        },
        over_time("throughput", "Throughput", "orders a second", Scale::Linear, rates),
        over_time(
            "backlog",
            "Backlog",
            "orders",
            Scale::Linear,
            vec![Line {
                name: "accepted, and not decided by the gateway",
                points: outcome.windows.iter().map(|one| (one.at_s, backlog(one))).collect(),
            }],
        ),
    ]
}
