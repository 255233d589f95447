//! Golden requests: what each platform is told of its orders, to the letter, as it publishes it.

use std::path::PathBuf;

use domain::channel::dialect::Dialect;
use domain::channel::dialect::back::Moved;
use domain::order::status::OrderStatus;
use serde_json::value::RawValue;
use time::macros::datetime;
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(0x0199_5f1c_7a3e_7c40_8d15_2f7a_9b63_c0de);
const DOCUMENT: &str = r#"{"_id":"61f0c0ffee00000000000c03","channelOrderId":"T5-17e","location":"61f0c0ffee00000000000a01",
    "channelLink":"61f0c0ffee00000000000b02","customer":{"name":"A. Diner"},"note":7}"#;

fn golden(dialect: Dialect, name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/back").join(dialect.name());
    std::fs::read_to_string(path.join(name).with_extension("json")).unwrap().trim_end().to_owned()
}

fn moved<'a>(to: OrderStatus, reason: Option<&'a str>, document: Option<&'a RawValue>) -> Moved<'a> {
    // Of another time zone, as a clock may have it.
    let at = datetime!(2026-03-14 18:05:09.25 +1);
    Moved { order_id: ORDER, channel_order_id: "T5-17e", document, to, reason, at }
}

#[test]
fn deliverect_hears_of_an_order_in_its_own_numbers() {
    use OrderStatus::{
        Accepted, Cancelled, Confirmed, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing,
        Ready, Rejected,
    };
    let document: &RawValue = serde_json::from_str(DOCUMENT).unwrap();
    for (to, reason, name) in [
        (Accepted, None, "accepted"),
        (Preparing, None, "preparing"),
        (Ready, None, "ready"),
        (Delivered, None, "delivered"),
        (Cancelled, Some("Item out of stock"), "cancelled"),
        (Rejected, Some("too busy"), "rejected"),
        (PaymentFailed, Some("too busy"), "rejected"),
    ] {
        let told = Dialect::Deliverect.tell_back(&moved(to, reason, Some(document))).unwrap();
        assert_eq!(told, golden(Dialect::Deliverect, name), "{to:?}");
        assert!(!told.contains("Diner"), "of people it says nothing");
    }
    for to in [Pending, PaymentProcessing, Confirmed] {
        assert_eq!(Dialect::Deliverect.tell_back(&moved(to, None, Some(document))), None, "{to:?}");
    }
    let forgotten = Dialect::Deliverect.tell_back(&moved(Accepted, None, None));
    assert_eq!(forgotten, Some(golden(Dialect::Deliverect, "of_a_forgotten_document")));
}

#[test]
fn whoever_can_be_told_has_a_word_for_what_its_kitchen_does_and_nobody_else_has_any() {
    for dialect in Dialect::ALL {
        for to in [OrderStatus::Accepted, OrderStatus::Ready, OrderStatus::Delivered, OrderStatus::Rejected] {
            let told = dialect.tell_back(&moved(to, None, None));
            assert_eq!(told.is_some(), dialect.tells_back(), "{dialect} {to:?}");
        }
    }
}
