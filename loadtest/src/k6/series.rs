//! What happened when: orders, latencies and the backlog, by windows of at least a second.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use serde::Serialize;

use super::lines::{Lines, Sent};

/// Points in a plot: more cannot be told apart.
const WINDOWS: i64 = 120;

/// What the gateway had decided (charged, declined, voided) at some time, in milliseconds since 1970.
pub(super) type Decided = (i64, u64);

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Window {
    /// Its beginning, in seconds since the first order.
    pub(super) at_s: f64,
    /// 202s a second.
    pub(super) accepted_per_s: f64,
    /// Other answers a second, and none.
    pub(super) not_accepted_per_s: f64,
    /// Payments that the gateway decided, a second.
    pub(super) decided_per_s: f64,
    /// Of those sent in it; nothing where none was.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    /// Accepted and not decided at its end.
    pub(super) backlog: u64,
}

/// When everything began: the first order.
pub(super) fn beginning(lines: &Lines) -> i64 {
    lines.sent.first().map_or(0, |sent| sent.begun)
}

/// From the first order until `end`.
pub(super) fn windows(lines: &Lines, decided: &[Decided], end: i64) -> Vec<Window> {
    let begin = beginning(lines);
    let length = ((end - begin) / WINDOWS / 1_000 + 1) * 1_000;
    let per_s = |count: u64| count as f64 * 1_000.0 / length as f64;
    let mut answers: Vec<(i64, bool)> =
        lines.sent.iter().map(|sent| (sent.answered(), sent.is_accepted())).collect();
    answers.sort_unstable();
    let (mut sent, mut answers) = (lines.sent.iter().peekable(), answers.into_iter().peekable());
    let (mut accepted, mut decided_before) = (0_u64, 0_u64);
    let mut windows = Vec::new();
    for from in (begin..end.max(begin + 1)).step_by(usize::try_from(length).unwrap_or(1_000)) {
        let to = from + length;
        let latencies = sorted(std::iter::from_fn(|| sent.next_if(|sent| sent.begun < to)));
        let (mut good, mut bad) = (0, 0);
        while let Some((_, is_good)) = answers.next_if(|(at, _)| *at < to) {
            *(if is_good { &mut good } else { &mut bad }) += 1;
        }
        accepted += good;
        let decided_now = decided_by(decided, to).max(decided_before);
        windows.push(Window {
            at_s: (from - begin) as f64 / 1_000.0,
            accepted_per_s: per_s(good),
            not_accepted_per_s: per_s(bad),
            decided_per_s: per_s(decided_now - decided_before),
            p50_ms: at_quantile(&latencies, 0.5),
            p99_ms: at_quantile(&latencies, 0.99),
            max_ms: at_quantile(&latencies, 1.0),
            backlog: accepted.saturating_sub(decided_now),
        });
        decided_before = decided_now;
    }
    windows
}

/// The last look up to then, less what was decided before all.
fn decided_by(decided: &[Decided], at: i64) -> u64 {
    let Some((_, before)) = decided.first() else { return 0 };
    let looked = decided.partition_point(|(when, _)| *when <= at);
    decided[..looked].last().map_or(0, |(_, now)| now.saturating_sub(*before))
}

fn sorted<'a>(sent: impl Iterator<Item = &'a Sent>) -> Vec<f64> {
    let mut latencies: Vec<f64> = sent.map(|sent| sent.took_ms).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// The smallest that so large a share does not exceed.
fn at_quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Latencies by percentile, as far as there are orders enough to tell: `(percent, milliseconds)`.
pub(super) fn curve(lines: &Lines) -> Vec<(f64, f64)> {
    let latencies = sorted(lines.sent.iter());
    let known = |percent: &f64| latencies.len() as f64 * (100.0 - percent) >= 99.999;
    let percents = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99];
    let points = percents.into_iter().filter(known);
    points.filter_map(|percent| Some((percent, at_quantile(&latencies, percent / 100.0)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(begun: i64, took_ms: f64, status: u16) -> Sent {
        Sent { begun, took_ms, status, id: None }
    }

    #[test]
    fn windows_hold_what_was_sent_answered_and_decided_in_them() {
        let lines = Lines {
            sent: vec![
                sent(10_000, 1.0, 202),
                sent(10_500, 3.0, 202),
                sent(10_990, 20.0, 202),
                sent(11_200, 5.0, 503),
            ],
            phases: Vec::new(),
        };
        // 7 were decided before the run.
        let decided = [(9_000, 7), (10_900, 8), (11_900, 9), (12_400, 10)];
        let windows = windows(&lines, &decided, 12_500);
        assert_eq!(windows.len(), 3);
        assert_eq!((windows[0].p50_ms, windows[0].max_ms), (Some(3.0), Some(20.0)));
        assert_eq!(
            (windows[0].accepted_per_s, windows[1].accepted_per_s),
            (2.0, 1.0),
            "by the answer's time"
        );
        assert_eq!((windows[1].not_accepted_per_s, windows[1].p99_ms), (1.0, Some(5.0)));
        assert_eq!(windows.iter().map(|one| one.backlog).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!((windows[2].p50_ms, windows[2].decided_per_s), (None, 1.0));
    }

    #[test]
    fn a_percentile_needs_orders_enough() {
        let lines = |count| Lines { sent: vec![sent(0, 1.0, 202); count], phases: Vec::new() };
        let last = |count| curve(&lines(count)).last().map(|(percent, _)| *percent);
        assert_eq!((last(10), last(1_000), last(0)), (Some(90.0), Some(99.9), None));
    }
}
