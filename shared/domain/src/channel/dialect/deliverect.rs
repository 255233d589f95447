//! Deliverect's order, as it posts it to a till, and as channels post it there. Amounts are whole numbers with `decimalDigits` of
//! them behind the point; what is chosen (`subItems`) counts for each unit of what it belongs to; `payment.amount` is what all
//! comes to, with taxes on top where prices are without.

use serde_json::value::RawValue;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use super::draft::{Draft, Place, currency, part};
use super::minded::kitchens;
use super::which;
use crate::channel::reading::{Object, Scale};
use crate::channel::settings::{ChannelSettings, Unit};
use crate::limits::{
    MAX_ADJUSTMENTS, MAX_DEPTH, MAX_ITEMS, MAX_MODIFIERS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_QUANTITY,
};
use crate::money::{Currency, Money, decimal_places};
use crate::order::adjustments::{Adjustment, AdjustmentKind};
use crate::order::details::Fulfilment;
use crate::order::lines::Item;
use crate::order::modifiers::Modifier;
use crate::order::payment_method::PaymentMethod;
use crate::problems::Problems;

/// Digits behind the point where the document does not say.
const DIGITS: i64 = 2;
/// Of a number in no unit that we know.
const ANY: Scale = Scale { places: 4, digits: 0 };
/// The platform has cancelled it; it was cancelled.
const CANCELLED: [i64; 2] = [100, 110];

/// Which document it is: its id, when it came to be, when it was changed.
const DOCUMENT: [&[&str]; 3] = [&["_id"], &["_created", "created", "placedTime"], &["_updated", "updated"]];

/// What a document means.
pub(super) fn read(
    document: &RawValue,
    settings: &ChannelSettings,
    problems: &mut Problems,
) -> Option<Draft> {
    let order = Object::whole(document, problems);
    let order_id = order.id("channelOrderId", problems);
    if order.raw("channelOrderId").is_none() {
        problems.add("channelOrderId", "required", "is required");
    }
    let currency = currency(&order, settings, problems);
    let scale = scale(&order, settings, currency, problems);
    let reader = Reader { currency, scale };
    let items = reader.items(&order, problems);
    if order.raw("items").is_none() {
        problems.add("items", "empty", "must have at least one item");
    }
    let payment = order.object("payment", problems);
    let expected = payment.amount("amount", scale, problems);
    for beside in ["due", "rebate"] {
        payment.amount(beside, scale, problems);
    }
    if payment.raw("amount").is_none() {
        problems.add(
            "payment.amount",
            "required",
            "is required: what the order comes to must be what it says",
        );
    }
    let adjustments = reader.adjustments(&order, &items, expected, problems);
    let method = method(&order, &payment, problems);
    let status = order.number("status", 0..=i64::from(i32::MAX), problems);
    let mut draft = Draft {
        locations: kitchens(&order, settings, problems),
        // `account` is the merchant's; a diner has no id there.
        diner: None,
        document: which(&order, DOCUMENT, problems),
        adjustments,
        expected_minor: expected,
        total: "payment.amount",
        method: method?,
        is_cancelled: status.is_some_and(|status| CANCELLED.contains(&status)),
        ..Draft::new(order_id?, currency, items)
    };
    hand_over(&order, &mut draft, problems);
    Some(draft)
}

fn scale(
    order: &Object<'_>,
    settings: &ChannelSettings,
    currency: Currency,
    problems: &mut Problems,
) -> Scale {
    let said = order.number("decimalDigits", 0..=6, problems);
    let digits = match settings.unit {
        Unit::Decimals => 0,
        Unit::Minor(digits) => said.and_then(|said| said.try_into().ok()).unwrap_or(digits),
        Unit::Dialects => said.unwrap_or(DIGITS).try_into().unwrap_or_default(),
    };
    Scale { places: decimal_places(currency).try_into().unwrap_or_default(), digits }
}

/// Who takes the money. Nobody ever says here with which card: what is not paid yet is paid when it is handed over.
fn method(order: &Object<'_>, payment: &Object<'_>, problems: &mut Problems) -> Option<PaymentMethod> {
    payment.number("type", 0..=99, problems);
    let Some(paid) = order.flag("orderIsAlreadyPaid", problems) else {
        if order.raw("orderIsAlreadyPaid").is_none() {
            problems.add("orderIsAlreadyPaid", "required", "is required: whether it is still to be paid");
        }
        return None;
    };
    Some(if paid { PaymentMethod::Elsewhere } else { PaymentMethod::OnDelivery })
}

struct Reader {
    currency: Currency,
    scale: Scale,
}

