//! The order of `WooCommerce`, as its webhooks have it. Amounts are decimals in quotes, without tax; a line's `subtotal` is before and its
//! `total` after what is off; `total` of the order is what all comes to, with all taxes.

use serde_json::value::RawValue;

use super::draft::{Draft, Place, adjustment, currency, full_name, part};
use super::which;
use crate::channel::reading::{Object, Scale};
use crate::channel::settings::ChannelSettings;
use crate::limits::{MAX_ADJUSTMENTS, MAX_ITEMS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_QUANTITY};
use crate::money::{Currency, Money, decimal_places};
use crate::order::adjustments::{Adjustment, AdjustmentKind};
use crate::order::details::Fulfilment;
use crate::order::lines::Item;
use crate::order::payment_method::PaymentMethod;
use crate::problems::Problems;

/// The order is off.
const CANCELLED: [&str; 4] = ["cancelled", "refunded", "failed", "trash"];
/// Most notes of plugins at a line.
const MAX_META: usize = 100;

/// Which document it is: its id, when it came to be, when it was changed.
const DOCUMENT: [&[&str]; 3] = [&["order_key"], &["date_created_gmt"], &["date_modified_gmt"]];

/// What a document means.
pub(super) fn read(
    document: &RawValue,
    settings: &ChannelSettings,
    problems: &mut Problems,
) -> Option<Draft> {
    let order = Object::whole(document, problems);
    for field in ["id", "status", "total", "line_items"] {
        if order.raw(field).is_none() {
            problems.add(field, "required", "is required");
        }
    }
    let order_id = order.id("id", problems);
    let currency = currency(&order, settings, problems);
    let scale = Scale { places: decimal_places(currency).try_into().unwrap_or_default(), digits: 0 };
    let reader = Reader { currency, scale };
    let expected = order.amount("total", scale, problems)?;
    let items = reader.items(&order, problems);
    let adjustments = reader.adjustments(&order, &items, expected, problems);
    let status = order.line("status", MAX_NAME_CHARS, problems)?;
    let is_cancelled = CANCELLED.contains(&status.as_str());
    // 0 is a guest.
    let diner = order.id("customer_id", problems).filter(|id| id != "0");
    let mut draft = Draft {
        display_id: order.line("number", MAX_NAME_CHARS, problems),
        document: which(&order, DOCUMENT, problems),
        diner,
        adjustments,
        expected_minor: Some(expected),
        method: method(&order, is_cancelled, problems)?,
        is_cancelled,
        ..Draft::new(order_id?, currency, items)
    };
    hand_over(&order, &mut draft, problems);
    Some(draft)
}

/// Who takes the money: the shop has it, or it is paid when it is handed over. What waits for a transfer is no order yet.
fn method(order: &Object<'_>, is_cancelled: bool, problems: &mut Problems) -> Option<PaymentMethod> {
    let paid = ["date_paid_gmt", "date_paid"].into_iter().any(|name| order.raw(name).is_some());
    let by = order.line("payment_method", MAX_NAME_CHARS, problems);
    if paid || is_cancelled {
        return Some(PaymentMethod::Elsewhere);
    }
    if by.as_deref() == Some("cod") {
        return Some(PaymentMethod::OnDelivery);
    }
    problems.add("date_paid_gmt", "not_paid", "is neither paid nor to be paid at the door");
    None
}

struct Reader {
    currency: Currency,
    scale: Scale,
}

impl Reader {
    fn items(&self, order: &Object<'_>, problems: &mut Problems) -> Vec<Item> {
        let lines = order.list("line_items", MAX_ITEMS, problems);
        lines.iter().filter_map(|line| self.item(line, problems)).collect()
    }

    fn item(&self, line: &Object<'_>, problems: &mut Problems) -> Option<Item> {
        let name = line.line("name", MAX_NAME_CHARS, problems);
        let quantity = line.number("quantity", 1..=MAX_QUANTITY.into(), problems);
        let total = line.amount("total", self.scale, problems);
        let subtotal = line.amount("subtotal", self.scale, problems).or(total);
        for field in ["name", "quantity", "total"] {
            if line.raw(field).is_none() {
                problems.add(line.at(field), "required", "is required");
            }
        }
        let sku = line.id("sku", problems);
        let ids = ["variation_id", "product_id", "id"];
        let item_id = ids.into_iter().find_map(|id| line.id(id, problems).filter(|id| id != "0"));
        let minded: Vec<String> =
            line.list("meta_data", MAX_META, problems).iter().filter_map(|one| said(one, problems)).collect();
        let (name, quantity, subtotal, total) = (name?, quantity?, subtotal?, total?);
        // Three for ten have no exact price a piece: what is left over stands beside the line.
        let price = subtotal.div_euclid(quantity);
        let beside = [
            adjustment(self.currency, AdjustmentKind::Rounding, None, subtotal - price * quantity),
            adjustment(self.currency, AdjustmentKind::Discount, None, total - subtotal),
        ];
        if total > subtotal {
            problems.add(line.at("total"), "conflict", "is more than before what is off");
        }
        if price < 0 {
            problems.add(line.at("subtotal"), "negative", "must not be negative");
        }
        Some(Item {
            item_id: item_id.or_else(|| sku.clone()).unwrap_or_else(|| part(&name)),
            item_name: name,
            quantity: u32::try_from(quantity).ok()?,
            price: Money::from_minor(price, self.currency).to_json(),
            plu: sku,
            note: (!minded.is_empty()).then(|| minded.join("\n").chars().take(MAX_NOTE_CHARS).collect()),
            modifiers: Vec::new(),
            adjustments: beside.into_iter().flatten().collect(),
        })
    }

