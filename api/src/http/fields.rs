//! The fields of a small JSON object, read one by one: each is taken out, and what is left over nobody knows. So a field that
//! would mean more than its sender may (a role, in a registration) is refused by name and never passed over.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Body;
use axum::http::HeaderMap;
use domain::problems::{Problem, id_problem, text_problem, too_long, trimmed};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::http::body::{self, Room};
use crate::http::error::ApiError;

/// Fields that were sent, and what is wrong with them.
#[derive(Debug)]
pub(crate) struct Fields {
    fields: Sent,
    problems: Vec<Problem>,
}

impl Fields {
    /// Those of a request's body, whose room is free again: what nobody knows of it is refused before anything is waited for.
    pub(crate) async fn of(headers: &HeaderMap, body: Body, room: &Room) -> Result<Self, ApiError> {
        Self::read(&body::read_json(headers, body, room).await?)
    }

    /// Reads an object; each field may be given once. What is null counts as left out.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let Once(fields) = body::parse(body)?;
        Ok(Self { fields: Sent(fields), problems: Vec::new() })
    }

    pub(crate) fn add(&mut self, attr: &str, code: &'static str, detail: impl Into<String>) {
        self.problems.push(Problem { code, detail: detail.into(), attr: attr.to_owned() });
    }

    /// A text as it came: a password may be anything.
    pub(crate) fn secret(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.add(name, "not_text", "must be a string");
                None
            }
            None => {
                self.add(name, "required", "is required");
                None
            }
        }
    }

    /// A text that must be there; it loses the spaces around it.
    pub(crate) fn text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        let text = self.secret(name)?;
        self.checked(name, text, max_chars, text_problem)
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        if self.fields.contains_key(name) { self.text(name, max_chars) } else { None }
    }

    fn checked(
        &mut self,
        name: &str,
        text: String,
        max_chars: usize,
        problem: fn(&str, usize) -> Option<(&'static str, String)>,
    ) -> Option<String> {
        match too_long(&text, max_chars).or_else(|| problem(text.trim(), max_chars)) {
            None => Some(trimmed(text)),
            Some((code, detail)) => {
                self.add(name, code, detail);
                None
            }
        }
    }

    /// A list of names that may be left out.
    pub(crate) fn texts(&mut self, name: &str, most: usize, max_chars: usize) -> Option<Vec<String>> {
        let list = match self.fields.remove(name)? {
            Value::Array(list) if list.len() <= most => list,
            _ => {
                self.add(name, "not_a_list", format!("must be a list of at most {most} strings"));
                return None;
            }
        };
        let mut texts = Vec::with_capacity(list.len());
        for (index, one) in list.into_iter().enumerate() {
            let place = format!("{name}[{index}]");
            match one {
                Value::String(text) => {
                    texts.extend(self.checked(&place, text, max_chars, id_problem));
                }
                _ => self.add(&place, "not_text", "must be a string"),
            }
        }
        Some(texts)
    }

    /// A whole number that may be left out.
    pub(crate) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = whole(&self.fields.remove(name)?).filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("must be a whole number from {} to {}", range.start(), range.end());
            self.add(name, "out_of_range", detail);
        }
        number
    }

    /// Says that this was left out, where nothing else is wrong with it.
    pub(crate) fn require(&mut self, name: &str) {
        if self.problems.iter().all(|problem| problem.attr != name) {
            self.add(name, "required", "is required");
        }
    }

    /// Texts by texts, which may be left out.
    pub(crate) fn pairs(
        &mut self,
        name: &str,
        most: usize,
        max_chars: usize,
    ) -> Option<BTreeMap<String, String>> {
        let Value::Object(pairs) = self.fields.remove(name)? else {
            self.add(name, "not_an_object", "must be an object");
            return None;
        };
        if pairs.len() > most {
            self.add(name, "too_many", format!("must be at most {most}"));
            return None;
        }
        let mut texts = BTreeMap::new();
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            let place = format!("{name}[{index}]");
            let Value::String(value) = value else {
                self.add(&place, "not_text", "must be a string");
                continue;
            };
            let key = self.checked(&place, key, max_chars, text_problem);
            let value = self.checked(&place, value, max_chars, text_problem);
            texts.extend(key.zip(value));
        }
        Some(texts)
    }

    /// Yes or no, or left out.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.fields.remove(name)? {
            Value::Bool(flag) => Some(flag),
            _ => {
                self.add(name, "not_a_flag", "must be true or false");
                None
            }
        }
    }

    /// All that was wrong, unknown fields among it.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        let unknown: Vec<String> = self.fields.0.keys().cloned().collect();
        for name in unknown {
            // Shown as it came, which may be anything.
            let shown: String = name.chars().filter(|c| !c.is_control()).take(50).collect();
            self.add(&shown, "unknown_field", "is not known here");
        }
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.problems)) }
    }
}

/// What was sent and not taken out yet. A field that is null counts as left out, if somebody asks for it.
#[derive(Debug)]
struct Sent(Map<String, Value>);

impl Sent {
    fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn contains_key(&mut self, name: &str) -> bool {
        let value = self.remove(name);
        let is_there = value.is_some();
        self.0.extend(value.map(|value| (name.to_owned(), value)));
        is_there
    }
}

/// An object in which no field stands twice: of two, somebody reads the first and somebody else the last.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, each field given once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a field given twice"));
                    }
                }
                Ok(Once(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A whole number, also one that is written as `2.0`.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64()?.to_string().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_refused_by_name_and_twice_is_once_too_often() {
        let mut fields = Fields::read(br#"{"email":"a","role":"admin","x":null,"y":null}"#).unwrap();
        assert_eq!(fields.text("email", 10).as_deref(), Some("a"));
        assert_eq!(fields.optional_text("y", 10), None);
        let told = format!("{:?}", fields.finish());
        assert!(told.contains("unknown_field") && told.contains("\"role\""), "{told}");
        assert!(told.contains("\"x\"") && !told.contains("\"y\""), "null, and unknown all the same: {told}");
        assert!(Fields::read(br#"{"email":"a","email":"b"}"#).is_err());
        assert!(Fields::read(b"[]").is_err());
        for (written, read) in [
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("2e0", Some(2)),
            ("2.5", None),
            ("1e300", None),
            ("6", None),
            (r#""2""#, None),
        ] {
            let mut fields = Fields::read(format!(r#"{{"n":{written}}}"#).as_bytes()).unwrap();
            assert_eq!(fields.number("n", 1..=5), read, "{written}");
            assert_eq!(fields.finish().is_err(), read.is_none(), "{written}");
        }
        let mut fields = Fields::read(br#"{"l":["a",1],"f":"true"}"#).unwrap();
        assert_eq!((fields.texts("l", 5, 5), fields.flag("f")), (Some(vec!["a".to_owned()]), None));
        assert_eq!(fields.secret("p"), None);
        let told = format!("{:?}", fields.finish());
        assert!(["l[1]", "not_a_flag", "required"].iter().all(|part| told.contains(part)), "{told}");
    }
}
