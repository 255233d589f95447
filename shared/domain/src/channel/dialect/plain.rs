//! The plain dialect: the aggregators' common document, in decimals, or in minor units where the channel's settings say so. What it
//! does not price, the channel's price list does. Of money it knows lines and what is chosen with them; a document that has more
//! of it (fees, discounts, taxes) speaks another dialect, and is refused by these fields' names.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Incoming;
use super::draft::{Draft, Named, Place, location, part};
use super::minded::kitchens;
use super::which;
use crate::channel::document::Document;
use crate::channel::name::{ChannelKey, ChannelName};
use crate::channel::price_list::PriceList;
use crate::channel::reading::{Object, Scale, minor, unquoted};
use crate::channel::settings::{ChannelSettings, Unit};
use crate::channel::told::{CalledOff, Told};
use crate::decimal;
use crate::limits::{
    DEFAULT_CURRENCY, MAX_DEPTH, MAX_ITEMS, MAX_MODIFIERS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_QUANTITY,
};
use crate::location::MAIN;
use crate::money::{Currency, Money, currency_of, decimal_places};
use crate::order::details::Fulfilment;
use crate::order::lines::Item;
use crate::order::modifiers::Modifier;
use crate::order::payment_method::PaymentMethod;
use crate::problems::{Problem, Problems};

/// What other dialects say of money, and this one does not know.
const OTHERS: [&str; 13] = [
    "payment",
    "discountTotal",
    "discounts",
    "deliveryCost",
    "serviceCharge",
    "tip",
    "driverTip",
    "bagFee",
    "taxes",
    "taxTotal",
    "deliveryCostTax",
    "serviceChargeTax",
    "rebate",
];

/// The platform has cancelled it; it was cancelled.
const CANCELLED: [&str; 4] = ["100", "110", "cancelled", "canceled"];

/// What is kept of an order's life elsewhere, to the letter and under its own names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported<'a> {
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_history: Option<&'a RawValue>,
}

/// An order of a channel, checked but for its prices, some of which may have to be looked up.
pub struct PlainOrder {
    key: ChannelKey,
    location: Option<String>,
    draft: Draft,
    currency: Option<Currency>,
    lines: Vec<Line>,
    imported: Box<RawValue>,
}

#[derive(Serialize)]
struct Line {
    name: String,
    plu: Option<String>,
    quantity: u32,
    /// As it came, where it did; the same however it is written.
    price: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chosen: Vec<Line>,
    /// Where it stands in the document.
    #[serde(skip)]
    place: String,
}

