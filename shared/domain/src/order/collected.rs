//! What staff say of money that came in when an order was handed over.

use crate::fields::fields;
use crate::money::{Currency, Money};
use crate::problems::{At, Problem, Problems};

fields! {
    /// What `POST /orders/{id}/collect` carries.
    pub struct CollectRequest { amount }
}

impl CollectRequest<'_> {
    /// How much came in, in minor units, where that is said.
    pub fn parse(&self, currency: Currency) -> Result<Option<i64>, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &self.odd);
        let amount = self.amount.and_then(|raw| problems.price("amount", Some(raw), currency));
        if problems.0.is_empty() { Ok(amount.map(Money::minor)) } else { Err(problems.0) }
    }
}
