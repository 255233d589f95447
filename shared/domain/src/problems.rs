//! What is wrong with a request: each problem with its code and its place, collected so that a client learns all of them
//! at once. The readers here know JSON and money; what an order or a channel is, others know.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decimal::whole;
use crate::fields::{Name, Odd};
use crate::limits::{DEFAULT_CURRENCY, MAX_ID_CHARS, MAX_QUANTITY};
use crate::money::{Currency, Money, MoneyError, currency_of};

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Machine code, such as `too_long`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// Where: `items[0].price`.
    pub attr: String,
}

/// Which code a client is told.
pub const fn price_code(error: MoneyError) -> &'static str {
    match error {
        MoneyError::NotDecimal => "not_decimal",
        MoneyError::Negative => "negative",
        MoneyError::TooPrecise(_) => "too_precise",
        MoneyError::TooLarge => "too_large",
        MoneyError::UnknownCurrency => "unknown_currency",
    }
}

/// A field of one entry of a list: `items[0].price`. Written out only where there is a problem: five strings for each line of
/// each order were a tenth of what an api does for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) list: &'static str,
    pub(crate) index: usize,
    pub(crate) field: &'static str,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, field } = self;
        write!(f, "{list}[{index}].{field}")
    }
}

/// Where something stands in a request, however deep: `items[0].modifiers[1].price`. Written out only where there is a problem,
/// as [`Place`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'p> {
    /// The request itself.
    Top,
    /// A field of it.
    Field(&'p At<'p>, &'p str),
    /// An entry of a list.
    Entry(&'p At<'p>, usize),
}

impl At<'_> {
    pub(crate) const fn field<'p>(&'p self, name: &'p str) -> At<'p> {
        At::Field(self, name)
    }

    pub(crate) const fn entry(&self, index: usize) -> At<'_> {
        At::Entry(self, index)
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Field(Self::Top, name) => f.write_str(name),
            Self::Field(within, name) => write!(f, "{within}.{name}"),
            Self::Entry(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}

