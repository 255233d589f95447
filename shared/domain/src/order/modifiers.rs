//! What is chosen with an article, or with what is chosen: extra cheese, a size, a sauce for the side. Each counts for every unit
//! of what it belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::fields;
use crate::limits::{MAX_DEPTH, MAX_ID_CHARS, MAX_MODIFIERS, MAX_NAME_CHARS, MAX_NOTE_CHARS};
use crate::money::{Currency, MAX_MINOR, Money};
use crate::problems::{At, Problems};

/// Something chosen. Stored and shown in this shape.
#[derive(Clone, Serialize, Deserialize)]
pub struct Modifier {
    /// The client's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// How many for each unit of what it belongs to, 1 to [`MAX_QUANTITY`](crate::limits::MAX_QUANTITY).
    pub quantity: u32,
    /// Unit price: exact decimal, below zero where it makes the article cheaper.
    pub price: Box<RawValue>,
    /// What the till calls it, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plu: Option<String>,
    /// What is to be minded when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is chosen with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
}

/// Without the note, as a line is shown.
impl fmt::Debug for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, quantity, price, plu, modifiers, .. } = self;
        f.debug_struct("Modifier")
            .field("id", id)
            .field("name", name)
            .field("quantity", quantity)
            .field("price", price)
            .field("plu", plu)
            .field("modifiers", modifiers)
            .finish_non_exhaustive()
    }
}

impl Modifier {
    /// The same, at the same price, as often, with the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && self.quantity == other.quantity
            && self.price.get() == other.price.get()
            && self.plu == other.plu
            && self.note == other.note
            && are_same(&self.modifiers, &other.modifiers)
    }
}

/// The same modifiers in the same order.
pub(crate) fn are_same(some: &[Modifier], others: &[Modifier]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.is_same(other))
}

/// `minor`, where an amount may be as large.
pub(crate) fn within(minor: i64) -> Option<i64> {
    (minor.unsigned_abs() <= MAX_MINOR.unsigned_abs()).then_some(minor)
}

/// What these add to the price of one unit of what they belong to, in minor units. `None`: more than an amount may be, or a price
/// that is none.
pub(crate) fn worth(modifiers: &[Modifier], currency: Currency) -> Option<i64> {
    modifiers.iter().try_fold(0, |sum: i64, one| {
        let price = Money::parse_signed(one.price.get(), currency).ok()?.minor();
        within(sum + times(price, worth(&one.modifiers, currency)?, one.quantity)?)
    })
}

/// How many there are, and how deep they lie.
pub(crate) fn measure(modifiers: &[Modifier]) -> (usize, usize) {
    modifiers.iter().fold((0, 0), |(count, depth), one| {
        let (more, below) = measure(&one.modifiers);
        (count + 1 + more, depth.max(below + 1))
    })
}

/// So many units, each of this price and with what is chosen with it.
fn times(price: i64, with: i64, quantity: u32) -> Option<i64> {
    within(within(price + with)?.checked_mul(i64::from(quantity))?)
}

fields! {
    struct ModifierRequest { id, name, quantity, price, plu, note, modifiers }
}

/// Reads the modifiers of an order. One for all its lines, so that they are counted together.
pub(crate) struct ModifierReader {
    pub(crate) currency: Currency,
    /// How many more there may be.
    left: usize,
}

impl ModifierReader {
    pub(crate) const fn new(currency: Currency) -> Self {
        Self { currency, left: MAX_MODIFIERS }
    }

    /// Counts so many more; `false`: they are more than an order may have.
    pub(crate) fn count(&mut self, more: usize) -> bool {
        let left = self.left.checked_sub(more);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// What stands there, and what it adds to the price of one unit of what it belongs to, or no such amount with the problem noted.
    pub(crate) fn read(
        &mut self,
        problems: &mut Problems,
        at: &At<'_>,
        raw: Option<&RawValue>,
    ) -> (Vec<Modifier>, Option<i64>) {
        self.read_below(problems, at, raw, MAX_DEPTH)
    }

    fn read_below(
        &mut self,
        problems: &mut Problems,
        at: &At<'_>,
        raw: Option<&RawValue>,
        depth: usize,
    ) -> (Vec<Modifier>, Option<i64>) {
        let Some(raw) = raw else { return (Vec::new(), Some(0)) };
        let list = problems.list::<ModifierRequest<'_>>(at, raw, MAX_MODIFIERS);
        if depth == 0 && !list.is_empty() {
            problems.add(at, "too_many", format!("modifiers may lie {MAX_DEPTH} deep"));
            return (Vec::new(), None);
        }
        let Some(left) = self.left.checked_sub(list.len()) else {
            problems.add(at, "too_many", format!("an order may have {MAX_MODIFIERS} modifiers"));
            return (Vec::new(), None);
        };
        self.left = left;
        let (mut modifiers, mut sum) = (Vec::with_capacity(list.len()), Some(0));
        for (index, one) in list.iter().enumerate() {
            let at = at.entry(index);
            let Some((modifier, minor)) = self.one(problems, &at, one, depth) else { continue };
            sum = sum.and_then(|sum: i64| within(sum + minor));
            modifiers.push(modifier);
        }
        if sum.is_none() {
            problems.add(at, "too_large", "come to more than an amount may be");
        }
        (modifiers, sum)
    }

    fn one(
        &mut self,
        problems: &mut Problems,
        at: &At<'_>,
        one: &ModifierRequest<'_>,
        depth: usize,
    ) -> Option<(Modifier, i64)> {
        problems.odd(at, &one.odd);
        let id = one.id.and_then(|raw| problems.id(at.field("id"), Some(raw)));
        let name = problems.text(at.field("name"), one.name, MAX_NAME_CHARS);
        let note = problems.note(at.field("note"), one.note, MAX_NOTE_CHARS);
        let quantity = match one.quantity {
            None => Some(1),
            some => problems.quantity(at.field("quantity"), some),
        };
        let price = match one.price {
            None => Some(Money::from_minor(0, self.currency)),
            some => problems.signed(at.field("price"), some, self.currency),
        };
        let plu = problems.optional_text(at.field("plu"), one.plu, MAX_ID_CHARS);
        let (modifiers, with) = self.read_below(problems, &at.field("modifiers"), one.modifiers, depth - 1);
        let (price, quantity) = (price?, quantity?);
        let minor = times(price.minor(), with?, quantity);
        if minor.is_none() {
            problems.add(at.field("price"), "too_large", "price times quantity is too large");
        }
        Some((Modifier { id, name: name?, quantity, price: price.to_json(), plu, note, modifiers }, minor?))
    }
}
