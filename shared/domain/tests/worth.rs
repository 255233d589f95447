//! What an order is worth, against a sum that knows nothing of the code: decimals as integers of a ten-thousandth, added up by hand.
//! A failure prints the order that it failed for and the seed of the run.

use domain::money::{Currency, Money, decimal_places};
use domain::order::NewOrder;
use domain::order::adjustments::{Adjustment, AdjustmentKind};
use domain::order::details::NewDetails;
use domain::order::lines::Item;
use domain::order::modifiers::Modifier;
use domain::order::parts::Parts;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Something chosen, in minor units.
#[derive(Debug, Clone)]
struct Chosen {
    price: i64,
    quantity: u32,
    with: Vec<Chosen>,
}

#[derive(Debug, Clone)]
struct Line {
    price: i64,
    quantity: u32,
    with: Vec<Chosen>,
    beside: Vec<(usize, i64)>,
}

fn chosen() -> impl Strategy<Value = Vec<Chosen>> {
    let leaf = (-300..2_000_i64, 1..4_u32).prop_map(|(price, quantity)| Chosen {
        price,
        quantity,
        with: Vec::new(),
    });
    let nested = leaf.prop_recursive(4, 12, 3, |inner| {
        (-300..2_000_i64, 1..4_u32, prop::collection::vec(inner, 0..3))
            .prop_map(|(price, quantity, with)| Chosen { price, quantity, with })
    });
    prop::collection::vec(nested, 0..4)
}

/// Kinds by their place in the list, and amounts whose sign they may have.
fn beside() -> impl Strategy<Value = Vec<(usize, i64)>> {
    let one = (0..AdjustmentKind::ALL.len(), 0..3_000_i64, any::<bool>()).prop_map(|(kind, amount, down)| {
        let signed = if down { -amount } else { amount };
        let may_be = AdjustmentKind::ALL[kind].1.may_be(signed);
        (kind, if may_be { signed } else { -signed })
    });
    prop::collection::vec(one, 0..4)
}

fn line() -> impl Strategy<Value = Line> {
    (0..100_000_i64, 1..30_u32, chosen(), beside()).prop_map(|(price, quantity, with, beside)| Line {
        price,
        quantity,
        with,
        beside,
    })
}

