//! The orders that are sent: each different, each a pure function of the seed and its number, so that what the
//! database holds can be compared with what was asked for.

use std::time::Duration;

use domain::money::{Currency, Money};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::basket::{ARTICLES, Basket};
use crate::clock::{Micros, micros};
use crate::document::Document;
use crate::known::Known;
use crate::life::Life;
use crate::plan::Plan;
use crate::shop::{Cart, Purchase, line};

/// One in five is sent by a client that knows nothing of idempotency keys.
const WITHOUT_KEY: f64 = 0.2;
/// A few clients hang up early and ask again.
const IMPATIENT: f64 = 0.02;
/// A few name a time after which they are not to be charged, so soon: often it is over before they are, when the gateway is away.
const EXPIRES: f64 = 0.06;
const EXPIRES_WITHIN_MS: std::ops::Range<u64> = 300..6_000;
/// A few are wanted later, so soon: until then their charge is held.
const FOR_LATER: f64 = 0.05;
const WANTED_WITHIN_MS: std::ops::Range<u64> = 500..4_000;
/// A few ask again though they were answered.
const ASKS_AGAIN: f64 = 0.04;
/// A few come by a channel, whose name for them is their key.
const BY_CHANNEL: f64 = 0.1;
/// Price of what is added.
const ADDITION_MINOR: i64 = 333;
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
    /// Its charge is to be called off so long after it is first sent.
    pub expires_in: Option<Duration>,
    /// It is wanted so long after it is first sent.
    pub wanted_in: Option<Duration>,
    /// What becomes of it then.
    pub life: Life,
    /// The document that it comes by, if a channel sends it.
    pub document: Option<Document>,
    /// What it takes of the shop, and how many of each.
    pub takes: Vec<(Uuid, u32)>,
    /// The cart that it comes by.
    pub(crate) cart: Option<Cart>,
}

