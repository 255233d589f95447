//! What people met with their orders after the 202, as they saw it: how long each step took them, how often nobody could tell
//! them, and how the kitchen fared with what it looked at. A kitchen that is late with everything would hide what goes wrong
//! behind the deadline's rejections, so the report shows all of this.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::recovery::Spread;

/// All of it, while it happens.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    took: BTreeMap<&'static str, Vec<Duration>>,
    unanswered: BTreeMap<String, u64>,
    kitchen: BTreeMap<String, u64>,
}

/// The same, for reports.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stepped {
    /// From the first request until somebody said yes or no, by what was asked for.
    pub took: BTreeMap<&'static str, Spread>,
    /// Requests that were no answer, by what was asked for and what was met.
    pub unanswered: BTreeMap<String, u64>,
    /// What became of the kitchen's first word on an order.
    pub kitchen: BTreeMap<String, u64>,
}

impl Steps {
    /// Somebody was told yes or no.
    pub(crate) fn answered(&mut self, step: &'static str, took: Duration) {
        self.took.entry(step).or_default().push(took);
    }

    /// Somebody was told neither; 0: nothing at all.
    pub(crate) fn unanswered(&mut self, step: &str, status: u16) {
        let met = if status == 0 { "no answer".to_owned() } else { status.to_string() };
        *self.unanswered.entry(format!("{step}: {met}")).or_default() += 1;
    }

    /// The kitchen's first word on an order came to this.
    pub(crate) fn kitchen(&mut self, what: String) {
        *self.kitchen.entry(what).or_default() += 1;
    }

    /// For reports.
    pub(crate) fn sum(self) -> Stepped {
        let took = self.took.into_iter().map(|(step, took)| (step, Spread::of(took))).collect();
        Stepped { took, unanswered: self.unanswered, kitchen: self.kitchen }
    }
}

/// What is asked for, by its path.
pub(crate) fn name(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("accept") => "accept",
        Some("reject") => "reject",
        Some("cancel") => "cancel",
        Some("items") => "items",
        Some("payment") => "payment",
        Some("no-show") => "no-show",
        Some("orders") => "channel",
        _ => "status",
    }
}
