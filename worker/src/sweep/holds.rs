//! holds: what ended orders and carts held of the stock is counted to what is available, or to what is sold.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use metrics::Counter;
use store::session::{Session, StoreError};
use store::stock::carts::forget;
use store::stock::holds::{Due, Settled, due, settle_due};
use uuid::Uuid;

use crate::aside::{Aside, may_be_one};

/// Holds in one transaction. They are added up by item, so that each item's row is written once and held for as long as one commit
/// takes.
const AT_ONCE: u32 = 1_000;
/// How often carts are forgotten that nobody has changed for long.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Looks for them.
#[derive(Debug)]
pub struct Holds {
    settled: Counter,
    expired: Counter,
    /// Whose rows of the stock cannot be written.
    items: Aside,
    /// Orders and carts whose holds cannot.
    owners: Aside,
    forget_at: Instant,
}

impl Holds {
    pub(super) fn new() -> Self {
        Self {
            settled: metrics::counter!("sweep_settled_holds_total"),
            expired: metrics::counter!("sweep_expired_holds_total"),
            items: Aside::new("holds"),
            owners: Aside::new("holds"),
            forget_at: Instant::now() + FORGET_EVERY,
        }
    }

    /// Some of them, and says how many.
    pub async fn run_once(&mut self, session: &mut Session) -> Result<u64> {
        let all = Due {
            limit: AT_ONCE,
            but_items: self.items.resting(),
            but_owners: self.owners.resting(),
            ..Due::default()
        };
        let done = match count(session, &all, false).await {
            Err(error) if may_be_one(&error) => self.item_by_item(session, all).await,
            done => done,
        };
        let done = done.context("cannot give back what ended orders held")?;
        self.settled.increment(done.holds);
        self.expired.increment(done.expired);
        if Instant::now() >= self.forget_at {
            self.forget_at = Instant::now() + FORGET_EVERY;
            let done = session.run(&AT_ONCE, |conn, limit| Box::pin(forget(conn, *limit))).await;
            done.context("cannot forget old carts")?;
        }
        Ok(done.holds)
    }

    /// One of them cannot be counted: the others are, those of each item by themselves.
    async fn item_by_item(&mut self, session: &mut Session, all: Due) -> Result<Settled, StoreError> {
        let found = session.run(&all, |conn, all| Box::pin(due(conn, all))).await?;
        let items: BTreeSet<Uuid> = found.iter().map(|(item, _)| *item).collect();
        let mut sum = Settled::default();
        for item in items {
            let of_item = Due { item: Some(item), ..all.clone() };
            match count(session, &of_item, true).await {
                Err(StoreError::Refused(_)) => {
                    let owners = found.iter().filter(|(of, _)| *of == item).map(|(_, owner)| *owner);
                    sum = plus(sum, self.one_by_one(session, of_item, owners.collect()).await?);
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                outcome => sum = plus(sum, self.items.heard(item, outcome).unwrap_or_default()),
            }
        }
        Ok(sum)
    }

    /// Those of each order. Where of several none can be counted, it is the item.
    async fn one_by_one(
        &mut self,
        session: &mut Session,
        of_item: Due,
        owners: BTreeSet<Uuid>,
    ) -> Result<Settled, StoreError> {
        let (mut sum, mut refused, many) = (Settled::default(), Vec::new(), owners.len());
        for owner in owners {
            let one = Due { owner: Some(owner), ..of_item.clone() };
            match count(session, &one, true).await {
                Ok(done) => sum = plus(sum, self.owners.heard(owner, Ok(done)).unwrap_or_default()),
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => refused.push((owner, error)),
            }
        }
        if let (Some(item), true, [(_, error), ..]) =
            (of_item.item, many > 1 && refused.len() == many, &refused[..])
        {
            self.items.put(item, error);
            return Ok(sum);
        }
        for (owner, error) in &refused {
            self.owners.put(*owner, error);
        }
        Ok(sum)
    }
}

async fn count(session: &mut Session, which: &Due, alone: bool) -> Result<Settled, StoreError> {
    if alone {
        return session.run_alone(which, |conn, which| Box::pin(settle_due(conn, which))).await;
    }
    session.run(which, |conn, which| Box::pin(settle_due(conn, which))).await
}

const fn plus(sum: Settled, more: Settled) -> Settled {
    Settled { holds: sum.holds + more.holds, expired: sum.expired + more.expired }
}
