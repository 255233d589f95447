//! What the plain dialect keeps beside lines and money: the same as Deliverect's, by the same names.

use std::time::Duration;

use domain::channel::dialect::Dialect;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::order::NewOrder;
use domain::order::details::Fulfilment;
use domain::problems::Problem;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn document(members: Value) -> Value {
    let mut document =
        json!({"channelOrderId": "A-1", "items": [{"name": "Tea", "quantity": 1, "price": 2.5}]});
    for (name, value) in members.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document
}

fn parse(document: &Value, settings: &ChannelSettings) -> Result<PlainOrder, Vec<Problem>> {
    let text = document.to_string();
    let raw: &RawValue = serde_json::from_str(&text).unwrap();
    PlainOrder::parse(ChannelName::parse("eats").unwrap(), raw, settings, None)
}

fn read(members: Value) -> NewOrder {
    let settings = ChannelSettings::default();
    let order = parse(&document(members), &settings).unwrap_or_else(|problems| panic!("{problems:?}"));
    order.priced(&PriceList::default(), &settings, Duration::ZERO).unwrap().order
}

fn code(members: Value) -> (String, &'static str) {
    let Err(mut problems) = parse(&document(members), &ChannelSettings::default()) else {
        panic!("nothing is wrong")
    };
    let problem = problems.remove(0);
    (problem.attr, problem.code)
}

/// Cases 14 and 16: nothing that somebody has to mind is passed over.
#[test]
fn what_is_to_be_minded_is_kept_and_shown() {
    let order = read(json!({
        "channelOrderDisplayId": "#17", "table": 12, "numberOfCustomers": 4.0, "note": "no nuts",
        "customer": {"email": "ada@example.com", "phoneAccessCode": "77 88", "companyName": "Engines", "note": "rings twice"},
    }));
    let note = order.details.unwrap().handover.note.unwrap();
    let lines: Vec<&str> = note.lines().collect();
    assert_eq!(
        lines,
        [
            "no nuts",
            "rings twice",
            "Company: Engines",
            "Phone code: 77 88",
            "E-mail: ada@example.com",
            "Guests: 4",
            "Order: #17",
            "Table: 12"
        ]
    );
    let none = json!({"channelOrderDisplayId": "A-1", "table": "", "numberOfCustomers": 0, "customer": {"email": null}});
    assert_eq!(read(none).details.unwrap().handover.note, None, "what is empty is as good as left out");
    for (members, attr, expected) in [
        (json!({"table": {"number": 12}}), "table", "not_text"),
        (json!({"numberOfCustomers": "a few"}), "numberOfCustomers", "not_whole"),
        (json!({"numberOfCustomers": -1}), "numberOfCustomers", "out_of_range"),
        (json!({"customer": {"email": "\u{0}"}}), "customer.email", "control_character"),
        (json!({"customer": {"phoneAccessCode": [77]}}), "customer.phoneAccessCode", "not_text"),
    ] {
        assert_eq!(code(members.clone()), (attr.to_owned(), expected), "{members}");
    }
}

/// Case 16: for when it is to be brought, where no time to fetch it is said.
#[test]
fn what_has_the_time_of_a_delivery_is_delivered_then() {
    let (six, seven) = ("2026-01-31T18:00:00+01:00", "2026-01-31T19:00:00+01:00");
    let address = json!({"city": "London"});
    for (members, expected, at) in [
        (json!({"deliveryTime": seven}), Fulfilment::Delivery, seven),
        (json!({"deliveryTime": seven, "pickupTime": six}), Fulfilment::Pickup, six),
        (
            json!({"deliveryTime": seven, "pickupTime": six, "deliveryAddress": address}),
            Fulfilment::Delivery,
            six,
        ),
        (json!({"deliveryTime": seven, "pickupTime": ""}), Fulfilment::Delivery, seven),
    ] {
        let details = read(members.clone()).details.unwrap();
        let shown = (details.handover.fulfilment, details.handover.pickup_time.as_deref());
        assert_eq!(shown, (Some(expected), Some(at)), "{members}: to the letter");
        let wanted = details.wanted_at.map(|at| at.unix_timestamp());
        let hour = if at == six { 17 } else { 18 };
        assert_eq!(wanted, Some(1_769_817_600 + hour * 3_600), "{members}");
    }
    assert_eq!(read(json!({})).details.unwrap().handover.fulfilment, None);
    for rubbish in ["noon", "1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z"] {
        assert_eq!(code(json!({"deliveryTime": rubbish})), ("deliveryTime".to_owned(), "no_time"));
    }
}

/// Case 18: which kitchen, as with every other dialect.
#[test]
fn it_is_made_where_the_document_says_and_called_off_there() {
    let locations = [("till-7", "harbour"), ("first", "main")];
    let locations = locations.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned())).into();
    let settings = ChannelSettings { locations, ..ChannelSettings::default() };
    for (members, ours, numbers) in [
        (json!({"posLocationId": "till-7"}), Some("harbour"), Some("harbour")),
        (json!({"channelLink": "till-7", "location": "x"}), Some("harbour"), Some("harbour")),
        (json!({"location": "first"}), Some("main"), None),
        (json!({}), None, None),
    ] {
        let mut sent = document(members.clone());
        let order = parse(&sent, &settings).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(order.location(), ours, "{members}");
        assert_eq!(order.key().location.as_deref(), numbers, "each location has numbers of its own");
        let incoming = order.priced(&PriceList::default(), &settings, Duration::ZERO).unwrap();
        assert_eq!(incoming.location.as_deref(), ours);
        sent["status"] = json!(100);
        let text = sent.to_string();
        let off = Dialect::Plain.called_off(serde_json::from_str(&text).unwrap(), &settings).unwrap();
        assert_eq!(off.location.as_deref(), ours, "{members}");
    }
    let elsewhere = document(json!({"location": "their-8"}));
    let problems = parse(&elsewhere, &settings).err().unwrap();
    assert_eq!((problems[0].attr.as_str(), problems[0].code), ("location", "unknown_location"));
    let order = parse(&elsewhere, &ChannelSettings::default());
    assert_eq!(order.unwrap_or_else(|problems| panic!("{problems:?}")).location(), None, "nothing is set");
}

/// Case 15: number, floor, door and country of an address are part of where to go.
#[test]
fn a_courier_finds_the_door_of_a_plain_one() {
    let address = json!({"street": "Mill Lane", "streetNumber": "12b", "extraAddressInfo": "third floor, door 7",
        "postalCode": "SW1Y 4JH", "city": "London", "country": "GB"});
    let handover = read(json!({"deliveryAddress": address})).details.unwrap().handover;
    let there = handover.delivery_address.unwrap();
    assert_eq!(there.street, "Mill Lane 12b, third floor, door 7");
    assert_eq!((there.city.as_str(), there.postal_code.as_deref()), ("London, GB", Some("SW1Y 4JH")));
}