    fn adjustments(
        &self,
        order: &Object<'_>,
        items: &[Item],
        expected: i64,
        problems: &mut Problems,
    ) -> Vec<Adjustment> {
        let mut all = Vec::new();
        for one in order.list("shipping_lines", MAX_ADJUSTMENTS, problems) {
            let title = one.line("method_title", MAX_NAME_CHARS, problems);
            let minor = one.amount("total", self.scale, problems).unwrap_or(0);
            all.extend(adjustment(self.currency, AdjustmentKind::DeliveryFee, title, minor));
        }
        for one in order.list("fee_lines", MAX_ADJUSTMENTS, problems) {
            let name = one.line("name", MAX_NAME_CHARS, problems);
            let minor = one.amount("total", self.scale, problems).unwrap_or(0);
            // One below zero is something off.
            let kind = if minor < 0 { AdjustmentKind::Discount } else { AdjustmentKind::ServiceFee };
            all.extend(adjustment(self.currency, kind, name, minor));
        }
        let tax = order.amount("total_tax", self.scale, problems).unwrap_or(0);
        all.extend(adjustment(self.currency, AdjustmentKind::Tax, None, tax));
        // Each figure is rounded by itself, and so is the sum: they may be apart by half a minor unit a figure, and no more.
        let figures = i64::try_from(items.len() + all.len()).unwrap_or(0);
        let minor = |some: &[Adjustment]| some.iter().filter_map(|one| one.minor(self.currency)).sum::<i64>();
        let lines = items.iter().filter_map(|item| item.worth(self.currency)).sum::<i64>();
        let apart = expected - lines - minor(&all);
        if apart.abs() * 2 <= figures {
            all.extend(adjustment(self.currency, AdjustmentKind::Rounding, None, apart));
        }
        all
    }
}

/// What a plugin says for people, as `name: value`.
fn said(one: &Object<'_>, problems: &mut Problems) -> Option<String> {
    let shown = |name: &str| one.raw(name).is_some_and(|raw| raw.get().starts_with('"'));
    let (key, value) = if shown("display_key") && shown("display_value") {
        ("display_key", "display_value")
    } else if shown("key") && shown("value") {
        ("key", "value")
    } else {
        return None;
    };
    let key = one.line(key, MAX_NOTE_CHARS, problems).filter(|key| !key.starts_with('_'))?;
    Some(format!("{key}: {}", one.line(value, MAX_NOTE_CHARS, problems)?))
}

/// To whom, and where.
fn hand_over(order: &Object<'_>, draft: &mut Draft, problems: &mut Problems) {
    let (to, payer) = (order.object("shipping", problems), order.object("billing", problems));
    let fetched = order.list("shipping_lines", MAX_ADJUSTMENTS, problems).iter().any(|one| {
        let method = one.line("method_id", MAX_NAME_CHARS, problems);
        method.is_some_and(|method| method.contains("pickup"))
    });
    let mut line = |of: &Object<'_>, name: &str| of.line(name, MAX_NAME_CHARS, problems);
    draft.address = Place {
        street: line(&to, "address_1"),
        more: line(&to, "address_2"),
        area: line(&to, "state"),
        postal_code: line(&to, "postcode"),
        city: line(&to, "city"),
        country: line(&to, "country"),
        ..Place::default()
    };
    draft.name = full_name(line(&to, "first_name"), line(&to, "last_name"))
        .or_else(|| full_name(line(&payer, "first_name"), line(&payer, "last_name")));
    draft.phone = line(&to, "phone").or_else(|| line(&payer, "phone"));
    let (company, email) = (line(&to, "company"), line(&payer, "email"));
    draft.fulfilment =
        Some(if draft.address.is_some() && !fetched { Fulfilment::Delivery } else { Fulfilment::Pickup });
    draft.note("", order.note("customer_note", MAX_NOTE_CHARS, problems));
    draft.note("Company", company);
    draft.note("E-mail", email);
}
