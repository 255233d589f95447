//! The pure rules: what may be asked for, and what orders come to, for everything that can be.

use domain::limits::{MAX_ITEMS, MAX_QUANTITY};
use domain::money::{Currency, Money};
use domain::order::NewOrder;
use domain::order::lines::{Item, add_items, take_off};
use domain::order::moves::{Refusal, Ruling, Standing, Wanted};
use domain::order::status::{LEGAL_MOVES, OrderStatus};
use proptest::prelude::*;
use serde_json::value::RawValue;

/// What only payments decide.
const OF_PAYMENTS: [OrderStatus; 4] = [
    OrderStatus::Pending,
    OrderStatus::PaymentProcessing,
    OrderStatus::Confirmed,
    OrderStatus::PaymentFailed,
];

fn asks() -> impl Iterator<Item = (Standing, Wanted, bool)> {
    let no_show = [true, false].map(|refund| Wanted::NoShow { refund });
    let wanted = [Wanted::Accept, Wanted::Reject, Wanted::Cancel]
        .into_iter()
        .chain(no_show)
        .chain(OrderStatus::ALL.map(Wanted::Status));
    let flags = (0..16_u8).map(|bits| [1, 2, 4, 8].map(|bit| bits & bit != 0));
    wanted.flat_map(move |wanted| {
        flags.clone().flat_map(move |[in_flight, late, wished, has_reason]| {
            OrderStatus::ALL.map(|status| (Standing { status, in_flight, late, wished }, wanted, has_reason))
        })
    })
}

/// All 2,400 of them.
#[test]
fn every_ruling_is_as_the_table_and_the_rules_say() {
    use OrderStatus::{Accepted, Cancelled, Confirmed, PaymentProcessing, Pending, Preparing, Ready};
    let mut moves = 0;
    for (standing, wanted, has_reason) in asks() {
        let (from, to) = (standing.status, wanted.to());
        let ruling = standing.rule(wanted, has_reason);
        let what = format!("{standing:?}, {wanted:?}, a reason: {has_reason}");
        let legal = LEGAL_MOVES.contains(&(from, to)) && !OF_PAYMENTS.contains(&to);
        let is_undecided = matches!(from, Pending | PaymentProcessing) && standing.in_flight;
        let takes = from == Confirmed && matches!(to, Accepted | Preparing);
        let steps_back = (from, to) == (Preparing, Accepted);
        // Only who says that nobody came ends what is ready, and nothing else.
        let ends_ready = matches!(wanted, Wanted::NoShow { .. });
        let is_other_end = from != to && to == Cancelled && ends_ready != (from == Ready);
        let expected = if from == to {
            Ruling::Refused(Refusal::SameStatus)
        } else if !legal || is_other_end || (steps_back && wanted == Wanted::Accept) {
            Ruling::Refused(Refusal::IllegalMove)
        } else if is_undecided && to == Cancelled {
            if standing.wished { Ruling::Wished } else { Ruling::Wish }
        } else if steps_back && !has_reason {
            Ruling::Refused(Refusal::ReasonNeeded)
        } else if takes && standing.late {
            Ruling::Refused(Refusal::DeadlinePassed)
        } else {
            moves += 1;
            Ruling::Move
        };
        assert_eq!(ruling, expected, "{what}");
        // Said apart, because all money depends on it.
        assert!(!(ruling == Ruling::Move && is_undecided), "cancelled with a charge under way: {what}");
    }
    assert!(moves > 200, "{moves}");
}

/// Few articles and prices, so that many are the same.
fn item() -> impl Strategy<Value = (u8, i64, u32)> {
    (0..3_u8, 1..4_i64, 1..=20_u32)
}

fn made(&(article, minor, quantity): &(u8, i64, u32)) -> Item {
    Item {
        plu: None,
        note: None,
        modifiers: Vec::new(),
        adjustments: Vec::new(),
        item_id: format!("item {article}"),
        item_name: format!("article {article}"),
        quantity,
        price: Money::from_minor(minor, Currency::USD).to_json(),
    }
}

