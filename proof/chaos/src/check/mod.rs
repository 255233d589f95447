//! The invariants: what must hold once everything has come to rest, each with how much was looked at, how much of it
//! breaks the promise, and a few of those by name.

mod asked;
pub(crate) mod card_numbers;
mod heard;
mod mailed;
mod moves;
mod stock;
mod told;

use std::fmt;

use anyhow::Result;
use reconcile::Report as Books;
use serde::Serialize;
use sqlx::Connection;

use crate::ground::Ground;
use crate::hear::Heard;
use crate::quiet::{Finish, Rest};
use crate::sales::Sales;
use crate::settings::Settings;
use crate::shop::Shop;
use crate::tally::Answered;
use crate::told::Told;

/// Breaches that are named; the rest is counted.
const EXAMPLES: usize = 5;

/// One invariant and what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// In words.
    pub says: String,
    /// How much was looked at.
    pub checked: u64,
    /// How much of it breaks it.
    pub violated: u64,
    /// Some of those.
    pub examples: Vec<String>,
    /// Whether it is a promise of the product; else it says whether the run was worth anything.
    pub promise: bool,
}

impl Check {
    /// Nothing looked at yet.
    pub fn new(says: &str) -> Self {
        Self { says: says.to_owned(), checked: 0, violated: 0, examples: Vec::new(), promise: true }
    }

    /// Whether the run was worth anything.
    pub fn about_the_run(says: &str) -> Self {
        Self { promise: false, ..Self::new(says) }
    }

    /// Counts one look.
    pub fn look(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violated += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(complaint());
            }
        }
    }

    /// One look, as a whole.
    pub fn one(says: &str, holds: bool, complaint: impl FnOnce() -> String) -> Self {
        let mut check = Self::new(says);
        check.look(holds, complaint);
        check
    }

    /// So many were looked at, and these are wrong.
    pub fn list(says: &str, checked: u64, wrong: &[String]) -> Self {
        let violated = wrong.len() as u64;
        let examples = wrong.iter().take(EXAMPLES).cloned().collect();
        Self { checked, violated, examples, ..Self::new(says) }
    }
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// Whether all hold.
    pub fn hold(&self) -> bool {
        self.0.iter().all(|check| check.violated == 0)
    }

    /// The promises that do not, in one line.
    pub fn broken_promises(&self) -> String {
        let promises = self.broken().filter(|check| check.promise);
        promises.map(|check| check.says.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Those that do not.
    pub fn broken(&self) -> impl Iterator<Item = &Check> {
        self.0.iter().filter(|check| check.violated > 0)
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|check| check.says.chars().count()).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>9}  {:>8}", "invariant", "checked", "violated")?;
        for Check { says, checked, violated, .. } in &self.0 {
            writeln!(f, "{says:width$}  {checked:>9}  {violated:>8}")?;
        }
        for check in self.broken() {
            writeln!(f, "\nBROKEN, {} of {}: {}", check.violated, check.checked, check.says)?;
            check.examples.iter().try_for_each(|example| writeln!(f, "  {example}"))?;
        }
        Ok(())
    }
}

/// What is compared.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Where the database is.
    pub ground: &'a Ground,
    /// The 202s of clients.
    pub told: &'a [Told],
    /// What they were told after those.
    pub answered: &'a [Answered],
    /// What the programs were told.
    pub settings: &'a Settings,
    /// What the gateway was asked.
    pub access_log: &'a str,
    /// How it looked in the end, and what the gateway did.
    pub finish: &'a Finish,
    /// Messages that were meant to be laid aside.
    pub poison: u64,
    /// What was sold of the catalogue, and what was told of that.
    pub shop: &'a Shop,
    /// As above.
    pub sales: &'a Sales,
    /// What those heard who are told of what happens.
    pub heard: Option<&'a Heard>,
}

/// What was found: ours, and the reconciliation's.
#[derive(Debug)]
pub struct Found {
    /// All checks.
    pub checks: Checks,
    /// Accepted orders that are not there, or have not ended.
    pub lost: u64,
    /// The reconciliation, for its counts.
    pub books: Books,
}

/// Compares all of it.
pub async fn check(evidence: &Evidence<'_>) -> Result<Found> {
    let mut conn = evidence.ground.connect().await?;
    let mut checks = Vec::new();
    let told = told::check(&mut conn, evidence.told).await?;
    let lost = told[0].violated;
    checks.extend(told);
    checks.extend(moves::check(&mut conn, evidence).await?);
    checks.extend(stock::check(&mut conn, evidence).await?);
    let books = reconcile::reconcile(&evidence.ground.database_url, &evidence.finish.ledger).await?;
    checks.extend(books.checks.iter().map(|check| Check {
        says: check.invariant.says().to_owned(),
        checked: check.checked,
        violated: check.violated,
        examples: check.examples.clone(),
        promise: true,
    }));
    checks.extend(asked::check(&mut conn, evidence).await?);
    if let Some(heard) = evidence.heard {
        checks.extend(heard::check(&mut conn, heard).await?);
        if let Some(mails) = &heard.mails {
            checks.extend(mailed::check(&mut conn, mails).await?);
        }
    }
    checks.extend(at_rest(evidence));
    conn.close().await?;
    Ok(Found { checks: Checks(checks), lost, books })
}

fn at_rest(evidence: &Evidence<'_>) -> [Check; 3] {
    let Finish { rest, left: (left_waiting, left_dead), .. } = evidence.finish;
    let Rest { waited, due, waiting, dead, idle_in_transaction } = rest;
    [
        Check::one("everything comes to rest once all is mended", rest.is_quiet(), || {
            format!(
                "after {waited:.1?} {due} payments, holds or deliveries are due or followers behind, and {waiting} messages wait"
            )
        }),
        Check::one(
            "the queue is empty when all programs have ended, and nothing but poison is laid aside",
            *left_waiting == 0 && *left_dead == evidence.poison,
            || format!("{left_waiting} messages wait, {left_dead} are laid aside ({dead} before)"),
        ),
        Check::one("no transaction is left open", *idle_in_transaction == 0, || {
            format!("{idle_in_transaction} sessions are idle in transaction")
        }),
    ]
}
