//! signature: what a channel's platform writes beside a document to show that it is its own: HMAC-SHA256 over the body, byte
//! by byte as it came.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::channel::settings::{Dialect, Signature, Written};
use ring::hmac;

/// The signature that a request shows, read; `None`: it shows none.
pub(crate) fn shown(headers: &HeaderMap, how: Signature) -> Option<Shown> {
    let mut all = headers.get_all(how.header).iter();
    let one = all.next()?;
    let read = |text: &str| match how.written {
        Written::Hex => hex(text.trim()),
        Written::Base64 => BASE64_STANDARD.decode(text.trim()).ok(),
    };
    // Of two, somebody would check the one and somebody else the other.
    let only = all.next().is_none();
    Some(Shown(one.to_str().ok().filter(|_| only).and_then(read)))
}

/// Whether there is a signature of any kind.
pub(crate) fn is_shown(headers: &HeaderMap) -> bool {
    Dialect::ALL.iter().any(|dialect| headers.contains_key(dialect.signature().header))
}

/// A signature; `None` in it: it is none.
#[derive(Debug)]
pub(crate) struct Shown(Option<Vec<u8>>);

impl Shown {
    /// Whether one of these secrets made it. Compared in a time that tells nothing.
    pub(crate) fn is_of(&self, secrets: &[String], body: &[u8]) -> bool {
        let Some(shown) = &self.0 else { return false };
        secrets.iter().any(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::verify(&key, body, shown).is_ok()
        })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: Signature = Signature { header: "x-hmac", written: Written::Hex };
    const BASE64: Signature = Signature { written: Written::Base64, ..HEX };

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HEX.header.parse().unwrap(), value.parse().unwrap())])
    }

    /// RFC 4231, test case 2.
    #[test]
    fn it_is_checked_over_the_bytes_with_either_secret_however_it_is_written() {
        let (key, body) = ("Jefe".to_owned(), b"what do ya want for nothing?");
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let base64 = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        for (how, text) in [(HEX, hex), (HEX, &*hex.to_uppercase()), (BASE64, base64)] {
            let shown = shown(&header(text), how).unwrap();
            assert!(shown.is_of(std::slice::from_ref(&key), body), "{text}");
            assert!(shown.is_of(&["other".to_owned(), key.clone()], body), "either");
            assert!(!shown.is_of(std::slice::from_ref(&key), &body[1..]) && !shown.is_of(&[], body));
            assert!(!shown.is_of(&["jefe".to_owned()], body));
        }
        for (how, none) in [(HEX, &hex[1..]), (HEX, base64), (BASE64, hex), (HEX, ""), (BASE64, "=")] {
            assert!(!shown(&header(none), how).unwrap().is_of(std::slice::from_ref(&key), body), "{none}");
        }
        let mut twice = header(hex);
        twice.append(HEX.header, hex.parse().unwrap());
        assert!(!shown(&twice, HEX).unwrap().is_of(&[key], body));
        assert!(shown(&HeaderMap::new(), HEX).is_none());
    }
}
