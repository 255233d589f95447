//! Customers whom the house knows, as its own issuer would: one in some. Each has an address and has chosen what to be written, or
//! nothing; of some the mail server refuses everything.

use anyhow::{Result, ensure};
use domain::mail::Mail;
use domain::person::Role;
use sqlx::{Connection, PgConnection};
use store::accounts::users::{Changed, NewUser, insert};
use uuid::Uuid;

/// One in so many orders is of such a customer.
const ONE_IN: u64 = 8;
/// Their ids begin with this.
const FIRST: u128 = 0x7065_6f70_6c65_7000_8000_0000_0000_0000;
/// Addresses that the server knows nobody under begin with this.
pub(crate) const REFUSED: &str = "refused.";

/// A customer whom the house knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// As accounts and orders name them.
    pub(crate) id: Uuid,
    kind: u64,
}

impl Known {
    /// The customer of this order, if it is one of them.
    pub(crate) fn of(number: u64) -> Option<Self> {
        let id = Uuid::from_u128(FIRST + u128::from(number));
        number.is_multiple_of(ONE_IN).then_some(Self { id, kind: number / ONE_IN % 5 })
    }

    /// The one whom an order names.
    pub(crate) fn named(customer: &str) -> Option<Self> {
        let number = Uuid::parse_str(customer).ok()?.as_u128().checked_sub(FIRST)?;
        Self::of(u64::try_from(number).ok()?)
    }

    /// Where mails to them go.
    pub(crate) fn address(&self) -> String {
        let refused = if self.is_refused() { REFUSED } else { "" };
        format!("{refused}{}@people.example", self.id)
    }

    /// Whether the server refuses all that is for them.
    pub(crate) const fn is_refused(&self) -> bool {
        self.kind == 3
    }

    /// What they chose; `None`: nothing, and they get the usual.
    const fn chose(&self) -> Option<&'static [Mail]> {
        match self.kind {
            1 => Some(&Mail::ALL),
            2 => Some(&[]),
            _ => None,
        }
    }

    /// What they get.
    pub(crate) fn mails(&self) -> &'static [Mail] {
        self.chose().unwrap_or(&Mail::DEFAULT)
    }
}

/// Makes the accounts of those among so many orders.
pub(crate) async fn enroll(conn: &mut PgConnection, orders: u64) -> Result<()> {
    let mut tx = conn.begin().await?;
    for known in (0..orders).filter_map(Known::of) {
        let new = NewUser {
            id: known.id,
            email: known.address(),
            name: None,
            phone: None,
            role: Role::Customer,
            locations: Vec::new(),
            password_hash: "none".to_owned(),
        };
        ensure!(matches!(insert(&mut tx, &new).await?, Changed::Done(_)), "{} is there already", known.id);
        if let Some(mails) = known.chose() {
            store::mail::prefer(&mut tx, known.id, mails).await?;
        }
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_known_is_found_by_the_name_on_their_order() {
        let known: Vec<Known> = (0..80).filter_map(Known::of).collect();
        assert_eq!(known.len(), 10);
        for one in &known {
            assert_eq!(Known::named(&one.id.to_string()), Some(*one));
        }
        assert!(known.iter().any(Known::is_refused) && known.iter().any(|one| one.mails().is_empty()));
        assert_eq!(Known::named("customer-8"), None);
        assert_eq!(Known::named(&Uuid::from_u128(FIRST + 1).to_string()), None, "nobody's number");
    }
}
