//! The rules of the money: a key charges once or never. Each verb below is one short critical section (the key's
//! shard, then the books; always in that order), decides and books in it, and knows nothing of HTTP or time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use domain::money::Money;

use crate::books::Books;
use crate::dice;
use crate::journal::{Change, Journal};
use crate::keys::{Begun, Keys, Seat, Standing};
use crate::name::Name;
use crate::verdict::{DeclineCode, Verdict};
use crate::wire::{ChargeReceipt, LedgerRequests, NamedCharge, RefundReceipt};

/// Most charges of which names are kept: a test has some, and a load that never ends is not to fill the memory.
const MOST_NAMED: usize = 10_000;

/// A charge that someone asks for.
#[derive(Debug, Clone)]
pub(crate) struct ChargeOrder {
    pub(crate) reference: Name,
    pub(crate) money: Money,
}

/// A refund that someone asks for.
#[derive(Debug, Clone)]
pub(crate) struct RefundOrder {
    pub(crate) charge_key: Name,
    pub(crate) reference: Name,
    pub(crate) money: Money,
}

/// How a request to charge, refund, void or look up ends.
#[derive(Debug)]
pub(crate) enum Answer<Receipt> {
    /// Money moved. `replayed`: under an earlier request.
    Done { receipt: Receipt, replayed: bool },
    /// The bank said no. `replayed`: to an earlier request.
    Declined { code: DeclineCode, replayed: bool },
    /// An earlier request is still being worked on.
    InProgress,
    /// The key came with another body before.
    KeyReused,
    /// The key can never charge.
    Voided,
    /// Nothing was ever done under this key; or, for a refund, no such charge.
    NotFound,
    /// More than is left of the charge.
    ExceedsCharge { left: Money },
    /// A refund in another currency than its charge.
    OtherCurrency,
}

/// What begins a piece of work, or ends it at once.
#[derive(Debug)]
pub(crate) enum Start<Receipt> {
    /// The key is the request's to work on.
    Work(Seat),
    /// There is nothing left to do.
    Over(Answer<Receipt>),
}

/// Keys, books, and a count of the requests.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) charge_keys: Arc<Keys>,
    pub(crate) refund_keys: Arc<Keys>,
    books: Mutex<Books>,
    /// What charges were asked for by names of the gateway's, since its start: few, and each once.
    named: Mutex<BTreeSet<NamedCharge>>,
    pub(crate) charges_asked: AtomicU64,
    pub(crate) voids_asked: AtomicU64,
    pub(crate) refunds_asked: AtomicU64,
}

impl Ledger {
    /// An empty ledger, or the one that the journal holds.
    pub(crate) fn open(journal: Option<&Path>) -> Result<Self> {
        let ledger = Self::default();
        if let Some(path) = journal {
            let journal = Journal::open(path, |change| ledger.restore(change))?;
            ledger.books().keep(journal);
        }
        Ok(ledger)
    }