impl PlainOrder {
    /// Checks everything about a document but its prices. `paid`: whether the channel took the money, where that was
    /// said beside the document.
    pub fn parse(
        channel: ChannelName,
        document: &RawValue,
        settings: &ChannelSettings,
        paid: Option<bool>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let order = Object::whole(document, &mut problems);
        let order_id = order.id("channelOrderId", &mut problems);
        for field in ["channelOrderId", "items"] {
            if order.raw(field).is_none() {
                let (code, detail) = if field == "items" && order.as_it_came(field).is_some() {
                    ("empty", "must have at least one item")
                } else {
                    ("required", "is required")
                };
                problems.add(field, code, detail);
            }
        }
        for field in OTHERS {
            if order.raw(field).is_some() {
                let detail = "is not of the plain dialect: set the dialect that the channel speaks";
                problems.add(field, "not_plain", detail);
            }
        }
        let named = order.line("currency", MAX_NAME_CHARS, &mut problems);
        let currency = named.and_then(|code| {
            let known = currency_of(&code.to_uppercase());
            if known.is_none() {
                problems.add(
                    "currency",
                    "unknown_currency",
                    "must be the ISO 4217 code of money that one can pay with",
                );
            }
            known
        });
        let mut left = MAX_MODIFIERS;
        let lines: Vec<Line> = order
            .list("items", MAX_ITEMS, &mut problems)
            .iter()
            .filter_map(|line| Line::read(line, 0, &mut left, &mut problems))
            .collect();
        expect_a_unit(&order, &lines, settings, &mut problems);
        let paid = problems.took_money(&order, paid);
        let customer = order.object("customer", &mut problems);
        let mut draft = Draft {
            diner: customer.id("id", &mut problems),
            locations: kitchens(&order, settings, &mut problems),
            method: if paid { PaymentMethod::Elsewhere } else { PaymentMethod::Card },
            document: document_of(&order),
            ..Draft::new(order_id.unwrap_or_default(), DEFAULT_CURRENCY, Vec::new())
        };
        hand_over(&order, &customer, &mut draft, &mut problems);
        let location = location(&draft.locations, settings).unwrap_or_else(|unknown| {
            problems.0.extend(unknown);
            None
        });
        let imported = problems.life_elsewhere(&order);
        if let Some(name) = crate::content::repeated(document.get().as_bytes()) {
            problems.add(name, "repeated", "must be given once");
        }
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        // What may be told otherwise later (`told.rs`) is not what was ordered.
        let content = (&draft.diner, currency.as_ref().map(Currency::code), &lines);
        let mut key = ChannelKey::new(channel, draft.order_id.clone(), &content);
        key.location = location.clone().filter(|id| id != MAIN);
        Ok(Self { key, location, draft, currency, lines, imported })
    }

    /// Our name of the location that is to make it, where the document names one that is set.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The channel, its name for the order at its location, and what was ordered.
    pub const fn key(&self) -> &ChannelKey {
        &self.key
    }

    /// What it says of its order, should that be there already.
    pub fn told(&self) -> Told {
        Told {
            handover: self.draft.handover(),
            imported: self.imported.clone(),
            method: self.draft.method,
            document: self.draft.document.clone(),
            wanted: None,
        }
    }

    /// Whether the channel took the money, as the document says or who handed it in.
    pub fn is_paid(&self) -> bool {
        self.draft.method == PaymentMethod::Elsewhere
    }

    /// Articles without a price.
    pub fn unpriced(&self) -> Vec<String> {
        fn look(lines: &[Line], found: &mut Vec<String>) {
            for line in lines {
                found.extend(line.plu.clone().filter(|_| line.price.is_none()));
                look(&line.chosen, found);
            }
        }
        let mut found = Vec::new();
        look(&self.lines, &mut found);
        found
    }

    /// Whether the price list has to be asked, for prices or for the currency of those that came.
    pub fn needs_list(&self) -> bool {
        self.currency.is_none() || !self.unpriced().is_empty()
    }

    /// The order with every price, from the document or else from `list`. Where the channel took the money, the kitchen
    /// has `accept_in` to take it.
    pub fn priced(
        self,
        list: &PriceList,
        settings: &ChannelSettings,
        accept_in: Duration,
    ) -> Result<Incoming, Vec<Problem>> {
        let mut problems = Problems::default();
        let currency = self.currency.or(settings.currency).or(list.currency).unwrap_or(DEFAULT_CURRENCY);
        let digits = if let Unit::Minor(digits) = settings.unit { digits } else { 0 };
        let scale = Scale { places: decimal_places(currency).try_into().unwrap_or_default(), digits };
        let priced = Priced { list, currency, scale };
        let items = self.lines.into_iter().filter_map(|line| priced.item(line, &mut problems)).collect();
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let draft = Draft { currency, items, ..self.draft };
        draft.order(Named::As(self.key), self.imported, settings, accept_in)
    }
}

