//! What people were told of what they wanted of the shop.

use std::collections::BTreeMap;

use uuid::Uuid;

/// What was taken, and what was refused, as the clients heard it.
#[derive(Debug, Clone, Default)]
pub struct Sales {
    /// Orders that were answered 202, and how many of which each takes.
    pub taken: Vec<(Uuid, Vec<(Uuid, u32)>)>,
    /// Orders and carts that were refused because there was not enough, by the article that each named first.
    pub refused: BTreeMap<Uuid, u64>,
    /// What became of carts.
    pub carts: BTreeMap<&'static str, u64>,
}

impl Sales {
    pub(crate) fn refuse(&mut self, takes: &[(Uuid, u32)]) {
        if let Some((article, _)) = takes.first() {
            *self.refused.entry(*article).or_default() += 1;
        }
    }

    pub(crate) fn cart(&mut self, what: &'static str) {
        *self.carts.entry(what).or_default() += 1;
    }

    /// Refused in all.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}