    /// Notes by which names of the gateway's a charge is asked for, if by any.
    pub(crate) fn note_names(&self, key: &Name, payment_method: Option<String>, customer: Option<String>) {
        if payment_method.is_none() && customer.is_none() {
            return;
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() < MOST_NAMED {
            named.insert(NamedCharge { key: key.to_string(), payment_method, customer });
        }
    }

    /// Them.
    pub(crate) fn named(&self) -> Vec<NamedCharge> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Starts a charge: a seat, or the answer if there is nothing left to do.
    pub(crate) fn begin_charge(&self, key: &Name, order: &ChargeOrder) -> Start<ChargeReceipt> {
        match self.charge_keys.begin(key, order.fingerprint()) {
            Begun::Seat(seat) => Start::Work(seat),
            Begun::KeyReused => Start::Over(Answer::KeyReused),
            Begun::Standing(standing) => Start::Over(self.charge_answer(standing, true)),
        }
    }

    /// Takes the money or notes the decline, unless a void came before.
    pub(crate) fn charge(
        &self,
        seat: Seat,
        key: &Name,
        order: ChargeOrder,
        verdict: Verdict,
    ) -> Result<Answer<ChargeReceipt>> {
        let ChargeOrder { reference, money } = order;
        let standing = seat.settle(|| match verdict {
            Verdict::Approved => self.books().charge(key.clone(), reference, money).map(Standing::Done),
            Verdict::Declined(code) => {
                self.books().decline(key.clone(), reference, money, code).map(|()| Standing::Declined(code))
            }
        })?;
        Ok(self.charge_answer(standing, false))
    }

    /// What is known of a charge key.
    pub(crate) fn look_up(&self, key: &Name) -> Answer<ChargeReceipt> {
        self.charge_answer(self.charge_keys.standing(key), true)
    }

    /// Sees to it that nothing is ever charged under `key`, unless something was: [`Answer::Voided`] or
    /// [`Answer::Done`]. It wins over a request that is still waiting out its latency, which then answers voided.
    pub(crate) fn void(&self, key: &Name) -> Result<Answer<ChargeReceipt>> {
        let standing = self.charge_keys.change(key, |standing| match standing {
            Standing::Done(_) | Standing::Voided => Ok(standing),
            Standing::Idle | Standing::InProgress | Standing::Declined(_) => {
                self.books().void(key.clone()).map(|()| Standing::Voided)
            }
        })?;
        Ok(self.charge_answer(standing, false))
    }

    /// Starts a refund: a seat, or the answer if there is nothing left to do.
    pub(crate) fn begin_refund(&self, key: &Name, order: &RefundOrder) -> Start<RefundReceipt> {
        match self.refund_keys.begin(key, order.fingerprint()) {
            Begun::Seat(seat) => Start::Work(seat),
            Begun::KeyReused => Start::Over(Answer::KeyReused),
            Begun::Standing(standing) => Start::Over(self.refund_answer(standing, true)),
        }
    }

    /// Gives money back, if as much is left of the charge. A refusal leaves the key as it was.
    pub(crate) fn refund(&self, seat: Seat, key: &Name, order: RefundOrder) -> Result<Answer<RefundReceipt>> {
        // Looked up before the refund key's lock is taken: a charge that stands never changes again.
        let Standing::Done(charge) = self.charge_keys.standing(&order.charge_key) else {
            return Ok(Answer::NotFound);
        };
        let mut refused = None;
        let standing = seat.settle(|| {
            let mut books = self.books();
            let left = books.refundable(charge);
            refused = if left.currency() != order.money.currency() {
                Some(Answer::OtherCurrency)
            } else if left.minor() < order.money.minor() {
                Some(Answer::ExceedsCharge { left })
            } else {
                return books.refund(key.clone(), charge, order.reference, order.money).map(Standing::Done);
            };
            Ok::<_, anyhow::Error>(Standing::Idle)
        })?;
        Ok(refused.unwrap_or_else(|| self.refund_answer(standing, false)))
    }

    /// How often each endpoint was asked.
    pub(crate) fn requests(&self) -> LedgerRequests {
        LedgerRequests {
            charges: self.charges_asked.load(Ordering::Relaxed),
            voids: self.voids_asked.load(Ordering::Relaxed),
            refunds: self.refunds_asked.load(Ordering::Relaxed),
        }
    }

    /// The books, locked: copy little and let go.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge_answer(&self, standing: Standing, replayed: bool) -> Answer<ChargeReceipt> {
        answer(standing, replayed, |row| {
            let charge = self.books().charges[row as usize].clone();
            charge.receipt(row)
        })
    }

    fn refund_answer(&self, standing: Standing, replayed: bool) -> Answer<RefundReceipt> {
        answer(standing, replayed, |row| {
            let refund = self.books().refunds[row as usize].clone();
            refund.receipt(row)
        })
    }

    /// Does again what the journal says was done. Only at start, before there are requests: it alone takes the
    /// books' lock before a shard's.
    fn restore(&self, change: Change) -> Result<()> {
        let mut books = self.books();
        match change {
            Change::Charged { key, reference, money } => {
                let fingerprint = ChargeOrder { reference: reference.clone(), money }.fingerprint();
                let row = books.charge(key.clone(), reference, money)?;
                self.charge_keys.restore(&key, Some(fingerprint), Standing::Done(row));
            }
            Change::Declined { key, reference, money, code } => {
                let fingerprint = ChargeOrder { reference: reference.clone(), money }.fingerprint();
                books.decline(key.clone(), reference, money, code)?;
                self.charge_keys.restore(&key, Some(fingerprint), Standing::Declined(code));
            }
            Change::Voided { key } => {
                books.void(key.clone())?;
                self.charge_keys.restore(&key, None, Standing::Voided);
            }
            Change::Refunded { key, charge_key, reference, money } => {
                let Standing::Done(charge) = self.charge_keys.standing(&charge_key) else {
                    bail!("refunds {charge_key}, which was not charged");
                };
                let order = RefundOrder { charge_key, reference: reference.clone(), money };
                let row = books.refund(key.clone(), charge, reference, money)?;
                self.refund_keys.restore(&key, Some(order.fingerprint()), Standing::Done(row));
            }
        }
        Ok(())
    }
}

impl ChargeOrder {
    fn fingerprint(&self) -> u64 {
        fingerprint(&[], &self.reference, self.money)
    }
}

impl RefundOrder {
    fn fingerprint(&self) -> u64 {
        fingerprint(self.charge_key.bytes(), &self.reference, self.money)
    }
}

/// Tells two bodies apart without keeping them. 64 bits: a mistake once in 10^19 comparisons.
fn fingerprint(charge_key: &[u8], reference: &Name, money: Money) -> u64 {
    let minor = money.minor().to_le_bytes();
    dice::hash(0, &[charge_key, reference.bytes(), &minor, money.currency().code().as_bytes()])
}

fn answer<R>(standing: Standing, replayed: bool, receipt: impl FnOnce(u32) -> R) -> Answer<R> {
    match standing {
        Standing::Idle => Answer::NotFound,
        Standing::InProgress => Answer::InProgress,
        Standing::Done(row) => Answer::Done { receipt: receipt(row), replayed },
        Standing::Declined(code) => Answer::Declined { code, replayed },
        Standing::Voided => Answer::Voided,
    }
}
