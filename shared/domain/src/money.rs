//! Money: integer minor units with an ISO 4217 currency. Parsed from and shown as exact decimals; no floating
//! point anywhere, every sum checked.

use std::fmt;

pub use iso_currency::Currency;
use serde_json::value::RawValue;

use crate::decimal::{Far, far, without_exponent};

/// The largest amount that one line, order or payment may have: ten trillion minor units. Far above any
/// order, and far enough below `i64::MAX` that a sum of a whole order's lines cannot overflow unseen.
pub const MAX_MINOR: i64 = 10_000_000_000_000;

/// Longest amount: a sign, the digits of an `i64` and a point.
const MAX_CHARS: usize = 21;

/// An amount in the minor unit of its currency: 30.97 USD is 3,097 minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// No JSON number.
    #[error("must be a decimal number such as 12.99")]
    NotDecimal,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// More digits behind the point than the currency has.
    #[error("has more decimal places than its currency allows ({0})")]
    TooPrecise(u32),
    /// Above [`MAX_MINOR`].
    #[error("is too large")]
    TooLarge,
    /// No ISO 4217 code.
    #[error("is in an unknown currency")]
    UnknownCurrency,
}

impl Money {
    /// An amount from the database or another place that already holds minor units.
    pub const fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads an exact decimal such as `12.99` or `5`, not below zero.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let money = Self::parse_signed(text, currency)?;
        if money.minor < 0 { Err(MoneyError::Negative) } else { Ok(money) }
    }

    /// Reads an exact decimal with its sign. What a serialiser of doubles writes for it (`1e2`) is read, too, as long as it is
    /// exact in the currency.
    pub fn parse_signed(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        match Self::parse_plain(text, currency) {
            Err(MoneyError::NotDecimal) => {
                if let Some(plain) = without_exponent(text) {
                    return Self::parse_plain(&plain, currency);
                }
                // Too many digits to write them out; none of them any amount has.
                match far(text) {
                    Some(Far::Nothing) => Ok(Self::from_minor(0, currency)),
                    Some(Far::Small) => Err(MoneyError::TooPrecise(decimal_places(currency))),
                    Some(Far::Large) => Err(MoneyError::TooLarge),
                    None => Err(MoneyError::NotDecimal),
                }
            }
            read => read,
        }
    }

    fn parse_plain(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let places = decimal_places(currency);
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(MoneyError::NotDecimal);
        }
        // 12.990 is 12.99: zeros at the end carry nothing.
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > places as usize {
            return Err(MoneyError::TooPrecise(places));
        }
        let mut minor: i64 = 0;
        let padding = std::iter::repeat_n(b'0', places as usize - fraction.len());
        for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
            minor = minor * 10 + i64::from(digit - b'0');
            if minor > MAX_MINOR {
                return Err(MoneyError::TooLarge);
            }
        }
        Ok(Self { minor: if negative { -minor } else { minor }, currency })
    }

    /// Minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// `self` times a quantity; `None` above [`MAX_MINOR`].
    pub fn checked_times(self, quantity: u32) -> Option<Self> {
        let minor = self.minor.checked_mul(i64::from(quantity)).filter(|sum| *sum <= MAX_MINOR)?;
        Some(Self { minor, ..self })
    }

    /// The sum of two amounts of one currency; `None` above [`MAX_MINOR`] or where the currencies differ.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        let minor = self.minor.checked_add(other.minor).filter(|sum| *sum <= MAX_MINOR)?;
        Some(Self { minor, ..self })
    }

    /// The sum with an amount that may be below zero; `None` below zero or above [`MAX_MINOR`].
    pub fn checked_plus(self, minor: i64) -> Option<Self> {
        let minor = self.minor.checked_add(minor).filter(|sum| (0..=MAX_MINOR).contains(sum))?;
        Some(Self { minor, ..self })
    }

    /// The amount as a JSON number with all its decimals: `30.97`.
    pub fn to_json(self) -> Box<RawValue> {
        let text = self.write(&mut [0; MAX_CHARS]).to_owned();
        RawValue::from_string(text).expect("a decimal is a JSON number")
    }

    /// The exact decimal, digit by digit from the end: `fmt`'s own padding takes three times as long, three times an order.
    fn write(self, text: &mut [u8; MAX_CHARS]) -> &str {
        let (places, mut start) = (decimal_places(self.currency), MAX_CHARS);
        let mut put = |byte| {
            start -= 1;
            text[start] = byte;
        };
        let (mut rest, mut digits) = (self.minor.unsigned_abs(), 0);
        while rest > 0 || digits <= places {
            if digits == places && places > 0 {
                put(b'.');
            }
            put(b'0' + (rest % 10) as u8);
            (rest, digits) = (rest / 10, digits + 1);
        }
        if self.minor < 0 {
            put(b'-');
        }
        str::from_utf8(&text[start..]).expect("digits are ASCII")
    }
}

/// The exact decimal without the currency: `30.97`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; MAX_CHARS]))
    }
}

