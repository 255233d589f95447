//! What both statements of accept take and give.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Accept;

/// Which orders of a batch were written: the rest is there already, or its names are taken.
pub(super) struct Written {
    /// Since when they are there.
    pub(super) at: OffsetDateTime,
    /// `None`: all of them.
    pub(super) only: Option<Vec<Uuid>>,
}

impl Written {
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&id))
    }
}

/// A batch by columns, as `unnest` takes it.
pub(super) struct Columns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) totals: Vec<i64>,
    pub(super) currencies: Vec<&'a str>,
    pub(super) customers: Vec<&'a str>,
    pub(super) items: Vec<&'a str>,
    pub(super) principals: Vec<Option<&'a str>>,
    pub(super) keys: Vec<Option<&'a str>>,
    pub(super) hashes: Vec<Option<&'a [u8]>>,
    pub(super) keeps: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(batch: impl IntoIterator<Item = &'a Accept> + Clone) -> Self {
        let orders = || batch.clone().into_iter().map(|one| &one.order);
        let keys = || batch.clone().into_iter().map(|one| one.key.as_ref());
        Self {
            ids: orders().map(|order| order.id).collect(),
            totals: orders().map(|order| order.total.minor()).collect(),
            currencies: orders().map(|order| order.total.currency().code()).collect(),
            customers: orders().map(|order| order.customer_id.as_str()).collect(),
            items: orders().map(|order| order.items.get()).collect(),
            principals: keys().map(|key| Some(key?.principal.as_str())).collect(),
            keys: keys().map(|key| Some(key?.key.as_str())).collect(),
            hashes: keys().map(|key| Some(key?.request_hash.as_slice())).collect(),
            keeps: keys().map(|key| Some(crate::millis(key?.keep))).collect(),
        }
    }
}
