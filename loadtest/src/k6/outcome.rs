//! What came of the scripts, as `report.json` holds it.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::time::Duration;

use anyhow::Result;
use reconcile::Report as Books;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::asked::Asked;
use super::lines::Lines;
use super::scenario::Scenario;
use super::series::{Decided, Window, beginning, curve, windows};
use super::summary::{Summary, Threshold};
use crate::bench::processor;
use crate::latency::{Latencies, Percentiles};

/// Of one script.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    /// What the script is about.
    pub(super) says: &'static str,
    /// What was tested.
    pub(super) site: String,
    /// First order to last answer.
    pub(super) seconds: f64,
    /// Sent.
    pub(super) orders: u64,
    pub(super) accepted: u64,
    /// 503: come again.
    pub(super) refused: u64,
    /// Any other answer, or none.
    pub(super) failed: u64,
    /// Not sent, because all of k6's users waited for answers.
    pub(super) dropped: u64,
    /// The highest number of 202s in a second.
    pub(super) accepted_per_s_peak: f64,
    /// From sending to the answer.
    pub(super) accept: Percentiles,
    /// Last answer to last order's end; `None` where the script did not come so far.
    pub(super) drain_seconds: Option<f64>,
    /// Most orders accepted and not decided.
    pub(super) backlog_peak: u64,
    /// Orders without an end when patience was over.
    pub(super) backlog_end: u64,
    pub(super) confirmed: u64,
    pub(super) payment_failed: u64,
    /// 202s without an order: by number in the script, by id afterwards.
    pub(super) lost: u64,
    /// Charged more than once.
    pub(super) double: u64,
    /// Orders whose status and books contradict each other.
    pub(super) inconsistent: u64,
    /// Each 202, asked for by its id.
    pub(super) asked: Asked,
    /// The reconciliation, where the database can be reached: orders, and the invariants that are broken.
    pub(super) reconciled: Option<Reconciled>,
    pub(super) thresholds: Vec<Threshold>,
    /// Whether all of it is as it should be.
    pub(super) green: bool,
    /// What began when, in seconds since the first order.
    pub(super) phases: Vec<(f64, String)>,
    /// Latencies by percentile: percent, milliseconds.
    pub(super) curve: Vec<(f64, f64)>,
    pub(super) windows: Vec<Window>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Reconciled {
    pub(super) orders: u64,
    pub(super) broken: Vec<&'static str>,
}

impl Outcome {
    pub(super) fn new(
        scenario: Scenario,
        site: String,
        lines: &Lines,
        decided: &[Decided],
        summary: &Summary,
        asked: Asked,
        books: Option<Books>,
    ) -> Result<Self> {
        let begin = beginning(lines);
        let seconds = |at: i64| (at - begin) as f64 / 1_000.0;
        let answered = lines.sent.iter().map(super::lines::Sent::answered).max().unwrap_or(begin);
        let end = decided.last().map_or(answered, |(at, _)| answered.max(*at));
        let windows = windows(lines, decided, end);
        let mut latencies = Latencies::new()?;
        for sent in &lines.sent {
            latencies.record(Duration::from_secs_f64(sent.took_ms / 1_000.0));
        }
        let with =
            |status: fn(u16) -> bool| lines.sent.iter().filter(|sent| status(sent.status)).count() as u64;
        let reconciled = books.map(|books| Reconciled {
            orders: books.orders(),
            broken: books.broken().into_iter().map(reconcile::Invariant::says).collect(),
        });
        let mut outcome = Self {
            scenario: scenario.name(),
            says: scenario.says(),
            site,
            seconds: seconds(answered),
            orders: lines.sent.len() as u64,
            accepted: with(|status| status == 202),
            refused: with(|status| status == 503),
            failed: with(|status| status != 202 && status != 503),
            dropped: summary.count("dropped_iterations"),
            accepted_per_s_peak: windows.iter().map(|one| one.accepted_per_s).fold(0.0, f64::max),
            accept: latencies.summary(),
            drain_seconds: summary.value("drain_seconds"),
            backlog_peak: windows.iter().map(|one| one.backlog).max().unwrap_or(0),
            backlog_end: summary.count("orders_open"),
            confirmed: summary.count("orders_confirmed"),
            payment_failed: summary.count("orders_payment_failed"),
            lost: summary.count("orders_lost").max(asked.missing),
            double: summary.count("orders_double"),
            inconsistent: summary.count("orders_inconsistent"),
            asked,
            reconciled,
            thresholds: summary.thresholds(),
            green: false,
            phases: lines.phases.iter().map(|(at, label)| (seconds(*at), label.clone())).collect(),
            curve: curve(lines),
            windows,
        };
        outcome.green = outcome.is_green();
        Ok(outcome)
    }