/// Collects what is wrong, so that a client learns it all at once. Each reader returns `None` after noting why.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, attr: impl Display, code: &'static str, detail: impl Into<String>) {
        self.0.push(Problem { code, detail: detail.into(), attr: attr.to_string() });
    }

    pub(crate) fn present<'a>(
        &mut self,
        attr: impl Display,
        raw: Option<&'a RawValue>,
    ) -> Option<&'a RawValue> {
        if raw.is_none() {
            self.add(attr, "required", "is required");
        }
        raw
    }

    pub(crate) fn text(
        &mut self,
        attr: impl Display,
        raw: Option<&RawValue>,
        max_chars: usize,
    ) -> Option<String> {
        let Ok(text) = serde_json::from_str::<String>(self.present(&attr, raw)?.get()) else {
            self.add(attr, "not_text", "must be a string");
            return None;
        };
        match too_long(&text, max_chars).or_else(|| text_problem(text.trim(), max_chars)) {
            None => Some(trimmed(text)),
            Some((code, detail)) => {
                self.add(attr, code, detail);
                None
            }
        }
    }

    /// A text that tells things apart, so that no two of them may look alike and be different.
    pub(crate) fn id(&mut self, attr: impl Display, raw: Option<&RawValue>) -> Option<String> {
        let id = self.text(&attr, raw, MAX_ID_CHARS)?;
        if !id.is_ascii() && id.chars().any(|c| joins(c) || is_unseen(c)) {
            self.add(attr, "invisible_character", "must not contain characters that nobody sees");
            return None;
        }
        Some(id)
    }

    /// A text of several lines, where people write what they wish.
    pub(crate) fn note(
        &mut self,
        attr: impl Display,
        raw: Option<&RawValue>,
        max_chars: usize,
    ) -> Option<String> {
        let Ok(text) = serde_json::from_str::<String>(raw?.get()) else {
            self.add(attr, "not_text", "must be a string");
            return None;
        };
        let long = too_long(&text, max_chars);
        let text = trimmed(text).replace("\r\n", "\n");
        match long.or_else(|| text_problem(&text.replace(['\n', '\t'], " "), max_chars)) {
            None => Some(text),
            // As none.
            Some(("empty", _)) => None,
            Some((code, detail)) => {
                self.add(attr, code, detail);
                None
            }
        }
    }

    pub(crate) fn quantity(&mut self, attr: impl Display, raw: Option<&RawValue>) -> Option<u32> {
        let raw = self.present(&attr, raw)?.get();
        let plain = raw.parse::<u32>().ok();
        // What a serialiser of doubles writes for it.
        let quantity = plain.or_else(|| whole(raw)?.parse().ok()).filter(|q| (1..=MAX_QUANTITY).contains(q));
        if quantity.is_none() {
            let (code, what) = if whole(raw).is_some() {
                ("out_of_range", "must be")
            } else {
                ("not_whole", "must be a whole number")
            };
            self.add(attr, code, format!("{what} from 1 to {MAX_QUANTITY}"));
        }
        quantity
    }

    pub(crate) fn price(
        &mut self,
        attr: impl Display,
        raw: Option<&RawValue>,
        currency: Currency,
    ) -> Option<Money> {
        Money::parse(self.present(&attr, raw)?.get(), currency)
            .inspect_err(|error| self.add(attr, price_code(*error), error.to_string()))
            .ok()
    }

    /// An amount with its sign.
    pub(crate) fn signed(
        &mut self,
        attr: impl Display,
        raw: Option<&RawValue>,
        currency: Currency,
    ) -> Option<Money> {
        Money::parse_signed(self.present(&attr, raw)?.get(), currency)
            .inspect_err(|error| self.add(attr, price_code(*error), error.to_string()))
            .ok()
    }

    /// Fields that should not be where they are.
    pub(crate) fn odd(&mut self, at: &At<'_>, odd: &Odd) {
        for (name, code, detail) in odd.told() {
            self.add(at.field(name), code, detail);
        }
    }

    /// A list of objects with no more than `max` entries; none, with the problem noted, where something is wrong with it as a whole.
    pub(crate) fn list<'a, T: Deserialize<'a>>(
        &mut self,
        attr: impl Display,
        raw: &'a RawValue,
        max: usize,
    ) -> Vec<T> {
        match serde_json::from_str::<Vec<T>>(raw.get()) {
            Err(_) => self.add(attr, "not_a_list", "must be a list of objects"),
            Ok(list) if list.len() > max => {
                self.add(attr, "too_many", format!("must have at most {max} entries"));
            }
            Ok(list) => return list,
        }
        Vec::new()
    }

    /// The currency; the default, where none is meant by what is named.
    pub(crate) fn currency(&mut self, raw: Option<&RawValue>) -> Option<Currency> {
        let code = serde_json::from_str::<String>(raw?.get()).ok();
        let known = |code: String| currency_of(&code).or_else(|| currency_of(&code.to_ascii_uppercase()));
        Some(code.and_then(known).unwrap_or_else(|| {
            self.add(
                "currency",
                "unknown_currency",
                "must be the ISO 4217 code of money that one can pay with, such as USD",
            );
            DEFAULT_CURRENCY
        }))
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(
        &mut self,
        attr: impl Display,
        raw: Option<&RawValue>,
        max_chars: usize,
    ) -> Option<String> {
        raw.and_then(|raw| self.text(attr, Some(raw), max_chars))
    }

    /// The fields of an object; those that are null count as left out, and none may be given twice.
    pub(crate) fn object<'a>(
        &mut self,
        attr: impl Display,
        raw: &'a RawValue,
    ) -> Option<BTreeMap<String, &'a RawValue>> {
        let Ok(Object { mut fields, odd }) = serde_json::from_str::<Object<'_>>(raw.get()) else {
            self.add(attr, "not_an_object", "must be an object");
            return None;
        };
        self.odd(&At::Top.field(&attr.to_string()), &odd);
        fields.retain(|_, value| value.get() != "null");
        Some(fields)
    }
}

/// An object of any fields.
struct Object<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    /// Those that are given twice.
    odd: Odd,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object { fields: BTreeMap::new(), odd: Odd::default() };
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if object.fields.contains_key(&*name) {
                        object.odd.repeated(&name);
                    } else {
                        object.fields.insert(name.into_owned(), value);
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A text without the spaces around it.
pub fn trimmed(text: String) -> String {
    let inside = text.trim();
    if inside.len() == text.len() { text } else { inside.to_owned() }
}

/// Whether nobody sees it, and no script needs it: what breaks or turns lines, hides, or takes no room.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{200B}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}')
}

/// Whether it joins or parts its neighbours and is not seen itself: names in Persian, Hindi or Hebrew and many an emoji need it.
const fn joins(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200C}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0020}'..='\u{E007F}' | '\u{E0100}'..='\u{E01EF}')
}

/// More than it may have, with the spaces that it loses: a limit that is stated holds for what is sent.
pub fn too_long(text: &str, max_chars: usize) -> Option<(&'static str, String)> {
    let is_long = text.len() > max_chars && text.chars().count() > max_chars;
    is_long.then(|| ("too_long", format!("must have at most {max_chars} characters")))
}

