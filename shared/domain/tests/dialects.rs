//! Golden documents of every dialect: what each comes to by its platform's own arithmetic, exactly, and what it means. They are our
//! own, made after what the platforms publish.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use domain::channel::dialect::{Dialect, Incoming};
use domain::channel::name::ChannelName;
use domain::channel::settings::{ChannelSettings, Unit};
use domain::money::Currency;
use domain::problems::Problem;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn folder(dialect: Dialect) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(dialect.name())
}

fn golden(dialect: Dialect, name: &str) -> String {
    std::fs::read_to_string(folder(dialect).join(name).with_extension("json")).unwrap()
}

fn set() -> ChannelSettings {
    ChannelSettings { currency: Some(Currency::EUR), ..ChannelSettings::default() }
}

fn read_as(dialect: Dialect, document: &str, settings: &ChannelSettings) -> Result<Incoming, Vec<Problem>> {
    let document: &RawValue = serde_json::from_str(document).unwrap();
    let channel = ChannelName::parse("eats").unwrap();
    dialect.read(channel, document, settings, Duration::from_secs(300)).unwrap()
}

fn first(read: Result<Incoming, Vec<Problem>>) -> (String, &'static str) {
    let problem = read.unwrap_err().remove(0);
    (problem.attr, problem.code)
}

#[test]
fn each_comes_to_what_its_platform_says_and_is_paid_and_handed_over_as_it_says() {
    for (dialect, all) in [
        (
            Dialect::Deliverect,
            &[
                ("modifiers_for_each", "10.00 EUR", "elsewhere", "pickup"),
                ("taxes_on_top", "11.33 EUR", "elsewhere", "delivery"),
                ("tax_total", "9.01 EUR", "elsewhere", "pickup"),
                ("taxes_included", "8.50 EUR", "elsewhere", "pickup"),
                ("all_charges_cash", "14.99 EUR", "on_delivery", "delivery"),
                ("yen_with_two_digits", "1200 JPY", "elsewhere", "pickup"),
                ("variant", "11.00 EUR", "elsewhere", "pickup"),
                ("example_of_the_channel_api", "12.50 EUR", "elsewhere", "pickup"),
                ("eat_in", "13.00 EUR", "elsewhere", "dine_in"),
                ("free", "0.00 EUR", "elsewhere", "pickup"),
                ("deep", "29.10 EUR", "elsewhere", "pickup"),
            ][..],
        ),
        (
            Dialect::Shopify,
            &[
                ("discount_and_shipping", "388.00 USD", "elsewhere", "delivery"),
                ("taxes_on_top_and_tip", "32.16 USD", "elsewhere", "pickup"),
                ("taxes_included_to_be_paid", "27.00 EUR", "on_delivery", "pickup"),
                ("cancelled", "13.50 USD", "elsewhere", "pickup"),
            ],
        ),
        (
            Dialect::WooCommerce,
            &[
                ("shipping_and_tax", "29.35 USD", "elsewhere", "delivery"),
                ("coupon_thirds_cash", "8.20 EUR", "on_delivery", "pickup"),
                ("rounded_by_a_cent", "4.00 USD", "elsewhere", "pickup"),
                ("cancelled", "1.67 USD", "elsewhere", "pickup"),
            ],
        ),
    ] {
        for (name, total, method, fulfilment) in all {
            let read = read_as(dialect, &golden(dialect, name), &set());
            let read = read.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            let details = read.order.details.as_ref().unwrap();
            let shown = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let sum = read.order.total;
            assert_eq!(format!("{sum} {}", sum.currency().code()), *total, "{name}");
            assert_eq!(shown(serde_json::to_value(details.payment.method).unwrap()), *method, "{name}");
            assert_eq!(
                shown(serde_json::to_value(details.handover.fulfilment).unwrap()),
                *fulfilment,
                "{name}"
            );
            assert_eq!(read.is_cancelled, *name == "cancelled", "{name}");
        }
        // No document lies there that nobody looks at.
        let there: BTreeSet<String> = std::fs::read_dir(folder(dialect))
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !name.starts_with("refused"))
            .collect();
        assert_eq!(there, all.iter().map(|(name, ..)| (*name).to_owned()).collect(), "{dialect}");
    }
}

