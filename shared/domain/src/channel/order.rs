//! The aggregators' document as it is, checked; and priced, by itself or by the channel's list. No I/O.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::channel::name::{ChannelKey, ChannelName, MAX_CHANNEL_CHARS};
use crate::channel::price_list::PriceList;
use crate::limits::{DEFAULT_CURRENCY, MAX_ID_CHARS, MAX_NAME_CHARS};
use crate::money::{Currency, Money};
use crate::order::NewOrder;
use crate::order::details::{CAMEL_CASE, Fulfilment, Handover, HandoverRequest, NewDetails};
use crate::order::lines::{Item, lines, sum};
use crate::order::payment_method::{Payment, PaymentMethod};
use crate::problems::Problem;
use crate::problems::{Place, Problems};

/// Longest account: with the channel before it, it names a customer.
const MAX_ACCOUNT_CHARS: usize = MAX_ID_CHARS - MAX_CHANNEL_CHARS - 1;

/// The aggregators' document, still raw. What is not named here is nobody's business here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRequest<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    account: Option<&'a RawValue>,
    #[serde(borrow)]
    brand_id: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
    #[serde(borrow)]
    delivery_address: Option<&'a RawValue>,
    #[serde(borrow)]
    pickup_time: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    order_is_already_paid: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    status_history: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct LineRequest<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    plu: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
}

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
pub struct ChannelOrder {
    key: ChannelKey,
    customer_id: String,
    currency: Option<Currency>,
    lines: Vec<Line>,
    handover: Handover,
    imported: Box<RawValue>,
    paid: bool,
}

#[derive(Serialize)]
struct Line {
    name: String,
    plu: String,
    quantity: u32,
    /// As it came, where it did.
    price: Option<Box<RawValue>>,
}

impl ChannelOrder {
    /// Checks everything about a document but its prices. `paid`: whether the channel took the money, where that was
    /// said beside the document.
    pub fn parse(
        channel: ChannelName,
        request: &ChannelRequest<'_>,
        paid: Option<bool>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let order_id = problems.text("channelOrderId", request.channel_order_id, MAX_ID_CHARS);
        let account = problems.optional_text("account", request.account, MAX_ACCOUNT_CHARS);
        let currency = problems.currency(request.currency);
        let handover = request.handover(&mut problems);
        let paid = problems.paid(request.order_is_already_paid, paid);
        let imported = problems.imported(request);
        let lines: Vec<Line> = lines::<LineRequest<'_>>(&mut problems, request.items)
            .iter()
            .enumerate()
            .filter_map(|(index, line)| line.parse(index, &mut problems))
            .collect();
        let (Some(order_id), true) = (order_id, problems.0.is_empty()) else { return Err(problems.0) };
        let customer_id = account
            .map_or_else(|| channel.as_str().to_owned(), |account| format!("{}:{account}", channel.as_str()));
        let content = (&customer_id, currency.as_ref().map(Currency::code), &lines, &handover, paid);
        let key = ChannelKey::new(channel, order_id, &content);
        Ok(Self { key, customer_id, currency, lines, handover, imported, paid })
    }

    /// The channel, its name for the order, and what was ordered.
    pub const fn key(&self) -> &ChannelKey {
        &self.key
    }

    /// Articles without a price.
    pub fn unpriced(&self) -> Vec<String> {
        self.lines.iter().filter(|line| line.price.is_none()).map(|line| line.plu.clone()).collect()
    }

    /// Whether the price list has to be asked, for prices or for the currency of those that came.
    pub fn needs_list(&self) -> bool {
        self.currency.is_none() || self.lines.iter().any(|line| line.price.is_none())
    }

