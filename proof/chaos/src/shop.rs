//! What is sold of the catalogue: less of everything than people want, so that some are refused. Two articles are sold strictly: one
//! to an order, and whoever gets one keeps it, so that in the end exactly as many are sold as there were. Of the others people take
//! several, give them back, and put them into carts.
#![expect(clippy::float_arithmetic, reason = "shares of orders; no money")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::money::{Currency, Money};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::http;

/// Articles that are sold strictly, and in each currency as many of the others.
const STRICT: usize = 2;
const OTHERS: usize = 2;
const CURRENCIES: [Currency; 3] = [Currency::EUR, Currency::JPY, Currency::KWD];
/// The price of each.
const MINOR: i64 = 250;
/// At most so many of one article in an order.
const MOST: u32 = 3;
/// So many carts are changed once, let go, left to themselves, and checked out when they hold nothing any more.
const CHANGED: f64 = 0.3;
const LET_GO: f64 = 0.15;
const LEFT: f64 = 0.15;
const LATE: f64 = 0.1;

pub(crate) const CHECK_OUT: &str = "../cart/checkout";
/// Opens a cart.
pub(crate) const CART_TOKEN: &str = "cart-token";

/// So many of all orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Are of what is sold strictly.
    pub strict: f64,
    /// Are of the other articles.
    pub ordered: f64,
    /// Come by a cart, if they come.
    pub carts: f64,
    /// Of what is wanted there is this much.
    pub there: f64,
}

impl Shares {
    /// Among other orders, where a busy kitchen rejects so many that most of what is taken comes back.
    pub const EVERYDAY: Self = Self { strict: 0.05, ordered: 0.07, carts: 0.06, there: 0.1 };
    /// No other orders.
    pub const ONLY: Self = Self { strict: 0.4, ordered: 0.3, carts: 0.3, there: 0.6 };
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Article {
    /// The product's.
    pub id: Uuid,
    /// Of one.
    pub price: Money,
    /// So many were put in.
    pub put_in: i64,
    /// One to an order, and nothing comes back but what was not paid.
    pub is_strict: bool,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The strict ones first.
    pub articles: Vec<Article>,
    /// Who buys.
    pub shares: Shares,
}

/// What an order takes, and how.
#[derive(Debug, Clone)]
pub struct Purchase {
    /// The members of the request's body that say so.
    pub(crate) members: String,
    /// What it comes to.
    pub(crate) total: Money,
    /// How many of which.
    pub takes: Vec<(Uuid, u32)>,
    /// Nobody changes their mind.
    pub is_strict: bool,
    /// The cart that it comes by.
    pub(crate) cart: Option<Cart>,
}

/// A cart, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Cart {
    /// Opens it. Made by its owner: who made it can ask again when nobody said what became of the first request.
    pub(crate) token: String,
    /// What is put in, in the place of what was in it; each after so long.
    pub(crate) fillings: Vec<(Duration, String)>,
    /// What comes then.
    pub(crate) end: CartEnd,
}

/// What becomes of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CartEnd {
    /// An order, so long after the last change.
    ChecksOut(Duration),
    /// Nothing: somebody says so.
    LetGo,
    /// Nothing: nobody comes back.
    Left,
}

impl Shop {
    /// Opens it for so many orders: by an api, with a manager's token.
    pub async fn open(api: SocketAddr, manager: &str, orders: u64, shares: Shares) -> Result<Self> {
        let (http, mut articles) = (http()?, Vec::new());
        let orders = orders as f64;
        let of_strict = orders * shares.strict / STRICT as f64;
        let wanted = orders * (shares.ordered + shares.carts) * f64::from(MOST + 1) / 2.0;
        let of_others = wanted / (OTHERS * CURRENCIES.len()) as f64;
        let strict = (0..STRICT).map(|_| (Currency::EUR, of_strict, true));
        let others = CURRENCIES.iter().flat_map(|currency| [(*currency, of_others, false); OTHERS]);
        for (number, (currency, wanted, is_strict)) in strict.chain(others).enumerate() {
            let (price, put_in) =
                (Money::from_minor(MINOR, currency), ((wanted * shares.there) as i64).max(1));
            let ask = async |path: &str, body: Value| -> Result<Value> {
                let url = format!("http://{api}/api/v1/{path}");
                let answer = http.post(url).bearer_auth(manager).json(&body).send().await?;
                let (status, text) = (answer.status(), answer.text().await?);
                ensure!(status.is_success(), "{path} was answered {status}: {text}");
                Ok(serde_json::from_str(&text)?)
            };
            let product = json!({ "name": format!("Article {number}"), "price": price.to_json(),
                "currency": currency.code(), "tracked": true });
            let made = ask("products", product).await?;
            let id: Uuid = made["id"].as_str().context("a product without an id")?.parse()?;
            ask(&format!("products/{id}/stock"), json!({ "action": "set", "quantity": put_in })).await?;
            articles.push(Article { id, price, put_in, is_strict });
        }
        Ok(Self { articles, shares })
    }

