//! The lines of an order: read, priced, added up, and added to.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits::{MAX_ID_CHARS, MAX_ITEMS, MAX_NAME_CHARS, MAX_QUANTITY};
use crate::money::{Currency, Money};
use crate::problems::{Place, Problems};

/// One line of an order, as it was priced when the order came in. Stored and shown in this shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// The client's id of the article.
    pub item_id: String,
    /// Its name.
    pub item_name: String,
    /// How many, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Unit price: exact decimal in the order's currency.
    pub price: Box<RawValue>,
    /// What the till calls it, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plu: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ItemRequest<'a> {
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    item_name: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    plu: Option<&'a RawValue>,
}

/// `items` and what is added to them: the same article at the same price adds to its quantity. `None`: more lines, or
/// more of one, than an order may have.
pub fn add_items(mut items: Vec<Item>, added: &[Item]) -> Option<Vec<Item>> {
    for line in added {
        match items.iter_mut().find(|item| item.is_same(line)) {
            Some(item) => item.quantity = item.quantity.checked_add(line.quantity)?,
            None => items.push(line.clone()),
        }
    }
    let fits = items.len() <= MAX_ITEMS && items.iter().all(|item| item.quantity <= MAX_QUANTITY);
    fits.then_some(items)
}

/// `items` without what was added to them; a line of which nothing is left goes.
pub fn take_off(mut items: Vec<Item>, added: &[Item]) -> Vec<Item> {
    for line in added {
        if let Some(item) = items.iter_mut().find(|item| item.is_same(line)) {
            item.quantity = item.quantity.saturating_sub(line.quantity);
        }
    }
    items.retain(|item| item.quantity > 0);
    items
}

impl Item {
    /// The same article at the same price. Another plu is another article to the till, and so is none.
    fn is_same(&self, other: &Self) -> bool {
        self.item_id == other.item_id
            && self.item_name == other.item_name
            && self.price.get() == other.price.get()
            && self.plu == other.plu
    }
}

impl ItemRequest<'_> {
    /// The line and its sum, or `None` with the problems noted.
    fn parse(&self, index: usize, currency: Currency, problems: &mut Problems) -> Option<(Item, Money)> {
        let attr = |field| Place { list: "items", index, field };
        let item_id = problems.text(attr("item_id"), self.item_id, MAX_ID_CHARS);
        let item_name = problems.text(attr("item_name"), self.item_name, MAX_NAME_CHARS);
        let quantity = problems.quantity(attr("quantity"), self.quantity);
        let price = problems.price(attr("price"), self.price, currency);
        let plu = problems.optional_text(attr("plu"), self.plu, MAX_ID_CHARS);
        let (quantity, price) = (quantity?, price?);
        let sum = problems.times(attr("price"), price, quantity)?;
        Some((Item { item_id: item_id?, item_name: item_name?, quantity, price: price.to_json(), plu }, sum))
    }
}

/// The lines and their sum, or no sum with the problems noted.
pub(crate) fn priced(
    problems: &mut Problems,
    raw: Option<&RawValue>,
    currency: Currency,
) -> (Vec<Item>, Option<Money>) {
    let lines = lines::<ItemRequest<'_>>(problems, raw);
    let priced = lines.iter().enumerate().filter_map(|(index, line)| line.parse(index, currency, problems));
    let priced: Vec<_> = priced.collect();
    sum(problems, priced, currency)
}

/// Lines that are priced each, and the sum over them, or none with the problem noted.
pub(crate) fn sum(
    problems: &mut Problems,
    priced: Vec<(Item, Money)>,
    currency: Currency,
) -> (Vec<Item>, Option<Money>) {
    let mut total = Some(Money::from_minor(0, currency));
    let mut items = Vec::with_capacity(priced.len());
    for (item, sum) in priced {
        items.push(item);
        total = total.and_then(|total| total.checked_add(sum));
    }
    if total.is_none() {
        problems.add("items", "too_large", "the total is too large");
    } else if total.is_some_and(|total| total.minor() == 0) && problems.0.is_empty() {
        problems.add("items", "nothing_to_pay", "the total must be above zero");
    }
    (items, total)
}

/// The lines, still raw; none where something is wrong with the list as a whole.
pub(crate) fn lines<'a, T: Deserialize<'a>>(problems: &mut Problems, raw: Option<&'a RawValue>) -> Vec<T> {
    let Some(raw) = problems.present("items", raw) else { return Vec::new() };
    let (code, detail) = match serde_json::from_str::<Vec<T>>(raw.get()) {
        Err(_) => ("not_a_list", "must be a list of objects, each field given once".to_owned()),
        Ok(lines) if lines.is_empty() => ("empty", "must have at least one item".to_owned()),
        Ok(lines) if lines.len() > MAX_ITEMS => ("too_many", format!("must have at most {MAX_ITEMS} items")),
        Ok(lines) => return lines,
    };
    problems.add("items", code, detail);
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_article_adds_to_its_quantity_and_can_be_taken_off_again() {
        let item = |id: &str, quantity, price: &str| Item {
            item_id: id.into(),
            item_name: id.into(),
            quantity,
            price: RawValue::from_string(price.to_owned()).unwrap(),
            plu: None,
        };
        let shown = |items: &[Item]| serde_json::to_string(items).unwrap();
        let order = vec![item("a", 1, "2.00"), item("b", 3, "1.00")];
        let more = [item("a", 2, "2.00"), item("a", 1, "1.50"), item("c", 1, "9.00")];
        let all = add_items(order.clone(), &more).unwrap();
        assert_eq!(
            shown(&all),
            shown(&[item("a", 3, "2.00"), item("b", 3, "1.00"), item("a", 1, "1.50"), item("c", 1, "9.00")])
        );
        assert_eq!(shown(&take_off(all, &more)), shown(&order));
        assert!(add_items(order.clone(), &[item("b", MAX_QUANTITY - 2, "1.00")]).is_none());
        let many: Vec<Item> = (0..MAX_ITEMS - 1).map(|n| item(&n.to_string(), 1, "1.00")).collect();
        assert!(add_items(order, &many).is_none());
    }
}
