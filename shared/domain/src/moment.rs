//! A time as clients write it.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A time as RFC 3339 has it, in UTC. One whose year has not four digits there is none (9999-12-31T23:59:59-01:00): nothing could
/// show it, and most that reckons with it would panic.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    (at.year() >= 0).then_some(at)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_one_in_utc_or_none() {
        for (text, at) in [
            ("2026-01-31T18:00:00.5+01:00", Some(datetime!(2026-01-31 17:00:00.5 UTC))),
            ("9999-12-31T23:59:59Z", Some(datetime!(9999-12-31 23:59:59 UTC))),
            ("0000-01-01T00:00:00Z", Some(datetime!(0000-01-01 0:00 UTC))),
            ("9999-12-31T23:59:59-01:00", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("2026-01-31", None),
            ("", None),
        ] {
            assert_eq!(parse(text), at, "{text}");
        }
    }
}
