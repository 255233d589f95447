//! What an order may carry, and what is wrong with it.

use std::time::Duration;

use super::*;
use crate::order::payment_method::NoCharge;

fn parse(json: &str) -> Result<NewOrder, Vec<Problem>> {
    NewOrder::parse(&serde_json::from_str(json).unwrap())
}

fn one_item(quantity: &str, price: &str) -> String {
    format!(
        r#"{{"customer_id":"c","items":[{{"item_id":"i","item_name":"n","quantity":{quantity},"price":{price}}}]}}"#
    )
}

fn first_problem(json: &str) -> (String, &'static str) {
    let problem = parse(json).unwrap_err().remove(0);
    (problem.attr, problem.code)
}

#[test]
fn a_good_order_has_an_exact_total_and_keeps_its_decimals() {
    let order = parse(&one_item("2", "12.50")).unwrap();
    assert_eq!(order.total.to_string(), "25.00");
    assert_eq!(order.items.get(), r#"[{"item_id":"i","item_name":"n","quantity":2,"price":12.50}]"#);
}

#[test]
fn its_charge_may_end_at_a_time_of_its_own_that_is_to_come_and_not_too_far() {
    let expiring = |at: &str| {
        let order =
            one_item("1", "1").replace("\"customer_id\"", &format!("\"expires_at\":{at},\"customer_id\""));
        parse(&order).map(|order| order.details.and_then(|details| details.expires_at))
    };
    let rfc3339 = |at: OffsetDateTime| {
        format!("\"{}\"", at.format(&time::format_description::well_known::Rfc3339).unwrap())
    };
    let code = |at: &str| expiring(at).unwrap_err().remove(0).code;
    let now = OffsetDateTime::now_utc();
    let soon = now + time::Duration::minutes(2);
    let elsewhere = soon.to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
    let whole = soon.replace_nanosecond(soon.microsecond() * 1_000).unwrap();
    for at in [soon, elsewhere] {
        let read = expiring(&rfc3339(at)).unwrap().unwrap();
        assert_eq!((read, read.offset()), (whole, time::UtcOffset::UTC), "to the microsecond");
    }
    assert_eq!(expiring("null").unwrap(), None);
    assert!(expiring(&rfc3339(now)).is_ok(), "whether that is too late depends on whether it came before");
    assert_eq!(code(&rfc3339(now + time::Duration::days(8))), "too_far");
    assert_eq!(code("\"9999-12-31T23:59:59Z\""), "too_far");
    assert_eq!(
        (code("\"soon\""), code("\"2026-01-31\""), code("1769878800")),
        ("no_time", "no_time", "not_text")
    );
}

#[test]
fn every_problem_is_named_with_its_place() {
    let of = |quantity, price| first_problem(&one_item(quantity, price));
    assert_eq!(of("0", "1"), ("items[0].quantity".into(), "out_of_range"));
    assert_eq!(of("-5", "1"), ("items[0].quantity".into(), "out_of_range"));
    assert_eq!(of("3000000000", "1"), ("items[0].quantity".into(), "out_of_range"));
    assert_eq!(of("1", "12.999"), ("items[0].price".into(), "too_precise"));
    assert_eq!(of("1", "-1"), ("items[0].price".into(), "negative"));
    assert_eq!(of("1", "\"1\""), ("items[0].price".into(), "not_decimal"));
    assert_eq!(of("\"2\"", "1"), ("items[0].quantity".into(), "not_whole"));
    assert_eq!(of("1.5", "1"), ("items[0].quantity".into(), "not_whole"));
    assert_eq!(of("15e-1", "1"), ("items[0].quantity".into(), "not_whole"));
    assert_eq!(of("1e9", "1"), ("items[0].quantity".into(), "out_of_range"));
    assert_eq!(of("1", "1e-3"), ("items[0].price".into(), "too_precise"));
    assert_eq!(of("-0", "1"), ("items[0].quantity".into(), "out_of_range"));
    assert_eq!(first_problem("{}"), ("customer_id".into(), "required"));
    assert_eq!(first_problem(r#"{"customer_id":7,"items":[]}"#), ("customer_id".into(), "not_text"));
    assert_eq!(first_problem(r#"{"customer_id":"c","items":[1]}"#), ("items".into(), "not_a_list"));
    assert_eq!(first_problem(r#"{"customer_id":"c","items":[{}]}"#), ("items[0].item_id".into(), "required"));
    assert_eq!(of("10000", "9999999999"), ("items[0].price".into(), "too_large"));
    assert_eq!(first_problem(r#"{"customer_id":"c","items":[]}"#), ("items".into(), "empty"));
    assert_eq!(first_problem(r#"{"customer_id":" ","items":[]}"#), ("customer_id".into(), "empty"));
    let nul = one_item("1", "1").replace("\"n\"", "\"a\\u0000b\"");
    assert_eq!(first_problem(&nul), ("items[0].item_name".into(), "control_character"));
    let both = parse(&one_item("0", "-1")).unwrap_err();
    assert_eq!(both.len(), 2, "all problems come at once");
}

/// The order with these fields beside its one line of 2 x 12.99.
fn beside(fields: &str) -> Result<NewOrder, (String, &'static str)> {
    let body = one_item("2", "12.99").replace("\"customer_id\"", &format!("{fields},\"customer_id\""));
    parse(&body).map_err(|mut problems| {
        let problem = problems.remove(0);
        (problem.attr, problem.code)
    })
}

/// The same with these fields of its line.
fn on_line(fields: &str) -> Result<NewOrder, (String, &'static str)> {
    let body = one_item("2", "12.99").replace("\"item_id\"", &format!("{fields},\"item_id\""));
    parse(&body).map_err(|mut problems| {
        let problem = problems.remove(0);
        (problem.attr, problem.code)
    })
}

fn total(order: Result<NewOrder, (String, &'static str)>) -> String {
    order.unwrap().total.to_string()
}

fn wrong(order: Result<NewOrder, (String, &'static str)>, attr: &str, code: &str) {
    assert_eq!(order.map(|order| order.total.to_string()).unwrap_err(), (attr.to_owned(), code));
}

#[test]
fn what_is_chosen_counts_for_each_unit() {
    let cheese = r#""modifiers":[{"name":"cheese","price":1.50}]"#;
    assert_eq!(total(on_line(cheese)), "28.98");
    let nested = r#""modifiers":[{"name":"side","quantity":2,"modifiers":[{"name":"sauce","price":0.25,"quantity":3}]}]"#;
    assert_eq!(total(on_line(nested)), "28.98", "3 sauces for each of 2 sides of each of 2 burgers");
    assert_eq!(total(on_line(r#""modifiers":[{"name":"small","price":-2.99}]"#)), "20.00");
    wrong(on_line(r#""modifiers":[{"name":"x","price":-13}]"#), "items[0].modifiers", "below_zero");
    let stored = on_line(cheese).unwrap().items;
    assert_eq!(
        stored.get(),
        r#"[{"item_id":"i","item_name":"n","quantity":2,"price":12.99,"modifiers":[{"name":"cheese","quantity":1,"price":1.50}]}]"#
    );
}

#[test]
fn modifiers_are_bounded_in_depth_and_number_and_told_with_their_place() {
    let deep = |depth: usize| {
        let inner = (1..depth).fold(r#"{"name":"m"}"#.to_owned(), |inner, _| {
            format!(r#"{{"name":"m","modifiers":[{inner}]}}"#)
        });
        on_line(&format!(r#""modifiers":[{inner}]"#))
    };
    assert_eq!(total(deep(5)), "25.98");
    wrong(
        deep(6),
        "items[0].modifiers[0].modifiers[0].modifiers[0].modifiers[0].modifiers[0].modifiers",
        "too_many",
    );
    let many =
        |count: usize| on_line(&format!(r#""modifiers":[{}]"#, vec![r#"{"name":"m"}"#; count].join(",")));
    assert_eq!(total(many(500)), "25.98");
    wrong(many(501), "items[0].modifiers", "too_many");
    wrong(on_line(r#""modifiers":[{"name":"a"},{"price":1}]"#), "items[0].modifiers[1].name", "required");
    wrong(
        on_line(r#""modifiers":[{"name":"a","price":1.999}]"#),
        "items[0].modifiers[0].price",
        "too_precise",
    );
    wrong(on_line(r#""modifiers":{}"#), "items[0].modifiers", "not_a_list");
}

#[test]
fn amounts_beside_the_lines_are_added_and_keep_their_sign() {
    let fees = r#""adjustments":[{"kind":"delivery_fee","amount":2.99},{"kind":"service_fee","amount":0.5},
        {"kind":"TIP","amount":2},{"kind":"bag","amount":0.1},{"kind":"tax","amount":0.9},
        {"kind":"discount","name":"Happy hour","amount":-1.5},{"kind":"rounding","amount":-0.02}]"#;
    assert_eq!(total(beside(fees)), "30.95");
    assert_eq!(total(on_line(r#""adjustments":[{"kind":"discount","amount":-5.98}]"#)), "20.00");
    let one = |kind: &str, amount: &str| {
        beside(&format!(r#""adjustments":[{{"kind":"{kind}","amount":{amount}}}]"#))
    };
    wrong(one("discount", "1"), "adjustments[0].amount", "wrong_sign");
    wrong(one("tip", "-1"), "adjustments[0].amount", "wrong_sign");
    wrong(one("gift", "1"), "adjustments[0].kind", "unknown_kind");
    wrong(one("discount", "-25.99"), "adjustments", "below_zero");
    wrong(
        on_line(r#""adjustments":[{"kind":"discount","amount":-26}]"#),
        "items[0].adjustments",
        "below_zero",
    );
    assert_eq!(total(one("discount", "-25.98")), "0.00", "a voucher for all of it");
}

#[test]
fn a_total_that_is_said_must_be_right() {
    assert_eq!(total(beside(r#""total":25.98"#)), "25.98");
    assert_eq!(total(beside(r#""total":2.598e1"#)), "25.98");
    wrong(beside(r#""total":1.00"#), "total", "total_mismatch");
    wrong(beside(r#""total":"25.98""#), "total", "not_decimal");
    let both = parse(&one_item("0", "1").replace("\"customer_id\"", "\"total\":7,\"customer_id\""));
    assert_eq!(both.unwrap_err().len(), 1, "what is wrong with a line is no fault of the sum");
}

#[test]
fn whatever_nobody_knows_or_is_given_twice_is_told_by_its_name_at_any_depth() {
    wrong(beside(r#""tip":2"#), "tip", "unknown_field");
    wrong(beside(r#""tip":null"#), "tip", "unknown_field");
    wrong(on_line(r#""subItems":[]"#), "items[0].subItems", "unknown_field");
    wrong(on_line(r#""modifiers":[{"name":"a","cost":1}]"#), "items[0].modifiers[0].cost", "unknown_field");
    wrong(
        beside(r#""adjustments":[{"kind":"tip","amount":1,"for":"x"}]"#),
        "adjustments[0].for",
        "unknown_field",
    );
    wrong(beside(r#""payment":{"type":1}"#), "payment.type", "unknown_field");
    wrong(beside(r#""customer":{"name":"Ada","note":"x"}"#), "customer.note", "unknown_field");
    let address = r#""delivery_address":{"street":"s","city":"c","floor":"2"}"#;
    wrong(beside(address), "delivery_address.floor", "unknown_field");
    wrong(beside(r#""customer_id":"d""#), "customer_id", "repeated");
    wrong(on_line(r#""price":1"#), "items[0].price", "repeated");
    wrong(on_line(r#""pr\u0069ce":1"#), "items[0].price", "repeated");
    wrong(on_line(r#""modifiers":[{"name":"a","name":"b"}]"#), "items[0].modifiers[0].name", "repeated");
    wrong(beside(r#""customer":{"name":"Ada","name":"Bob"}"#), "customer.name", "repeated");
    wrong(beside(r#""metadata":{"a":"1","a":"2"}"#), "metadata.a", "repeated");
}

#[test]
fn metadata_are_texts_and_not_too_many() {
    let order = beside(r#""metadata":{"z":"1","a":""}"#).unwrap();
    assert_eq!(order.details.unwrap().metadata.unwrap().get(), r#"{"a":"","z":"1"}"#);
    assert!(beside(r#""metadata":{}"#).unwrap().details.is_none());
    wrong(beside(r#""metadata":{"a":1}"#), "metadata.a", "not_text");
    wrong(beside(r#""metadata":[]"#), "metadata", "not_an_object");
    let many = (0..51).map(|n| format!(r#""{n}":"x""#)).collect::<Vec<_>>().join(",");
    wrong(beside(&format!(r#""metadata":{{{many}}}"#)), "metadata", "too_many");
    wrong(beside(&format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(4_100))), "metadata", "too_long");
    wrong(
        beside(&format!(r#""metadata":{{"{}":"x"}}"#, "k".repeat(51))),
        &format!("metadata.{}", "k".repeat(50)),
        "too_long",
    );
}

#[test]
fn how_it_is_paid_says_whether_it_is_charged() {
    let no_charge = |order: Result<NewOrder, _>| order.map(|order| order.uncharged().map(|one| one.because));
    assert_eq!(no_charge(beside(r#""payment":{"method":"card"}"#)), Ok(None));
    assert_eq!(no_charge(beside(r#""payment":{"method":"ON_DELIVERY"}"#)), Ok(Some(NoCharge::OnDelivery)));
    assert_eq!(no_charge(beside(r#""payment":{"method":"elsewhere"}"#)), Ok(Some(NoCharge::Elsewhere)));
    let free = r#""adjustments":[{"kind":"discount","amount":-25.98}]"#;
    assert_eq!(no_charge(beside(free)), Ok(Some(NoCharge::Free)));
    assert_eq!(
        no_charge(beside(&format!(r#"{free},"payment":{{"method":"on_delivery"}}"#))),
        Ok(Some(NoCharge::Free))
    );
    let free = parse(&one_item("1", "0")).unwrap();
    assert_eq!(free.uncharged().unwrap().because, NoCharge::Free);
    wrong(beside(r#""payment":{"method":"barter"}"#), "payment.method", "unknown_method");
    wrong(beside(r#""payment":{"method":1}"#), "payment.method", "unknown_method");
    wrong(
        beside(r#""payment":{"method":"on_delivery","gateway_customer":"cus_1"}"#),
        "payment.gateway_customer",
        "conflict",
    );
    let order = beside(r#""payment":{"reference":" t-7 ","gateway_payment_method":"pm_1"}"#).unwrap();
    let payment = order.details.unwrap().payment;
    assert_eq!(
        (payment.reference.as_deref(), payment.gateway_payment_method.as_deref()),
        (Some("t-7"), Some("pm_1"))
    );
    assert!(!format!("{payment:?}").contains("pm_1"));
}

#[test]
fn notes_keep_their_lines_and_are_not_printed() {
    let order = beside(r#""note":" no nuts,\r\nallergy ""#).unwrap();
    assert!(!format!("{order:?}").contains("nuts"));
    assert_eq!(order.details.unwrap().handover.note.as_deref(), Some("no nuts,\nallergy"));
    assert!(beside(r#""note":"""#).unwrap().details.is_none(), "as none");
    wrong(beside(&format!(r#""note":"{}""#, "x".repeat(1_001))), "note", "too_long");
    wrong(on_line(r#""note":"a\u0007""#), "items[0].note", "control_character");
    let order = on_line(r#""note":"no nuts""#).unwrap();
    assert!(order.items.get().contains(r#""note":"no nuts""#));
    let item: crate::order::lines::Item =
        serde_json::from_str::<Vec<_>>(order.items.get()).unwrap().remove(0);
    assert!(!format!("{item:?}").contains("nuts"));
}

#[test]
fn what_is_wanted_later_is_held_until_its_locations_lead_time_before() {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let (minute, hour) = (time::Duration::minutes(1), time::Duration::hours(1));
    let rfc3339 = |at: OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).unwrap();
    let wanted = |at: OffsetDateTime, more: &str| beside(&format!(r#""wanted_at":"{}"{more}"#, rfc3339(at)));
    let order = wanted(now + hour, "").unwrap();
    assert_eq!(order.has_passed(now), None);
    assert_eq!((order.is_held(now), order.is_held(now + 30 * minute)), (true, false), "30 minutes before");
    assert!(!wanted(now + 20 * minute, "").unwrap().is_held(now), "sooner than it takes");
    assert_eq!(wanted(now - minute, "").unwrap().has_passed(now), Some("wanted_at"));
    let ends = |at| format!(r#","expires_at":"{}""#, rfc3339(at));
    let day = 24 * hour;
    assert!(wanted(now + 9 * day, &ends(now + 10 * day)).is_ok(), "within seven days from its charge");
    wrong(wanted(now + 9 * day, &ends(now + day)), "expires_at", "conflict");
    wrong(wanted(now + 2 * day, &ends(now + 10 * day)), "expires_at", "too_far");
    wrong(wanted(now + 367 * day, ""), "wanted_at", "too_far");
    wrong(beside(r#""wanted_at":"tomorrow""#), "wanted_at", "no_time");
}

#[test]
fn an_order_takes_from_its_location_what_it_does_not_say() {
    let soho = Location {
        id: "soho".to_owned(),
        currency: Currency::EUR,
        accept_in: Some(Duration::from_secs(60)),
        ..Locations::default().main().clone()
    };
    let places: Locations = [soho].into_iter().collect();
    let at = |fields: &str| {
        let body = one_item("1", "2").replace("\"customer_id\"", &format!("{fields}\"customer_id\""));
        let request: OrderRequest<'_> = serde_json::from_str(&body).unwrap();
        NewOrder::parse_with(&request, &places, &NoMenu).map(|order| {
            let code = order.total.currency().code();
            (order.location().to_owned(), code, order.accept_in, order.details.is_some())
        })
    };
    assert_eq!(at(""), Ok(("main".to_owned(), "USD", None, false)));
    assert_eq!(at(r#""location":"main","#), at(""));
    let minute = Some(Duration::from_secs(60));
    assert_eq!(at(r#""location":"soho","#), Ok(("soho".to_owned(), "EUR", minute, true)));
    assert_eq!(at(r#""location":"soho","currency":"USD","#).unwrap().1, "USD");
    for (wrong, code) in [("\"Soho\"", "unknown_location"), ("1", "not_text"), ("\"\"", "empty")] {
        assert_eq!(at(&format!("\"location\":{wrong},")).unwrap_err()[0].code, code, "{wrong}");
    }
    let mut free = parse(&one_item("1", "0")).unwrap().at(places.get("soho").unwrap());
    free.to_be_taken_within(Duration::from_secs(300));
    assert_eq!(free.uncharged().unwrap().accept_in, Duration::from_secs(60));
}

#[test]
fn numbers_and_currencies_are_read_as_serialisers_write_them() {
    let order =
        parse(&one_item("2.0", "1e2").replace("\"customer_id\"", "\"currency\":\"eur\",\"customer_id\""))
            .unwrap();
    assert_eq!((order.total.to_string(), order.total.currency().code()), ("200.00".into(), "EUR"));
    assert_eq!(order.items.get(), r#"[{"item_id":"i","item_name":"n","quantity":2,"price":100.00}]"#);
}
