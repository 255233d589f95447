//! A product, as it is kept.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::money::{Currency, Money};
use crate::what::What;

/// Something that can be ordered. Made only by parsing, so it cannot be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// UUIDv7.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// More about it.
    pub description: Option<String>,
    /// What one costs that comes in no variations; else the lowest price of those. In the currency of all its prices.
    pub price: Money,
    /// Where it stands in the catalogue.
    pub category_id: Option<Uuid>,
    /// What it looks like.
    pub picture_url: Option<String>,
    /// What the till calls it, and channels with it; of one that comes in variations each has its own.
    pub plu: Option<String>,
    /// Whether it is counted: what there is not, cannot be ordered.
    pub tracked: bool,
    /// Where it is sold, sorted; at least one.
    pub locations: Vec<String>,
    /// What it comes in, of which one is to be chosen; empty: there is nothing to choose.
    pub variations: Vec<Variation>,
    /// What can be chosen with it.
    pub option_groups: Vec<OptionGroup>,
}

/// What a product comes in: a size, say. Stored in this shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variation {
    /// UUIDv7; it stays the same for as long as the variation is there.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What one costs, in minor units.
    pub price_minor: i64,
    /// What the till calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plu: Option<String>,
}

/// Options that belong together: syrups, say. Stored in this shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionGroup {
    /// UUIDv7.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// How many have to be chosen.
    pub min: u32,
    /// How many may be.
    pub max: u32,
    /// Of these.
    pub options: Vec<Choice>,
}

/// Something that can be chosen. Stored in this shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// UUIDv7.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it adds to the price, in minor units; below zero where it makes it cheaper.
    pub price_minor: i64,
}

impl Product {
    /// That of all its prices.
    pub const fn currency(&self) -> Currency {
        self.price.currency()
    }

    /// An amount in it.
    pub const fn money(&self, minor: i64) -> Money {
        Money::from_minor(minor, self.currency())
    }

    /// What of it is counted, each by itself: its variations, or the product that comes in none.
    pub fn counted(&self) -> Vec<Uuid> {
        match (self.tracked, self.variations.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec![self.id],
            (true, false) => self.variations.iter().map(|one| one.id).collect(),
        }
    }

    /// What the till calls it: itself, or its variations.
    pub fn plus(&self) -> impl Iterator<Item = &str> {
        self.plu.as_deref().into_iter().chain(self.variations.iter().filter_map(|one| one.plu.as_deref()))
    }

    /// What of it the till calls so, and its name.
    pub fn called(&self, plu: &str) -> Option<(Uuid, String)> {
        if self.plu.as_deref() == Some(plu) {
            return Some((self.id, self.name.clone()));
        }
        let found = self.variations.iter().find(|one| one.plu.as_deref() == Some(plu))?;
        Some((found.id, self.name_of(found)))
    }

    /// What a line of this variation is called.
    pub(crate) fn name_of(&self, variation: &Variation) -> String {
        format!("{}, {}", self.name, variation.name)
    }

    /// What it is that makes `after` of it; `None`: nothing.
    pub fn changed_to(&self, after: &Self) -> Option<What> {
        // What each of its items costs, before and after; what was not there before has no price that changed.
        let pairs: Vec<(i64, i64)> = match (&*self.variations, &*after.variations) {
            ([], []) => vec![(self.price.minor(), after.price.minor())],
            (before, after) => {
                let was = |id| before.iter().find(|one| one.id == id).map(|one| one.price_minor);
                after.iter().filter_map(|one| Some((was(one.id)?, one.price_minor))).collect()
            }
        };
        let is_other_currency = self.currency() != after.currency();
        match pairs {
            _ if self == after => None,
            _ if is_other_currency => Some(What::PriceChanged),
            pairs if pairs.iter().any(|(was, is)| *is < *was - *is) => Some(What::PriceDropped),
            pairs if self.price != after.price || pairs.iter().any(|(was, is)| was != is) => {
                Some(What::PriceChanged)
            }
            _ => Some(What::ProductChanged),
        }
    }

    /// Whether it is sold there.
    pub fn is_sold_at(&self, location: &str) -> bool {
        self.locations.iter().any(|at| at == location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::currency_of;

    fn product(minor: i64, variations: &[i64]) -> Product {
        let variation = |(at, price): (usize, &i64)| Variation {
            id: Uuid::from_u128(at as u128 + 1),
            name: format!("size {at}"),
            price_minor: *price,
            plu: None,
        };
        Product {
            id: Uuid::nil(),
            name: "Latte".to_owned(),
            description: None,
            price: Money::from_minor(minor, currency_of("USD").unwrap()),
            category_id: None,
            picture_url: None,
            tracked: false,
            plu: None,
            locations: vec!["main".to_owned()],
            variations: variations.iter().enumerate().map(variation).collect(),
            option_groups: Vec::new(),
        }
    }

    #[test]
    fn a_price_drops_where_it_falls_by_more_than_half_and_nothing_else_does() {
        let of = |before: Product, after: Product| before.changed_to(&after);
        for (was, is, what) in [
            (100, 100, None),
            (100, 50, Some(What::PriceChanged)),
            (100, 49, Some(What::PriceDropped)),
            (101, 50, Some(What::PriceDropped)),
            (100, 0, Some(What::PriceDropped)),
            (1, 0, Some(What::PriceDropped)),
            (0, 100, Some(What::PriceChanged)),
            (100, 300, Some(What::PriceChanged)),
        ] {
            assert_eq!(of(product(was, &[]), product(is, &[])), what, "{was} -> {is}");
            let (before, after) = (product(was.min(900), &[900, was]), product(is.min(900), &[900, is]));
            assert_eq!(of(before, after), what, "of a variation: {was} -> {is}");
        }
        let renamed = Product { name: "Tea".to_owned(), ..product(100, &[]) };
        assert_eq!(of(product(100, &[]), renamed), Some(What::ProductChanged));
        // A variation that is new and cheap is none that was dearer.
        assert_eq!(of(product(900, &[900]), product(100, &[900, 100])), Some(What::PriceChanged));
        assert_eq!(of(product(900, &[900, 900]), product(900, &[900])), Some(What::ProductChanged));
        let euros = Product { price: Money::from_minor(10, currency_of("EUR").unwrap()), ..product(0, &[]) };
        assert_eq!(of(product(100, &[]), euros), Some(What::PriceChanged));
    }
}
