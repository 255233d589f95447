//! A key or a reference, kept small: nearly all are UUIDs, which take 16 bytes instead of a text of 36 on the heap.
//! A million charges hold two million of these.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Longest key or reference taken. 255 bytes, the limit of well-known gateways; ours are 36.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// A key or a reference as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// A text that is exactly a UUID's usual form: lower case, with hyphens.
    Uuid(Uuid),
    /// Anything else.
    Text(Box<str>),
}

impl Name {
    /// `None` for a text that is empty, longer than [`MAX_NAME_BYTES`] or holds control characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = Self::from(text);
        // A UUID is never any of that, and nearly all are UUIDs.
        let fine = || !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        (matches!(name, Self::Uuid(_)) || fine()).then_some(name)
    }

    /// What makes this name different from all others.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Uuid(uuid) => uuid.as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        let mut usual = Uuid::encode_buffer();
        match Uuid::try_parse(text) {
            // Upper case or braces would come back as another text: those stay as they are.
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut usual) == text => Self::Uuid(uuid),
            _ => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Of its bytes alone, half of what a derived one takes in: whether they are a UUID's or a text's is for `Eq` to tell.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.bytes());
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_as_it_was_written() {
        let uuid = "0190b6a4-1c2d-7e3f-8a9b-0c1d2e3f4a5b";
        for text in [uuid, &uuid.to_uppercase(), &uuid.replace('-', ""), "order 7", "ключ"] {
            assert_eq!(Name::parse(text).unwrap().to_string(), text);
        }
        assert!(matches!(Name::from(uuid), Name::Uuid(_)));
        assert_eq!(size_of::<Name>(), 24);
    }

    #[test]
    fn empty_long_and_unprintable_names_are_refused() {
        for text in ["", "a\nb", "nul\0", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
    }
}