/// What is wrong with a text from outside, as (code, detail): empty, too long, or characters that no name has
/// (NUL, which PostgreSQL cannot store, and the other control characters, which forge log lines).
pub fn text_problem(text: &str, max_chars: usize) -> Option<(&'static str, String)> {
    if text.chars().all(|c| c.is_whitespace() || is_invisible(c) || joins(c)) {
        Some(("empty", "must not be empty".to_owned()))
    } else if let Some(long) = too_long(text, max_chars) {
        Some(long)
    } else if text.chars().any(char::is_control) {
        Some(("control_character", "must not contain control characters".to_owned()))
    } else if !text.is_ascii() && text.chars().any(is_invisible) {
        Some(("invisible_character", "must not contain characters that nobody sees".to_owned()))
    } else {
        None
    }
}

/// The same for a text that names somebody or something: two names that look alike are to be one. A space at either end, and
/// what cannot be seen or turns the direction of what follows, is no part of a name.
pub fn id_problem(text: &str, max_chars: usize) -> Option<(&'static str, String)> {
    text_problem(text, max_chars).or_else(|| {
        let at_an_end = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
        let unseen = at_an_end || text.chars().any(is_unseen);
        unseen.then(|| {
            (
                "invisible_character",
                "must not have spaces at its ends, or characters that cannot be seen".to_owned(),
            )
        })
    })
}

/// What Unicode calls format characters, separators of lines and paragraphs, and what is ignorable by default: soft hyphens,
/// characters of no width, marks and turns of direction, fillers, selectors, tags.
const UNSEEN: [(char, char); 30] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{f0000}', '\u{ffffd}'),
    ('\u{100000}', '\u{10fffd}'),
    ('\u{10fffe}', '\u{10ffff}'),
];

fn is_unseen(c: char) -> bool {
    !c.is_ascii() && UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_makes_no_text_and_names_keep_what_their_script_needs() {
        let code = |text: &str| text_problem(text, 20).map(|(code, _)| code);
        for text in ["\u{200B}", " \u{FEFF} ", "\u{200D}", "\u{FE0F}\u{200D}", ""] {
            assert_eq!(code(text), Some("empty"), "{text:?}");
        }
        for text in ["a\u{202E}b", "a\u{2028}b", "bob\u{200B}", "\u{FEFF}bob", "so\u{AD}da", "a\u{2060}"] {
            assert_eq!(code(text), Some("invisible_character"), "{text:?}");
        }
        assert_eq!(code("a\u{0}"), Some("control_character"));
        for text in ["می\u{200C}خواهم", "👨\u{200D}👩\u{200D}👧", "❤\u{FE0F}", "Ünal", "שלום\u{200F}"]
        {
            assert_eq!(code(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_id_is_what_it_looks_like() {
        let raw = |text: &str| serde_json::value::to_raw_value(text).unwrap();
        let id = |text: &str| {
            let mut problems = Problems::default();
            problems.id("id", Some(&raw(text))).ok_or_else(|| problems.0.remove(0).code)
        };
        assert_eq!(id(" bob "), Ok("bob".to_owned()));
        assert_eq!(id("\u{200B}"), Err("empty"));
        assert_eq!(
            (id("bob\u{200D}"), id("bob\u{202E}")),
            (Err("invisible_character"), Err("invisible_character"))
        );
        assert_eq!(id("طاولة"), Ok("طاولة".to_owned()));
    }

    #[test]
    fn a_place_is_written_as_its_sender_would() {
        let items = At::Top.field("items");
        let line = items.entry(0);
        let modifiers = line.field("modifiers");
        let modifier = modifiers.entry(12);
        assert_eq!(modifier.field("price").to_string(), "items[0].modifiers[12].price");
        assert_eq!(At::Top.field("x").to_string(), "x");
    }

    #[test]
    fn what_cannot_be_seen_is_no_part_of_a_name() {
        for name in [
            "maria",
            "customer_123",
            "a b",
            "Zo\u{eb}",
            "\u{645}\u{631}\u{64a}\u{645}",
            "\u{6771}\u{4eac}",
            "auth0|5f7c8ec7c33c6c004bbafe82",
        ] {
            assert_eq!(id_problem(name, 200), None, "{name}");
        }
        for unseen in [
            " maria",
            "maria ",
            "maria\u{a0}",
            "ma\u{200b}ria",
            "\u{202e}airam",
            "maria\u{2028}",
            "ma\u{ad}ria",
            "maria\u{3164}",
            "ma\u{feff}ria",
            "ma\u{2060}ria",
            "maria\u{fe0f}",
            "maria\u{e0041}",
            "maria\u{34f}",
            "\u{e000}",
        ] {
            assert_eq!(
                id_problem(unseen, 200).map(|(code, _)| code),
                Some("invisible_character"),
                "{unseen:?}"
            );
        }
        assert!(UNSEEN.is_sorted() && UNSEEN.iter().all(|(first, last)| first <= last));
        assert_eq!(id_problem("ma\u{0}ria", 200).map(|(code, _)| code), Some("control_character"));
    }
}