impl Reader {
    fn items(&self, order: &Object<'_>, problems: &mut Problems) -> Vec<Item> {
        let mut left = MAX_MODIFIERS;
        let lines = order.list("items", MAX_ITEMS, problems);
        let read = |line: &Object<'_>| {
            let (name, plu, quantity, price) = self.one(line, problems)?;
            let modifiers = self.modifiers(line, 1, &mut left, problems);
            let note = line.note("remark", MAX_NOTE_CHARS, problems);
            if price < 0 {
                problems.add(line.at("price"), "negative", "must not be negative");
            }
            let price = Money::from_minor(price, self.currency).to_json();
            let item_id = plu.clone().unwrap_or_else(|| part(&name));
            Some(Item {
                item_id,
                item_name: name,
                quantity,
                price,
                plu,
                note,
                modifiers,
                adjustments: Vec::new(),
            })
        };
        lines.iter().filter_map(read).collect()
    }

    /// What a line and what is chosen with it have in common.
    fn one(&self, line: &Object<'_>, problems: &mut Problems) -> Option<(String, Option<String>, u32, i64)> {
        let plu = line.id("plu", problems);
        let name = line.line("name", MAX_NAME_CHARS, problems).or_else(|| plu.clone());
        if name.is_none() {
            problems.add(line.at("name"), "required", "is required");
        }
        let quantity = line.number("quantity", 1..=MAX_QUANTITY.into(), problems);
        let price = line.amount("price", self.scale, problems);
        for (field, found) in [("quantity", quantity), ("price", price)] {
            if found.is_none() && line.raw(field).is_none() {
                problems.add(line.at(field), "required", "is required");
            }
        }
        Some((name?, plu, u32::try_from(quantity?).ok()?, price?))
    }

    /// What is chosen with a line, or with what is chosen.
    fn modifiers(
        &self,
        line: &Object<'_>,
        depth: usize,
        left: &mut usize,
        problems: &mut Problems,
    ) -> Vec<Modifier> {
        let chosen = line.list("subItems", *left, problems);
        if !chosen.is_empty() && depth > MAX_DEPTH {
            problems.add(line.at("subItems"), "too_deep", format!("may lie {MAX_DEPTH} deep"));
            return Vec::new();
        }
        *left -= chosen.len();
        let mut read = |one: &Object<'_>| {
            let (name, plu, quantity, price) = self.one(one, problems)?;
            let note = one.note("remark", MAX_NOTE_CHARS, problems);
            let modifiers = self.modifiers(one, depth + 1, left, problems);
            let price = Money::from_minor(price, self.currency).to_json();
            Some(Modifier { id: None, name, quantity, price, plu, note, modifiers })
        };
        chosen.iter().filter_map(&mut read).collect()
    }

    /// What is beside the lines: taxes only where they are on top, and what goes to the driver only where it is not in the tip. That
    /// is not said, but there is one way alone in which all comes to what is said.
    fn adjustments(
        &self,
        order: &Object<'_>,
        items: &[Item],
        expected: Option<i64>,
        problems: &mut Problems,
    ) -> Vec<Adjustment> {
        let mut all = Vec::new();
        for (name, kind) in [
            ("deliveryCost", AdjustmentKind::DeliveryFee),
            ("serviceCharge", AdjustmentKind::ServiceFee),
            ("tip", AdjustmentKind::Tip),
            ("bagFee", AdjustmentKind::Bag),
        ] {
            let minor = order.amount(name, self.scale, problems).unwrap_or(0);
            all.extend(self.adjustment(kind, None, minor, &order.at(name), problems));
        }
        // Off, whichever sign it has.
        let off = order.amount("discountTotal", self.scale, problems).map_or(0, |off| -off.abs());
        let names: Vec<String> = order
            .list("discounts", MAX_ADJUSTMENTS, problems)
            .iter()
            .filter_map(|one| self.discount(one, problems))
            .collect();
        let name = (!names.is_empty()).then(|| names.join(", ").chars().take(MAX_NAME_CHARS).collect());
        all.extend(self.adjustment(AdjustmentKind::Discount, name, off, "discountTotal", problems));

        let driver = order.amount("driverTip", self.scale, problems).unwrap_or(0);
        let driver: Vec<_> = self
            .adjustment(AdjustmentKind::Tip, Some("driver".into()), driver, "driverTip", problems)
            .into_iter()
            .collect();
        let taxes = self.taxes(order, problems);
        let as_one = order.amount("taxTotal", self.scale, problems).unwrap_or(0);
        let as_one: Vec<_> =
            self.adjustment(AdjustmentKind::Tax, None, as_one, "taxTotal", problems).into_iter().collect();
        let lines = items.iter().map(|item| item.worth(self.currency)).sum::<Option<i64>>();
        let minor = |some: &[Adjustment]| some.iter().filter_map(|one| one.minor(self.currency)).sum::<i64>();
        let Some((lines, expected)) = lines.zip(expected) else { return all };
        let rest = expected - lines - minor(&all);
        let none: &[Adjustment] = &[];
        for tip in [&driver[..], none] {
            for tax in [&taxes[..], &as_one[..], none] {
                if minor(tip) + minor(tax) == rest {
                    all.extend_from_slice(tip);
                    all.extend_from_slice(tax);
                    return all;
                }
            }
        }
        // Whoever looks at it sees what was tried first.
        all.extend(driver);
        all.extend(if taxes.is_empty() { as_one } else { taxes });
        all
    }

    /// What a discount is called. All of them are in `discountTotal`; but where one of them is rubbish, somebody has to look.
    fn discount(&self, one: &Object<'_>, problems: &mut Problems) -> Option<String> {
        for part in ["amount", "amountRestaurant", "amountChannel"] {
            one.amount(part, self.scale, problems);
        }
        // An amount, or a percentage.
        one.amount("value", ANY, problems);
        one.line("name", MAX_NAME_CHARS, problems)
    }

    /// Each tax by itself, and those of the fees.
    fn taxes(&self, order: &Object<'_>, problems: &mut Problems) -> Vec<Adjustment> {
        let mut all = Vec::new();
        for one in order.list("taxes", MAX_ADJUSTMENTS, problems) {
            let name = one.line("name", MAX_NAME_CHARS, problems);
            let minor = one.amount("total", self.scale, problems).unwrap_or(0);
            all.extend(self.adjustment(AdjustmentKind::Tax, name, minor, &one.at("total"), problems));
        }
        for (field, name) in [("deliveryCostTax", "delivery"), ("serviceChargeTax", "service")] {
            let minor = order.amount(field, self.scale, problems).unwrap_or(0);
            all.extend(self.adjustment(
                AdjustmentKind::Tax,
                Some(name.into()),
                minor,
                &order.at(field),
                problems,
            ));
        }
        all
    }

    fn adjustment(
        &self,
        kind: AdjustmentKind,
        name: Option<String>,
        minor: i64,
        attr: &str,
        problems: &mut Problems,
    ) -> Option<Adjustment> {
        if !kind.may_be(minor) {
            problems.add(attr, "negative", "must not be negative");
        }
        let amount = Money::from_minor(minor, self.currency).to_json();
        (minor != 0).then_some(Adjustment { kind, name, amount })
    }
}

