//! What clients met, counted while it happens, and what they were told about orders after the 202.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::order::status::OrderStatus;
use uuid::Uuid;

use crate::clock::Micros;
use crate::sales::Sales;
use crate::steps::Steps;

/// What happened, counted while it happens.
#[derive(Debug, Default)]
pub struct Tally {
    /// Orders sent.
    pub offered: AtomicU64,
    /// Answered 202.
    pub accepted: AtomicU64,
    /// Given up: whether they took effect is unknown, and there is no key to ask with.
    pub given_up: AtomicU64,
    /// Orders whose own time was over before anybody accepted them.
    pub too_late: AtomicU64,
    /// Refused, because there was not enough of what they name.
    pub sold_out: AtomicU64,
    /// Carts that were not to become orders.
    pub not_wanted: AtomicU64,
    /// Asked again after a 202, and told the same.
    pub replayed: AtomicU64,
    /// What was told about orders after their 202.
    answered: Mutex<Vec<Answered>>,
    /// Requests that met no 202, by what they met instead.
    others: Mutex<BTreeMap<String, u64>>,
    /// Promises broken to a client's face.
    complaints: Mutex<Vec<String>>,
    /// What came of what was asked after the 202.
    steps: Mutex<Steps>,
    /// What was told of the shop.
    sales: Mutex<Sales>,
}

/// A promise about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The order.
    pub id: Uuid,
    /// Its number.
    pub number: u64,
    /// What was asked for and answered 200, or answered by "that is so already".
    pub what: What,
}

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is cancelled, or will be once its charge is known.
    Cancelled,
    /// It moved here at the kitchen's word.
    Moved(OrderStatus),
    /// Something was added to it, with a charge of its own.
    Added,
    /// It has a new charge.
    PaidAnew,
    /// Its charge is not made after this time: its own `expires_at`.
    NotChargedAfter(Micros),
}

impl Tally {
    /// Takes note of a promise.
    pub fn told(&self, id: Uuid, number: u64, what: What) {
        lock(&self.answered).push(Answered { id, number, what });
    }

    /// Takes note of something else than a 202.
    pub fn met(&self, what: &str) {
        *lock(&self.others).entry(what.to_owned()).or_default() += 1;
    }

    /// Takes note of a promise that was broken.
    pub fn complain(&self, complaint: String) {
        lock(&self.complaints).push(complaint);
    }

    /// All promises about orders after their 202.
    pub fn answered(&self) -> Vec<Answered> {
        lock(&self.answered).clone()
    }

    /// All that was met in place of a 202.
    pub fn others(&self) -> BTreeMap<String, u64> {
        lock(&self.others).clone()
    }

    /// All that clients complained about.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    /// Takes note of how a step went.
    pub(crate) fn step(&self, note: impl FnOnce(&mut Steps)) {
        note(&mut lock(&self.steps));
    }

    /// How all of them went.
    pub(crate) fn steps(&self) -> Steps {
        lock(&self.steps).clone()
    }

    /// Takes note of what was told of the shop.
    pub(crate) fn sale(&self, note: impl FnOnce(&mut Sales)) {
        note(&mut lock(&self.sales));
    }

    /// All that was told of it.
    pub fn sales(&self) -> Sales {
        lock(&self.sales).clone()
    }

    /// Counts one more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