/// The order that a document calls off, be the rest of it as wrong as it may.
pub(super) fn called_off(document: &RawValue, settings: &ChannelSettings) -> Option<CalledOff> {
    let mut problems = Problems::default();
    let order = Object::whole(document, &mut problems);
    let status = unquoted(order.raw("status")?.get()).to_lowercase();
    let is_off = CANCELLED.contains(&decimal::whole(&status).as_deref().unwrap_or(&status));
    let order_id = order.id("channelOrderId", &mut problems)?;
    let is_clear = problems.0.is_empty() && crate::content::repeated(document.get().as_bytes()).is_none();
    // A kitchen that nobody has set says nothing, and neither does rubbish in its place.
    let named = kitchens(&order, settings, &mut Problems::default());
    let location = location(&named, settings).ok().flatten();
    (is_off && is_clear).then(|| CalledOff { order_id, location, document: document_of(&order) })
}

/// Which document it is. What is no id or no time there says nothing: all of it is kept as it came.
fn document_of(order: &Object<'_>) -> Document {
    which(order, [&["_id"], &["created", "_created"], &["updated", "_updated"]], &mut Problems::default())
}

struct Priced<'l> {
    list: &'l PriceList,
    currency: Currency,
    scale: Scale,
}

impl Priced<'_> {
    fn item(&self, line: Line, problems: &mut Problems) -> Option<Item> {
        let price = self.price(&line, problems)?;
        if price < 0 {
            problems.add(format!("{}.price", line.place), "negative", "must not be negative");
        }
        let modifiers = line.chosen.into_iter().filter_map(|one| self.modifier(one, problems)).collect();
        Some(Item {
            item_id: line.plu.clone().unwrap_or_else(|| part(&line.name)),
            item_name: line.name,
            quantity: line.quantity,
            price: Money::from_minor(price, self.currency).to_json(),
            plu: line.plu,
            note: line.note,
            modifiers,
            adjustments: Vec::new(),
        })
    }

    fn modifier(&self, line: Line, problems: &mut Problems) -> Option<Modifier> {
        let price = self.price(&line, problems)?;
        let modifiers = line.chosen.into_iter().filter_map(|one| self.modifier(one, problems)).collect();
        let price = Money::from_minor(price, self.currency).to_json();
        let Line { name, quantity, plu, note, .. } = line;
        Some(Modifier { id: None, name, quantity, price, plu, note, modifiers })
    }

    fn price(&self, line: &Line, problems: &mut Problems) -> Option<i64> {
        let attr = format!("{}.price", line.place);
        if let Some(price) = &line.price {
            let read = minor(unquoted(price.get()), self.scale);
            return read.inspect_err(|(code, detail)| problems.add(attr, code, *detail)).ok();
        }
        let plu = line.plu.as_deref().unwrap_or_default();
        match self.list.prices.get(plu) {
            Some(price) if price.currency() == self.currency => return Some(price.minor()),
            Some(price) => {
                let code = price.currency().code();
                problems.add(attr, "other_currency", format!("{plu:?} has a price in {code} only"));
            }
            None => {
                let detail = format!("{plu:?} has no price, neither here nor in the channel's price list");
                problems.add(attr, "no_price", detail);
            }
        }
        None
    }
}

impl Line {
    fn read(line: &Object<'_>, depth: usize, left: &mut usize, problems: &mut Problems) -> Option<Self> {
        let plu = line.id("plu", problems);
        let name = line.line("name", MAX_NAME_CHARS, problems).or_else(|| plu.clone());
        if name.is_none() {
            problems.add(line.at("name"), "required", "is required");
        }
        let quantity = line.number("quantity", 1..=MAX_QUANTITY.into(), problems);
        if line.raw("quantity").is_none() {
            problems.add(line.at("quantity"), "required", "is required");
        }
        let note = line.note("remark", MAX_NOTE_CHARS, problems);
        let list = line.list("subItems", *left, problems);
        if !list.is_empty() && depth >= MAX_DEPTH {
            problems.add(line.at("subItems"), "too_many", format!("may lie {MAX_DEPTH} deep"));
            return None;
        }
        *left -= list.len();
        let chosen = list.iter().filter_map(|one| Self::read(one, depth + 1, left, problems)).collect();
        let price = line.raw("price").map(ToOwned::to_owned);
        let quantity = u32::try_from(quantity?).ok()?;
        Some(Self { name: name?, plu, quantity, price, note, chosen, place: line.place().to_owned() })
    }

