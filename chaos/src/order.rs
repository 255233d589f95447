//! The orders that are sent: each different, each a pure function of the seed and its number, so that what the
//! database holds can be compared with what was asked for.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared::money::{Currency, Money};

/// One in five is sent by a client that knows nothing of idempotency keys.
const WITHOUT_KEY: f64 = 0.2;
/// A few clients hang up early and ask again.
const IMPATIENT: f64 = 0.02;
/// A few ask again though they were answered.
const ASKS_AGAIN: f64 = 0.04;
/// A few are cancelled by their customer: before the charge, during it or after it.
const CANCELLED: f64 = 0.04;
/// How long after its 202 at the latest; a charge takes a tenth of a second, a retried one a second and more.
const CANCELLED_WITHIN_MS: u64 = 1_500;
/// Articles and their prices in minor units, odd ones, so that sums differ.
const ARTICLES: [(&str, i64); 4] = [("Burger", 1_299), ("Fries", 499), ("Soup", 750), ("Cake", 1)];
/// With two, none and three decimal places.
const CURRENCIES: [Currency; 3] = [Currency::EUR, Currency::JPY, Currency::KWD];

/// An order, and how its client behaves.
#[derive(Debug, Clone)]
pub struct Order {
    /// Of this order among all that are sent; the customer's name carries it.
    pub number: u64,
    /// The request's body.
    pub body: String,
    /// What it comes to.
    pub total: Money,
    /// The `Idempotency-Key`.
    pub key: Option<String>,
    /// Its first request is given up after a moment.
    pub impatient: bool,
    /// It is sent once more after its answer.
    pub asks_again: bool,
    /// It is cancelled so long after its answer.
    pub cancelled_after: Option<Duration>,
}

impl Order {
    /// Order `number` of the run with this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
        let currency = CURRENCIES[dice.random_range(0..CURRENCIES.len())];
        let mut total = 0;
        let mut lines = Vec::new();
        for _ in 0..dice.random_range(1..=3) {
            let (article, price) = ARTICLES[dice.random_range(0..ARTICLES.len())];
            let quantity = dice.random_range(1..=9);
            total += price * quantity;
            let price = Money::from_minor(price, currency);
            lines.push(format!(
                r#"{{"item_id":"{article}","item_name":"{article}","quantity":{quantity},"price":{price}}}"#
            ));
        }
        let customer = customer(number);
        let lines = lines.join(",");
        let code = currency.code();
        let key = (!dice.random_bool(WITHOUT_KEY)).then(|| format!("{seed}-{number}"));
        Self {
            number,
            body: format!(r#"{{"customer_id":"{customer}","currency":"{code}","items":[{lines}]}}"#),
            total: Money::from_minor(total, currency),
            impatient: key.is_some() && dice.random_bool(IMPATIENT),
            asks_again: key.is_some() && dice.random_bool(ASKS_AGAIN),
            key,
            cancelled_after: dice
                .random_bool(CANCELLED)
                .then(|| Duration::from_millis(dice.random_range(0..CANCELLED_WITHIN_MS))),
        }
    }
}

/// The customer of an order: nobody orders twice, so a second order of one customer is one too many.
pub fn customer(number: u64) -> String {
    format!("customer-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::order::NewOrder;

    #[test]
    fn each_is_one_that_is_accepted_and_comes_to_its_total() {
        for number in 0..500 {
            let order = Order::new(7, number);
            assert_eq!(order.body, Order::new(7, number).body);
            let parsed = NewOrder::parse(&serde_json::from_str(&order.body).unwrap()).unwrap();
            assert_eq!((parsed.total, parsed.customer_id), (order.total, customer(number)));
        }
    }
}
