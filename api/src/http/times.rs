//! Times in answers: RFC 3339 in UTC, all of one width, so that their order as texts is their order in time. PostgreSQL counts in
//! microseconds, and so does this. Written by hand: `time`'s own takes ten times as long, and each order has several.

use serde::Serializer;
use serde::ser::Error;
use time::{OffsetDateTime, UtcOffset};

/// For `#[serde(with = ..)]`.
pub(crate) fn serialize<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = written(*at).ok_or_else(|| S::Error::custom("a year that has not four digits"))?;
    serializer.serialize_str(str::from_utf8(&text).map_err(S::Error::custom)?)
}

/// The same for times that may be missing.
pub(crate) mod option {
    use serde::{Serialize, Serializer};
    use time::OffsetDateTime;

    struct At<'a>(&'a OffsetDateTime);

    impl Serialize for At<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serialize(self.0, serializer)
        }
    }

    pub(crate) fn serialize<S: Serializer>(
        at: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.as_ref().map(At).serialize(serializer)
    }
}

fn written(at: OffsetDateTime) -> Option<[u8; 27]> {
    let at = at.checked_to_offset(UtcOffset::UTC)?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, micro) = at.to_hms_micro();
    let year = u32::try_from(year).ok().filter(|year| *year <= 9_999)?;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[..4], year);
    for (at, number) in [(5, u8::from(month)), (8, day), (11, hour), (14, minute), (17, second)] {
        digits(&mut text[at..at + 2], number.into());
    }
    digits(&mut text[20..26], micro);
    Some(text)
}

fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use time::macros::datetime;

    use super::*;

    #[derive(Serialize)]
    struct Ours(#[serde(with = "super")] OffsetDateTime);

    fn ours(at: OffsetDateTime) -> Option<String> {
        serde_json::to_string(&Ours(at)).ok()
    }

    #[test]
    fn a_time_has_six_places_whatever_it_is_and_is_told_in_utc() {
        for (at, expected) in [
            (datetime!(1970-01-01 0:00 UTC), "1970-01-01T00:00:00.000000Z"),
            (datetime!(2026-01-31 18:02:11.5 +1), "2026-01-31T17:02:11.500000Z"),
            (datetime!(2026-12-09 07:08:09.000001 UTC), "2026-12-09T07:08:09.000001Z"),
            (datetime!(9999-12-31 23:59:59.999999 UTC), "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(ours(at), Some(format!("\"{expected}\"")));
            let read = OffsetDateTime::parse(expected, &time::format_description::well_known::Rfc3339);
            assert_eq!(read.unwrap(), at);
        }
        assert_eq!(ours(datetime!(-1-01-01 0:00 UTC)), None, "no such year there");
    }
}