    /// Whether its price, and of all that is chosen with it, has nothing behind a point.
    fn is_whole(&self) -> bool {
        self.price.as_ref().is_none_or(|price| !price.get().contains(['.', 'e', 'E']))
            && self.chosen.iter().all(Self::is_whole)
    }
}

/// A document that speaks of decimal digits and whose prices are all whole is in minor units, or it is not: nobody may guess, where
/// a hundredfold is at stake.
fn expect_a_unit(order: &Object<'_>, lines: &[Line], settings: &ChannelSettings, problems: &mut Problems) {
    let digits = order.number("decimalDigits", 0..=6, problems).unwrap_or(0);
    let priced = lines.iter().any(|line| line.price.is_some());
    if digits > 0 && priced && settings.unit == Unit::Dialects && lines.iter().all(Line::is_whole) {
        let detail = "whether prices are in minor units is for the channel's settings to say";
        problems.add("decimalDigits", "unit_unclear", detail);
    }
}

/// The document does not say how the order is handed over: what has an address is delivered (a `pickupTime` beside it is the
/// courier's), and so is what has the time of a delivery alone; what has a `pickupTime` only is fetched.
fn hand_over(order: &Object<'_>, customer: &Object<'_>, draft: &mut Draft, problems: &mut Problems) {
    let address = order.object("deliveryAddress", problems);
    draft.address = Place {
        street: address.line("street", MAX_NAME_CHARS, problems),
        number: address.line("streetNumber", MAX_NAME_CHARS, problems),
        more: address.line("extraAddressInfo", MAX_NAME_CHARS, problems),
        area: None,
        postal_code: address.line("postalCode", MAX_NAME_CHARS, problems),
        city: address.line("city", MAX_NAME_CHARS, problems),
        country: address.line("country", MAX_NAME_CHARS, problems),
    };
    draft.name = customer.line("name", MAX_NAME_CHARS, problems);
    draft.phone = customer.line("phoneNumber", 40, problems);
    let (pickup, delivery) = (order.time("pickupTime", problems), order.time("deliveryTime", problems));
    draft.wanted_at = pickup.or(delivery);
    // To the letter, as it came.
    let named = if pickup.is_some() { "pickupTime" } else { "deliveryTime" };
    draft.wanted = draft.wanted_at.and_then(|_| order.line(named, 40, problems));
    draft.fulfilment = if draft.address.is_some() || pickup.is_none() && delivery.is_some() {
        Some(Fulfilment::Delivery)
    } else {
        pickup.map(|_| Fulfilment::Pickup)
    };
    draft.mind(order, customer, problems);
}

impl Problems {
    /// Whether the channel took the money: by the document, or beside it.
    fn took_money(&mut self, order: &Object<'_>, beside: Option<bool>) -> bool {
        match (order.flag("orderIsAlreadyPaid", self), beside) {
            (Some(paid), Some(beside)) if paid != beside => {
                self.add("orderIsAlreadyPaid", "conflict", "says otherwise than the parameter paid");
                false
            }
            (said, beside) => said.or(beside).unwrap_or(false),
        }
    }

