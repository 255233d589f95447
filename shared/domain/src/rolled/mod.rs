//! rolled: what has happened, counted by quarters of an hour: which numbers each event adds to which cells. Pure: the follower
//! writes the cells where its cursor stands, and a rebuild writes the same from the beginning.
//!
//! A stay in a status is counted to the quarter of its **entry**, however much later it ends: so no number is ever late, and what
//! a quarter shows of its stays is corrected as they end.

pub mod cells;
pub mod hour;
pub mod lengths;
pub mod money;
pub mod packed;
pub mod story;

use time::OffsetDateTime;

/// Seconds in a quarter of an hour: every time zone's hours begin with one.
pub const QUARTER_SECONDS: i64 = 900;
/// What stands for a reason that people wrote in their own words.
pub const OTHER_REASON: &str = "other";
/// What stands for no reason.
pub const NO_REASON: &str = "none";
/// Longest code that is counted by itself.
const MAX_CODE: usize = 50;

/// The quarter of an hour that this falls into: its beginning.
pub fn quarter_of(at: OffsetDateTime) -> OffsetDateTime {
    let within = at.unix_timestamp().rem_euclid(QUARTER_SECONDS);
    let begun = at.unix_timestamp() - within;
    OffsetDateTime::from_unix_timestamp(begun).unwrap_or(at)
}

/// What a reason is counted as: codes by themselves. Words of people would be as many as there are orders, and may name somebody.
pub fn reason_code(reason: Option<&str>) -> &str {
    let Some(reason) = reason else { return NO_REASON };
    let of_code = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_code = reason.len() <= MAX_CODE
        && reason.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && reason.bytes().all(of_code);
    if is_code { reason } else { OTHER_REASON }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_quarter_begins_on_the_quarter_also_before_1970() {
        let quarter = datetime!(2026-03-29 00:45 UTC);
        assert_eq!(quarter_of(datetime!(2026-03-29 00:59:59.999999 UTC)), quarter);
        assert_eq!(quarter_of(quarter), quarter);
        assert_eq!(quarter_of(datetime!(1969-12-31 23:59 UTC)), datetime!(1969-12-31 23:45 UTC));
    }

    #[test]
    fn only_codes_are_counted_by_themselves() {
        for code in ["no_show", "accept_deadline", "card_declined", "e51"] {
            assert_eq!(reason_code(Some(code)), code);
        }
        let long = "x".repeat(51);
        for words in ["Ann is ill", "", "closed!", "5", "Closed", &long] {
            assert_eq!(reason_code(Some(words)), OTHER_REASON);
        }
        assert_eq!(reason_code(None), NO_REASON);
    }
}
