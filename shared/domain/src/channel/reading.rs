//! Documents of others, read with patience: what is empty counts as left out, an id may be a number, a number may be written as a
//! serialiser of doubles writes it. What is wrong all the same is a problem with a place, as its sender calls it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

use crate::decimal;
use crate::money::MAX_MINOR;
use crate::problems::Problems;

/// Longest time.
const MAX_TIME_CHARS: usize = 40;
/// Years in which orders are wanted: others are rubbish that a clock or a default left.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;

/// How the amounts of a document are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Of the currency: digits behind the point.
    pub(crate) places: u8,
    /// How many of the digits that are written stand behind the point.
    pub(crate) digits: u8,
}

/// An object of a document, and where it stands.
pub(crate) struct Object<'a> {
    place: String,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// The whole document.
    pub(crate) fn whole(raw: &'a RawValue, problems: &mut Problems) -> Self {
        Self::read(String::new(), raw, problems)
    }

    fn read(place: String, raw: &'a RawValue, problems: &mut Problems) -> Self {
        let shown = if place.is_empty() { "body" } else { &place };
        Self { fields: problems.object(shown, raw).unwrap_or_default(), place }
    }

    /// What a field of it is called from outside.
    pub(crate) fn at(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// A field as it came, where there is something in it.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.as_it_came(name).filter(|raw| !is_nothing(raw.get()))
    }

    /// The same, though there be nothing in it.
    pub(crate) fn as_it_came(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied()
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// An object in it; an empty one where there is none.
    pub(crate) fn object(&self, name: &str, problems: &mut Problems) -> Self {
        let place = self.at(name);
        match self.raw(name) {
            Some(raw) => Self::read(place, raw, problems),
            None => Self { place, fields: BTreeMap::new() },
        }
    }

    /// The objects of a list in it.
    pub(crate) fn list(&self, name: &str, most: usize, problems: &mut Problems) -> Vec<Self> {
        let Some(raw) = self.raw(name) else { return Vec::new() };
        let place = self.at(name);
        match serde_json::from_str::<Vec<&'a RawValue>>(raw.get()) {
            Err(_) => problems.add(place, "not_a_list", "must be a list of objects"),
            Ok(all) if all.len() > most => {
                problems.add(place, "too_many", format!("must have at most {most} entries"));
            }
            Ok(all) => {
                let read = |(index, raw)| Self::read(format!("{place}[{index}]"), raw, problems);
                return all.into_iter().enumerate().map(read).collect();
            }
        }
        Vec::new()
    }

    /// How many entries a list in it has; none where it is no list.
    pub(crate) fn entries(&self, name: &str) -> usize {
        let list = self.as_it_came(name).map(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()));
        list.and_then(Result::ok).map_or(0, |list| list.len())
    }

    /// A text, or a number as one.
    fn plain_text(&self, name: &str, problems: &mut Problems) -> Option<String> {
        let raw = self.raw(name)?.get();
        if raw.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Some(decimal::whole(raw).unwrap_or_else(|| raw.to_owned()));
        }
        let text = serde_json::from_str::<String>(raw);
        text.inspect_err(|_| problems.add(self.at(name), "not_text", "must be a string")).ok()
    }

    /// What tells things apart.
    pub(crate) fn id(&self, name: &str, problems: &mut Problems) -> Option<String> {
        let text = self.plain_text(name, problems)?;
        let raw = serde_json::value::to_raw_value(&text).expect("a string is JSON");
        problems.id(self.at(name), Some(&raw))
    }

    /// A text of one line: breaks become commas.
    pub(crate) fn line(&self, name: &str, max_chars: usize, problems: &mut Problems) -> Option<String> {
        let text = self.plain_text(name, problems)?;
        let parts = text.split(['\r', '\n', '\t', '\u{2028}', '\u{2029}']).map(str::trim);
        let text = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        let raw = serde_json::value::to_raw_value(&text).expect("a string is JSON");
        if text.is_empty() { None } else { problems.text(self.at(name), Some(&raw), max_chars) }
    }

    /// A text of several lines.
    pub(crate) fn note(&self, name: &str, max_chars: usize, problems: &mut Problems) -> Option<String> {
        self.plain_text(name, problems)?;
        problems.note(self.at(name), self.raw(name), max_chars)
    }

    /// Yes or no.
    pub(crate) fn flag(&self, name: &str, problems: &mut Problems) -> Option<bool> {
        let flag = serde_json::from_str::<bool>(self.raw(name)?.get());
        flag.inspect_err(|_| problems.add(self.at(name), "not_true_or_false", "must be true or false")).ok()
    }

    /// A whole number from a range.
    pub(crate) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
        problems: &mut Problems,
    ) -> Option<i64> {
        let raw = self.raw(name)?.get();
        let Some(whole) = decimal::whole(unquoted(raw)) else {
            problems.add(self.at(name), "not_whole", "must be a whole number");
            return None;
        };
        let number = whole.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("must be from {} to {}", range.start(), range.end());
            problems.add(self.at(name), "out_of_range", detail);
        }
        number
    }

    /// An amount with its sign, in minor units of the currency; quoted or not.
    pub(crate) fn amount(&self, name: &str, scale: Scale, problems: &mut Problems) -> Option<i64> {
        let read = minor(unquoted(self.raw(name)?.get()), scale);
        read.inspect_err(|(code, detail)| problems.add(self.at(name), code, *detail)).ok()
    }

    /// A time, as it came; the usual spellings of ISO 8601, of a year in which somebody orders.
    pub(crate) fn time(&self, name: &str, problems: &mut Problems) -> Option<OffsetDateTime> {
        let text = self.line(name, MAX_TIME_CHARS, problems)?;
        let time = read_time(&text).filter(|time| YEARS.contains(&time.year()));
        if time.is_none() {
            problems.add(
                self.at(name),
                "no_time",
                "must be a time such as 2026-01-31T18:00:00Z, of our days",
            );
        }
        time
    }
}

