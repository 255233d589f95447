//! The lines of an order: read, priced, added up, and added to.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::adjustments::{Adjustment, adjustments};
use super::modifiers::{self, Modifier, ModifierReader, within};
use crate::catalogue::menu::{Menu, Named, Take};
use crate::fields::fields;
use crate::limits::{MAX_ID_CHARS, MAX_ITEMS, MAX_MODIFIERS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_QUANTITY};
use crate::money::{Currency, Money};
use crate::problems::{At, Problems};

/// One line of an order, as it was priced when the order came in. Stored and shown in this shape.
#[derive(Clone, Serialize, Deserialize)]
pub struct Item {
    /// The client's id of the article; of one of the catalogue ours: the variation's, or that of a product that comes in none.
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
    /// What is to be minded when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is chosen with it, for each unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
    /// Amounts beside it, for the line as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
}

/// Without the note, which may tell what somebody must not eat.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item_id, item_name, quantity, price, plu, modifiers, adjustments, .. } = self;
        f.debug_struct("Item")
            .field("item_id", item_id)
            .field("item_name", item_name)
            .field("quantity", quantity)
            .field("price", price)
            .field("plu", plu)
            .field("modifiers", modifiers)
            .field("adjustments", adjustments)
            .finish_non_exhaustive()
    }
}

fields! {
    struct ItemRequest {
        item_id,
        item_name,
        quantity,
        price,
        plu,
        note,
        modifiers,
        adjustments,
        product_id,
        variation_id,
        options,
    }
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
        if let Some(item) = items.iter_mut().find(|item| item.has(line)) {
            item.quantity = item.quantity.saturating_sub(line.quantity);
        }
    }
    items.retain(|item| item.quantity > 0);
    items
}

impl Item {
    /// The same article at the same price, with the same chosen and minded. Another plu is another article to the till, and so is
    /// none. Amounts beside a line are for all of it: so one that has any stays a line of its own.
    fn is_same(&self, other: &Self) -> bool {
        self.is_alike(other) && self.adjustments.is_empty() && other.adjustments.is_empty()
    }

    /// Whether this line is that one, or that one has been added to it.
    fn has(&self, added: &Self) -> bool {
        let beside = |(one, other): (&Adjustment, &Adjustment)| one.is_same(other);
        self.is_alike(added)
            && self.adjustments.len() == added.adjustments.len()
            && self.adjustments.iter().zip(&added.adjustments).all(beside)
            && (self.adjustments.is_empty() || self.quantity == added.quantity)
    }

    fn is_alike(&self, other: &Self) -> bool {
        self.item_id == other.item_id
            && self.item_name == other.item_name
            && self.price.get() == other.price.get()
            && self.plu == other.plu
            && self.note == other.note
            && modifiers::are_same(&self.modifiers, &other.modifiers)
    }

    /// What the line comes to in minor units: its price with what is chosen, times its quantity, and the amounts beside it.
    /// `None`: less than nothing, more than an amount may be, or a price that is none.
    pub fn worth(&self, currency: Currency) -> Option<i64> {
        let price = Money::parse(self.price.get(), currency).ok()?.minor();
        let unit = price + modifiers::worth(&self.modifiers, currency)?;
        let beside = self.adjustments.iter().map(|one| one.minor(currency)).sum::<Option<i64>>()?;
        line_worth(unit, self.quantity, beside).ok()
    }
}

/// What is wrong with a line that is worth nothing that can be paid, as the code, the field and the detail.
type Unworthy = (&'static str, &'static str, &'static str);

/// So many units of one price, and what is beside them.
fn line_worth(unit: i64, quantity: u32, beside: i64) -> Result<i64, Unworthy> {
    if unit < 0 {
        return Err(("below_zero", "modifiers", "take off more than the article costs"));
    }
    let too_large = ("too_large", "price", "price times quantity is too large");
    let units =
        within(unit).and_then(|unit| within(unit.checked_mul(i64::from(quantity))?)).ok_or(too_large)?;
    match units + beside {
        ..0 => Err(("below_zero", "adjustments", "take off more than the line costs")),
        worth => within(worth).ok_or(too_large),
    }
}

/// What lines are read with.
struct LineReader<'m> {
    chosen: ModifierReader,
    menu: &'m dyn Menu,
    /// A line names something of it.
    from_catalogue: bool,
    /// What is counted of that.
    takes: Vec<Take>,
    /// Line by line.
    counted: Vec<(usize, Uuid)>,
}

impl LineReader<'_> {
    /// What a line takes of an item, with what others take of it.
    fn take(&mut self, item: Uuid, quantity: u32, at: &At<'_>) {
        let line = if let At::Entry(_, index) = at { *index } else { 0 };
        self.counted.push((line, item));
        match self.takes.iter_mut().find(|take| take.item == item) {
            Some(take) => take.quantity += quantity,
            None => self.takes.push(Take { item, quantity, line }),
        }
    }
}

