//! content: what a JSON document says, however it is written. Spaces, the order of fields, `12.0` for `12`, an escaped letter and a
//! field that is null make no difference; every other field does, also one that nobody reads yet.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

/// Whole numbers below this are exact however they are written.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// SHA-256 of what `json` says; an empty text says as much as `{}`. What is no JSON, or has a number or a depth that there is
/// not, says what it says byte by byte.
pub fn content_hash(json: &[u8]) -> [u8; 32] {
    let json = if json.is_empty() { b"{}" } else { json };
    canonical(json).map_or_else(|_| Sha256::digest(json), Sha256::digest).into()
}

fn canonical(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut written = Vec::with_capacity(json.len());
    let mut reader = serde_json::Deserializer::from_slice(json);
    Writer(&mut written).deserialize(&mut reader)?;
    reader.end()?;
    Ok(written)
}

/// The name of a field that is given twice in one object of `json`, however deep: of two, somebody reads the first and somebody
/// else the last.
pub fn repeated(json: &[u8]) -> Option<String> {
    let found = std::cell::Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    // What is no JSON is told by whoever reads it.
    let _ = Once(&found).deserialize(&mut reader);
    found.into_inner()
}

/// Walks through a value, and ends where a field is given twice.
#[derive(Clone, Copy)]
struct Once<'c>(&'c std::cell::Cell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut names = std::collections::HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if names.contains(&name) {
                self.0.set(Some(name));
                return Err(serde::de::Error::custom("a field given twice"));
            }
            names.insert(name);
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// What a null is written as.
const NULL: &[u8] = b"n";

/// Writes a value behind what is written already, so that no two values are written alike: each begins with its kind, and says
/// how long it is or where it ends. Numbers have no more digits than a double tells apart, which is more than money may have.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn sized(self, kind: u8, text: &str) {
        self.0.push(kind);
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.extend_from_slice(NULL);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push(if value { b't' } else { b'f' });
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.sized(b'0', &number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.sized(b'0', &number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        let is_whole = number.fract() == 0.0 && number.abs() < EXACT;
        self.sized(b'0', &if is_whole { (number as i64).to_string() } else { number.to_string() });
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.sized(b'"', text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        while list.next_element_seed(Writer(self.0))?.is_some() {}
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (start, out) = (self.0.len(), self.0);
        let mut places = Vec::new();
        loop {
            let from = out.len();
            if fields.next_key_seed(Writer(out))?.is_none() {
                break;
            }
            let value = out.len();
            fields.next_value_seed(Writer(out))?;
            if out[value..] == *NULL {
                out.truncate(from);
            } else {
                places.push(from - start..out.len() - start);
            }
        }
        let unsorted = out.split_off(start);
        places.sort_by(|a, b| unsorted[a.clone()].cmp(&unsorted[b.clone()]));
        out.push(b'{');
        places.into_iter().for_each(|field| out.extend_from_slice(&unsorted[field]));
        out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        content_hash(one.as_bytes()) == content_hash(other.as_bytes())
    }

    #[test]
    fn how_it_is_written_makes_no_difference() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,"x"]}"#, " { \"b\" : [ true , \"\\u0078\" ],\n\"a\":1}\n"),
            (r#"{"price":12}"#, r#"{"price":12.0}"#),
            (r#"{"price":12.5}"#, r#"{"price":12.50}"#),
            (r#"{"price":1250}"#, r#"{"price":1.25e3}"#),
            ("0", "-0.0"),
            (r#"{"a":{"x":1,"y":2},"b":null}"#, r#"{"a":{"y":2,"x":1}}"#),
            ("", "{}"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_field_that_is_given_twice_is_found_however_deep() {
        let found = |json: &str| repeated(json.as_bytes());
        for (json, name) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"x":[{"y":{"b":1,"c":{},"b":2}}]}"#, "b"),
            (r#"[{"a":1},{"a":1,"\u0061":2}]"#, "a"),
        ] {
            assert_eq!(found(json).as_deref(), Some(name), "{json}");
        }
        for json in [r#"{"a":{"a":[{"a":1},{"a":1}]}}"#, "[1,1]", "", "{", "1e999"] {
            assert_eq!(found(json), None, "{json}");
        }
    }

    #[test]
    fn what_it_says_does() {
        let all = [
            "{}",
            "[]",
            "[[]]",
            "[null]",
            "null",
            "\"\"",
            "\"n\"",
            "1",
            "-1",
            "\"1\"",
            "true",
            "false",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"[{"a":1},{"b":1}]"#,
            r#"["a","bc"]"#,
            r#"["ab","c"]"#,
            r#"{"p":9999999999.99}"#,
            r#"{"p":9999999999.98}"#,
            r#"{"p":9999999999}"#,
            "no JSON",
            " no JSON",
            "1e999",
            "1e9999",
        ];
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert!(!same(one, other), "{one} {other}");
            }
        }
        let deep = |end: &str| format!("{}{end}", "[".repeat(10_000));
        assert!(same(&deep("1"), &deep("1")) && !same(&deep("1"), &deep("2")));
    }
}
