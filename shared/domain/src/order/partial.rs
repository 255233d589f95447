//! An order that takes what there is of what it asks for, and leaves the rest: what comes of it is an order as any other, and says
//! what it left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::NewOrder;
use super::details::LeftOut;
use super::lines::{Item, Priced};
use crate::catalogue::menu::Take;
use crate::catalogue::reading::flag;
use crate::limits::ACCEPT_IN;
use crate::money::Money;
use crate::problems::Problems;

/// What an order that may be cut asks for.
#[derive(Debug, Clone)]
pub struct Partial {
    lines: Vec<Item>,
    /// Which of them are counted, and what they take.
    counted: Vec<(usize, Uuid)>,
    /// What is beside them, in minor units.
    beside: i64,
    pub(super) accept_in: Duration,
}

impl Partial {
    /// What may be cut, where `allow_partial` says so. What it comes to is known only once it is taken, so nobody can say it before;
    /// and what is taken off is taken off the whole.
    pub(super) fn read(
        problems: &mut Problems,
        raw: Option<&RawValue>,
        priced: &Priced,
        (beside, is_reduced): (i64, bool),
        others: [(&'static str, Option<&RawValue>); 2],
    ) -> Option<Box<Self>> {
        let is_asked = raw.is_some_and(|raw| flag(problems, "allow_partial", raw));
        if !is_asked {
            return None;
        }
        for (field, _) in others.into_iter().filter(|(_, raw)| raw.is_some()) {
            problems.add(field, "conflict", "cannot be given together with allow_partial");
        }
        if is_reduced {
            problems.add("adjustments", "conflict", "cannot take off anything together with allow_partial");
        }
        let Priced { items, counted, .. } = priced;
        let one = Self { lines: items.clone(), counted: counted.clone(), beside, accept_in: ACCEPT_IN };
        (!counted.is_empty()).then(|| Box::new(one))
    }
}

impl NewOrder {
    /// The order of as much as there is of each item, the first lines first; `None`: nothing is left of it.
    #[must_use]
    pub fn cut_to(&self, there: &BTreeMap<Uuid, i64>) -> Option<Self> {
        let Partial { lines, counted, beside, accept_in } = &**self.partial.as_ref()?;
        let mut there = there.clone();
        let (mut items, mut takes, mut left_out) = (Vec::new(), Vec::<Take>::new(), Vec::new());
        for (line, asked) in lines.iter().enumerate() {
            let mut item = asked.clone();
            if let Some((_, id)) = counted.iter().find(|(index, _)| *index == line) {
                let left = there.entry(*id).or_default();
                let taken = u32::try_from((*left).max(0)).unwrap_or(u32::MAX).min(asked.quantity);
                *left -= i64::from(taken);
                item.quantity = taken;
                match takes.iter_mut().find(|take| take.item == *id) {
                    Some(take) => take.quantity += taken,
                    None if taken > 0 => takes.push(Take { item: *id, quantity: taken, line }),
                    None => {}
                }
            }
            if item.quantity < asked.quantity {
                let Item { item_id, item_name, quantity, .. } = asked.clone();
                left_out.push(LeftOut { line, item_id, item_name, asked: quantity, taken: item.quantity });
            }
            if item.quantity > 0 {
                items.push(item);
            }
        }
        if items.is_empty() {
            return None;
        }
        let currency = self.total.currency();
        let worth = items.iter().map(|item| item.worth(currency)).sum::<Option<i64>>()?;
        let mut details = self.details.clone().unwrap_or_default();
        details.left_out = left_out;
        let items = serde_json::value::to_raw_value(&items).expect("strings, integers and decimals are JSON");
        let total = Money::from_minor(worth + beside, currency);
        let whole = self.clone();
        // What is left may cost nothing.
        let mut order = Self { items, total, takes, partial: None, ..whole }.with(*details);
        order.to_be_taken_within(*accept_in);
        Some(order)
    }
}
