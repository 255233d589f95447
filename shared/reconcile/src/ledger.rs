//! The gateway's side: its rows by key, and which of them our payments explain.

use std::collections::HashMap;

use domain::gateway::{ChargeReceipt, Ledger, RefundReceipt};
use domain::money::{Money, MoneyError};
use uuid::Uuid;

use super::orders::Orders;
use super::{Invariant, Report, show};

/// Where a key stands in the ledger.
#[derive(Debug)]
struct Place {
    row: u32,
    explained: bool,
}

/// How the gateway closed a key that took nothing.
#[derive(Debug)]
struct Closed {
    explained: bool,
}

/// The ledger by key. Keys of ours are ids; a row under any other name is one that nobody here explains.
#[derive(Debug)]
pub(super) struct LedgerRows {
    charges: HashMap<Uuid, Place>,
    refunds: HashMap<Uuid, Place>,
    closed: HashMap<Uuid, Closed>,
    asked_again: HashMap<Uuid, u32>,
}

/// What the ledger and a payment have in common, to be equal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) reference: Uuid,
    pub(super) money: Money,
    pub(super) gateway_id: &'a str,
    pub(super) refund_of: Option<Uuid>,
}

impl LedgerRows {
    /// Sorts the ledger by key, and adds its rows to the orders that they name.
    pub(super) fn read(ledger: &Ledger, orders: &mut Orders, report: &mut Report) -> Self {
        let mut rows = Self {
            charges: HashMap::with_capacity(ledger.charges.len()),
            refunds: HashMap::with_capacity(ledger.refunds.len()),
            closed: HashMap::with_capacity(ledger.declined.len() + ledger.voided.len()),
            asked_again: HashMap::with_capacity(ledger.asked_again.len()),
        };
        for (row, charge) in (0..).zip(&ledger.charges) {
            place(&mut rows.charges, row, &charge.key, report);
            add(orders, &charge.reference, charge.money(), 1);
        }
        for (row, refund) in (0..).zip(&ledger.refunds) {
            place(&mut rows.refunds, row, &refund.key, report);
            add(orders, &refund.reference, refund.money(), -1);
        }
        let declined = ledger.declined.iter().map(|declined| &declined.key);
        for key in declined.chain(&ledger.voided) {
            match Uuid::try_parse(key) {
                Ok(id) => drop(rows.closed.insert(id, Closed { explained: false })),
                Err(_) => {
                    report.check(Invariant::FailedIsClosed, false, || format!("{key:?} is no key of ours"))
                }
            }
        }
        for again in &ledger.asked_again {
            match Uuid::try_parse(&again.key) {
                Ok(id) => drop(rows.asked_again.insert(id, again.requests)),
                Err(_) => report.check(Invariant::RequestsCovered, false, || {
                    format!("{:?} is no key of ours", again.key)
                }),
            }
        }
        rows
    }

    /// The charge under this key; it counts as explained from now on.
    pub(super) fn explain_charge<'a>(&mut self, ledger: &'a Ledger, key: Uuid) -> Option<Entry<'a>> {
        let place = self.charges.get_mut(&key)?;
        place.explained = true;
        entry_of_charge(&ledger.charges[place.row as usize])
    }

    /// The refund under this key; it counts as explained from now on.
    pub(super) fn explain_refund<'a>(&mut self, ledger: &'a Ledger, key: Uuid) -> Option<Entry<'a>> {
        let place = self.refunds.get_mut(&key)?;
        place.explained = true;
        entry_of_refund(&ledger.refunds[place.row as usize])
    }

    /// Whether the gateway can never charge this key; that counts as explained from now on.
    pub(super) fn explain_closed(&mut self, key: Uuid) -> bool {
        self.closed.get_mut(&key).map(|closed| closed.explained = true).is_some()
    }

    /// How often the gateway was asked to charge this key, where that was more than once; it counts as explained.
    pub(super) fn take_asked_again(&mut self, key: Uuid) -> Option<u32> {
        self.asked_again.remove(&key)
    }

    /// What no payment of ours has explained.
    pub(super) fn check_explained(&self, ledger: &Ledger, report: &mut Report) {
        for (key, place) in &self.charges {
            report.check(Invariant::LedgerExplained, place.explained, || {
                let charge = &ledger.charges[place.row as usize];
                format!(
                    "charge {key} of {} {} for order {}",
                    charge.amount, charge.currency, charge.reference
                )
            });
        }
        for (key, place) in &self.refunds {
            report.check(Invariant::LedgerExplained, place.explained, || {
                let refund = &ledger.refunds[place.row as usize];
                format!(
                    "refund {key} of {} {} for order {}",
                    refund.amount, refund.currency, refund.reference
                )
            });
        }
        for (key, closed) in &self.closed {
            report.check(Invariant::FailedIsClosed, closed.explained, || {
                format!("charge {key} is declined or void at the gateway, and not failed here")
            });
        }
        for (key, requests) in &self.asked_again {
            report.check(Invariant::RequestsCovered, false, || {
                format!("charge {key} was asked for {requests} times, and there is no such payment")
            });
        }
    }
}

fn place(places: &mut HashMap<Uuid, Place>, row: u32, key: &str, report: &mut Report) {
    let Ok(id) = Uuid::try_parse(key) else {
        report.check(Invariant::LedgerExplained, false, || format!("{key:?} is no key of ours"));
        return;
    };
    let before = places.insert(id, Place { row, explained: false });
    report
        .check(Invariant::ChargedOnce, before.is_none(), || format!("key {key} stands in the ledger twice"));
}

/// Adds to the order what the ledger took (1) or gave back (-1) for it.
fn add(orders: &mut Orders, reference: &str, money: Result<Money, MoneyError>, sign: i64) {
    // A reference that is no order of ours is noticed with its key, as a row without a payment.
    let Some(order) = Uuid::try_parse(reference).ok().and_then(|id| orders.get_mut(id)) else { return };
    order.ledger_charges += u32::from(sign > 0);
    match money {
        Ok(money) => {
            order.kept_minor += sign * money.minor();
            order.mixed_currencies |= money.currency() != order.total.currency();
        }
        Err(_) => order.mixed_currencies = true,
    }
}

/// `None`: the row cannot be equal to any payment of ours.
fn entry_of_charge(charge: &ChargeReceipt) -> Option<Entry<'_>> {
    let reference = Uuid::try_parse(&charge.reference).ok()?;
    Some(Entry { reference, money: charge.money().ok()?, gateway_id: &charge.id, refund_of: None })
}

fn entry_of_refund(refund: &RefundReceipt) -> Option<Entry<'_>> {
    let reference = Uuid::try_parse(&refund.reference).ok()?;
    let refund_of = Some(Uuid::try_parse(&refund.charge_key).ok()?);
    Some(Entry { reference, money: refund.money().ok()?, gateway_id: &refund.id, refund_of })
}

impl std::fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} for order {} as {:?}", show(self.money), self.reference, self.gateway_id)?;
        self.refund_of.map_or(Ok(()), |charge| write!(f, ", giving back {charge}"))
    }
}
