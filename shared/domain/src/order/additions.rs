//! What is added to an order later, as it may be asked for.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::lines::{Item, priced};
use crate::limits::MAX_ID_CHARS;
use crate::money::{Currency, Money};
use crate::payment::new_payment_id;
use crate::problems::{Problem, Problems};

/// What `POST /orders/{id}/items` carries.
#[derive(Debug, Deserialize)]
pub struct AdditionRequest<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_reference: Option<&'a RawValue>,
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
}

impl NewAddition {
    /// Checks everything about a request to add to this order, which is in this currency.
    pub fn parse(
        request: &AdditionRequest<'_>,
        order_id: Uuid,
        currency: Currency,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let reference = problems.text("payment_reference", request.payment_reference, MAX_ID_CHARS);
        let (items, amount) = priced(&mut problems, request.items, currency);
        match (reference, amount) {
            (Some(reference), Some(amount)) if problems.0.is_empty() => {
                Ok(Self { payment_id: new_payment_id(order_id), items, amount, reference })
            }
            _ => Err(problems.0),
        }
    }
}