    /// Rolls the dice: what this order takes of it, if anything. Who comes by a cart holds what is in it for `hold`.
    pub(crate) fn purchase(&self, dice: &mut StdRng, hold: Duration) -> Option<Purchase> {
        let Shares { strict, ordered, carts, .. } = self.shares;
        // Whatever comes of it, the dice are rolled as often.
        let (share, place): (f64, usize) = (dice.random(), dice.random_range(0..usize::MAX));
        if share < strict {
            return self.lines(dice, place % STRICT, true, None);
        }
        if share >= strict + ordered + carts {
            return None;
        }
        let place = STRICT + place % (self.articles.len().checked_sub(STRICT)?);
        let cart = (share >= strict + ordered).then_some(hold);
        self.lines(dice, place, false, cart)
    }

    fn lines(
        &self,
        dice: &mut StdRng,
        place: usize,
        is_strict: bool,
        cart: Option<Duration>,
    ) -> Option<Purchase> {
        let first = self.articles.get(place)?;
        let mut takes = vec![(first.id, if is_strict { 1 } else { dice.random_range(1..=MOST) })];
        // The other one of its currency, now and then.
        if !is_strict && dice.random_bool(0.3) {
            let other = self.articles.get(STRICT + ((place - STRICT) ^ 1))?;
            takes.push((other.id, dice.random_range(1..=MOST)));
        }
        let currency = first.price.currency();
        let pieces: i64 = takes.iter().map(|(_, quantity)| i64::from(*quantity)).sum();
        let total = Money::from_minor(pieces * MINOR, currency);
        let (lines, code) = (lines_of(&takes), currency.code());
        let cart = cart.map(|hold| Cart::new(dice, &takes, code, hold));
        let members = match &cart {
            None => format!(r#""items":[{lines}],"currency":"{code}""#),
            Some(_) => format!(r#""total":{total}"#),
        };
        Some(Purchase { members, total, takes, is_strict, cart })
    }
}

/// One more of it, as a line: of the same currency as all else in the order.
pub(crate) fn line(article: Uuid, quantity: u32) -> String {
    format!(r#"{{"product_id":"{article}","quantity":{quantity}}}"#)
}

fn lines_of(takes: &[(Uuid, u32)]) -> String {
    takes.iter().map(|(article, quantity)| line(*article, *quantity)).collect::<Vec<_>>().join(",")
}

impl Cart {
    fn new(dice: &mut StdRng, takes: &[(Uuid, u32)], code: &str, hold: Duration) -> Self {
        let token: String =
            (0..64).map(|_| char::from(b"0123456789abcdef"[dice.random_range(0..16)])).collect();
        let body =
            |takes: &[(Uuid, u32)]| format!(r#"{{"items":[{}],"currency":"{code}"}}"#, lines_of(takes));
        let within = |dice: &mut StdRng, millis| Duration::from_millis(dice.random_range(0..millis));
        let mut fillings = Vec::new();
        if dice.random_bool(CHANGED) {
            // At first one more of the last, and none of the others.
            let (article, quantity) = takes[takes.len() - 1];
            fillings.push((Duration::ZERO, body(&[(article, quantity + 1)])));
        }
        fillings.push((within(dice, 500), body(takes)));
        let end = match dice.random::<f64>() {
            share if share < LET_GO => CartEnd::LetGo,
            share if share < LET_GO + LEFT => CartEnd::Left,
            share if share < LET_GO + LEFT + LATE => CartEnd::ChecksOut(hold + within(dice, 1_000)),
            _ => CartEnd::ChecksOut(within(dice, 500)),
        };
        Self { token, fillings, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn shop(shares: Shares) -> Shop {
        let article = |number, is_strict| Article {
            id: Uuid::from_u128(number),
            price: Money::from_minor(MINOR, CURRENCIES[(number as usize).saturating_sub(STRICT) / OTHERS]),
            put_in: 1,
            is_strict,
        };
        Shop { articles: (0..8).map(|number| article(number, number < 2)).collect(), shares }
    }

    #[test]
    fn only_strict_articles_are_sold_one_by_one_and_lines_are_of_one_currency() {
        let (mut dice, shop) = (StdRng::seed_from_u64(7), shop(Shares::ONLY));
        let of = |id: Uuid| shop.articles.iter().find(|article| article.id == id).unwrap();
        let (mut strict, mut ends) = (0, Vec::new());
        for _ in 0..2_000 {
            let one = shop.purchase(&mut dice, Duration::from_secs(1)).unwrap();
            assert!(one.takes.iter().all(|(id, _)| of(*id).is_strict == one.is_strict));
            assert!(one.takes.iter().all(|(id, _)| of(*id).price.currency() == one.total.currency()));
            assert!(!one.is_strict || one.takes[0].1 == 1 && one.takes.len() == 1 && one.cart.is_none());
            strict += u32::from(one.is_strict);
            ends.extend(one.cart.map(|cart| cart.end));
        }
        assert!((700..900).contains(&strict) && (500..700).contains(&ends.len()), "{strict} {}", ends.len());
        assert!([CartEnd::LetGo, CartEnd::Left].iter().all(|end| ends.contains(end)));
    }
}
