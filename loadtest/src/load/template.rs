//! The order that is sent: rendered once, with a few digits changed for each request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use uuid::Uuid;

/// Customers take turns: enough that their index is written in many places, as in real life.
const CUSTOMERS: u64 = 10_000;

/// The body; the zeros are the customer's number. Two articles, 30.97 together.
const BODY: &str = r#"{"customer_id":"customer_00000","items":[{"item_id":"item_001","item_name":"Burger","quantity":2,"price":12.99},{"item_id":"item_002","item_name":"Fries","quantity":1,"price":4.99}]}"#;
const CUSTOMER: &str = r#":"customer_"#;
const CUSTOMER_DIGITS: usize = 5;
const KEY: &str = "idempotency-key: ";

const TOKEN: &str = "authorization: Bearer ";

/// Tokens of one length, so that one takes the other's place.
#[derive(Default)]
pub struct Tokens(Vec<String>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// These, shown in turns.
    pub fn new(tokens: Vec<String>) -> Result<Arc<Self>> {
        ensure!(
            tokens.windows(2).all(|two| two[0].len() == two[1].len()),
            "tokens that are shown in turns have one length"
        );
        Ok(Arc::new(Self(tokens)))
    }

    /// Always this one.
    pub fn one(token: &str) -> Arc<Self> {
        Arc::new(Self(vec![token.to_owned()]))
    }
}

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    customer: usize,
    key: Option<usize>,
    /// Where the token is, if it changes.
    token: Option<usize>,
    tokens: Arc<Tokens>,
}

impl Template {
    pub(super) fn new(addr: SocketAddr, with_key: bool, tokens: &Arc<Tokens>) -> Self {
        let key = if with_key { format!("{KEY}{}\r\n", Uuid::nil()) } else { String::new() };
        let token = tokens.0.first().map(|token| format!("{TOKEN}{token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /api/v1/orders HTTP/1.1\r\nhost: {addr}\r\n{token}content-type: application/json\r\n{key}content-length: {}\r\n\r\n",
            BODY.len()
        );
        let text = format!("{head}{BODY}");
        let after = |mark: &str| text.find(mark).map(|at| at + mark.len());
        let customer = after(CUSTOMER).unwrap_or(head.len());
        let key = after(KEY).filter(|_| with_key);
        let token = after(TOKEN).filter(|_| tokens.0.len() > 1);
        Self { bytes: text.into_bytes(), customer, key, token, tokens: Arc::clone(tokens) }
    }

    /// The `number`th order: another customer, a fresh key, the next token.
    pub(super) fn renew(&mut self, number: u64) {
        let mut customer = number % CUSTOMERS;
        for digit in (0..CUSTOMER_DIGITS).rev() {
            self.bytes[self.customer + digit] = b'0' + (customer % 10) as u8;
            customer /= 10;
        }
        if let Some(at) = self.token {
            let token = &self.tokens.0[number as usize % self.tokens.0.len()];
            self.bytes[at..at + token.len()].copy_from_slice(token.as_bytes());
        }
        if let Some(at) = self.key {
            let key = &mut self.bytes[at..at + uuid::fmt::Hyphenated::LENGTH];
            Uuid::now_v7().as_hyphenated().encode_lower(key);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of the first order, for measuring what handles it.
pub fn body() -> &'static str {
    BODY
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::order::NewOrder;

    #[test]
    fn each_order_is_one_that_is_accepted() {
        let mut template = Template::new(([127, 0, 0, 1], 8080).into(), true, &Arc::default());
        template.renew(12_345);
        let text = String::from_utf8(template.bytes().to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(!head.contains(&Uuid::nil().to_string()), "{head}");
        let order = NewOrder::parse(&serde_json::from_str(body).unwrap()).unwrap();
        assert_eq!((order.customer_id.as_str(), order.total.minor()), ("customer_02345", 3_097));
        let first = text.clone();
        template.renew(12_346);
        assert_ne!(template.bytes(), first.as_bytes());
    }

    #[test]
    fn each_order_shows_the_next_token() {
        let tokens = Tokens::new(vec!["one".to_owned(), "two".to_owned()]).unwrap();
        let mut template = Template::new(([127, 0, 0, 1], 8080).into(), false, &tokens);
        for shown in ["one", "two", "one"].into_iter().enumerate() {
            template.renew(shown.0 as u64);
            let text = String::from_utf8(template.bytes().to_vec()).unwrap();
            assert!(text.contains(&format!("authorization: Bearer {}\r\n", shown.1)), "{text}");
        }
        assert!(Tokens::new(vec!["one".to_owned(), "three".to_owned()]).is_err());
    }
}
