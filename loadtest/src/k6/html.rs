//! `index.html`: one file that holds all it shows.

use std::fmt::Write;

use super::markdown::{COLUMNS, cells, facts, place};
use super::outcome::{Outcome, Report};
use super::plot::escape;
use super::plots;

const STYLE: &str = "
body { margin: 0 auto; max-width: 1216px; padding: 16px; font: 16px/1.5 system-ui, sans-serif; color: #1e293b; background: #fff; }
h1 { font-size: 28px; margin: 8px 0; } h2 { font-size: 22px; margin: 40px 0 4px; }
p { margin: 4px 0; } ul { margin: 8px 0 16px; padding-left: 20px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 16px 0; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid #e2e8f0; white-space: nowrap; }
th { background: #f8fafc; font-weight: 600; } th:first-child, td:first-child { text-align: left; }
.limits td { text-align: left; } .limits th { text-align: left; }
.good { color: #15803d; font-weight: 600; } .bad { color: #b91c1c; font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; }
figure { margin: 0; border: 1px solid #e2e8f0; border-radius: 6px; padding: 8px; }
figcaption { font-weight: 600; margin: 0 0 4px 8px; } svg { display: block; width: 100%; height: auto; }
summary { cursor: pointer; margin-top: 12px; }
";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Load test</title>\
         <style>{STYLE}</style></head><body>\n<h1>Load test</h1>\n<p>{} {}</p>\n",
        verdict(report.green, "All green."),
        escape(&place(report))
    );
    let _ = writeln!(html, "<div class=\"wide\"><table><tr>{}</tr>", row("th", COLUMNS.map(str::to_owned)));
    for outcome in &report.outcomes {
        let _ = writeln!(html, "<tr>{}</tr>", row("td", cells(outcome)));
    }
    html.push_str("</table></div>\n");
    for outcome in &report.outcomes {
        section(&mut html, outcome);
    }
    html.push_str("</body></html>\n");
    html
}

fn section(html: &mut String, outcome: &Outcome) {
    let green = verdict(outcome.green, "green");
    let _ = writeln!(
        html,
        "<h2>{} <small>{green}</small></h2>\n<p>{}.</p>\n<ul>",
        outcome.scenario,
        escape(outcome.says)
    );
    for fact in facts(outcome) {
        let _ = writeln!(html, "<li>{}</li>", escape(&fact));
    }
    html.push_str("</ul>\n<div class=\"plots\">\n");
    for plot in plots::of(outcome) {
        let _ =
            writeln!(html, "<figure><figcaption>{}</figcaption>{}</figure>", escape(plot.title), plot.svg());
    }
    let kept = outcome.thresholds.iter().filter(|one| one.kept).count();
    let _ = writeln!(
        html,
        "</div>\n<details><summary>{kept} of {} thresholds kept</summary><div class=\"wide\"><table class=\"limits\">\
         <tr><th>metric</th><th>limit</th><th></th></tr>",
        outcome.thresholds.len()
    );
    for one in &outcome.thresholds {
        let kept = verdict(one.kept, "kept");
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{kept}</td></tr>",
            escape(&one.metric),
            escape(&one.limit)
        );
    }
    html.push_str("</table></div></details>\n");
}

fn verdict(good: bool, word: &str) -> String {
    if good {
        format!("<span class=\"good\">{word}</span>")
    } else {
        "<span class=\"bad\">NOT GREEN</span>".to_owned()
    }
}

fn row(cell: &str, cells: [String; 12]) -> String {
    cells.into_iter().map(|text| format!("<{cell}>{}</{cell}>", escape(&text))).collect()
}
