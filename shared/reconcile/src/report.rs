//! What a reconciliation found: one line an invariant, with how many were checked, how many break it, and a few of
//! those by name.

use std::fmt;

use serde::Serialize;

/// Breaches of one invariant that are named; the rest is only counted. Five show a pattern.
const EXAMPLES: usize = 5;

/// What the gateway has and we do not know is named wholly: after a primary was lost with what its standby did not have, these are the
/// orders to be made good, and nobody else knows them.
const fn named(invariant: Invariant) -> usize {
    match invariant {
        Invariant::LedgerExplained => 100_000,
        _ => EXAMPLES,
    }
}

/// What must hold once everything has ended. The words of each stand in [`Invariant::says`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`says` has the words, and prints them")]
pub enum Invariant {
    OrdersEnded,
    NothingDue,
    RowsBelong,
    ChargesAreTotal,
    LinesAreTotal,
    AdditionsWhole,
    SucceededInLedger,
    LedgerExplained,
    ChargedOnce,
    MoneyKept,
    RefundsWhole,
    StatusPaid,
    BoardWhole,
    FailedIsClosed,
    HistoryLegal,
    HistoryWhole,
    EventsExplain,
    QueuedOrFinal,
    AttemptsCounted,
    AttemptsClosed,
    AttemptsExplain,
    RequestsCovered,
    OneOrderAKey,
    NamesWhole,
    LaterWaits,
    StockAddsUp,
    HoldsMatch,
    NumbersTrue,
}

impl Invariant {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 28] = [
        Self::OrdersEnded,
        Self::NothingDue,
        Self::RowsBelong,
        Self::ChargesAreTotal,
        Self::LinesAreTotal,
        Self::AdditionsWhole,
        Self::SucceededInLedger,
        Self::LedgerExplained,
        Self::ChargedOnce,
        Self::MoneyKept,
        Self::RefundsWhole,
        Self::StatusPaid,
        Self::BoardWhole,
        Self::FailedIsClosed,
        Self::HistoryLegal,
        Self::HistoryWhole,
        Self::EventsExplain,
        Self::QueuedOrFinal,
        Self::AttemptsCounted,
        Self::AttemptsClosed,
        Self::AttemptsExplain,
        Self::RequestsCovered,
        Self::OneOrderAKey,
        Self::NamesWhole,
        Self::LaterWaits,
        Self::StockAddsUp,
        Self::HoldsMatch,
        Self::NumbersTrue,
    ];

    /// The invariant in words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::OrdersEnded => {
                "no order is PENDING or PAYMENT_PROCESSING, but for those for later, which are PENDING"
            }
            Self::NothingDue => "no payment is due, none is leased",
            Self::RowsBelong => {
                "payments, attempts, events, names and details belong to a row that exists, an order to a location"
            }
            Self::ChargesAreTotal => {
                "an order has a charge of its own, was paid to its channel, is paid in hand or free, and with its additions' it adds up to the total"
            }
            Self::LinesAreTotal => {
                "the lines of an order, with what is chosen and what is beside them, add up to its total"
            }
            Self::AdditionsWhole => {
                "an addition is charged and in the order, or failed and taken off: never charged and taken off"
            }
            Self::SucceededInLedger => "a succeeded payment stands in the ledger as it stands here",
            Self::LedgerExplained => "a row of the ledger has its succeeded payment here",
            Self::ChargedOnce => "no key stands in the ledger twice, no order more often than it has charges",
            Self::MoneyKept => {
                "the ledger kept the total of a paid order, less what its channel took, and nothing of any other"
            }
            Self::RefundsWhole => {
                "each charge of an order that was not delivered has one refund of it, no other charge has any"
            }
            Self::StatusPaid => {
                "a confirmed order has a succeeded charge or was paid to its channel, a failed one a failed charge only"
            }
            Self::BoardWhole => {
                "a confirmed order has the kitchen's deadline, and those that the kitchen has are listed, no others"
            }
            Self::FailedIsClosed => {
                "a failed charge is declined, void or unknown at the gateway, and the other way round"
            }
            Self::HistoryLegal => {
                "every move is a legal one, the first to PENDING, or to CONFIRMED where the channel took the money"
            }
            Self::HistoryWhole => "events lead from nothing to the order's status, versions without a gap",
            Self::EventsExplain => {
                "the events alone give an order's lines, total, wish, and the money that was charged and refunded"
            }
            Self::QueuedOrFinal => "an order's own charge waits in the queue or is a payment, never both",
            Self::AttemptsCounted => {
                "a payment has as many attempts as it counts, numbered from 1; of very many the first and the last"
            }
            Self::AttemptsClosed => "every attempt has an outcome",
            Self::AttemptsExplain => {
                "a final payment has the attempt that made it so, and none that denies it"
            }
            Self::RequestsCovered => "the gateway was never asked without an attempt row",
            Self::OneOrderAKey => "an idempotency key has one order, an order one key",
            Self::LaterWaits => {
                "of an order for later nothing is charged and no time is over before its own, and its charge was held until then"
            }
            Self::NamesWhole => {
                "what a channel calls an order, and a client a payment, stands under its name, and nothing else does"
            }
            Self::StockAddsUp => {
                "of each item available, held and sold together are what was put in, and held and sold what orders hold and got"
            }
            Self::HoldsMatch => {
                "an order holds its stock until it ends; then it has it or gives it back, once"
            }
            Self::NumbersTrue => {
                "each cell of the roll-ups is what the events come to that are behind their cursor"
            }
        }
    }
}

/// One invariant and what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Which.
    pub invariant: Invariant,
    /// How many orders, payments, rows or keys were looked at.
    pub checked: u64,
    /// How many of them break it.
    pub violated: u64,
    /// A few of those.
    pub examples: Vec<String>,
}

/// What a reconciliation found. `Display` is a table, breaches named below it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One a member of [`Invariant::ALL`], in its order.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new() -> Self {
        let check = |invariant| Check { invariant, checked: 0, violated: 0, examples: Vec::new() };
        Self { checks: Invariant::ALL.map(check).into() }
    }

    /// Whether nothing breaks any invariant. An empty database is clean, too: see [`Report::orders`].
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.violated == 0)
    }

    /// How many orders were looked at.
    pub fn orders(&self) -> u64 {
        self.of(Invariant::OrdersEnded).checked
    }

    /// What was found about one invariant.
    pub fn of(&self, invariant: Invariant) -> &Check {
        &self.checks[invariant as usize]
    }

    /// The invariants that are broken.
    pub fn broken(&self) -> Vec<Invariant> {
        self.checks.iter().filter(|check| check.violated > 0).map(|check| check.invariant).collect()
    }

    /// Counts one look; a breach is described by `complaint`.
    pub(super) fn check(&mut self, invariant: Invariant, holds: bool, complaint: impl FnOnce() -> String) {
        let check = &mut self.checks[invariant as usize];
        check.checked += 1;
        if !holds {
            check.violated += 1;
            if check.examples.len() < named(invariant) {
                check.examples.push(complaint());
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = Invariant::ALL.iter().map(|one| one.says().len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>10}  {:>10}", "invariant", "checked", "violated")?;
        for check in &self.checks {
            let words = check.invariant.says();
            writeln!(f, "{words:width$}  {:>10}  {:>10}", check.checked, check.violated)?;
        }
        for check in self.checks.iter().filter(|check| check.violated > 0) {
            writeln!(f, "\nBROKEN, {} of {}: {}", check.violated, check.checked, check.invariant.says())?;
            for example in &check.examples {
                writeln!(f, "  {example}")?;
            }
        }
        Ok(())
    }
}
