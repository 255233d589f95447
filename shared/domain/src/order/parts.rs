//! An order of parts that are priced already, as whoever reads a platform's document hands them over: the same rules as for
//! `POST /orders`, and the same order.

use super::NewOrder;
use super::adjustments::Adjustment;
use super::details::NewDetails;
use super::lines::Item;
use super::modifiers;
use crate::limits::{MAX_ADJUSTMENTS, MAX_DEPTH, MAX_ITEMS, MAX_MODIFIERS};
use crate::money::{Currency, Money};
use crate::problems::{At, Problem, Problems};

/// What an order is made of, priced.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The lines; their texts are checked, their prices are decimals of [`Money::to_json`].
    pub items: Vec<Item>,
    /// Amounts beside them, likewise.
    pub adjustments: Vec<Adjustment>,
    /// Of all of them.
    pub currency: Currency,
    /// What the sender says that it comes to, in minor units, where that is said.
    pub expected_minor: Option<i64>,
}

impl Parts {
    /// What they come to, or all that is wrong with them. `total`: what the sender calls what it says that they come to.
    pub fn total(&self, total: &str) -> Result<Money, Vec<Problem>> {
        let mut problems = Problems::default();
        if self.items.is_empty() {
            problems.add("items", "empty", "must have at least one item");
        } else if self.items.len() > MAX_ITEMS {
            problems.add("items", "too_many", format!("must have at most {MAX_ITEMS} items"));
        }
        let (list, mut sum, mut count) = (At::Top.field("items"), Some(0_i64), 0);
        for (index, item) in self.items.iter().enumerate() {
            let at = list.entry(index);
            let (more, depth) = modifiers::measure(&item.modifiers);
            count += more;
            if depth > MAX_DEPTH {
                problems.add(
                    at.field("modifiers"),
                    "too_many",
                    format!("modifiers may lie {MAX_DEPTH} deep"),
                );
                continue;
            }
            let worth = item.worth(self.currency);
            if worth.is_none() {
                problems.add(at, "no_worth", "comes to less than nothing, or to more than an amount may be");
            }
            sum = sum.zip(worth).map(|(sum, worth)| sum + worth);
        }
        if count > MAX_MODIFIERS {
            problems.add("items", "too_many", format!("an order may have {MAX_MODIFIERS} modifiers"));
        }
        if self.adjustments.len() > MAX_ADJUSTMENTS {
            problems.add("adjustments", "too_many", format!("must have at most {MAX_ADJUSTMENTS} entries"));
        }
        let beside = self.adjustments.iter().map(|one| one.minor(self.currency)).sum::<Option<i64>>();
        if beside.is_none() {
            problems.add("adjustments", "not_decimal", "an amount is none in this currency");
        }
        let sum = sum
            .zip(beside)
            .and_then(|(sum, beside)| sum_up(&mut problems, Money::from_minor(sum, self.currency), beside));
        if let (Some(sum), Some(expected)) = (sum, self.expected_minor) {
            expect(&mut problems, total, sum, Money::from_minor(expected, self.currency));
        }
        match sum {
            Some(sum) if problems.0.is_empty() => Ok(sum),
            _ => Err(problems.0),
        }
    }
}

impl NewOrder {
    /// An order of parts. Its `details` have no adjustments of their own yet; nothing is charged for it where it is free or was
    /// paid otherwise. `total`: what the sender calls what it says that it comes to.
    pub fn of_parts(
        customer_id: String,
        parts: Parts,
        details: NewDetails,
        total: &str,
    ) -> Result<Self, Vec<Problem>> {
        let sum = parts.total(total)?;
        let details = NewDetails { adjustments: parts.adjustments, ..details };
        Ok(Self::new(customer_id, &parts.items, sum).with(details))
    }
}

/// The lines with what is beside them, or nothing with the problem noted.
pub(crate) fn sum_up(problems: &mut Problems, lines: Money, beside: i64) -> Option<Money> {
    let sum = lines.checked_plus(beside);
    if sum.is_none() && lines.minor() + beside < 0 {
        problems.add("adjustments", "below_zero", "take off more than the order costs");
    } else if sum.is_none() {
        problems.add("items", "too_large", "the total is too large");
    }
    sum
}

/// What the sender says that it comes to must be what it comes to.
pub(crate) fn expect(problems: &mut Problems, total: &str, is: Money, said: Money) {
    if is != said {
        problems.add(total, "total_mismatch", format!("says {said}; the order comes to {is}"));
    }
}
