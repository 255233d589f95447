//! A cart: lines as they are ordered, priced as the catalogue has them now.

use serde_json::value::RawValue;

use super::menu::{Menu, MenuAt, Take};
use crate::fields::fields;
use crate::location::Locations;
use crate::money::{Currency, Money};
use crate::order::lines::{Item, Priced, priced};
use crate::problems::{At, Problem, Problems};

fields! {
    /// What is to be in a cart, still raw.
    pub struct CartRequest { items, currency, location }
}

/// What is in a cart.
#[derive(Debug)]
pub struct Cart {
    /// Where it is to be ordered.
    pub location: String,
    /// Of its lines.
    pub currency: Currency,
    /// Those that can be ordered.
    pub items: Vec<Item>,
    /// Their sum.
    pub total: Money,
    /// What is counted of them.
    pub takes: Vec<Take>,
    /// What is wrong with others, which could be ordered when they were put in.
    pub problems: Vec<Problem>,
}

impl<'a> CartRequest<'a> {
    /// Reads what is to be in a cart; all that is wrong comes back at once.
    pub fn parse(&self, places: &Locations, menu: &dyn Menu) -> Result<Cart, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &self.odd);
        let place = problems.location(self.location, places);
        let currency = problems.currency(self.currency).unwrap_or(place.currency);
        let cart = Cart::read_into(problems, self.items, currency, &MenuAt { menu, location: &place.id });
        if cart.problems.is_empty() { Ok(cart) } else { Err(cart.problems) }
    }

    /// The lines, as they were sent.
    pub const fn lines(&self) -> Option<&'a RawValue> {
        self.items
    }
}

impl Cart {
    /// Reads lines that could be ordered once, where the menu says.
    pub fn read(lines: &RawValue, currency: Currency, menu: &dyn Menu) -> Self {
        Self::read_into(Problems::default(), Some(lines), currency, menu)
    }

    fn read_into(
        mut problems: Problems,
        lines: Option<&RawValue>,
        currency: Currency,
        menu: &dyn Menu,
    ) -> Self {
        let Priced { items, sum, takes, .. } = priced(&mut problems, lines, currency, menu);
        let total = sum.unwrap_or(Money::from_minor(0, currency));
        let location = menu.location().to_owned();
        Self { location, currency, items, total, takes, problems: problems.0 }
    }
}
