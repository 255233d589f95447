//! What is wrong with a request: each problem with its code and its place, collected so that a client learns all of them
//! at once. The readers here know JSON and money; what an order or a channel is, others know.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::limits::{DEFAULT_CURRENCY, MAX_QUANTITY};
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

const fn price_code(error: MoneyError) -> &'static str {
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
        match text_problem(&text, max_chars) {
            None => Some(text),
            Some((code, detail)) => {
                self.add(attr, code, detail);
                None
            }
        }
    }

    pub(crate) fn quantity(&mut self, attr: impl Display, raw: Option<&RawValue>) -> Option<u32> {
        let raw = self.present(&attr, raw)?.get();
        let quantity = raw.parse().ok().filter(|q| (1..=MAX_QUANTITY).contains(q));
        if quantity.is_none() {
            let whole = !raw.is_empty() && raw.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
            let (code, what) =
                if whole { ("out_of_range", "must be") } else { ("not_whole", "must be a whole number") };
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

    /// The currency; the default, where none is meant by what is named.
    pub(crate) fn currency(&mut self, raw: Option<&RawValue>) -> Option<Currency> {
        let code = serde_json::from_str::<String>(raw?.get()).ok();
        Some(code.and_then(|code| currency_of(&code)).unwrap_or_else(|| {
            self.add(
                "currency",
                "unknown_currency",
                "must be the ISO 4217 code of money that one can pay with, such as USD",
            );
            DEFAULT_CURRENCY
        }))
    }

    /// Price times quantity.
    pub(crate) fn times(&mut self, attr: impl Display, price: Money, quantity: u32) -> Option<Money> {
        let sum = price.checked_times(quantity);
        if sum.is_none() {
            self.add(attr, "too_large", "price times quantity is too large");
        }
        sum
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

    /// The fields of an object; those that are null count as left out.
    pub(crate) fn object<'a>(
        &mut self,
        attr: impl Display,
        raw: &'a RawValue,
    ) -> Option<BTreeMap<String, &'a RawValue>> {
        let fields = serde_json::from_str::<BTreeMap<String, &'a RawValue>>(raw.get());
        let Ok(mut fields) = fields else {
            self.add(attr, "not_an_object", "must be an object");
            return None;
        };
        fields.retain(|_, value| value.get() != "null");
        Some(fields)
    }
}

/// What is wrong with a text from outside, as (code, detail): empty, too long, or characters that no name has
/// (NUL, which PostgreSQL cannot store, and the other control characters, which forge log lines).
pub fn text_problem(text: &str, max_chars: usize) -> Option<(&'static str, String)> {
    if text.chars().all(char::is_whitespace) {
        Some(("empty", "must not be empty".to_owned()))
    } else if text.len() > max_chars && text.chars().count() > max_chars {
        Some(("too_long", format!("must have at most {max_chars} characters")))
    } else if text.chars().any(char::is_control) {
        Some(("control_character", "must not contain control characters".to_owned()))
    } else {
        None
    }
}
