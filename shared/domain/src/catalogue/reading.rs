//! Readers that the requests of the catalogue have in common.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::decimal::whole;
use crate::problems::Problems;

/// A whole number within a range.
pub(crate) fn whole_number(
    problems: &mut Problems,
    attr: impl Display,
    raw: &RawValue,
    range: RangeInclusive<i64>,
) -> Option<i64> {
    let number = whole(raw.get()).and_then(|digits| digits.parse().ok()).filter(|n| range.contains(n));
    if number.is_none() {
        let detail = format!("must be a whole number from {} to {}", range.start(), range.end());
        problems.add(attr, "out_of_range", detail);
    }
    number
}

/// Yes or no.
pub(crate) fn flag(problems: &mut Problems, attr: impl Display, raw: &RawValue) -> bool {
    let flag = serde_json::from_str::<bool>(raw.get()).ok();
    if flag.is_none() {
        problems.add(attr, "not_a_flag", "must be true or false");
    }
    flag.unwrap_or(false)
}

/// An id of ours.
pub(crate) fn id(problems: &mut Problems, attr: impl Display, raw: Option<&RawValue>) -> Option<Uuid> {
    let raw = problems.present(&attr, raw)?;
    let id = serde_json::from_str::<Uuid>(raw.get()).ok();
    if id.is_none() {
        problems.add(attr, "no_id", "must be an id that was given here");
    }
    id
}
