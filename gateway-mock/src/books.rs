//! The books: every movement of money as one row, only ever added to, in the order in which it happened. They know
//! nothing of keys' standings; whoever books twice under one key stands here twice, for all to see.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use domain::money::Money;

use crate::dice;
use crate::journal::{Change, Journal};
use crate::name::Name;
use crate::verdict::DeclineCode;
use crate::wire::{ChargeReceipt, CurrencyTotal, RefundReceipt};

/// Money that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChargeRow {
    pub(crate) key: Name,
    pub(crate) reference: Name,
    pub(crate) money: Money,
    refunded_minor: i64,
}

// With the key's entry 72 + 49 bytes, and what tables keep free: a charge was measured at 150 bytes.
const _: () = assert!(size_of::<ChargeRow>() == 72);

/// Money that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefundRow {
    pub(crate) key: Name,
    /// The charge's row.
    pub(crate) charge: u32,
    pub(crate) charge_key: Name,
    pub(crate) reference: Name,
    pub(crate) money: Money,
}

/// All rows, and their sums.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) charges: Vec<ChargeRow>,
    pub(crate) refunds: Vec<RefundRow>,
    pub(crate) declined: Vec<(Name, DeclineCode)>,
    pub(crate) voided: Vec<Name>,
    totals: BTreeMap<&'static str, (i128, i128)>,
    journal: Option<Journal>,
}

impl Books {
    /// From here on every row is a line of the journal first.
    pub(crate) fn keep(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Takes money; the row's number.
    pub(crate) fn charge(&mut self, key: Name, reference: Name, money: Money) -> Result<u32> {
        let row = next(&self.charges)?;
        self.write(|| Change::Charged { key: key.clone(), reference: reference.clone(), money })?;
        self.total(money).0 += i128::from(money.minor());
        self.charges.push(ChargeRow { key, reference, money, refunded_minor: 0 });
        Ok(row)
    }

    /// Notes that the bank said no.
    pub(crate) fn decline(
        &mut self,
        key: Name,
        reference: Name,
        money: Money,
        code: DeclineCode,
    ) -> Result<()> {
        self.write(|| Change::Declined { key: key.clone(), reference, money, code })?;
        self.declined.push((key, code));
        Ok(())
    }

    /// Notes that nothing will ever be taken under this key.
    pub(crate) fn void(&mut self, key: Name) -> Result<()> {
        self.write(|| Change::Voided { key: key.clone() })?;
        self.voided.push(key);
        Ok(())
    }

    /// Gives money back; the row's number. The caller has asked [`Books::refundable`] under the same lock.
    pub(crate) fn refund(&mut self, key: Name, charge: u32, reference: Name, money: Money) -> Result<u32> {
        let row = next(&self.refunds)?;
        let charge_key = self.charges[charge as usize].key.clone();
        self.write(|| {
            let (key, charge_key, reference) = (key.clone(), charge_key.clone(), reference.clone());
            Change::Refunded { key, charge_key, reference, money }
        })?;
        self.charges[charge as usize].refunded_minor += money.minor();
        self.total(money).1 += i128::from(money.minor());
        self.refunds.push(RefundRow { key, charge, charge_key, reference, money });
        Ok(row)
    }

    /// What is left of a charge to give back.
    pub(crate) fn refundable(&self, charge: u32) -> Money {
        let row = &self.charges[charge as usize];
        Money::from_minor(row.money.minor() - row.refunded_minor, row.money.currency())
    }

    /// Sums by currency.
    pub(crate) fn totals(&self) -> Vec<CurrencyTotal> {
        let row = |(currency, (charged, refunded)): (&&str, &(i128, i128))| CurrencyTotal {
            currency: (*currency).to_owned(),
            charged_minor: *charged,
            refunded_minor: *refunded,
        };
        self.totals.iter().map(row).collect()
    }

    fn total(&mut self, money: Money) -> &mut (i128, i128) {
        self.totals.entry(money.currency().code()).or_default()
    }

    fn write(&mut self, change: impl FnOnce() -> Change) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(&change()))
    }
}

impl ChargeRow {
    /// The row as clients see it. Its id is made of the key and the row's number: the same after a restart with
    /// a journal, and another one for a row that should not be there.
    pub(crate) fn receipt(&self, row: u32) -> ChargeReceipt {
        ChargeReceipt {
            id: id("ch", &self.key, row),
            key: self.key.to_string(),
            reference: self.reference.to_string(),
            amount: self.money.to_json(),
            currency: self.money.currency().code().to_owned(),
        }
    }
}

impl RefundRow {
    /// The row as clients see it.
    pub(crate) fn receipt(&self, row: u32) -> RefundReceipt {
        RefundReceipt {
            id: id("re", &self.key, row),
            key: self.key.to_string(),
            charge_key: self.charge_key.to_string(),
            reference: self.reference.to_string(),
            amount: self.money.to_json(),
            currency: self.money.currency().code().to_owned(),
        }
    }
}

fn id(kind: &str, key: &Name, row: u32) -> String {
    format!("{kind}_{:016x}", dice::hash(row.into(), &[key.bytes()]))
}

fn next<T>(rows: &[T]) -> Result<u32> {
    let Ok(row) = u32::try_from(rows.len()) else { bail!("the books are full") };
    Ok(row)
}
