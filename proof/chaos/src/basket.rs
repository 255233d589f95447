//! What an order holds and how it is paid: lines with what is chosen for each, amounts beside them, now and then nothing to pay or
//! something to be paid in hand. What it comes to is summed here, by a few lines that know nothing of the product's.

use domain::money::{Currency, Money};
use rand::Rng;
use rand::rngs::StdRng;

/// Articles and their prices in minor units, odd ones, so that sums differ.
pub(crate) const ARTICLES: [(&str, i64); 4] = [("Burger", 1_299), ("Fries", 499), ("Soup", 750), ("Cake", 1)];
/// What is chosen for one of them, and what that costs; what is left out costs less.
const CHOICES: [(&str, i64); 3] = [("Cheese", 150), ("Large", 320), ("No bread", -20)];
/// Of all lines, those with something chosen, those with a note, and those at a discount.
const CHOSEN: f64 = 0.3;
const NOTED: f64 = 0.1;
const DISCOUNTED: f64 = 0.1;
/// Of all orders, those with fees, those that cost nothing, and those that are paid in hand.
const WITH_FEES: f64 = 0.25;
const FREE: f64 = 0.02;
const IN_HAND: f64 = 0.04;

/// What an order holds.
#[derive(Debug)]
pub(crate) struct Basket {
    /// The members of the request's body that say so.
    pub members: String,
    /// What it comes to, in minor units.
    pub minor: i64,
}

impl Basket {
    /// Rolls the dice.
    pub(crate) fn new(dice: &mut StdRng, currency: Currency) -> Self {
        let mut minor = 0;
        let mut lines = Vec::new();
        for _ in 0..dice.random_range(1..=3) {
            let (line, costs) = line(dice, currency);
            lines.push(line);
            minor += costs;
        }
        let mut beside = Vec::new();
        if dice.random_bool(WITH_FEES) {
            for (kind, costs) in [("delivery_fee", 299), ("tip", dice.random_range(0..=200))] {
                beside.push(adjustment(kind, costs, currency));
                minor += costs;
            }
        }
        if dice.random_bool(FREE) {
            beside.push(adjustment("discount", -minor, currency));
            minor = 0;
        }
        let how = if dice.random_bool(IN_HAND) { r#","payment":{"method":"on_delivery"}"# } else { "" };
        let (lines, beside) = (lines.join(","), beside.join(","));
        Self { members: format!(r#""items":[{lines}],"adjustments":[{beside}]{how}"#), minor }
    }
}

/// A line and what it comes to.
fn line(dice: &mut StdRng, currency: Currency) -> (String, i64) {
    let (article, price) = ARTICLES[dice.random_range(0..ARTICLES.len())];
    let quantity = dice.random_range(1..=9);
    let (mut unit, mut more) = (price, String::new());
    // A cake costs less than what can be left out of it.
    if price > 100 && dice.random_bool(CHOSEN) {
        let (choice, costs) = choice(dice, currency);
        more += &format!(r#","modifiers":[{choice}]"#);
        unit += costs;
    }
    let mut total = unit * quantity;
    if dice.random_bool(DISCOUNTED) {
        let off = dice.random_range(0..=total / 2);
        more += &format!(r#","adjustments":[{}]"#, adjustment("discount", -off, currency));
        total -= off;
    }
    if dice.random_bool(NOTED) {
        more += r#","note":"no nuts,\nplease""#;
    }
    let price = Money::from_minor(price, currency);
    let line = format!(
        r#"{{"item_id":"{article}","item_name":"{article}","quantity":{quantity},"price":{price}{more}}}"#
    );
    (line, total)
}

/// Something chosen, once or twice, perhaps with something chosen for it, and what both cost for one unit.
fn choice(dice: &mut StdRng, currency: Currency) -> (String, i64) {
    let (name, costs) = CHOICES[dice.random_range(0..CHOICES.len())];
    let quantity = dice.random_range(1..=2);
    let (own, price) = (dice.random_bool(0.5), Money::from_minor(costs, currency));
    let sauce = Money::from_minor(45, currency);
    let nested = format!(r#","modifiers":[{{"id":"Sauce","name":"Sauce","price":{sauce}}}]"#);
    let (nested, each) = if own { (nested.as_str(), costs + 45) } else { ("", costs) };
    let choice =
        format!(r#"{{"id":"{name}","name":"{name}","quantity":{quantity},"price":{price}{nested}}}"#);
    (choice, each * quantity)
}

fn adjustment(kind: &str, minor: i64, currency: Currency) -> String {
    let amount = Money::from_minor(minor, currency);
    format!(r#"{{"kind":"{kind}","name":"{kind}","amount":{amount}}}"#)
}