/// The currency of an ISO 4217 code, where that is money that somebody can pay with: no metal, no unit of account, no fund, and
/// neither the code for tests nor that for none. The usual ones are tried first: the whole list is compared one by one, and a dollar
/// stands near its end.
pub fn currency_of(code: &str) -> Option<Currency> {
    const USUAL: [Currency; 3] = [Currency::USD, Currency::EUR, Currency::GBP];
    let other = || Currency::from_code(code).filter(|one| !one.is_special() && !one.is_fund());
    USUAL.into_iter().find(|usual| usual.code() == code).or_else(other)
}

/// Digits behind the point by ISO 4217; those that have none defined count as 0.
pub fn decimal_places(currency: Currency) -> u32 {
    currency.exponent().map_or(0, u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Result<i64, MoneyError> {
        Money::parse(text, Currency::USD).map(Money::minor)
    }

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(usd("12.99"), Ok(1299));
        assert_eq!(usd("5"), Ok(500));
        assert_eq!(usd("0.10"), Ok(10));
        assert_eq!(usd("12.990"), Ok(1299));
        assert_eq!(usd("-0.00"), Ok(0));
        assert_eq!(usd("12.999"), Err(MoneyError::TooPrecise(2)));
        assert_eq!(usd("-1"), Err(MoneyError::Negative));
        assert_eq!((usd("1e2"), usd("12.5e-1"), usd("1e-2")), (Ok(10_000), Ok(125), Ok(1)));
        assert_eq!((usd("1e-3"), usd("1e13")), (Err(MoneyError::TooPrecise(2)), Err(MoneyError::TooLarge)));
        assert_eq!((usd("1e"), usd("1e99")), (Err(MoneyError::NotDecimal), Err(MoneyError::TooLarge)));
        assert_eq!((usd("2.5E-300"), usd("0.0e-300")), (Err(MoneyError::TooPrecise(2)), Ok(0)));
        assert_eq!((usd("e99"), usd("1e9x")), (Err(MoneyError::NotDecimal), Err(MoneyError::NotDecimal)));
        assert_eq!(Money::parse_signed("-1.50", Currency::USD).map(Money::minor), Ok(-150));
        assert_eq!(usd("1."), Err(MoneyError::NotDecimal));
        assert_eq!(usd(""), Err(MoneyError::NotDecimal));
        assert_eq!(usd("99999999999999999999999999"), Err(MoneyError::TooLarge));
        assert_eq!(Money::parse("12.5", Currency::JPY), Err(MoneyError::TooPrecise(0)));
        assert_eq!(Money::parse("1.234", Currency::KWD).map(Money::minor), Ok(1234));
    }

    #[test]
    fn an_order_sums_exactly() {
        let price = |text| Money::parse(text, Currency::USD).unwrap();
        let total = price("12.99").checked_times(2).unwrap().checked_add(price("4.99")).unwrap();
        assert_eq!(total.to_string(), "30.97");
        assert_eq!(total.to_json().get(), "30.97");
        assert_eq!(price("1").checked_add(Money::from_minor(1, Currency::EUR)), None);
        assert_eq!(Money::from_minor(MAX_MINOR, Currency::USD).checked_times(2), None);
    }

    #[test]
    fn every_amount_is_written_with_its_currencys_decimals() {
        let of = |minor, currency| Money::from_minor(minor, currency).to_string();
        assert_eq!(of(0, Currency::USD), "0.00");
        assert_eq!(of(-7, Currency::USD), "-0.07");
        assert_eq!(of(1_000, Currency::KWD), "1.000");
        assert_eq!((of(0, Currency::JPY), of(-120, Currency::JPY)), ("0".into(), "-120".into()));
        assert_eq!(of(i64::MIN, Currency::USD), "-92233720368547758.08");
        assert_eq!(of(i64::MIN, Currency::JPY), i64::MIN.to_string());
    }

    #[test]
    fn the_usual_currencies_are_found_as_all_others_are() {
        for code in ["USD", "EUR", "GBP", "JPY", "KWD", "ZWL", "AAA", "usd", "US", "USDT", ""] {
            assert_eq!(currency_of(code), Currency::from_code(code), "{code}");
        }
    }

    #[test]
    fn what_nobody_can_pay_with_is_no_currency() {
        for code in
            ["XXX", "XTS", "XAU", "XAG", "XPT", "XPD", "XDR", "XBA", "XBB", "XBC", "XBD", "XSU", "XUA", "XAD"]
        {
            assert_eq!(currency_of(code), None, "{code}");
        }
        for code in ["CLF", "UYI", "UYW", "COU", "MXV", "CHE", "CHW", "BOV", "USN"] {
            assert_eq!(currency_of(code), None, "{code}: a unit of account or a fund");
        }
        for code in ["XAF", "XOF", "XPF", "XCD", "CLP", "CHF", "UYU", "BOB"] {
            assert!(currency_of(code).is_some(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn shown_and_read_again_it_is_the_same(minor in 0..=MAX_MINOR, pick in 0..3_usize) {
            let money = Money::from_minor(minor, [Currency::USD, Currency::JPY, Currency::KWD][pick]);
            prop_assert_eq!(Money::parse(&money.to_string(), money.currency()), Ok(money));
        }
    }
}
