//! What a channel sends: the same food in the aggregators' words, in the plain dialect. It comes to be paid here or was paid there,
//! comes again, goes at another time, and is called off. What it comes to is summed here, by a few lines that know nothing of the product's.

use domain::money::{Currency, Money};
use rand::Rng;
use rand::rngs::StdRng;

use crate::basket::ARTICLES;

/// The channel that sends all of them, which the house believes to have taken money.
pub(crate) const CHANNEL: &str = "chaos";
/// Of its documents, those that it took the money for.
const PAID_THERE: f64 = 0.4;
/// Of its lines, those with something chosen, and those with a remark.
const CHOSEN: f64 = 0.4;
const REMARKED: f64 = 0.2;

/// A document, as it is sent first.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its members, but for when it is fetched and what became of it.
    members: String,
    /// What it comes to, in minor units.
    pub(crate) minor: i64,
    /// It is sent once more, with another time.
    pub(crate) is_moved: bool,
}

impl Document {
    /// Rolls the dice.
    pub(crate) fn new(dice: &mut StdRng, number: u64, customer: &str, currency: Currency) -> Self {
        let (mut lines, mut minor) = (Vec::new(), 0);
        for _ in 0..dice.random_range(1..=3) {
            let (line, costs) = line(dice, currency);
            lines.push(line);
            minor += costs;
        }
        let (lines, code, paid) = (lines.join(","), currency.code(), dice.random_bool(PAID_THERE));
        let members = format!(
            r#""_id":"doc-{number}","channelOrderId":"no-{number}","currency":"{code}","orderIsAlreadyPaid":{paid},"customer":{{"id":"{customer}","name":"Somebody"}},"items":[{lines}]"#
        );
        Self { members, minor, is_moved: dice.random_bool(0.5) }
    }

    /// As it is sent first, and again and again.
    pub(crate) fn first(&self) -> String {
        self.with(r#""pickupTime":"2026-01-31T18:00:00Z","status":20"#)
    }

    /// It is to be fetched later.
    pub(crate) fn moved(&self) -> String {
        self.with(r#""pickupTime":"2026-01-31T18:20:00Z","status":20"#)
    }

    /// It is off.
    pub(crate) fn off(&self) -> String {
        self.with(r#""status":100"#)
    }

    fn with(&self, more: &str) -> String {
        format!("{{{},{more}}}", self.members)
    }
}

/// A line and what it comes to.
fn line(dice: &mut StdRng, currency: Currency) -> (String, i64) {
    let (article, price) = ARTICLES[dice.random_range(0..ARTICLES.len())];
    let quantity = dice.random_range(1..=9);
    let (mut unit, mut more) = (price, String::new());
    if dice.random_bool(CHOSEN) {
        let (times, each) = (dice.random_range(1..=2), Money::from_minor(150, currency));
        let sauce = Money::from_minor(45, currency);
        more += &format!(
            r#","subItems":[{{"name":"Cheese","quantity":{times},"price":{each},"subItems":[{{"name":"Sauce","quantity":1,"price":{sauce}}}]}}]"#
        );
        unit += times * (150 + 45);
    }
    if dice.random_bool(REMARKED) {
        more += r#","remark":"no nuts""#;
    }
    let price = Money::from_minor(price, currency);
    let line =
        format!(r#"{{"plu":"{article}","name":"{article}","quantity":{quantity},"price":{price}{more}}}"#);
    (line, unit * quantity)
}
