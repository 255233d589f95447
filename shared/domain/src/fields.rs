//! The fields of a JSON object of our own requests, kept raw, so that each that is missing or wrong is a problem with a place.
//! What nobody here knows, and what stands there twice, is told by name: of a fee that is misspelt nobody may learn from
//! the total alone, and of two prices somebody reads the first and somebody else the last.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Most names of one object that are told.
const MAX_TOLD: usize = 20;
/// How much of a name is told.
const MAX_NAME: usize = 50;

/// Fields of an object that should not be there.
#[derive(Debug, Default)]
pub(crate) struct Odd(Vec<(String, &'static str, &'static str)>);

impl Odd {
    pub(crate) fn unknown(&mut self, name: &str) {
        self.add(name, "unknown_field", "is not known here");
    }

    pub(crate) fn repeated(&mut self, name: &str) {
        self.add(name, "repeated", "must be given once");
    }

    fn add(&mut self, name: &str, code: &'static str, detail: &'static str) {
        if self.0.len() < MAX_TOLD {
            // Shown as it came, which may be anything.
            let shown = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
            self.0.push((shown, code, detail));
        }
    }

    /// Name, code and detail of each.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&str, &'static str, &'static str)> {
        self.0.iter().map(|(name, code, detail)| (name.as_str(), *code, *detail))
    }
}

/// A field's name; as it stands in the request, but for one that is written with escapes.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// A struct of these fields, each `None` where it is left out or null, and `odd` for all others.
macro_rules! fields {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name<'a> {
            $($field: Option<&'a serde_json::value::RawValue>,)+
            odd: crate::fields::Odd,
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> serde::de::Visitor<'de> for Reader {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name<'de>, A::Error> {
                        let mut odd = crate::fields::Odd::default();
                        $(let mut $field: Option<Option<&'de serde_json::value::RawValue>> = None;)+
                        while let Some(crate::fields::Name(name)) = map.next_key()? {
                            match &*name {
                                $(stringify!($field) if $field.is_none() => $field = Some(map.next_value()?),)+
                                $(stringify!($field))|+ => {
                                    odd.repeated(&name);
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                                _ => {
                                    odd.unknown(&name);
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok($name { $($field: $field.flatten(),)+ odd })
                    }
                }
                deserializer.deserialize_map(Reader)
            }
        }
    };
}
pub(crate) use fields;