#[test]
fn what_does_not_come_out_is_refused_by_its_own_names() {
    use Dialect::{Deliverect, Shopify, WooCommerce};
    for (dialect, name, attr, code) in [
        (Deliverect, "refused_amount", "payment.amount", "total_mismatch"),
        (Deliverect, "refused_half_minor", "items[0].price", "too_precise"),
        (Shopify, "refused_partly_paid", "financial_status", "unknown_method"),
        (WooCommerce, "refused_waits_for_a_transfer", "date_paid_gmt", "not_paid"),
    ] {
        assert_eq!(first(read_as(dialect, &golden(dialect, name), &set())), (attr.into(), code), "{name}");
    }
    let good = golden(Deliverect, "modifiers_for_each");
    for (was, is, attr, code) in [
        ("\"amount\": 1000", "\"amount\": \"rubbish\"", "payment.amount", "not_decimal"),
        ("\"amount\": 1000", "\"amont\": 1000", "payment.amount", "required"),
        ("\"orderIsAlreadyPaid\": true", "\"orderIsAlreadyPaid\": null", "orderIsAlreadyPaid", "required"),
        ("\"channelOrderId\": \"C-900\"", "\"channelOrderId\": \"\"", "channelOrderId", "required"),
        ("\"quantity\": 2,", "\"quantity\": 1.5,", "items[0].quantity", "not_whole"),
        ("\"price\": 300", "\"price\": -300", "items[0].price", "negative"),
        ("\"decimalDigits\": 2", "\"decimalDigits\": 2, \"tip\": -1", "tip", "negative"),
        ("\"decimalDigits\": 2", "\"pickupTime\": \"1970-01-01T00:00:00Z\"", "pickupTime", "no_time"),
        ("\"decimalDigits\": 2", "\"pickupTime\": \"9999-12-31T00:00:00Z\"", "pickupTime", "no_time"),
        ("\"orderType\": 1", "\"orderType\": 9", "orderType", "unknown_fulfilment"),
        ("\"price\": 100", "\"price\": 100, \"price\": 0", "price", "repeated"),
        ("\"decimalDigits\": 2", "\"discountTotal\": {\"off\": 1}", "discountTotal", "not_decimal"),
    ] {
        assert!(good.contains(was), "{was}");
        assert_eq!(
            first(read_as(Deliverect, &good.replacen(was, is, 1), &set())),
            (attr.into(), code),
            "{is}"
        );
    }
}

/// Case 7 and 8: what is rubbish where it speaks of money is a document that somebody has to look at.
#[test]
fn rubbish_among_discounts_or_in_a_payment_is_refused_where_it_stands() {
    let mut good: Value = serde_json::from_str(&golden(Dialect::Deliverect, "all_charges_cash")).unwrap();
    let mut with = |pointer: &str, value: Value| {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let was = std::mem::replace(&mut good.pointer_mut(parent).unwrap()[field], value);
        let read = read_as(Dialect::Deliverect, &good.to_string(), &set());
        good.pointer_mut(parent).unwrap()[field] = was;
        read
    };
    for (pointer, value, attr, code) in [
        ("/discounts", json!("WELCOME"), "discounts", "not_a_list"),
        ("/discounts", json!({"name": "WELCOME", "amount": 150}), "discounts", "not_a_list"),
        ("/discounts", json!(["WELCOME"]), "discounts[0]", "not_an_object"),
        ("/discounts/0/name", json!({"en": "WELCOME"}), "discounts[0].name", "not_text"),
        ("/discounts/0/name", json!("a\u{0}b"), "discounts[0].name", "control_character"),
        ("/discounts/0/amount", json!("a lot"), "discounts[0].amount", "not_decimal"),
        ("/discounts/0/amount", json!(150.5), "discounts[0].amount", "too_precise"),
        ("/discounts/0/amount", json!([150]), "discounts[0].amount", "not_decimal"),
        ("/discounts/0/amountChannel", json!(true), "discounts[0].amountChannel", "not_decimal"),
        ("/discounts/0/value", json!("NaN"), "discounts[0].value", "not_decimal"),
        ("/payment", json!("cash"), "payment", "not_an_object"),
        ("/payment", json!([1499]), "payment", "not_an_object"),
        ("/payment/type", json!("cash"), "payment.type", "not_whole"),
        ("/payment/type", json!(-1), "payment.type", "out_of_range"),
        ("/payment/amount", json!({"EUR": 1499}), "payment.amount", "not_decimal"),
        ("/payment/amount", json!("14,99"), "payment.amount", "not_decimal"),
        ("/payment/amount", json!(1e40), "payment.amount", "not_decimal"),
        ("/payment/due", json!("all of it"), "payment.due", "not_decimal"),
        ("/payment/rebate", json!({}), "payment.rebate", ""),
        ("/payment/rebate", json!({"of": 1}), "payment.rebate", "not_decimal"),
        ("/discounts/0/value", json!(12.5), "discounts[0].value", ""),
        ("/discounts/0/amount", json!("150"), "discounts[0].amount", ""),
    ] {
        let read = with(pointer, value.clone());
        // What is nothing, a percentage, and a number that is quoted are no rubbish.
        match code {
            "" => assert!(read.is_ok(), "{pointer} {value}: {read:?}"),
            code => assert_eq!(first(read), (attr.into(), code), "{pointer} {value}"),
        }
    }
}

