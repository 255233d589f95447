//! Shopify's order, as its webhooks have it. Amounts are decimals in quotes; `total_price` is what all comes to: the lines, off them
//! `total_discounts`, on them shipping, tips, and taxes where prices are without.

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

/// Most properties of a line, or attributes of an order's note.
const MAX_PROPERTIES: usize = 50;

/// Which document it is: its id, when it came to be, when it was changed.
const DOCUMENT: [&[&str]; 3] = [&["admin_graphql_api_id"], &["created_at"], &["updated_at"]];

/// What a document means.
pub(super) fn read(
    document: &RawValue,
    settings: &ChannelSettings,
    problems: &mut Problems,
) -> Option<Draft> {
    let order = Object::whole(document, problems);
    let order_id = order.id("id", problems);
    let expected = order.raw("total_price").and_then(|_| {
        // The shop's, in which its amounts are; another one is only shown to the customer.
        let currency = currency(&order, settings, problems);
        Some((currency, order.amount("total_price", scale(currency), problems)?))
    });
    for field in ["id", "total_price", "line_items", "financial_status"] {
        if order.raw(field).is_none() {
            problems.add(field, "required", "is required");
        }
    }
    let (currency, expected) = expected?;
    let reader = Reader { currency, scale: scale(currency) };
    let items = reader.items(&order, problems);
    let adjustments = reader.adjustments(&order, &items, expected, problems);
    let is_cancelled = order.raw("cancelled_at").is_some();
    let customer = order.object("customer", problems);
    let mut draft = Draft {
        display_id: order.line("name", MAX_NAME_CHARS, problems),
        document: which(&order, DOCUMENT, problems),
        locations: kitchens(&order, problems),
        diner: customer.id("id", problems),
        adjustments,
        expected_minor: Some(expected),
        total: "total_price",
        method: method(&order, is_cancelled, problems)?,
        is_cancelled,
        ..Draft::new(order_id?, currency, items)
    };
    hand_over(&order, &customer, &mut draft, problems);
    Some(draft)
}

/// What the kitchen is called there.
pub(super) fn kitchens(order: &Object<'_>, problems: &mut Problems) -> Vec<String> {
    order.id("location_id", problems).into_iter().collect()
}

fn scale(currency: Currency) -> Scale {
    Scale { places: decimal_places(currency).try_into().unwrap_or_default(), digits: 0 }
}