fn all(items: &[(u8, i64, u32)]) -> Vec<Item> {
    items.iter().map(made).collect()
}

fn minor(items: &[Item]) -> i64 {
    let price = |item: &Item| Money::parse(item.price.get(), Currency::USD).unwrap().minor();
    items.iter().map(|item| price(item) * i64::from(item.quantity)).sum()
}

fn shown(items: &[Item]) -> String {
    serde_json::to_string(items).unwrap()
}

proptest! {
    #[test]
    fn what_was_added_can_be_taken_off_again(
        order in prop::collection::vec(item(), 1..6),
        added in prop::collection::vec(item(), 1..6),
    ) {
        let (order, added) = (all(&order), all(&added));
        let more = add_items(order.clone(), &added).unwrap();
        prop_assert_eq!(minor(&more), minor(&order) + minor(&added));
        prop_assert_eq!(shown(&take_off(more, &added)), shown(&order));
    }

    /// Whichever of several additions fail, in whichever order they are taken off, the others stay, to the cent.
    #[test]
    fn what_stays_is_what_did_not_fail(
        order in prop::collection::vec(item(), 1..5),
        additions in prop::collection::vec((prop::collection::vec(item(), 1..4), any::<bool>(), any::<u8>()), 0..6),
    ) {
        let order = all(&order);
        let mut items = order.clone();
        for (added, ..) in &additions {
            items = add_items(items, &all(added)).unwrap();
        }
        let mut failed: Vec<_> = additions.iter().filter(|(_, failed, _)| *failed).collect();
        failed.sort_by_key(|(_, _, place)| *place);
        for (added, ..) in failed {
            items = take_off(items, &all(added));
        }
        let stayed = additions.iter().filter(|(_, failed, _)| !failed);
        let expected = minor(&order) + stayed.map(|(added, ..)| minor(&all(added))).sum::<i64>();
        prop_assert_eq!(minor(&items), expected);
        prop_assert!(items.iter().all(|item| item.quantity > 0));
    }

    #[test]
    fn an_order_never_has_more_than_it_may(
        have in 1..=MAX_QUANTITY, more in 1..=MAX_QUANTITY, lines in 0..=MAX_ITEMS,
    ) {
        let order = vec![made(&(0, 1, have))];
        let fits = have + more <= MAX_QUANTITY;
        prop_assert_eq!(add_items(order.clone(), &[made(&(0, 1, more))]).is_some(), fits);
        let line = |n: usize| Item { item_id: n.to_string(), ..made(&(0, 1, 1)) };
        let many: Vec<Item> = (0..lines).map(line).collect();
        prop_assert_eq!(add_items(order, &many).is_some(), lines < MAX_ITEMS);
    }

    #[test]
    fn an_order_comes_to_the_sum_of_its_lines(
        lines in prop::collection::vec((0..1_000_000_i64, 1..=MAX_QUANTITY), 1..20), pick in 0..3_usize,
    ) {
        let currency = [Currency::EUR, Currency::JPY, Currency::KWD][pick];
        let sum: i64 = lines.iter().map(|(price, quantity)| price * i64::from(*quantity)).sum();
        let items: Vec<Item> = lines
            .iter()
            .map(|(price, quantity)| Item {
                price: Money::from_minor(*price, currency).to_json(),
                ..made(&(0, 1, *quantity))
            })
            .collect();
        let (items, code) = (shown(&items), currency.code());
        let body = format!(r#"{{"customer_id":"c","currency":"{code}","items":{items}}}"#);
        match NewOrder::parse(&serde_json::from_str(&body).unwrap()) {
            Ok(order) => {
                prop_assert_eq!(order.total, Money::from_minor(sum, currency));
                prop_assert_eq!(RawValue::get(&order.items), items);
            }
            Err(problems) => prop_assert!(false, "{problems:?}"),
        }
    }
}