impl Order {
    /// Order `number` of the run with this seed, among people as the plan has them.
    pub(crate) fn new(number: u64, plan: &Plan) -> Self {
        let Plan { seed, habits, deadline, .. } = plan;
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
        if let Some(purchase) = plan.shop.purchase(&mut dice, plan.cart_hold) {
            return Self::of_shop(*seed, number, purchase, &mut dice, plan);
        }
        let currency = CURRENCIES[dice.random_range(0..CURRENCIES.len())];
        let basket = Basket::new(&mut dice, currency);
        let customer = customer(number);
        let code = currency.code();
        let key = (!dice.random_bool(WITHOUT_KEY)).then(|| format!("{seed}-{number}"));
        let impatient = key.is_some() && dice.random_bool(IMPATIENT);
        let asks_again = key.is_some() && dice.random_bool(ASKS_AGAIN);
        let life = Life::new(&mut dice, habits, Money::from_minor(ADDITION_MINOR, currency), *deadline);
        let expires_in = Duration::from_millis(dice.random_range(EXPIRES_WITHIN_MS));
        let expires_in = dice.random_bool(EXPIRES).then_some(expires_in);
        let wanted_in = Duration::from_millis(dice.random_range(WANTED_WITHIN_MS));
        let for_later = expires_in.is_none() && dice.random_bool(FOR_LATER);
        if dice.random_bool(BY_CHANNEL) {
            let document = Document::new(&mut dice, number, &customer, currency);
            return Self {
                number,
                body: document.first(),
                total: Money::from_minor(document.minor, currency),
                key: None,
                impatient: dice.random_bool(IMPATIENT),
                asks_again: dice.random_bool(0.5),
                expires_in: None,
                wanted_in: None,
                life,
                document: Some(document),
                takes: Vec::new(),
                cart: None,
            };
        }
        Self {
            number,
            body: format!(r#"{{"customer_id":"{customer}","currency":"{code}",{}}}"#, basket.members),
            total: Money::from_minor(basket.minor, currency),
            impatient,
            asks_again,
            expires_in,
            wanted_in: for_later.then_some(wanted_in),
            key,
            life,
            document: None,
            takes: Vec::new(),
            cart: None,
        }
    }

    /// An order that takes something of the shop.
    fn of_shop(seed: u64, number: u64, purchase: Purchase, dice: &mut StdRng, plan: &Plan) -> Self {
        let Purchase { members, total, takes, is_strict, cart } = purchase;
        let price = Money::from_minor(ADDITION_MINOR, total.currency());
        let life = match is_strict {
            true => Life::of_a_meal(dice, &plan.habits),
            false => Life::new(dice, &plan.habits, price, plan.deadline),
        };
        Self {
            number,
            body: format!(r#"{{"customer_id":"{}",{members}}}"#, customer(number)),
            total,
            // Who is told neither asks again: what was taken is to be known in the end.
            key: Some(format!("{seed}-{number}")),
            impatient: dice.random_bool(IMPATIENT),
            asks_again: dice.random_bool(ASKS_AGAIN),
            expires_in: None,
            wanted_in: None,
            life,
            document: None,
            takes,
            cart,
        }
    }

    /// Whether it may be sent again while nobody says what became of it.
    pub fn may_repeat(&self) -> bool {
        self.key.is_some() || self.document.is_some()
    }

    /// The order as it is first sent, at this time: one that names a time of its own does so now. And that time, after which it is none
    /// for a new order.
    pub fn sent_at(&self, now: Micros) -> (Self, Option<Micros>) {
        let (field, after) = match (self.expires_in, self.wanted_in) {
            (Some(after), _) => ("expires_at", Some(after)),
            (None, after) => ("wanted_at", after),
        };
        let until = after.map(|after| now + micros(after));
        let time = until
            .and_then(|until| OffsetDateTime::from_unix_timestamp_nanos(i128::from(until) * 1_000).ok())
            .and_then(|until| until.format(&Rfc3339).ok());
        let Some(time) = time else { return (self.clone(), None) };
        let body = format!(r#"{{"{field}":"{time}",{}"#, &self.body[1..]);
        (Self { body, ..self.clone() }, until)
    }

    /// What `POST /orders/{id}/items` carries, where something is added to it: an article of its own, and one that it
    /// may have already.
    pub fn addition(&self) -> Option<String> {
        let addition = self.life.addition.as_ref()?;
        let (name, quantity, price) = (added(self.number), addition.quantity, addition.price);
        let (article, minor) = ARTICLES[0];
        let other = Money::from_minor(minor, price.currency());
        // One more of what it takes of the shop.
        let more = self.takes.first().map_or_else(String::new, |(id, _)| format!(",{}", line(*id, 1)));
        Some(format!(
            r#"{{"payment_reference":"{name}","items":[{{"item_id":"{name}","item_name":"more","quantity":{quantity},"price":{price}}},{{"item_id":"{article}","item_name":"{article}","quantity":1,"price":{other}}}{more}]}}"#
        ))
    }
}

/// The reference of an order's addition, and the article that only this addition has.
pub fn added(number: u64) -> String {
    format!("added-{number}")
}

/// The reference of an order's second payment.
pub fn paid_anew(number: u64) -> String {
    format!("anew-{number}")
}

/// The customer of an order: nobody orders twice, so a second order of one customer is one too many.
pub fn customer(number: u64) -> String {
    Known::of(number).map_or_else(|| format!("customer-{number}"), |known| known.id.to_string())
}

/// What the house puts before a customer of the channel.
pub(crate) const OF_CHANNEL: &str = "chaos:diner:";

/// The customer of an order as its channel's: the same, without what the house puts before it.
pub fn of_channel(customer: &str) -> String {
    customer.strip_prefix(OF_CHANNEL).unwrap_or(customer).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Habits;
    use domain::channel::dialect::Dialect;
    use domain::channel::dialect::plain::PlainOrder;
    use domain::channel::name::ChannelName;
    use domain::channel::price_list::PriceList;
    use domain::channel::settings::ChannelSettings;
    use domain::order::NewOrder;
    use domain::order::additions::NewAddition;
    use serde_json::value::RawValue;
    use std::sync::Arc;

    use crate::document::CHANNEL;
    use crate::fleet::Tokens;
    use crate::shop::{Shares, Shop};

    #[test]
    fn each_is_one_that_is_accepted_and_comes_to_its_total() {
        let plan = plan();
        let mut by_channel = 0;
        for number in 0..500 {
            let new = || Order::new(number, &plan);
            let order = new();
            assert_eq!(format!("{order:?}"), format!("{:?}", new()));
            if let Some(document) = &order.document {
                by_channel += 1;
                for body in [document.first(), document.moved()] {
                    let parsed = channel_order(&body);
                    assert_eq!(
                        (parsed.total, of_channel(&parsed.customer_id)),
                        (order.total, customer(number))
                    );
                }
                let off = Dialect::Plain.called_off(&raw(&document.off()), &ChannelSettings::default());
                assert_eq!(off.map(|off| off.order_id), Some(format!("no-{number}")));
                continue;
            }
            let parsed = NewOrder::parse(&serde_json::from_str(&order.body).unwrap()).unwrap();
            assert_eq!((parsed.total, parsed.customer_id), (order.total, customer(number)));
            let (sent, until) = order.sent_at(crate::clock::now());
            let parsed = NewOrder::parse(&serde_json::from_str(&sent.body).unwrap()).unwrap();
            let names_one = order.expires_in.is_some() || order.wanted_in.is_some();
            assert_eq!((parsed.total, until.is_some()), (order.total, names_one));
            if let Some(body) = order.addition() {
                let request = serde_json::from_str(&body).unwrap();
                let addition = NewAddition::parse(&request, parsed.id, order.total.currency()).unwrap();
                assert_eq!(addition.reference, added(number));
            }
        }
        assert!((20..100).contains(&by_channel), "{by_channel}");
    }

    /// Without a shop: what it sells, only an api knows.
    fn plan() -> Plan {
        let shares = Shares { strict: 0.0, ordered: 0.0, carts: 0.0, there: 1.0 };
        Plan {
            seed: 7,
            orders: 500,
            rate: 1,
            apis: Vec::new(),
            tokens: Tokens::default(),
            habits: Habits::EVERYDAY,
            deadline: Duration::from_secs(6),
            shop: Arc::new(Shop { articles: Vec::new(), shares }),
            cart_hold: Duration::from_secs(1),
        }
    }

    fn raw(body: &str) -> Box<RawValue> {
        RawValue::from_string(body.to_owned()).unwrap()
    }

    fn channel_order(body: &str) -> NewOrder {
        let (channel, settings) = (ChannelName::parse(CHANNEL).unwrap(), ChannelSettings::default());
        let order =
            PlainOrder::parse(channel, &raw(body), &settings, None).unwrap_or_else(|_| panic!("{body}"));
        order.priced(&PriceList::default(), &settings, Duration::ZERO).unwrap().order
    }
}