    /// Not by the thresholds alone: a script that lost one of them, or whose users accepted nothing, proves nothing.
    fn is_green(&self) -> bool {
        let promises = self.thresholds.iter().any(|one| one.metric == "promises_checked");
        promises
            && self.thresholds.iter().all(|one| one.kept)
            && self.accepted > 0
            && self.asked.asked == self.accepted
            && self.lost + self.double + self.inconsistent + self.asked.unfinished == 0
            && self.reconciled.as_ref().is_none_or(|books| books.broken.is_empty())
    }

    /// The thresholds that were crossed, in words.
    pub(super) fn crossed(&self) -> Vec<String> {
        let crossed = self.thresholds.iter().filter(|one| !one.kept);
        crossed.map(|one| format!("{} {}", one.metric, one.limit)).collect()
    }

    /// For the terminal.
    pub(super) fn line(&self) -> String {
        let Self { accepted, orders, accept, lost, double, inconsistent, .. } = self;
        let drain =
            self.drain_seconds.map_or("never drained".to_owned(), |s| format!("drained after {s:.1} s"));
        let verdict =
            if self.green { "green".to_owned() } else { format!("NOT GREEN {}", self.crossed().join(", ")) };
        format!(
            "{accepted} of {orders} accepted, {accept}; {drain}; {lost} lost, {double} double, {inconsistent} \
             inconsistent: {verdict}"
        )
    }
}

/// Of all scripts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// RFC 3339, UTC.
    pub(super) written: String,
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) green: bool,
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(outcomes: Vec<Outcome>) -> Result<Self> {
        Ok(Self {
            written: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
            processor: processor(),
            cores: std::thread::available_parallelism()?.get(),
            green: !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.green),
            outcomes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k6::lines::Sent;

    const KEPT: &str = r#""promises_checked":{"count":1,"thresholds":{"count==1":false}}"#;

    fn lines() -> Lines {
        let sent = |number: i64| Sent {
            begun: number * 100,
            took_ms: 1.0,
            status: 202,
            id: Some(uuid::Uuid::from_u128(number.unsigned_abs().into())),
        };
        Lines { sent: (0..20).map(sent).collect(), phases: vec![(1_000, "a < b".to_owned())] }
    }

    fn outcome(metrics: &str, asked: Asked) -> Outcome {
        let summary = Summary::read(&format!(r#"{{"metrics":{{{metrics}}}}}"#)).unwrap();
        let decided = [(0, 5), (2_000, 25)];
        Outcome::new(Scenario::Smoke, "a test".to_owned(), &lines(), &decided, &summary, asked, None).unwrap()
    }

    #[test]
    fn only_a_run_that_kept_and_checked_every_promise_is_green() {
        let asked = Asked { asked: 20, missing: 0, unfinished: 0 };
        let good = outcome(KEPT, asked);
        assert!(good.green, "{}", good.line());
        assert_eq!((good.accepted, good.backlog_peak, good.seconds), (20, 10, 1.901));
        let with = |more: &str| format!("{KEPT},{more}");
        for (what, bad) in [
            ("a crossed threshold", outcome(&KEPT.replace("false", "true"), asked)),
            ("a script that checks no promise", outcome("", asked)),
            ("a lost order", outcome(&with(r#""orders_lost":{"count":1}"#), asked)),
            ("a double charge", outcome(&with(r#""orders_double":{"count":1}"#), asked)),
            ("books that differ", outcome(&with(r#""orders_inconsistent":{"count":1}"#), asked)),
            ("an id that nobody knows", outcome(KEPT, Asked { missing: 1, ..asked })),
            ("an order without an end", outcome(KEPT, Asked { unfinished: 1, ..asked })),
            ("ids that were not asked for", outcome(KEPT, Asked { asked: 19, ..asked })),
        ] {
            assert!(!bad.green, "{what} is green");
        }
        assert_eq!(outcome(KEPT, Asked { missing: 2, ..asked }).lost, 2);
    }

    #[test]
    fn the_report_stands_alone_and_holds_every_plot() {
        let asked = Asked { asked: 20, missing: 0, unfinished: 0 };
        let report = Report::new(vec![outcome(KEPT, asked)]).unwrap();
        assert!(report.green && !Report::new(Vec::new()).unwrap().green);
        let out = std::env::temp_dir().join(format!("comanda-report-{}", std::process::id()));
        crate::k6::pages::write(&report, &out).unwrap();
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        let (page, text) = (read("index.html"), read("report.md"));
        assert_eq!((page.matches("<svg").count(), text.matches("](plots/").count()), (4, 4));
        for link in ["src=", "href=", "url(", "@import"] {
            assert!(!page.contains(link), "the page fetches something: {link}");
        }
        assert!(page.contains("a &lt; b") && !page.contains("a < b"), "labels are escaped");
        assert!(read("plots/smoke-backlog.svg").starts_with("<svg xmlns"));
        assert!(serde_json::from_str::<serde_json::Value>(&read("report.json")).unwrap()["green"] == true);
        std::fs::remove_dir_all(&out).unwrap();
    }
}