    /// The order with every price, from the document or else from `list`. Where the channel took the money, the kitchen
    /// has `accept_in` to take it.
    pub fn priced(self, list: &PriceList, accept_in: Duration) -> Result<NewOrder, Vec<Problem>> {
        let mut problems = Problems::default();
        let currency = self.currency.or(list.currency).unwrap_or(DEFAULT_CURRENCY);
        let priced = self.lines.into_iter().enumerate();
        let priced =
            priced.filter_map(|(index, line)| line.priced(index, list, currency, &mut problems)).collect();
        let (items, total) = sum(&mut problems, priced, currency);
        let (Some(total), true) = (total, problems.0.is_empty()) else { return Err(problems.0) };
        let method = if self.paid { PaymentMethod::Elsewhere } else { PaymentMethod::Card };
        let details = NewDetails {
            handover: self.handover,
            key: Some(self.key),
            imported: Some(self.imported),
            payment: Payment { method, ..Payment::default() },
            ..NewDetails::default()
        };
        let mut order = NewOrder::new(self.customer_id, &items, total).with(details);
        order.to_be_taken_within(accept_in);
        Ok(order)
    }
}

impl<'a> ChannelRequest<'a> {
    /// The document does not say how the order is handed over: what has an address is delivered (a `pickupTime` beside it is
    /// the courier's), what has a time only is fetched.
    fn handover(&self, problems: &mut Problems) -> Handover {
        let Self { customer, delivery_address, pickup_time, .. } = *self;
        let request = HandoverRequest { fulfilment: None, customer, delivery_address, pickup_time };
        let handover = request.parse(&CAMEL_CASE, problems);
        let fulfilment = match (&handover.delivery_address, &handover.pickup_time) {
            (Some(_), _) => Some(Fulfilment::Delivery),
            (None, Some(_)) => Some(Fulfilment::Pickup),
            (None, None) => None,
        };
        Handover { fulfilment, ..handover }
    }

    const fn life_elsewhere(&self) -> Imported<'a> {
        let Self { id, created, account, brand_id, status, status_history, .. } = *self;
        Imported { id, created, account, brand_id, status, status_history }
    }
}

impl LineRequest<'_> {
    fn parse(&self, index: usize, problems: &mut Problems) -> Option<Line> {
        let attr = |field| Place { list: "items", index, field };
        let name = problems.text(attr("name"), self.name, MAX_NAME_CHARS);
        let plu = problems.text(attr("plu"), self.plu, MAX_ID_CHARS);
        let quantity = problems.quantity(attr("quantity"), self.quantity);
        Some(Line { name: name?, plu: plu?, quantity: quantity?, price: self.price.map(ToOwned::to_owned) })
    }
}

impl Line {
    /// The line and its sum, or `None` with the problem noted.
    fn priced(
        self,
        index: usize,
        list: &PriceList,
        currency: Currency,
        problems: &mut Problems,
    ) -> Option<(Item, Money)> {
        let attr = format!("items[{index}].price");
        let Self { name, plu, quantity, price } = self;
        let price = match (price, list.prices.get(&plu)) {
            (Some(price), _) => problems.price(&attr, Some(&price), currency)?,
            (None, Some(price)) if price.currency() == currency => *price,
            (None, Some(price)) => {
                let code = price.currency().code();
                problems.add(attr, "other_currency", format!("{plu:?} has a price in {code} only"));
                return None;
            }
            (None, None) => {
                let detail = format!("{plu:?} has no price, neither here nor in the channel's price list");
                problems.add(attr, "no_price", detail);
                return None;
            }
        };
        let sum = problems.times(&attr, price, quantity)?;
        let item = Item {
            item_id: plu.clone(),
            item_name: name,
            quantity,
            price: price.to_json(),
            plu: Some(plu),
            note: None,
            modifiers: Vec::new(),
            adjustments: Vec::new(),
        };
        Some((item, sum))
    }
}

impl Problems {
    /// Whether the channel took the money: by the document, or beside it.
    fn paid(&mut self, raw: Option<&RawValue>, beside: Option<bool>) -> bool {
        let Some(raw) = raw else { return beside.unwrap_or(false) };
        match (serde_json::from_str::<bool>(raw.get()), beside) {
            (Err(_), _) => self.add("orderIsAlreadyPaid", "not_true_or_false", "must be true or false"),
            (Ok(paid), Some(beside)) if paid != beside => {
                self.add("orderIsAlreadyPaid", "conflict", "says otherwise than the parameter paid");
            }
            (Ok(paid), _) => return paid,
        }
        false
    }

