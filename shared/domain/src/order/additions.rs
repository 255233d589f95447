//! What is added to an order later, as it may be asked for.

use uuid::Uuid;

use super::lines::{Item, Priced, priced};
use super::parts::expect;
use crate::catalogue::menu::{Menu, NoMenu, Take};
use crate::fields::fields;
use crate::money::{Currency, Money};
use crate::payment::new_payment_id;
use crate::problems::{At, Problem, Problems};

fields! {
    /// What `POST /orders/{id}/items` carries.
    pub struct AdditionRequest { items, payment_reference, total }
}

fields! {
    /// What `POST /orders/{id}/payment` carries.
    pub struct PaymentRequest { payment_reference }
}

impl PaymentRequest<'_> {
    /// The client's name for the new charge.
    pub fn parse(&self) -> Result<String, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &self.odd);
        match problems.id("payment_reference", self.payment_reference) {
            Some(reference) if problems.0.is_empty() => Ok(reference),
            _ => Err(problems.0),
        }
    }
}

/// More lines for an order, as they may be added. Made only by [`NewAddition::parse`].
#[derive(Debug, Clone)]
pub struct NewAddition {
    /// Of its charge: the gateway's idempotency key, fixed here for good.
    pub payment_id: Uuid,
    /// The lines.
    pub items: Vec<Item>,
    /// The sum over them.
    pub amount: Money,
    /// The client's name for the charge.
    pub reference: String,
    /// What of the lines is counted.
    pub takes: Vec<Take>,
}

impl NewAddition {
    /// The same where there is no catalogue.
    pub fn parse(
        request: &AdditionRequest<'_>,
        order_id: Uuid,
        currency: Currency,
    ) -> Result<Self, Vec<Problem>> {
        Self::parse_with(request, order_id, currency, &NoMenu)
    }

    /// Checks everything about a request to add to this order, which is in this currency.
    pub fn parse_with(
        request: &AdditionRequest<'_>,
        order_id: Uuid,
        currency: Currency,
        menu: &dyn Menu,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.odd(&At::Top, &request.odd);
        let reference = problems.id("payment_reference", request.payment_reference);
        let Priced { items, sum: amount, takes, .. } = priced(&mut problems, request.items, currency, menu);
        let said = request.total.and_then(|raw| problems.price("total", Some(raw), currency));
        if let (Some(amount), Some(said), true) = (amount, said, problems.0.is_empty()) {
            expect(&mut problems, "total", amount, said);
        }
        // There is nothing to charge, and a charge is what it is known by.
        if amount.is_some_and(|amount| amount.minor() == 0) && problems.0.is_empty() {
            problems.add("items", "nothing_to_pay", "what is added must cost something");
        }
        match (reference, amount) {
            (Some(reference), Some(amount)) if problems.0.is_empty() => {
                Ok(Self { payment_id: new_payment_id(order_id), items, amount, reference, takes })
            }
            _ => Err(problems.0),
        }
    }
}
