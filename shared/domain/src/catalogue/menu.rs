//! A line that names a product: what it costs is looked up, and what is chosen with it is checked.

use std::collections::HashSet;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::product::{Choice, OptionGroup, Product, Variation};
use super::reading::id;
use crate::fields::fields;
use crate::limits::MAX_MODIFIERS;
use crate::location::MAIN;
use crate::money::{Currency, Money};
use crate::order::modifiers::Modifier;
use crate::problems::{At, Problems};

/// Where products are looked up.
pub trait Menu {
    /// One that can be ordered.
    fn product(&self, id: Uuid) -> Option<&Product>;

    /// Where it is ordered.
    fn location(&self) -> &str {
        MAIN
    }

    /// The one that is sold at a location and that the till calls so, itself or one of its variations.
    fn by_plu(&self, _plu: &str, _location: &str) -> Option<&Product> {
        None
    }
}

/// The same for orders at a location.
pub struct MenuAt<'m> {
    /// Where products are looked up.
    pub menu: &'m dyn Menu,
    /// Where they are ordered.
    pub location: &'m str,
}

impl std::fmt::Debug for MenuAt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MenuAt").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Menu for MenuAt<'_> {
    fn product(&self, id: Uuid) -> Option<&Product> {
        self.menu.product(id)
    }

    fn location(&self) -> &str {
        self.location
    }
}

/// So many of something that is counted, which an order takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// A variation, or a product that comes in none.
    pub item: Uuid,
    /// Of all lines of the order.
    pub quantity: u32,
    /// The first of those lines.
    pub line: usize,
}

/// Nothing can be ordered from it.
#[derive(Debug, Clone, Copy)]
pub struct NoMenu;

impl Menu for NoMenu {
    fn product(&self, _: Uuid) -> Option<&Product> {
        None
    }
}

fields! {
    struct ChosenRequest { id, quantity }
}

/// What a line names of the catalogue, still raw.
pub(crate) struct Named<'a> {
    pub(crate) product_id: &'a RawValue,
    pub(crate) variation_id: Option<&'a RawValue>,
    pub(crate) options: Option<&'a RawValue>,
    pub(crate) price: Option<&'a RawValue>,
}

/// What it came to.
pub(crate) struct Found {
    /// What is sold: the variation, or the product that comes in none.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) price: Money,
    pub(crate) modifiers: Vec<Modifier>,
    /// What they add to one.
    pub(crate) with: i64,
    /// It is counted.
    pub(crate) tracked: bool,
}

impl Named<'_> {
    /// What is sold by this line, or nothing with the problems noted. A price that it names must be the one it has.
    pub(crate) fn find(
        &self,
        menu: &dyn Menu,
        problems: &mut Problems,
        at: &At<'_>,
        currency: Currency,
    ) -> Option<Found> {
        let place = at.field("product_id");
        let id = id(problems, place, Some(self.product_id))?;
        let Some(product) = menu.product(id) else {
            problems.add(place, "unknown_product", "there is no such product, or no longer");
            return None;
        };
        if product.currency() != currency {
            let detail = format!("has its price in {}", product.currency().code());
            problems.add(place, "other_currency", detail);
            return None;
        }
        if !product.is_sold_at(menu.location()) {
            problems.add(place, "not_sold_here", "is not sold at this location");
            return None;
        }
        let variation = self.variation(product, problems, at);
        let chosen = self.chosen(product, problems, at);
        let variation = variation?;
        let price = variation.map_or(product.price, |one| product.money(one.price_minor));
        if let Some(said) = self.price
            && problems.price(at.field("price"), Some(said), currency).is_some_and(|said| said != price)
        {
            problems.add(at.field("price"), "price_mismatch", format!("costs {price}"));
        }
        let (modifiers, with) = chosen?;
        let (id, name) = match variation {
            Some(one) => (one.id, product.name_of(one)),
            None => (product.id, product.name.clone()),
        };
        Some(Found { id, name, price, modifiers, with, tracked: product.tracked })
    }

    /// What it comes in, where it comes in anything.
    fn variation<'p>(
        &self,
        product: &'p Product,
        problems: &mut Problems,
        at: &At<'_>,
    ) -> Option<Option<&'p Variation>> {
        let place = at.field("variation_id");
        match self.variation_id {
            None if product.variations.is_empty() => Some(None),
            None => {
                problems.add(
                    place,
                    "required",
                    "the product comes in variations, of which one is to be named",
                );
                None
            }
            Some(raw) => {
                let id = id(problems, place, Some(raw))?;
                let found = product.variations.iter().find(|one| one.id == id);
                if found.is_none() {
                    problems.add(
                        place,
                        "unknown_variation",
                        "the product has no such variation, or no longer",
                    );
                }
                found.map(Some)
            }
        }
    }

    /// What is chosen with it, as many of each group as its bounds say, and what that adds to the price of one.
    fn chosen(
        &self,
        product: &Product,
        problems: &mut Problems,
        at: &At<'_>,
    ) -> Option<(Vec<Modifier>, i64)> {
        let place = at.field("options");
        let before = problems.0.len();
        let list = self.options.map(|raw| problems.list::<ChosenRequest<'_>>(&place, raw, MAX_MODIFIERS));
        let (mut modifiers, mut with) = (Vec::new(), 0_i64);
        let mut counts = vec![0_u32; product.option_groups.len()];
        let mut seen = HashSet::new();
        for (index, one) in list.iter().flatten().enumerate() {
            let at = place.entry(index);
            problems.odd(&at, &one.odd);
            let quantity = match one.quantity {
                None => Some(1),
                some => problems.quantity(at.field("quantity"), some),
            };
            let Some(id) = id(problems, at.field("id"), one.id) else { continue };
            let Some((group, choice)) = find(&product.option_groups, id) else {
                problems.add(
                    at.field("id"),
                    "unknown_option",
                    "the product has no such option, or no longer",
                );
                continue;
            };
            if !seen.insert(id) {
                problems.add(at.field("id"), "repeated", "is named twice");
                continue;
            }
            let Some(quantity) = quantity else { continue };
            counts[group] += quantity;
            // Bounded once the groups' bounds are kept.
            with = with.saturating_add(choice.price_minor.saturating_mul(i64::from(quantity)));
            modifiers.push(Modifier {
                id: Some(choice.id.to_string()),
                name: choice.name.clone(),
                quantity,
                price: product.money(choice.price_minor).to_json(),
                plu: None,
                note: None,
                modifiers: Vec::new(),
            });
        }
        for (group, count) in product.option_groups.iter().zip(counts) {
            let OptionGroup { name, min, max, .. } = group;
            if count < *min {
                problems.add(place, "too_few", format!("{name}: at least {min} must be chosen"));
            } else if count > *max {
                problems.add(place, "too_many", format!("{name}: at most {max} may be chosen"));
            }
        }
        (problems.0.len() == before).then_some((modifiers, with))
    }
}

/// Which group it is of, and what it is.
fn find(groups: &[OptionGroup], id: Uuid) -> Option<(usize, &Choice)> {
    let of = |(index, group): (usize, &'_ OptionGroup)| {
        group.options.iter().position(|one| one.id == id).map(|place| (index, place))
    };
    let (group, place) = groups.iter().enumerate().find_map(of)?;
    Some((group, &groups[group].options[place]))
}
