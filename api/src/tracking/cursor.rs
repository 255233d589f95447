//! A place in what has happened, as it is handed out: opaque text. What it says is compared with the feed when it comes back, so it
//! need not be signed; a sum over it tells one that was cut off or mistyped from one that is gone.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use sha2::{Digest, Sha256};
use store::feed::Cursor;
use time::OffsetDateTime;
use uuid::Uuid;

/// How it is written.
const FORM: u8 = 1;
/// Bytes of the sum.
const SUM: usize = 4;

/// The text of a cursor.
pub(super) fn write(cursor: &Cursor) -> String {
    let micros = i64::try_from(cursor.noted_at.unix_timestamp_nanos() / 1_000).unwrap_or_default();
    let mut bytes = vec![FORM];
    bytes.extend(cursor.tick.to_be_bytes());
    bytes.extend(micros.to_be_bytes());
    if let Some((subject, version)) = cursor.within {
        bytes.extend(subject.as_bytes());
        bytes.extend(version.to_be_bytes());
    }
    let sum = sum(&bytes);
    bytes.extend(sum);
    B64.encode(bytes)
}

/// The cursor that a text is, if it is one.
pub(super) fn read(text: &str) -> Option<Cursor> {
    let bytes = B64.decode(text).ok()?;
    let (said, its_sum) = bytes.split_last_chunk::<SUM>()?;
    let (form, rest) = said.split_first()?;
    if *form != FORM || sum(said) != *its_sum {
        return None;
    }
    let (tick, rest) = rest.split_first_chunk()?;
    let (micros, rest) = rest.split_first_chunk()?;
    let within = match rest {
        [] => None,
        within => {
            let (subject, version) = within.split_first_chunk()?;
            Some((Uuid::from_bytes(*subject), i32::from_be_bytes(version.try_into().ok()?)))
        }
    };
    let nanos = i128::from(i64::from_be_bytes(*micros)) * 1_000;
    let noted_at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(Cursor { tick: i64::from_be_bytes(*tick), noted_at, within })
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let hash = Sha256::digest(bytes);
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_a_broken_one_is_none() {
        let noted_at = datetime!(2026-01-31 17:02:11.000001 UTC);
        for within in [None, Some((Uuid::from_u128(7), 3))] {
            let cursor = Cursor { tick: 12, noted_at, within };
            let text = write(&cursor);
            assert_eq!(read(&text), Some(cursor));
            for end in 0..text.len() {
                assert_eq!(read(&text[..end]), None, "{end}");
            }
            assert_eq!(read(&format!("{text}A")), None);
            let other = if text.as_bytes()[5] == b'B' { "C" } else { "B" };
            assert_eq!(read(&format!("{}{other}{}", &text[..5], &text[6..])), None);
        }
        assert_eq!(read("latest"), None);
    }
}
