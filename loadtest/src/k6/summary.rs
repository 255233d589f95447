//! What k6 sums up in the end: its metrics, and which thresholds were crossed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// As `--summary-export` writes it.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    metrics: BTreeMap<String, Metric>,
}

#[derive(Debug, Deserialize)]
struct Metric {
    /// k6 writes true where one was crossed.
    #[serde(default)]
    thresholds: BTreeMap<String, bool>,
    #[serde(flatten)]
    values: BTreeMap<String, serde_json::Value>,
}

/// A limit that a script sets itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Threshold {
    pub(super) metric: String,
    pub(super) limit: String,
    pub(super) kept: bool,
}

impl Summary {
    pub(super) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("k6's summary is none")
    }

    pub(super) fn thresholds(&self) -> Vec<Threshold> {
        let of = |(metric, body): (&String, &Metric)| -> Vec<Threshold> {
            let of_one = body.thresholds.iter().map(|(limit, crossed)| Threshold {
                metric: metric.clone(),
                limit: limit.clone(),
                kept: !crossed,
            });
            of_one.collect()
        };
        self.metrics.iter().flat_map(of).collect()
    }

    /// A counter's sum; 0 where nothing was counted.
    pub(super) fn count(&self, metric: &str) -> u64 {
        let value = self.metrics.get(metric).and_then(|metric| metric.values.get("count"));
        value.and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    /// A gauge's last value.
    pub(super) fn value(&self, metric: &str) -> Option<f64> {
        self.metrics.get(metric)?.values.get("value")?.as_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossed_threshold_is_not_kept() {
        let summary = Summary::read(
            r#"{"metrics":{"orders_lost":{"count":2,"rate":0.1,"thresholds":{"count==0":true}},
                "drain_seconds":{"value":1.5,"min":1,"max":2,"thresholds":{"value<10":false}},"vus":{"value":1}},
                "root_group":{"name":""}}"#,
        )
        .unwrap();
        let kept: Vec<(String, bool)> =
            summary.thresholds().into_iter().map(|one| (one.metric, one.kept)).collect();
        assert_eq!(kept, [("drain_seconds".to_owned(), true), ("orders_lost".to_owned(), false)]);
        assert_eq!((summary.count("orders_lost"), summary.count("nothing")), (2, 0));
        assert_eq!((summary.value("drain_seconds"), summary.value("nothing")), (Some(1.5), None));
    }
}
