//! document: which of its platform's documents one is, and how new, by the platform's own word. No I/O.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Which document it is, and how new, by its platform's own word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The platform's own name for it, which no other one ever has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it came to be there.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::timestamp::option")]
    pub made_at: Option<OffsetDateTime>,
    /// When it was last changed there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::timestamp::milliseconds::option"
    )]
    pub changed_at: Option<OffsetDateTime>,
    /// How many steps of the order's life there it tells of.
    #[serde(default)]
    pub steps: usize,
    /// Hashes of what it said before, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

impl Document {
    /// What no other document is called, where it has a name.
    pub fn name(&self) -> Option<String> {
        let made_at = self.made_at.map(|at| at.unix_timestamp().to_string()).unwrap_or_default();
        Some(format!("{} {made_at}", self.id.as_ref()?))
    }

    /// Whether nothing says that it is another one.
    pub fn may_be(&self, kept: &Self) -> bool {
        same(self.id.as_ref(), kept.id.as_ref()) != Some(false) && self.same_time(kept) != Some(false)
    }

    /// Whether something says that it is this one; or neither says anything.
    pub fn is_surely(&self, kept: &Self) -> bool {
        let is_named = |one: &Self| one.id.is_some() || one.made_at.is_some();
        let known = [same(self.id.as_ref(), kept.id.as_ref()), self.same_time(kept)];
        !known.contains(&Some(false)) && (known.contains(&Some(true)) || !(is_named(self) || is_named(kept)))
    }

    /// Whether all that is said says that it is another one.
    pub(super) fn is_another(&self, kept: &Self) -> bool {
        let known = [same(self.id.as_ref(), kept.id.as_ref()), self.same_time(kept)];
        known.contains(&Some(false)) && !known.contains(&Some(true))
    }

    fn same_time(&self, kept: &Self) -> Option<bool> {
        let seconds = |one: &Self| one.made_at.map(OffsetDateTime::unix_timestamp);
        same(seconds(self), seconds(kept))
    }

    /// Whether it is newer than what is kept, or older; `None`: it does not say.
    pub(super) fn is_newer(&self, kept: &Self) -> Option<bool> {
        let times = self.changed_at.zip(kept.changed_at).filter(|(told, kept)| told != kept);
        times
            .map(|(told, kept)| told > kept)
            .or_else(|| (self.steps != kept.steps).then_some(self.steps > kept.steps))
    }
}

/// Whether both are the same, where there are both.
fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<bool> {
    one.zip(other).map(|(one, other)| one == other)
}
