//! Payments and their attempts, each compared with its order and with the ledger as it is read.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use domain::gateway::Ledger;
use domain::payment::{AttemptAction, AttemptOutcome, PaymentKind, PaymentStatus};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::ledger::{Entry, LedgerRows};
use super::orders::Orders;
use super::{Invariant, Report, money};

/// What the attempts of one payment came to.
#[derive(Debug, Default)]
struct Attempts {
    count: i32,
    /// Is `count` where the numbers are 1, 2, .. without a gap (no two are equal: they are the key). Of a payment that was tried
    /// very often, some in between were removed.
    highest: i32,
    charges: u32,
    paid: bool,
    refused: bool,
    /// The gateway may have looked at one of them.
    looked: bool,
}

impl Attempts {
    fn removed(&self) -> u32 {
        u32::try_from(self.highest - self.count).unwrap_or_default()
    }
}

/// Rows of attempts by what was asked.
#[derive(Debug, Default)]
struct Asked {
    /// Such as are there no more.
    removed: u64,
    charges: u64,
    voids: u64,
    refunds: u64,
}

#[derive(Debug, sqlx::FromRow)]
struct Payment {
    id: Uuid,
    order_id: Uuid,
    refund_of: Option<Uuid>,
    amount_minor: i64,
    currency: String,
    kind: PaymentKind,
    status: PaymentStatus,
    attempts: i32,
    is_due: bool,
    waits: bool,
    gateway_id: Option<String>,
    is_addition: bool,
    is_dropped: bool,
    created_at: i64,
}

/// Reads attempts, then payments, and checks both.
pub(super) async fn check(
    conn: &mut PgConnection,
    ledger: &Ledger,
    rows: &mut LedgerRows,
    orders: &mut Orders,
    report: &mut Report,
) -> Result<()> {
    let (mut attempts, mut asked) = read_attempts(conn, report).await?;
    for many in attempts.values_mut().filter(|many| many.removed() > 0) {
        // Of which kind they were is not known any more.
        many.charges += many.removed();
        asked.removed += u64::from(many.removed());
    }
    check_requests(ledger, &asked, report);
    let doubles = read_doubles(conn).await?;
    let mut payments = sqlx::query_as::<_, Payment>(
        "SELECT id, order_id, refund_of, amount_minor, currency, kind, status, attempts,
                due_at IS NOT NULL OR (status = 'held' AND coalesce(held_until <= now(), true))
                    OR (status = 'due' AND kind <> 'on_delivery') AS is_due,
                coalesce(status = 'held' AND held_until > now(), false) AS waits, gateway_id, added IS NOT NULL AS is_addition,
                dropped_at IS NOT NULL AS is_dropped, (extract(epoch FROM created_at) * 1000000)::int8 AS created_at
         FROM shown_payments",
    )
    .fetch(&mut *conn);
    while let Some(payment) = payments.try_next().await? {
        let tried = attempts.remove(&payment.id).unwrap_or_default();
        report.check(Invariant::QueuedOrFinal, !doubles.contains(&payment.id), || {
            format!("charge {} waits in the queue and is a payment", payment.id)
        });
        payment.check_attempts(&tried, rows, report);
        payment.check_ledger(ledger, rows, &tried, report)?;
        payment.add_to_order(orders, &tried, report)?;
    }
    drop(payments);
    check_refunds(conn, report).await?;
    for payment in attempts.keys() {
        report.check(Invariant::RowsBelong, false, || format!("attempts of payment {payment}, which is not"));
    }
    Ok(())
}

type AttemptRow = (Uuid, i32, AttemptAction, Option<AttemptOutcome>);

async fn read_attempts(
    conn: &mut PgConnection,
    report: &mut Report,
) -> Result<(HashMap<Uuid, Attempts>, Asked)> {
    let mut by_payment: HashMap<Uuid, Attempts> = HashMap::new();
    let mut asked = Asked::default();
    let mut rows =
        sqlx::query_as::<_, AttemptRow>("SELECT payment_id, number, action, outcome FROM shown_attempts")
            .fetch(conn);
    while let Some((payment, number, action, outcome)) = rows.try_next().await? {
        report.check(Invariant::AttemptsClosed, outcome.is_some(), || {
            format!("attempt {number} of payment {payment}")
        });
        let attempts = by_payment.entry(payment).or_default();
        attempts.count += 1;
        attempts.highest = attempts.highest.max(number);
        attempts.paid |= outcome == Some(AttemptOutcome::Succeeded);
        attempts.looked |= outcome != Some(AttemptOutcome::Unavailable);
        attempts.refused |= matches!(outcome, Some(AttemptOutcome::Declined | AttemptOutcome::Voided));
        match action {
            AttemptAction::Charge => {
                attempts.charges += 1;
                asked.charges += 1;
            }
            AttemptAction::Void => asked.voids += 1,
            AttemptAction::Refund => asked.refunds += 1,
        }
    }
    Ok((by_payment, asked))
}

