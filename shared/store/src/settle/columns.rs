//! What all statements of a settlement take.

use domain::payment::AttemptOutcome;
use uuid::Uuid;

use super::{Next, Settlement};

/// Columns of a batch that all statements take.
pub(super) struct Columns {
    pub(super) ids: Vec<Uuid>,
    pub(super) epochs: Vec<i32>,
    pub(super) numbers: Vec<i32>,
    pub(super) outcomes: Vec<AttemptOutcome>,
    pub(super) codes: Vec<Option<String>>,
    pub(super) messages: Vec<Option<String>>,
    pub(super) gateway_ids: Vec<Option<String>>,
    pub(super) delays: Vec<i64>,
    pub(super) spends: Vec<i32>,
    pub(super) voids: Vec<bool>,
}

impl Columns {
    pub(super) fn of(batch: &[&Settlement]) -> Self {
        let retry = |one: &Settlement| match &one.next {
            Next::Retry { delay, spend, void } => (crate::millis(*delay), i32::from(*spend), *void),
            Next::Succeeded { .. } | Next::Failed => (0, 0, false),
        };
        let gateway_id = |one: &Settlement| match &one.next {
            Next::Succeeded { gateway_id } => Some(gateway_id.clone()),
            Next::Failed | Next::Retry { .. } => None,
        };
        Self {
            ids: batch.iter().map(|one| one.payment_id).collect(),
            epochs: batch.iter().map(|one| one.epoch).collect(),
            numbers: batch.iter().map(|one| one.number).collect(),
            outcomes: batch.iter().map(|one| one.outcome).collect(),
            codes: batch.iter().map(|one| one.code.clone()).collect(),
            messages: batch.iter().map(|one| one.message.clone()).collect(),
            gateway_ids: batch.iter().map(|one| gateway_id(one)).collect(),
            delays: batch.iter().map(|one| retry(one).0).collect(),
            spends: batch.iter().map(|one| retry(one).1).collect(),
            voids: batch.iter().map(|one| retry(one).2).collect(),
        }
    }
}