    /// What is kept to the letter. It must be such that it can be read again: no deeper than parsers go.
    fn life_elsewhere(&mut self, order: &Object<'_>) -> Box<RawValue> {
        let kept = |name| order.raw(name);
        let imported = Imported {
            id: kept("_id"),
            created: kept("created"),
            account: kept("account"),
            brand_id: kept("brandId"),
            status: kept("status"),
            status_history: order.as_it_came("statusHistory"),
        };
        for (attr, raw) in [
            ("_id", imported.id),
            ("created", imported.created),
            ("account", imported.account),
            ("brandId", imported.brand_id),
            ("status", imported.status),
            ("statusHistory", imported.status_history),
        ] {
            // As deep as it will stand in the answer that shows it.
            let shown = raw.map(|raw| format!("[[[{raw}]]]"));
            if shown.is_some_and(|shown| serde_json::from_str::<serde_json::Value>(&shown).is_err()) {
                self.add(
                    attr,
                    "unreadable",
                    "nests too deep, or has a number or a character that there is not",
                );
            }
        }
        serde_json::value::to_raw_value(&imported).expect("JSON in JSON is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn parse(document: &str, paid: Option<bool>) -> Result<PlainOrder, Vec<Problem>> {
        let document: &RawValue = serde_json::from_str(document).unwrap();
        PlainOrder::parse(ChannelName::parse("Dish").unwrap(), document, &ChannelSettings::default(), paid)
    }

    fn with(more: &str) -> String {
        format!(r#"{{"channelOrderId":"1","items":[{{"name":"Tea","plu":"T","quantity":2}}]{more}}}"#)
    }

    fn list(currency: Currency) -> PriceList {
        let price = Money::from_minor(250, currency);
        PriceList { currency: Some(currency), prices: HashMap::from([("T".to_owned(), price)]) }
    }

    fn priced(order: PlainOrder, list: &PriceList) -> Result<crate::order::NewOrder, Vec<Problem>> {
        order.priced(list, &ChannelSettings::default(), Duration::ZERO).map(|incoming| incoming.order)
    }

    fn first<T>(problems: Result<T, Vec<Problem>>) -> (String, &'static str) {
        let Err(mut problems) = problems else { panic!("nothing is wrong") };
        let problem = problems.remove(0);
        (problem.attr, problem.code)
    }

    #[test]
    fn prices_come_from_the_document_or_else_from_the_list() {
        let of = |more: &str, list: &PriceList| {
            priced(parse(&with(more), None).unwrap_or_else(|_| panic!("{more}")), list)
        };
        let order = of("", &list(Currency::EUR)).unwrap();
        assert_eq!((order.total.to_string(), order.total.currency()), ("5.00".into(), Currency::EUR));
        assert_eq!(first(of("", &PriceList::default())), ("items[0].price".into(), "no_price"));
        assert_eq!(
            first(of(r#","currency":"USD""#, &list(Currency::EUR))),
            ("items[0].price".into(), "other_currency")
        );
        let own = with("").replace("2}", r#"2,"price":1.5}"#);
        let order =
            priced(parse(&own, None).unwrap_or_else(|_| panic!("{own}")), &list(Currency::EUR)).unwrap();
        assert_eq!((order.total.to_string(), order.total.currency()), ("3.00".into(), Currency::EUR));
    }

    #[test]
    fn the_same_content_has_the_same_hash_however_it_is_written_and_whatever_became_of_it() {
        let content = |document: &str, paid| parse(document, paid).map(|order| order.key.content).unwrap();
        let first = content(&with(""), None);
        assert_eq!(content(&with("").replace(',', " , "), None), first);
        assert_eq!(content(&with(r#","status":7,"statusHistory":[1],"unknown":{}"#), Some(false)), first);
        let priced = |price| content(&with("").replace("2}", &format!(r#"2,"price":{price}}}"#)), None);
        assert_eq!([priced("12.0"), priced("12.00")], [priced("12"); 2]);
        assert_ne!(priced("12"), priced("12.01"));
        assert_ne!(content(&with(r#","currency":"JPY""#), None), first);
        // What a channel may tell otherwise later.
        assert_eq!(content(&with(r#","pickupTime":"2026-01-31T18:00:00Z""#), Some(true)), first);
    }

    #[test]
    fn who_paid_is_said_once() {
        let paid = |more: &str, beside| parse(&with(more), beside).map(|order| order.is_paid());
        assert_eq!(paid("", None).ok(), Some(false));
        assert_eq!(paid(r#","orderIsAlreadyPaid":true"#, None).ok(), Some(true));
        assert_eq!(paid("", Some(true)).ok(), Some(true));
        assert_eq!(first(paid(r#","orderIsAlreadyPaid":true"#, Some(false))).1, "conflict");
        assert_eq!(first(paid(r#","orderIsAlreadyPaid":1"#, None)).1, "not_true_or_false");
    }

    #[test]
    fn what_is_chosen_counts_for_each_and_is_shown_and_other_money_is_no_secret() {
        let document = r#"{"channelOrderId":7,"note":"no nuts","items":[{"name":"Burger","quantity":2.0,"price":12.99,"remark":"rare",
            "subItems":[{"name":"Cheese","plu":9,"quantity":1,"price":"1.50"}]}]}"#;
        let order =
            priced(parse(document, None).unwrap_or_else(|_| panic!("no order")), &PriceList::default())
                .unwrap();
        assert_eq!(order.total.to_string(), "28.98");
        for shown in ["Cheese", "rare"] {
            assert!(order.items.get().contains(shown), "{shown}");
        }
        assert_eq!(order.details.unwrap().handover.note.as_deref(), Some("no nuts"));
        assert_eq!(
            first(parse(&with(r#","discountTotal":-150"#), None)),
            ("discountTotal".into(), "not_plain")
        );
        assert_eq!(first(parse(&with(r#","payment":{"amount":1}"#), None)), ("payment".into(), "not_plain"));
    }

    #[test]
    fn nobody_guesses_whether_a_whole_price_is_in_minor_units() {
        let document = with(r#","decimalDigits":2"#).replace("2}", r#"2,"price":1299}"#);
        assert_eq!(first(parse(&document, None)), ("decimalDigits".into(), "unit_unclear"));
        let settings = ChannelSettings { unit: Unit::Minor(2), ..ChannelSettings::default() };
        let raw: &RawValue = serde_json::from_str(&document).unwrap();
        let order = PlainOrder::parse(ChannelName::parse("Dish").unwrap(), raw, &settings, None);
        let order = order.unwrap_or_else(|_| panic!("no order"));
        let order = order.priced(&PriceList::default(), &settings, Duration::ZERO).unwrap().order;
        assert_eq!(order.total.to_string(), "25.98");
        assert!(parse(&document.replace("1299", "12.99"), None).is_ok());
    }

    #[test]
    fn what_is_empty_is_as_good_as_left_out() {
        let empty = r#","account":"","currency":"","pickupTime":"","customer":{"phoneNumber":"","name":" "},"deliveryAddress":{}"#;
        let order = parse(&with(empty), None).unwrap_or_else(|_| panic!("no order"));
        assert_eq!(
            order.key.content,
            parse(&with(""), None).unwrap_or_else(|_| panic!("no order")).key.content
        );
        let loose = r#","currency":"usd","customer":{"phoneNumber":"+15550100123 x89"},
            "deliveryAddress":{"street":"12 Main St\\nApt 4"}"#
            .replace("\\\\n", "\\n");
        let order = parse(&with(&loose), None).unwrap_or_else(|problems| panic!("{problems:?}"));
        let shown = serde_json::to_string(&order.draft.handover()).unwrap();
        assert!(shown.contains("12 Main St, Apt 4") && shown.contains("x89"), "{shown}");
        for (rubbish, code) in
            [("1970-01-01T00:00:00Z", "no_time"), ("9999-12-31T00:00:00Z", "no_time"), ("noon", "no_time")]
        {
            assert_eq!(first(parse(&with(&format!(r#","pickupTime":"{rubbish}""#)), None)).1, code);
        }
        assert_eq!(first(parse(&with(r#","x":{"a":1,"a":2}"#), None)), ("a".into(), "repeated"));
    }
}