/// The gateway counts since its start, so it may have counted less than there are rows, never more.
fn check_requests(ledger: &Ledger, asked: &Asked, report: &mut Report) {
    let requests = &ledger.requests;
    for (what, requests, attempts) in [
        ("charges", requests.charges, asked.charges),
        ("voids", requests.voids, asked.voids),
        ("refunds", requests.refunds, asked.refunds),
    ] {
        report.check(Invariant::RequestsCovered, requests <= attempts + asked.removed, || {
            format!("{requests} requests for {what}, {attempts} attempts")
        });
    }
}

/// Charges that wait in the queue and are payments, too. (What is in neither is missing from its order's charges.)
async fn read_doubles(conn: &mut PgConnection) -> Result<HashSet<Uuid>> {
    let doubles: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM open_charges JOIN payments USING (id)").fetch_all(conn).await?;
    Ok(doubles.into_iter().collect())
}

/// Each refund gives back a charge that took the money, of the same order, no more than that took, and is the only one.
async fn check_refunds(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
    let mut rows = sqlx::query_as::<_, (Uuid, bool)>(
        "SELECT r.id, coalesce(c.kind = 'charge' AND c.status = 'succeeded' AND c.order_id = r.order_id
                    AND c.currency = r.currency AND c.amount_minor >= r.amount_minor, false)
                AND count(*) OVER (PARTITION BY r.refund_of) = 1
         FROM payments r LEFT JOIN payments c ON c.id = r.refund_of WHERE r.kind = 'refund'",
    )
    .fetch(&mut *conn);
    while let Some((refund, right)) = rows.try_next().await? {
        report.check(Invariant::RefundsWhole, right, || {
            format!("refund {refund} gives back what was not taken, or more, or again")
        });
    }
    drop(rows);
    // What stays with an order that nobody came for was taken, and is not given back.
    let mut rows = sqlx::query_as::<_, (Uuid, bool)>(
        "SELECT e.payment_id, coalesce(p.order_id = e.subject AND p.kind <> 'refund' AND p.status = 'succeeded'
                    AND p.amount_minor = e.amount_minor AND p.refunded_minor = 0, false)
         FROM order_events e LEFT JOIN payments p ON p.id = e.payment_id WHERE e.what = 'kept'",
    )
    .fetch(&mut *conn);
    while let Some((payment, right)) = rows.try_next().await? {
        report.check(Invariant::RefundsWhole, right, || {
            format!("payment {payment} is kept, and was not taken, or is given back")
        });
    }
    drop(rows);
    // Whoever owes a refund adds it up on the charge first.
    let mut rows = sqlx::query_as::<_, (Uuid, i64, i64)>(
        "SELECT c.id, c.refunded_minor, coalesce(r.minor, 0)::bigint
         FROM payments c LEFT JOIN (SELECT refund_of, sum(amount_minor) AS minor FROM payments GROUP BY refund_of) r
             ON r.refund_of = c.id
         WHERE c.refunded_minor <> coalesce(r.minor, 0)",
    )
    .fetch(conn);
    while let Some((charge, counted, refunds)) = rows.try_next().await? {
        report.check(Invariant::RefundsWhole, false, || {
            format!("charge {charge} counts {counted} as refunded; its refunds come to {refunds}")
        });
    }
    Ok(())
}

impl Payment {
    fn check_attempts(&self, tried: &Attempts, rows: &mut LedgerRows, report: &mut Report) {
        let Self { id, status, attempts, .. } = self;
        report.check(Invariant::NothingDue, !self.is_due, || format!("payment {id} is {status:?} and due"));
        let counted = *attempts == tried.highest
            && (tried.count == tried.highest
                || (2 * store::settle::KEPT..tried.highest).contains(&tried.count));
        report.check(Invariant::AttemptsCounted, counted, || {
            let Attempts { count, highest, .. } = tried;
            format!("payment {id} counts {attempts}; it has {count} rows, the highest is number {highest}")
        });
        let explained = match status {
            // Nobody tried: its channel says so, or staff, or there is nothing to pay.
            _ if !self.kind.is_of_gateway() => tried.count == 0,
            PaymentStatus::Succeeded => tried.paid && !tried.refused,
            // Unless it was closed before anything was sent.
            PaymentStatus::Failed => tried.refused != self.never_sent(tried) && !tried.paid,
            _ => true,
        };
        report.check(Invariant::AttemptsExplain, explained, || {
            let Attempts { paid, refused, .. } = tried;
            format!(
                "payment {id} is {status:?}; an attempt succeeded: {paid}, was declined or void: {refused}"
            )
        });
        if let Some(requests) = rows.take_asked_again(*id) {
            report.check(Invariant::RequestsCovered, requests <= tried.charges, || {
                format!("payment {id} was asked for {requests} times with {} attempts", tried.charges)
            });
        }
    }