/// As people write it: `-1.50`. Not by the code that is tested.
fn written(minor: i64, places: usize) -> String {
    let (sign, digits) = (if minor < 0 { "-" } else { "" }, format!("{:0>1$}", minor.abs(), places + 1));
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A decimal in ten-thousandths.
fn read(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    sign * format!("{whole}{fraction:0<4}").parse::<i128>().unwrap()
}

fn number(minor: i64, places: usize) -> Value {
    Value::String(format!("\u{1}{}", written(minor, places)))
}

/// The JSON of a value in which decimals were texts that begin with U+0001: no double ever saw them.
fn to_text(value: &Value) -> String {
    value.to_string().split("\"\\u0001").enumerate().fold(String::new(), |text, (place, part)| {
        if place == 0 { part.to_owned() } else { text + &part.replacen('"', "", 1) }
    })
}

fn chosen_json(all: &[Chosen], places: usize) -> Value {
    let one = |one: &Chosen| {
        json!({"name": "m", "quantity": one.quantity, "price": number(one.price, places),
               "modifiers": chosen_json(&one.with, places)})
    };
    all.iter().map(one).collect()
}

fn beside_json(all: &[(usize, i64)], places: usize) -> Value {
    let one = |(kind, amount): &(usize, i64)| json!({"kind": AdjustmentKind::ALL[*kind].0, "amount": number(*amount, places)});
    all.iter().map(one).collect()
}

/// What one unit of something comes to with what is chosen, by the texts that are sent.
fn by_hand(price: i64, with: &[Chosen], places: usize) -> i128 {
    let chosen = with.iter().map(|one| by_hand(one.price, &one.with, places) * i128::from(one.quantity));
    read(&written(price, places)) + chosen.sum::<i128>()
}

fn sum(beside: &[(usize, i64)], places: usize) -> i128 {
    beside.iter().map(|(_, amount)| read(&written(*amount, places))).sum()
}

/// `None`: something comes to less than nothing.
fn expected(lines: &[Line], all: &[(usize, i64)], places: usize) -> Option<i128> {
    let mut total = 0;
    for line in lines {
        let unit = by_hand(line.price, &line.with, places);
        let worth = unit * i128::from(line.quantity) + sum(&line.beside, places);
        if unit < 0 || worth < 0 {
            return None;
        }
        total += worth;
    }
    Some(total + sum(all, places)).filter(|total| *total >= 0)
}

fn raw(minor: i64, places: usize) -> Box<RawValue> {
    RawValue::from_string(written(minor, places)).unwrap()
}

fn adjustments(all: &[(usize, i64)], places: usize) -> Vec<Adjustment> {
    let one = |(kind, amount): &(usize, i64)| Adjustment {
        kind: AdjustmentKind::ALL[*kind].1,
        name: None,
        amount: raw(*amount, places),
    };
    all.iter().map(one).collect()
}

fn modifiers(all: &[Chosen], places: usize) -> Vec<Modifier> {
    let one = |one: &Chosen| Modifier {
        note: None,
        id: None,
        name: "m".into(),
        quantity: one.quantity,
        price: raw(one.price, places),
        plu: None,
        modifiers: modifiers(&one.with, places),
    };
    all.iter().map(one).collect()
}

fn items(lines: &[Line], places: usize) -> Vec<Item> {
    let one = |line: &Line| Item {
        item_id: "i".into(),
        item_name: "n".into(),
        quantity: line.quantity,
        price: raw(line.price, places),
        plu: None,
        note: None,
        modifiers: modifiers(&line.with, places),
        adjustments: adjustments(&line.beside, places),
    };
    lines.iter().map(one).collect()
}

proptest! {
    #[test]
    fn an_order_is_worth_what_is_added_up_by_hand(
        lines in prop::collection::vec(line(), 1..8), all in beside(), pick in 0..4_usize,
    ) {
        let (currency, places) =
            [(Currency::JPY, 0), (Currency::EUR, 2), (Currency::KWD, 3), (Currency::CLF, 4)][pick];
        prop_assert_eq!(usize::try_from(decimal_places(currency)).unwrap(), places);
        let expected = expected(&lines, &all, places);

        // As a dialect hands it over.
        let parts = Parts {
            items: items(&lines, places),
            adjustments: adjustments(&all, places),
            currency,
            expected_minor: expected.map(|sum| i64::try_from(sum).unwrap() / 10_i64.pow(4 - u32::try_from(places).unwrap())),
        };
        let made = NewOrder::of_parts("c".into(), parts, NewDetails::default(), "amount");
        prop_assert_eq!(made.as_ref().ok().map(|order| read(&order.total.to_string())), expected);

        // As it comes by POST /orders, where nobody can pay in a unit of account.
        if currency != Currency::CLF {
            let items: Value = lines.iter().map(|line| json!({
                "item_id": "i", "item_name": "n", "quantity": line.quantity, "price": number(line.price, places),
                "modifiers": chosen_json(&line.with, places), "adjustments": beside_json(&line.beside, places),
            })).collect();
            let body = json!({"customer_id": "c", "currency": currency.code(), "items": items,
                              "adjustments": beside_json(&all, places)});
            let order = NewOrder::parse(&serde_json::from_str(&to_text(&body)).unwrap());
            let code = order.as_ref().err().map(|problems| problems[0].code);
            prop_assert_eq!(code, expected.is_none().then_some("below_zero"));
            if let Ok(order) = order {
                prop_assert_eq!(read(&order.total.to_string()), expected.unwrap());
                // What is stored is worth the same, and is written as what was made of parts.
                let stored: Vec<Item> = serde_json::from_str(order.items.get()).unwrap();
                let worth: i64 = stored.iter().map(|item| item.worth(currency).unwrap()).sum();
                let beside: i128 = sum(&all, places);
                prop_assert_eq!(read(&Money::from_minor(worth, currency).to_string()) + beside, expected.unwrap());
                let made = made.unwrap();
                prop_assert_eq!(order.items.get(), made.items.get());
            }
        }
    }
}

#[test]
fn a_total_that_says_otherwise_is_no_total() {
    let line = Line { price: 1_299, quantity: 2, with: Vec::new(), beside: Vec::new() };
    let parts = |expected| Parts {
        items: items(std::slice::from_ref(&line), 2),
        adjustments: Vec::new(),
        currency: Currency::EUR,
        expected_minor: Some(expected),
    };
    let made =
        |expected| NewOrder::of_parts("c".into(), parts(expected), NewDetails::default(), "payment.amount");
    assert_eq!(made(2_598).unwrap().total.to_string(), "25.98");
    let problem = made(2_599).unwrap_err().remove(0);
    assert_eq!((problem.code, problem.attr.as_str()), ("total_mismatch", "payment.amount"));
    assert_eq!(problem.detail, "says 25.99; the order comes to 25.98");
}