impl ItemRequest<'_> {
    /// The line and its sum, or `None` with the problems noted.
    fn parse(
        &self,
        at: &At<'_>,
        reader: &mut LineReader<'_>,
        problems: &mut Problems,
    ) -> Option<(Item, Money)> {
        if let Some(product_id) = self.product_id {
            return self.of_catalogue(product_id, at, reader, problems);
        }
        let chosen = &mut reader.chosen;
        let currency = chosen.currency;
        problems.odd(at, &self.odd);
        if self.variation_id.is_some() || self.options.is_some() {
            problems.add(at.field("product_id"), "required", "is required beside variation_id and options");
        }
        let item_id = problems.id(at.field("item_id"), self.item_id);
        let item_name = problems.text(at.field("item_name"), self.item_name, MAX_NAME_CHARS);
        let quantity = problems.quantity(at.field("quantity"), self.quantity);
        let price = problems.price(at.field("price"), self.price, currency);
        let plu = problems.optional_text(at.field("plu"), self.plu, MAX_ID_CHARS);
        let note = problems.note(at.field("note"), self.note, MAX_NOTE_CHARS);
        let (modifiers, with) = chosen.read(problems, &at.field("modifiers"), self.modifiers);
        let (adjustments, beside) =
            adjustments(problems, &at.field("adjustments"), self.adjustments, currency);
        let (quantity, price) = (quantity?, price?);
        let sum = line_worth(price.minor() + with?, quantity, beside)
            .map_err(|(code, field, detail)| problems.add(at.field(field), code, detail))
            .ok()?;
        let item = Item {
            item_id: item_id?,
            item_name: item_name?,
            quantity,
            price: price.to_json(),
            plu,
            note,
            modifiers,
            adjustments,
        };
        Some((item, Money::from_minor(sum, currency)))
    }

    /// The same of a line that names a product, of which the catalogue says all but how many.
    fn of_catalogue(
        &self,
        product_id: &RawValue,
        at: &At<'_>,
        reader: &mut LineReader<'_>,
        problems: &mut Problems,
    ) -> Option<(Item, Money)> {
        let currency = reader.chosen.currency;
        reader.from_catalogue = true;
        problems.odd(at, &self.odd);
        let Self { item_id, item_name, modifiers, adjustments, .. } = self;
        for (field, raw) in [
            ("item_id", item_id),
            ("item_name", item_name),
            ("modifiers", modifiers),
            ("adjustments", adjustments),
        ] {
            if raw.is_some() {
                problems.add(
                    at.field(field),
                    "conflict",
                    "is for the catalogue to say: leave it out beside product_id",
                );
            }
        }
        let quantity = problems.quantity(at.field("quantity"), self.quantity);
        let plu = problems.optional_text(at.field("plu"), self.plu, MAX_ID_CHARS);
        let note = problems.note(at.field("note"), self.note, MAX_NOTE_CHARS);
        let Self { variation_id, options, price, .. } = *self;
        let named = Named { product_id, variation_id, options, price };
        let found = named.find(reader.menu, problems, at, currency);
        let (quantity, found) = (quantity?, found?);
        if !reader.chosen.count(found.modifiers.len()) {
            problems.add(
                at.field("options"),
                "too_many",
                format!("an order may have {MAX_MODIFIERS} modifiers"),
            );
        }
        let sum = line_worth(found.price.minor() + found.with, quantity, 0)
            .map_err(|(code, _, detail)| problems.add(at.field("options"), code, detail))
            .ok()?;
        if found.tracked {
            reader.take(found.id, quantity, at);
        }
        let item = Item {
            item_id: found.id.to_string(),
            item_name: found.name,
            quantity,
            price: found.price.to_json(),
            plu,
            note,
            modifiers: found.modifiers,
            adjustments: Vec::new(),
        };
        Some((item, Money::from_minor(sum, currency)))
    }
}

/// Lines, priced.
pub(crate) struct Priced {
    pub(crate) items: Vec<Item>,
    /// Their sum; `None`: something is wrong with them.
    pub(crate) sum: Option<Money>,
    /// Whether the catalogue has said what any of them costs.
    pub(crate) from_catalogue: bool,
    /// What is counted of them.
    pub(crate) takes: Vec<Take>,
    /// Line by line.
    pub(crate) counted: Vec<(usize, Uuid)>,
}

/// The lines and their sum, or no sum with the problems noted.
pub(crate) fn priced(
    problems: &mut Problems,
    raw: Option<&RawValue>,
    currency: Currency,
    menu: &dyn Menu,
) -> Priced {
    let lines = lines::<ItemRequest<'_>>(problems, raw);
    let at = At::Top.field("items");
    let chosen = ModifierReader::new(currency);
    let mut reader =
        LineReader { chosen, menu, from_catalogue: false, takes: Vec::new(), counted: Vec::new() };
    let mut items = Vec::with_capacity(lines.len());
    let mut sum = Some(Money::from_minor(0, currency));
    for (index, line) in lines.iter().enumerate() {
        if let Some((item, of_item)) = line.parse(&at.entry(index), &mut reader, problems) {
            items.push(item);
            sum = sum.and_then(|sum| sum.checked_add(of_item));
        }
    }
    if sum.is_none() {
        problems.add("items", "too_large", "the total is too large");
    }
    let LineReader { from_catalogue, takes, counted, .. } = reader;
    Priced { items, sum, from_catalogue, takes, counted }
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
            note: None,
            modifiers: Vec::new(),
            adjustments: Vec::new(),
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