    /// What is kept to the letter. It must be such that it can be read again: no deeper than parsers go.
    fn imported(&mut self, request: &ChannelRequest<'_>) -> Box<RawValue> {
        let imported = request.life_elsewhere();
        let Imported { id, created, brand_id, status, status_history, .. } = imported;
        for (attr, raw) in [
            ("_id", id),
            ("created", created),
            ("brandId", brand_id),
            ("status", status),
            ("statusHistory", status_history),
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

    fn parse(document: &str, paid: Option<bool>) -> Result<ChannelOrder, Vec<Problem>> {
        ChannelOrder::parse(
            ChannelName::parse("Dish").unwrap(),
            &serde_json::from_str(document).unwrap(),
            paid,
        )
    }

    fn with(more: &str) -> String {
        format!(r#"{{"channelOrderId":"1","items":[{{"name":"Tea","plu":"T","quantity":2}}]{more}}}"#)
    }

    fn list(currency: Currency) -> PriceList {
        let price = Money::from_minor(250, currency);
        PriceList { currency: Some(currency), prices: HashMap::from([("T".to_owned(), price)]) }
    }

    fn first(problems: Result<NewOrder, Vec<Problem>>) -> (String, &'static str) {
        let problem = problems.unwrap_err().remove(0);
        (problem.attr, problem.code)
    }

    #[test]
    fn prices_come_from_the_document_or_else_from_the_list() {
        let priced =
            |more: &str, list: &PriceList| parse(&with(more), None).unwrap().priced(list, Duration::ZERO);
        let order = priced("", &list(Currency::EUR)).unwrap();
        assert_eq!((order.total.to_string(), order.total.currency()), ("5.00".into(), Currency::EUR));
        assert_eq!(first(priced("", &PriceList::default())), ("items[0].price".into(), "no_price"));
        let dollars = priced(r#","currency":"USD""#, &list(Currency::EUR));
        assert_eq!(first(dollars), ("items[0].price".into(), "other_currency"));
        let own = with("").replace("2}", r#"2,"price":1.5}"#);
        let order = parse(&own, None).unwrap().priced(&list(Currency::EUR), Duration::ZERO).unwrap();
        assert_eq!((order.total.to_string(), order.total.currency()), ("3.00".into(), Currency::EUR));
    }

    #[test]
    fn the_same_content_has_the_same_hash_however_it_is_written_and_whatever_became_of_it() {
        let content = |document: &str, paid| parse(document, paid).unwrap().key.content;
        let first = content(&with(""), None);
        assert_eq!(content(&with("").replace(',', " , "), None), first);
        assert_eq!(content(&with(r#","status":7,"statusHistory":[1],"unknown":{}"#), Some(false)), first);
        let priced = |price| content(&with("").replace("2}", &format!(r#"2,"price":{price}}}"#)), None);
        assert_eq!([priced("12.0"), priced("12.00")], [priced("12"); 2]);
        assert_ne!(priced("12"), priced("12.01"));
        assert_ne!(content(&with(""), Some(true)), first);
        assert_ne!(content(&with(r#","pickupTime":"2026-01-31T18:00:00Z""#), None), first);
    }

    #[test]
    fn who_paid_is_said_once() {
        let paid = |more: &str, beside| parse(&with(more), beside).map(|order| order.paid);
        assert_eq!(paid("", None).ok(), Some(false));
        assert_eq!(paid(r#","orderIsAlreadyPaid":true"#, None).ok(), Some(true));
        assert_eq!(paid("", Some(true)).ok(), Some(true));
        assert_eq!(paid(r#","orderIsAlreadyPaid":true"#, Some(false)).unwrap_err()[0].code, "conflict");
        assert_eq!(paid(r#","orderIsAlreadyPaid":1"#, None).unwrap_err()[0].code, "not_true_or_false");
    }
}