/// Whether there is nothing in it: null, nothing but spaces, no field, no entry.
fn is_nothing(raw: &str) -> bool {
    let inside = |open, close| raw.strip_prefix(open).and_then(|raw| raw.strip_suffix(close));
    let inside = inside('"', '"').or_else(|| inside('{', '}')).or_else(|| inside('[', ']'));
    raw == "null" || inside.is_some_and(|inside| inside.trim().is_empty())
}

/// A number that is written as a text.
pub(crate) fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).map_or(raw, str::trim)
}

/// A number in minor units of the currency, exact.
pub(crate) fn minor(text: &str, scale: Scale) -> Result<i64, (&'static str, &'static str)> {
    const NOT_DECIMAL: (&str, &str) = ("not_decimal", "must be a decimal number such as 12.99");
    let plain = decimal::without_exponent(text);
    let plain = plain.as_deref().unwrap_or(text);
    let (negative, digits) = plain.strip_prefix('-').map_or((false, plain), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(NOT_DECIMAL);
    }
    let all: String = [whole, fraction].concat();
    // Where the point of minor units stands.
    let point = whole.len() + usize::from(scale.places);
    let Some(point) = point.checked_sub(scale.digits.into()) else {
        return if all.bytes().all(|b| b == b'0') { Ok(0) } else { Err(TOO_PRECISE) };
    };
    let (before, behind) = all.split_at(point.min(all.len()));
    if behind.bytes().any(|b| b != b'0') {
        return Err(TOO_PRECISE);
    }
    let mut minor: i64 = 0;
    for digit in before.bytes().chain(std::iter::repeat_n(b'0', point - before.len())) {
        minor = minor * 10 + i64::from(digit - b'0');
        if minor > MAX_MINOR {
            return Err(("too_large", "is too large"));
        }
    }
    Ok(if negative { -minor } else { minor })
}

const TOO_PRECISE: (&str, &str) = ("too_precise", "has more decimal places than its currency allows");

/// The usual spellings: with or without a colon in the offset, seconds or a `T`. One without an offset is meant in UTC, as the
/// platforms write it.
pub(crate) fn read_time(text: &str) -> Option<OffsetDateTime> {
    let mut text = text.trim().replacen(' ', "T", 1).replace(' ', "");
    // +0100 behind a time that has colons.
    let offset = text.len().saturating_sub(5);
    let is_offset = text.get(offset..).is_some_and(|offset| {
        offset.starts_with(['+', '-']) && offset[1..].bytes().all(|b| b.is_ascii_digit())
    });
    if is_offset && text.contains('T') && text.contains(':') {
        text.insert(offset + 3, ':');
    }
    let known = |text: &str| {
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT)).ok()
    };
    let utc = || text.contains('T').then(|| known(&format!("{text}Z"))).flatten();
    known(&text).or_else(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, places: u8, digits: u8) -> Result<i64, &'static str> {
        minor(text, Scale { places, digits }).map_err(|(code, _)| code)
    }

    #[test]
    fn an_amount_is_read_exactly_whichever_unit_it_is_written_in() {
        for (text, places, digits, minor) in [
            ("12.99", 2, 0, 1299),
            ("12.990", 2, 0, 1299),
            ("1299", 2, 2, 1299),
            ("1299.0", 2, 2, 1299),
            ("-1.5", 2, 0, -150),
            ("-150", 2, 2, -150),
            ("1.2e1", 2, 0, 1200),
            ("120000", 0, 2, 1200),
            ("1200", 0, 0, 1200),
            ("1234", 3, 2, 12_340),
            ("1234", 3, 3, 1234),
            ("0", 0, 2, 0),
            ("00012", 2, 2, 12),
            ("5", 2, 2, 5),
            ("5", 4, 2, 500),
        ] {
            assert_eq!(read(text, places, digits), Ok(minor), "{text} {places} {digits}");
        }
        for (text, places, digits, code) in [
            ("12.999", 2, 0, "too_precise"),
            ("1299.5", 2, 2, "too_precise"),
            ("120050", 0, 2, "too_precise"),
            ("5", 0, 2, "too_precise"),
            ("12,99", 2, 0, "not_decimal"),
            ("", 2, 0, "not_decimal"),
            ("1.", 2, 0, "not_decimal"),
            ("true", 2, 0, "not_decimal"),
            ("99999999999999999999999", 2, 2, "too_large"),
        ] {
            assert_eq!(read(text, places, digits), Err(code), "{text} {places} {digits}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_usually_spelt() {
        let expected = read_time("2026-01-31T17:30:00Z");
        assert!(expected.is_some());
        for same in [
            "2026-01-31T18:30:00+01:00",
            "2026-01-31T18:30:00+0100",
            "2026-01-31 17:30:00Z",
            "2026-01-31T17:30:00.000000Z",
            "2026-01-31T17:30:00",
            "2026-01-31T17:30Z",
            "20260131T173000Z",
            " 2026-01-31T17:30:00Z ",
        ] {
            assert_eq!(read_time(same), expected, "{same}");
        }
        for none in ["noon", "2026-01-31", "31.01.2026 17:30", "2026-02-30T17:30:00Z", "1769880600", ""] {
            assert_eq!(read_time(none), None, "{none}");
        }
    }
}