    fn check_ledger(
        &self,
        ledger: &Ledger,
        rows: &mut LedgerRows,
        tried: &Attempts,
        report: &mut Report,
    ) -> Result<()> {
        let Self { id, status, .. } = self;
        if !self.kind.is_of_gateway() {
            // Should the gateway have charged it, its row there stays unexplained.
            let right = self.gateway_id.is_none()
                && match self.kind {
                    PaymentKind::OnDelivery => {
                        matches!(
                            status,
                            PaymentStatus::Due | PaymentStatus::Succeeded | PaymentStatus::Failed
                        )
                    }
                    PaymentKind::Free => {
                        *status == PaymentStatus::Succeeded && self.amount_minor == 0 && !self.is_addition
                    }
                    _ => *status == PaymentStatus::Succeeded && !self.is_addition,
                };
            report.check(Invariant::StatusPaid, right, || {
                format!("payment {id} was not charged here, and is {status:?} with a gateway's id, lines or money that it cannot have")
            });
            return Ok(());
        }
        if *status == PaymentStatus::Succeeded {
            let found = match self.kind {
                PaymentKind::Charge => rows.explain_charge(ledger, *id),
                PaymentKind::Refund => rows.explain_refund(ledger, *id),
                PaymentKind::Elsewhere | PaymentKind::OnDelivery | PaymentKind::Free => None,
            };
            let ours = Entry {
                reference: self.order_id,
                money: money(self.amount_minor, &self.currency)?,
                gateway_id: self.gateway_id.as_deref().unwrap_or(""),
                refund_of: self.refund_of,
            };
            report.check(Invariant::SucceededInLedger, found.as_ref() == Some(&ours), || {
                let theirs = found.map_or("nothing".to_owned(), |found| found.to_string());
                format!("payment {id} is {ours} here and {theirs} there")
            });
        }
        if *status == PaymentStatus::Failed && self.kind == PaymentKind::Charge {
            // What was never sent, the gateway does not know.
            let closed = rows.explain_closed(*id) || self.never_sent(tried);
            report.check(Invariant::FailedIsClosed, closed, || {
                format!("charge {id} failed here and could still be charged")
            });
        }
        Ok(())
    }

    /// Failed before any gateway looked at it: its order ended before.
    fn never_sent(&self, tried: &Attempts) -> bool {
        // Where rows are missing, nobody knows.
        self.status == PaymentStatus::Failed && !tried.looked && self.attempts == tried.highest
    }

    fn add_to_order(&self, orders: &mut Orders, tried: &Attempts, report: &mut Report) -> Result<()> {
        let Self { id, order_id, .. } = self;
        let order = orders.get_mut(*order_id);
        report.check(Invariant::RowsBelong, order.is_some(), || {
            format!("payment {id} of order {order_id}, which is not")
        });
        let Some(order) = order else { return Ok(()) };
        let succeeded = self.status == PaymentStatus::Succeeded;
        if self.kind == PaymentKind::Refund {
            order.refunds += 1;
            order.refund_minor += self.amount_minor;
            order.owed.add(*id, self.amount_minor);
            if succeeded {
                order.refunded.add(*id, self.amount_minor);
            }
        } else if !self.kind.is_of_gateway() {
            match self.kind {
                PaymentKind::Free => order.free += 1,
                PaymentKind::OnDelivery => {
                    order.in_hand += u32::from(!self.is_addition);
                    order.in_hand_minor += if self.is_dropped { 0 } else { self.amount_minor };
                    if succeeded {
                        order.collected.add(*id, self.amount_minor);
                    }
                }
                _ => {
                    order.elsewhere += 1;
                    order.elsewhere_minor += self.amount_minor;
                }
            }
            let currency = money(self.amount_minor, &self.currency)?.currency();
            order.mixed_currencies |= currency != order.total.currency();
        } else {
            order.charges += 1;
            order.never_sent += u32::from(self.never_sent(tried) && !self.is_addition);
            if succeeded {
                order.charged.add(*id, self.amount_minor);
                order.succeeded += 1;
                order.succeeded_minor += self.amount_minor;
            }
            order.failed += u32::from(self.status == PaymentStatus::Failed);
            order.waits |= self.waits;
            if self.is_addition {
                let whole = match self.status {
                    PaymentStatus::Succeeded => !self.is_dropped,
                    PaymentStatus::Failed => self.is_dropped,
                    _ => false,
                };
                report.check(Invariant::AdditionsWhole, whole, || {
                    let (status, dropped) = (self.status, self.is_dropped);
                    format!("addition {id} of order {order_id} is {status:?}; taken off: {dropped}")
                });
                order.added_minor += if self.is_dropped { 0 } else { self.amount_minor };
            } else {
                // Paid anew after a failure: the newest counts, and only one is not failed.
                order.own_standing += u32::from(self.status != PaymentStatus::Failed);
                order.own = order.own.max((self.created_at, *id, self.amount_minor));
            }
            let currency = money(self.amount_minor, &self.currency)?.currency();
            order.mixed_currencies |= currency != order.total.currency();
        }
        Ok(())
    }
}