#[test]
fn the_unit_of_amounts_is_the_documents_or_else_the_channels() {
    let good = golden(Dialect::Deliverect, "modifiers_for_each");
    let unsaid = good.replace("\"decimalDigits\": 2,", "");
    let total = |document: &str, unit| {
        let read = read_as(Dialect::Deliverect, document, &ChannelSettings { unit, ..set() });
        read.map(|read| read.order.total.to_string()).unwrap()
    };
    assert_eq!(total(&unsaid, Unit::Dialects), "10.00");
    assert_eq!(total(&unsaid, Unit::Minor(3)), "1.00");
    assert_eq!(total(&good, Unit::Minor(3)), "10.00", "what the document says goes first");
    assert_eq!(total(&unsaid, Unit::Decimals), "1000.00");
}

#[test]
fn what_is_to_be_minded_and_where_to_go_is_kept() {
    let read =
        read_as(Dialect::Deliverect, &golden(Dialect::Deliverect, "all_charges_cash"), &set()).unwrap();
    let details = read.order.details.unwrap();
    let handover = serde_json::to_string(&details.handover).unwrap();
    for kept in [
        "leave at the gate",
        "rings twice",
        "77 88",
        "Order: 900",
        "Mill Lane, Back yard 4",
        "Port",
        "A. Diner",
        "+44 20 7946 0000",
        "2026-03-14T18:30:00Z",
    ] {
        assert!(handover.contains(kept), "{kept}: {handover}");
    }
    assert!(read.order.items.get().contains("no nuts, allergy"));
    assert!(details.imported.unwrap().get().contains("phoneAccessCode"), "all of it is kept as it came");
    let deep = read_as(Dialect::Deliverect, &golden(Dialect::Deliverect, "deep"), &set()).unwrap();
    assert!(deep.order.items.get().contains(r#""name":"Ice","quantity":"#));
    assert!(deep.order.items.get().contains(r#""note":"crushed""#));
    let eat_in = read_as(Dialect::Deliverect, &golden(Dialect::Deliverect, "eat_in"), &set()).unwrap();
    let note = eat_in.order.details.unwrap().handover.note.unwrap();
    assert!(note.contains("Table: 12") && note.contains("Guests: 4"), "{note}");
}

#[test]
fn a_courier_finds_the_door() {
    let whole = golden(Dialect::Deliverect, "taxes_on_top");
    let read = read_as(Dialect::Deliverect, &whole, &set()).unwrap();
    let handover = serde_json::to_string(&read.order.details.unwrap().handover).unwrap();
    let door = serde_json::from_str::<serde_json::Value>(&whole).unwrap()["deliveryAddress"].clone();
    for (name, part) in door.as_object().unwrap() {
        let part = part.as_str().unwrap_or_default();
        assert!(handover.contains(part), "{name} {part:?}: {handover}");
    }
    assert!(door["extraAddressInfo"].as_str().is_some_and(|floor| !floor.is_empty()), "{door}");
}

#[test]
fn a_telephone_number_that_a_platform_masks_stops_no_order() {
    let order = golden(Dialect::Deliverect, "example_of_the_channel_api");
    for shown in
        ["+52155****90", "anonymous", "*****", "+1 (555) 010-0123 ext. 89", "٠١٢٣٤٥٦", "０３１２３４５６７８"]
    {
        let document = order.replace("+52155****90", shown);
        let read = read_as(Dialect::Deliverect, &document, &set());
        let details = read.unwrap_or_else(|problems| panic!("{shown}: {problems:?}")).order.details.unwrap();
        assert_eq!(details.handover.customer.unwrap().phone_number.as_deref(), Some(shown));
    }
}

#[test]
fn a_diner_is_the_channels_own_or_nobody_and_never_the_merchant() {
    let customer = |dialect, document: &str| read_as(dialect, document, &set()).unwrap().order.customer_id;
    let deliverect = golden(Dialect::Deliverect, "modifiers_for_each");
    let (one, other) =
        (customer(Dialect::Deliverect, &deliverect), customer(Dialect::Deliverect, &deliverect));
    assert!(one.starts_with("eats:nobody:") && one != other, "{one} {other}");
    let shopify = golden(Dialect::Shopify, "taxes_on_top_and_tip");
    assert_eq!(customer(Dialect::Shopify, &shopify), "eats:diner:115310627314723954");
    let guest = golden(Dialect::WooCommerce, "shipping_and_tax");
    assert!(customer(Dialect::WooCommerce, &guest).starts_with("eats:nobody:"));
    assert_eq!(
        customer(Dialect::WooCommerce, &golden(Dialect::WooCommerce, "coupon_thirds_cash")),
        "eats:diner:26"
    );
}

#[test]
fn a_location_is_ours_by_the_channels_name_for_it() {
    let document = golden(Dialect::Deliverect, "variant").replacen('{', "{\"location\": \"their-7\",", 1);
    let located = |locations: &[(&str, &str)]| {
        let locations = locations.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        read_as(Dialect::Deliverect, &document, &ChannelSettings { locations, ..set() })
    };
    assert_eq!(located(&[("their-7", "harbour")]).unwrap().location.as_deref(), Some("harbour"));
    assert_eq!(located(&[]).unwrap().location, None);
    assert_eq!(first(located(&[("their-8", "harbour")])), ("location".into(), "unknown_location"));
}

/// Case 18: a till, a platform and what joins both have a name each for one kitchen. Whichever of them is set finds it.
#[test]
fn a_kitchen_is_found_by_any_of_its_names_and_the_most_exact_goes_first() {
    let named = r#"{"posLocationId":"till-7","location":"loc-7","channelLink":"link-7","#;
    let deliverect = golden(Dialect::Deliverect, "variant").replacen('{', named, 1);
    let shopify = golden(Dialect::Shopify, "cancelled");
    let shopify = shopify.replace("\"location_id\": null", "\"location_id\": 905684977");
    let at = |dialect, document: &str, set_for: &[(&str, &str)]| {
        let locations = set_for.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let settings = ChannelSettings { locations, ..set() };
        let raw: &RawValue = serde_json::from_str(document).unwrap();
        let read = read_as(dialect, document, &settings).map_err(|problems| problems[0].code);
        let read = read.map(|read| read.location);
        assert_eq!(dialect.location(raw, &settings), read.clone().ok().flatten(), "looked for alone");
        read
    };
    let harbour = Ok(Some("harbour".to_owned()));
    for name in ["till-7", "loc-7", "link-7"] {
        assert_eq!(
            at(Dialect::Deliverect, &deliverect, &[("other", "x"), (name, "harbour")]),
            harbour,
            "{name}"
        );
    }
    assert_eq!(at(Dialect::Deliverect, &deliverect, &[("link-7", "x"), ("till-7", "harbour")]), harbour);
    assert_eq!(at(Dialect::Shopify, &shopify, &[("905684977", "harbour")]), harbour);
    for (dialect, document) in [(Dialect::Deliverect, &deliverect), (Dialect::Shopify, &shopify)] {
        assert_eq!(at(dialect, document, &[("other", "harbour")]), Err("unknown_location"));
        assert_eq!(at(dialect, document, &[]), Ok(None), "nothing is set");
    }
}

#[test]
fn the_same_order_has_the_same_content_however_it_is_written_and_whatever_became_of_it() {
    let good = golden(Dialect::Deliverect, "all_charges_cash");
    let content = |document: &str| {
        let read = read_as(Dialect::Deliverect, document, &set()).unwrap();
        read.order.details.unwrap().key.unwrap().content
    };
    let same = good
        .replace("\"price\": 1000", "\"price\": 1.0e3")
        .replace("\"status\": 20", "\"status\": 90, \"statusHistory\": [{\"status\": 90}]")
        .replace("2026-03-14T18:30:00Z", "2026-03-14T19:30:00.000+01:00");
    assert_ne!(same, good);
    assert_eq!(content(&same), content(&good));
    assert_ne!(content(&good.replace("allergy", "please")), content(&good));
}