/// Who takes the money: the shop, or has it already; or it is paid when it is handed over.
fn method(order: &Object<'_>, is_cancelled: bool, problems: &mut Problems) -> Option<PaymentMethod> {
    match order.line("financial_status", MAX_NAME_CHARS, problems)?.as_str() {
        "paid" | "authorized" | "partially_refunded" => Some(PaymentMethod::Elsewhere),
        "pending" => Some(PaymentMethod::OnDelivery),
        _ if is_cancelled => Some(PaymentMethod::Elsewhere),
        other => {
            let detail = format!("{other:?} does not say who is to take the money");
            problems.add("financial_status", "unknown_method", detail);
            None
        }
    }
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
        let title = line.line("title", MAX_NAME_CHARS, problems);
        let name = line.line("name", MAX_NAME_CHARS, problems).or(title);
        let sku = line.id("sku", problems);
        let ids = ["variant_id", "product_id", "id"];
        let quantity = line.number("quantity", 1..=MAX_QUANTITY.into(), problems);
        let price = line.amount("price", self.scale, problems);
        for field in ["quantity", "price"] {
            if line.raw(field).is_none() {
                problems.add(line.at(field), "required", "is required");
            }
        }
        if name.is_none() {
            problems.add(line.at("name"), "required", "is required");
        }
        let item_id = ids.into_iter().find_map(|id| line.id(id, problems));
        let off: i64 = line
            .list("discount_allocations", MAX_ADJUSTMENTS, problems)
            .iter()
            .filter_map(|one| one.amount("amount", self.scale, problems))
            .sum();
        let minded = line.list("properties", MAX_PROPERTIES, problems);
        let minded =
            minded.iter().filter_map(|one| said(one, "name", problems)).collect::<Vec<_>>().join("\n");
        let name = name?;
        Some(Item {
            item_id: item_id.or_else(|| sku.clone()).unwrap_or_else(|| part(&name)),
            item_name: name,
            quantity: u32::try_from(quantity?).ok()?,
            price: Money::from_minor(price?, self.currency).to_json(),
            plu: sku,
            note: (!minded.is_empty()).then(|| minded.chars().take(MAX_NOTE_CHARS).collect()),
            modifiers: Vec::new(),
            adjustments: adjustment(self.currency, AdjustmentKind::Discount, None, -off)
                .into_iter()
                .collect(),
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
            let title = one.line("title", MAX_NAME_CHARS, problems);
            let price = one.amount("price", self.scale, problems).unwrap_or(0);
            all.extend(adjustment(self.currency, AdjustmentKind::DeliveryFee, title, price));
        }
        let minor = |some: &[Adjustment]| some.iter().filter_map(|one| one.minor(self.currency)).sum::<i64>();
        // What is not off a line is off the shipping, or off everything.
        let off = order.amount("total_discounts", self.scale, problems).unwrap_or(0);
        let of_lines: i64 = items.iter().map(|item| -minor(&item.adjustments)).sum();
        let codes = order.list("discount_codes", MAX_ADJUSTMENTS, problems);
        let codes: Vec<_> =
            codes.iter().filter_map(|one| one.line("code", MAX_NAME_CHARS, problems)).collect();
        let codes = (!codes.is_empty()).then(|| codes.join(", ").chars().take(MAX_NAME_CHARS).collect());
        if off < of_lines {
            problems.add("total_discounts", "conflict", "is less than what is off the lines");
        } else {
            all.extend(adjustment(self.currency, AdjustmentKind::Discount, codes, of_lines - off));
        }
        if order.flag("taxes_included", problems) != Some(true) {
            let tax = order.amount("total_tax", self.scale, problems).unwrap_or(0);
            all.extend(adjustment(self.currency, AdjustmentKind::Tax, None, tax));
        }
        // Tips are among the lines of some, and beside them of others.
        let tip = order.amount("total_tip_received", self.scale, problems).unwrap_or(0);
        let lines = items.iter().filter_map(|item| item.worth(self.currency)).sum::<i64>();
        if tip != 0 && lines + minor(&all) != expected {
            all.extend(adjustment(self.currency, AdjustmentKind::Tip, None, tip));
        }
        all
    }
}

/// `name: value`, but for what programs write for each other.
fn said(one: &Object<'_>, name: &str, problems: &mut Problems) -> Option<String> {
    let (name, value) =
        (one.line(name, MAX_NAME_CHARS, problems)?, one.line("value", MAX_NOTE_CHARS, problems)?);
    (!name.starts_with('_')).then(|| format!("{name}: {value}"))
}

/// To whom, and where.
fn hand_over(order: &Object<'_>, customer: &Object<'_>, draft: &mut Draft, problems: &mut Problems) {
    let to = order.object("shipping_address", problems);
    let mut line = |of: &Object<'_>, name: &str| of.line(name, MAX_NAME_CHARS, problems);
    draft.address = Place {
        street: line(&to, "address1"),
        more: line(&to, "address2"),
        area: line(&to, "province"),
        postal_code: line(&to, "zip"),
        city: line(&to, "city"),
        country: line(&to, "country"),
        ..Place::default()
    };
    draft.name = line(&to, "name")
        .or_else(|| full_name(line(&to, "first_name"), line(&to, "last_name")))
        .or_else(|| full_name(line(customer, "first_name"), line(customer, "last_name")));
    draft.phone = line(&to, "phone").or_else(|| line(customer, "phone")).or_else(|| line(order, "phone"));
    let company = line(&to, "company");
    let email = line(order, "email").or_else(|| line(customer, "email"));
    draft.fulfilment = Some(if draft.address.is_some() { Fulfilment::Delivery } else { Fulfilment::Pickup });
    draft.note("", order.note("note", MAX_NOTE_CHARS, problems));
    for one in order.list("note_attributes", MAX_PROPERTIES, problems) {
        draft.note("", said(&one, "name", problems));
    }
    draft.note("Company", company);
    draft.note("E-mail", email);
}
