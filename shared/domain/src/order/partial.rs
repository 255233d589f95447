//! An order that takes what there is of what it asks for, and leaves the rest: what comes of it is an order as any other, and says
//! what it left. One of a channel takes of the stock what there is, and stays what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::NewOrder;
use super::details::LeftOut;
use super::lines::{Item, Priced};
use super::modifiers::Modifier;
use crate::catalogue::menu::{Menu, Take};
use crate::catalogue::reading::flag;
use crate::limits::ACCEPT_IN;
use crate::money::Money;
use crate::problems::Problems;

/// What an order that may be cut asks for.
#[derive(Debug, Clone)]
pub struct Partial {
    lines: Vec<Item>,
    counted: Vec<Counted>,
    how: How,
    pub(super) accept_in: Duration,
}

/// What a line takes of something that is counted.
#[derive(Debug, Clone)]
struct Counted {
    line: usize,
    item: Uuid,
    name: String,
    quantity: u32,
}

/// What is cut.
#[derive(Debug, Clone, Copy)]
enum How {
    /// The lines, and so the money; so much is beside them, in minor units.
    Lines { beside: i64 },
    /// What it takes of the stock, and nothing else: its platform has sold it.
    StockAlone,
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
        let of = |(line, item): &(usize, Uuid)| {
            let Item { item_name, quantity, .. } = items.get(*line)?;
            Some(Counted { line: *line, item: *item, name: item_name.clone(), quantity: *quantity })
        };
        let counted: Vec<Counted> = counted.iter().filter_map(of).collect();
        let how = How::Lines { beside };
        let one = Self { lines: items.clone(), counted, how, accept_in: ACCEPT_IN };
        (!one.counted.is_empty()).then(|| Box::new(one))
    }
}

/// What of it is there, the first lines first: for each so many, what that takes of each item, and what is left out.
fn serve(counted: &[Counted], there: &BTreeMap<Uuid, i64>) -> (Vec<u32>, Vec<Take>, Vec<LeftOut>) {
    let mut there = there.clone();
    let (mut served, mut takes, mut left_out) = (Vec::new(), Vec::<Take>::new(), Vec::new());
    for Counted { line, item, name, quantity } in counted {
        let left = there.entry(*item).or_default();
        let taken = u32::try_from((*left).max(0)).unwrap_or(u32::MAX).min(*quantity);
        *left -= i64::from(taken);
        served.push(taken);
        match takes.iter_mut().find(|take| take.item == *item) {
            Some(take) => take.quantity += taken,
            None if taken > 0 => takes.push(Take { item: *item, quantity: taken, line: *line }),
            None => {}
        }
        if taken < *quantity {
            let (item_id, item_name) = (item.to_string(), name.clone());
            left_out.push(LeftOut { line: *line, item_id, item_name, asked: *quantity, taken });
        }
    }
    (served, takes, left_out)
}

impl NewOrder {
    /// The order of as much as there is of each item; `None`: nothing is left of it.
    #[must_use]
    pub fn cut_to(&self, there: &BTreeMap<Uuid, i64>) -> Option<Self> {
        let Partial { lines, counted, how, accept_in } = &**self.partial.as_ref()?;
        let (served, takes, left_out) = serve(counted, there);
        let mut details = self.details.clone().unwrap_or_default();
        details.left_out = left_out;
        let whole = Self { takes, partial: None, ..self.clone() };
        let How::Lines { beside } = how else { return Some(Self { details: Some(details), ..whole }) };
        let mut items = lines.clone();
        for (Counted { line, .. }, taken) in counted.iter().zip(served) {
            items[*line].quantity = taken;
        }
        items.retain(|item| item.quantity > 0);
        if items.is_empty() {
            return None;
        }
        let currency = self.total.currency();
        let worth = items.iter().map(|item| item.worth(currency)).sum::<Option<i64>>()?;
        let items = serde_json::value::to_raw_value(&items).expect("strings, integers and decimals are JSON");
        let total = Money::from_minor(worth + beside, currency);
        // What is left may cost nothing.
        let mut order = Self { items, total, ..whole }.with(*details);
        order.to_be_taken_within(*accept_in);
        Some(order)
    }

    /// The order of a channel whose plus name products: it takes what those have in stock, as far as there is any. Its lines, and what
    /// they come to, stay as the platform has sold them.
    #[must_use]
    pub fn counted_by_plu(mut self, menu: &dyn Menu) -> Self {
        let lines: Vec<Item> = serde_json::from_str(self.items.get()).unwrap_or_default();
        let mut counted = Vec::new();
        for (line, item) in lines.iter().enumerate() {
            let mut count = |plu: Option<&str>, quantity: u32| {
                let found = plu.and_then(|plu| Some((menu.by_plu(plu, self.location())?, plu)));
                let Some((product, plu)) = found.filter(|(product, _)| product.tracked) else { return };
                if let Some((item, name)) = product.called(plu) {
                    counted.push(Counted { line, item, name, quantity });
                }
            };
            count(item.plu.as_deref(), item.quantity);
            each(&item.modifiers, item.quantity, &mut count);
        }
        for Counted { line, item, quantity, .. } in &counted {
            match self.takes.iter_mut().find(|take| take.item == *item) {
                Some(take) => take.quantity = take.quantity.saturating_add(*quantity),
                None => self.takes.push(Take { item: *item, quantity: *quantity, line: *line }),
            }
        }
        if !counted.is_empty() {
            let one = Partial { lines, counted, how: How::StockAlone, accept_in: ACCEPT_IN };
            self.partial = Some(Box::new(one));
        }
        self
    }
}

/// What is chosen counts for each unit of what it is chosen with.
fn each(modifiers: &[Modifier], of: u32, count: &mut impl FnMut(Option<&str>, u32)) {
    for one in modifiers {
        let quantity = one.quantity.saturating_mul(of);
        count(one.plu.as_deref(), quantity);
        each(&one.modifiers, quantity, count);
    }
}
