//! docs/metrics.md: every metric, from the one list.

use std::fmt::Write;

use runtime::metric_list::{ALL, Kind, Metric, Values};

/// The whole page.
pub fn metrics_page() -> String {
    let mut page = String::from(
        "# Every metric\n\nWritten by `cargo run -p dashboards` from [metric_list.rs](../shared/runtime/src/metric_list.rs); a test \
         compares a scrape with it.\nThe first word of a name is the verb that it is about. Counters are of one process since \
         its start; what begins with\n\"From the database\" or \"From the broker\" is of the whole: every worker says the same, \
         so take the `max`.\n\n| metric | type | unit | labels | programs | says |\n|---|---|---|---|---|---|\n",
    );
    for metric in ALL {
        let Metric { name, kind, programs, help, .. } = metric;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let unit = metric.unit.as_str();
        let labels = labels(metric);
        // Writing to a string does not fail.
        let _ =
            writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {} | {help} |", programs.join(", "));
    }
    page
}

fn labels(metric: &Metric) -> String {
    let label = |label: &runtime::metric_list::Label| match label.values {
        Values::Of(values) => format!("`{}`: {}", label.name, values.join(", ")),
        Values::By(bound) => format!("`{}`: {bound}", label.name),
    };
    metric.labels.iter().map(label).collect::<Vec<_>>().join("; ")
}