/// To whom, where and when.
fn hand_over(order: &Object<'_>, draft: &mut Draft, problems: &mut Problems) {
    let fulfilment = match order.number("orderType", 0..=99, problems) {
        Some(2) => Some(Fulfilment::Delivery),
        Some(3) => Some(Fulfilment::DineIn),
        // To be fetched at the counter, from the kerb, through a window.
        Some(1 | 4 | 5) => Some(Fulfilment::Pickup),
        Some(other) => {
            problems.add("orderType", "unknown_fulfilment", format!("{other} is not known: 1 to 5 are"));
            None
        }
        None => None,
    };
    let address = order.object("deliveryAddress", problems);
    let customer = order.object("customer", problems);
    draft.address = Place {
        street: address.line("street", MAX_NAME_CHARS, problems),
        number: address.line("streetNumber", MAX_NAME_CHARS, problems),
        more: address.line("extraAddressInfo", MAX_NAME_CHARS, problems),
        area: address.line("area", MAX_NAME_CHARS, problems),
        postal_code: address.line("postalCode", MAX_NAME_CHARS, problems),
        city: address.line("city", MAX_NAME_CHARS, problems),
        country: address.line("country", MAX_NAME_CHARS, problems),
    };
    draft.fulfilment = fulfilment.or_else(|| draft.address.is_some().then_some(Fulfilment::Delivery));
    draft.name = customer.line("name", MAX_NAME_CHARS, problems);
    draft.phone = customer.line("phoneNumber", MAX_NAME_CHARS, problems);
    let pickup = order.time("pickupTime", problems);
    let delivery = order.time("deliveryTime", problems);
    draft.wanted_at = pickup.or(delivery);
    draft.wanted = draft.wanted_at.and_then(|at| at.to_offset(UtcOffset::UTC).format(&Rfc3339).ok());
    draft.mind(order, &customer, problems);
}
