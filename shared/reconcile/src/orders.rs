//! The orders, each with what the other tables and the ledger say about it, compared in the end.

use std::collections::HashMap;

use anyhow::Result;
use domain::event::Tally;
use domain::money::Money;
use domain::order::status::OrderStatus;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Invariant, Report, money, show};

/// An order and the sums over what belongs to it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) status: OrderStatus,
    pub(super) version: i32,
    pub(super) total: Money,
    /// Charges here, of any status, and of these two.
    pub(super) charges: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    /// Of the failed ones that are not additions', those that were closed before anything was sent.
    pub(super) never_sent: u32,
    /// What took money, what is to go back, and what went back, to be compared with what the events say.
    pub(super) charged: Tally,
    pub(super) owed: Tally,
    pub(super) refunded: Tally,
    /// What stays although it was cancelled, by its events; and whether its channel was told so.
    pub(super) kept: Tally,
    pub(super) kept_elsewhere: bool,
    /// How often the time of its own charge was over before anything was sent.
    expired: u32,
    /// It is for later: its own charge is held until a time to come.
    pub(super) waits: bool,
    /// Somebody wished it to be cancelled.
    pub(super) is_wished: bool,
    /// How many changes its channel told, and whether its personal data is forgotten.
    pub(super) told: u32,
    pub(super) is_forgotten: bool,
    /// The sum of the charges that succeeded, and the refunds here, of any status.
    pub(super) succeeded_minor: i64,
    pub(super) refunds: u32,
    pub(super) refund_minor: i64,
    /// The newest charge that is not an addition's: when it came to be, its id and its amount in minor units; and how
    /// many of those have not failed.
    pub(super) own: (i64, Uuid, i64),
    pub(super) own_standing: u32,
    /// The sum of the additions' charges that were not dropped, in minor units.
    pub(super) added_minor: i64,
    /// Rows and money in the ledger that name this order.
    pub(super) ledger_charges: u32,
    pub(super) kept_minor: i64,
    /// Another currency than the order's, here or in the ledger.
    pub(super) mixed_currencies: bool,
    pub(super) events: u32,
    pub(super) keys: u32,
    /// Whether its channel is said to have taken the money; and payments that say so, and their sum.
    pub(super) paid_elsewhere: bool,
    pub(super) elsewhere: u32,
    pub(super) elsewhere_minor: i64,
    /// Whether it is paid in hand, and staff are said to have taken money for it; its own payments of that kind, those for what was
    /// added and not taken off again, in minor units; and what came in.
    on_delivery: bool,
    is_collected: bool,
    pub(super) in_hand: u32,
    pub(super) in_hand_minor: i64,
    pub(super) collected: Tally,
    /// Payments that say that it is free.
    pub(super) free: u32,
    /// What a restaurant's board finds it by: a deadline of the kitchen's, and being listed as what the kitchen has.
    has_deadline: bool,
    in_kitchen: Option<OrderStatus>,
}

/// All orders by id.
#[derive(Debug)]
pub(super) struct Orders(HashMap<Uuid, Order>);

/// What each order's lines and amounts come to. Modifiers lie in each other: so they are unfolded, each with how often it
/// counts for the whole line; of most orders there is nothing to unfold.
const LINES: &str = "
    WITH RECURSIVE made AS (
        SELECT o.id, coalesce(o.items, first.items) AS items, coalesce(o.adjustments, first.adjustments) AS adjustments
        FROM orders o LEFT JOIN order_events first ON first.subject = o.id AND first.version = 1
    ), lines AS (
        SELECT made.id, line FROM made, json_array_elements(made.items) AS line
    ), chosen AS (
        SELECT id, modifier, (line ->> 'quantity')::numeric * (modifier ->> 'quantity')::numeric AS times
        FROM lines, json_array_elements(line -> 'modifiers') AS modifier WHERE line -> 'modifiers' IS NOT NULL
        UNION ALL
        SELECT id, below, times * (below ->> 'quantity')::numeric
        FROM chosen, json_array_elements(modifier -> 'modifiers') AS below WHERE modifier -> 'modifiers' IS NOT NULL
    ), amounts AS (
        SELECT id, (line ->> 'price')::numeric * (line ->> 'quantity')::numeric AS amount FROM lines
        UNION ALL
        SELECT id, (modifier ->> 'price')::numeric * times FROM chosen
        UNION ALL
        SELECT id, (beside ->> 'amount')::numeric FROM lines, json_array_elements(line -> 'adjustments') AS beside
        WHERE line -> 'adjustments' IS NOT NULL
        UNION ALL
        SELECT id, (beside ->> 'amount')::numeric FROM made, json_array_elements(adjustments) AS beside
        WHERE adjustments IS NOT NULL
    )
    SELECT o.id, sum(amount)::text FROM orders o LEFT JOIN amounts USING (id) GROUP BY o.id";

/// A try of an order's own charge, or the word that its kitchen was too late, before its time; or a charge that waits elsewhere, or
/// for another time than its order says.
const LATER: &str = "
    SELECT d.order_id,
        NOT EXISTS (SELECT FROM payment_attempts a WHERE a.payment_id = d.order_id AND a.started_at < d.held_until)
        AND NOT EXISTS (
            SELECT FROM order_events e
            WHERE e.subject = d.order_id AND e.at < d.held_until AND e.reason IN ('accept_deadline', 'its_time', 'expired'))
        AND coalesce(own.kind <> 'charge' OR own.held_until = d.held_until, false)
    FROM order_details d LEFT JOIN payments own ON own.id = d.order_id WHERE d.held_until IS NOT NULL";

type OrderRow = (Uuid, OrderStatus, i32, i64, String, bool);

impl Orders {
    pub(super) async fn read(conn: &mut PgConnection) -> Result<Self> {
        let mut orders = HashMap::new();
        let mut rows = sqlx::query_as::<_, OrderRow>(
            "SELECT id, status, version, total_minor, currency, cancel_requested_at IS NOT NULL FROM orders",
        )
        .fetch(conn);
        while let Some((id, status, version, minor, currency, is_wished)) = rows.try_next().await? {
            let total = money(minor, &currency)?;
            orders.insert(id, Order { is_wished, ..Order::new(status, version, total) });
        }
        Ok(Self(orders))
    }

    pub(super) fn get_mut(&mut self, id: Uuid) -> Option<&mut Order> {
        self.0.get_mut(&id)
    }

    /// That a name is given once, the database sees to; what is left to check is where it leads. An order has one key that it
    /// came under, and any number under which it was moved.
    pub(super) async fn read_names(&mut self, conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let mut rows = sqlx::query_as::<_, (Uuid, bool)>(
            "SELECT named, kind = 'idempotency_key' AND request IS NULL FROM names
             WHERE kind IN ('idempotency_key', 'channel_order')",
        )
        .fetch(conn);
        while let Some((id, is_key)) = rows.try_next().await? {
            let order = self.0.get_mut(&id);
            report.check(Invariant::RowsBelong, order.is_some(), || {
                format!("a name of order {id}, which is not")
            });
            if let Some(order) = order.filter(|_| is_key) {
                order.keys += 1;
                report.check(Invariant::OneOrderAKey, order.keys == 1, || {
                    format!("order {id} has {} keys", order.keys)
                });
            }
        }
        Ok(())
    }

    /// What few orders have.
    pub(super) async fn read_details(&mut self, conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let mut expired = sqlx::query_scalar::<_, Uuid>(
            "SELECT subject FROM order_events WHERE to_status = 'PAYMENT_FAILED' AND reason = 'expired'",
        )
        .fetch(&mut *conn);
        while let Some(id) = expired.try_next().await? {
            if let Some(order) = self.0.get_mut(&id) {
                order.expired += 1;
            }
        }
        drop(expired);
        let mut rows = sqlx::query_as::<_, (Uuid, bool, bool, bool, bool, i32, bool)>(
            "SELECT order_id, paid_elsewhere, on_delivery, collected, kept, told, forgotten FROM order_details",
        )
        .fetch(conn);
        while let Some((id, paid_elsewhere, on_delivery, collected, kept, told, forgotten)) =
            rows.try_next().await?
        {
            let order = self.0.get_mut(&id);
            report.check(Invariant::RowsBelong, order.is_some(), || {
                format!("details of order {id}, which is not")
            });
            if let Some(order) = order {
                order.paid_elsewhere = paid_elsewhere;
                order.on_delivery = on_delivery;
                order.is_collected = collected;
                order.kept_elsewhere = kept;
                order.told = told.unsigned_abs();
                order.is_forgotten = forgotten;
            }
        }
        Ok(())
    }

    /// Those for later: nothing was done before its time, and their own charge is where it belongs.
    pub(super) async fn check_later(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let mut rows = sqlx::query_as::<_, (Uuid, bool)>(LATER).fetch(conn);
        while let Some((id, is_right)) = rows.try_next().await? {
            report.check(Invariant::LaterWaits, is_right, || format!("order {id}"));
        }
        Ok(())
    }

    /// Where they are made.
    pub(super) async fn check_locations(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let lost: Vec<(Uuid, String)> = sqlx::query_as(
            "SELECT id, location FROM orders o WHERE NOT EXISTS (SELECT FROM locations l WHERE l.id = o.location)",
        )
        .fetch_all(conn)
        .await?;
        for (id, location) in lost {
            report.check(Invariant::RowsBelong, false, || {
                format!("order {id} is of location {location}, which is not")
            });
        }
        Ok(())
    }

    /// What those that are not over are found by.
    pub(super) async fn read_board(&mut self, conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let mut rows = sqlx::query_as::<_, (Uuid, Option<OrderStatus>)>(
            "SELECT order_id, status FROM in_kitchen
             UNION ALL SELECT order_id, NULL FROM payments WHERE answer_by IS NOT NULL",
        )
        .fetch(conn);
        while let Some((id, listed)) = rows.try_next().await? {
            let order = self.0.get_mut(&id);
            report.check(Invariant::RowsBelong, order.is_some(), || {
                format!("order {id} is listed for the kitchen, and is not")
            });
            match (order, listed) {
                (Some(order), Some(status)) => {
                    let before = order.in_kitchen.replace(status);
                    report.check(Invariant::BoardWhole, before.is_none(), || {
                        format!("order {id} is listed for the kitchen twice")
                    });
                }
                (Some(order), None) => order.has_deadline = true,
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Their lines, with what is chosen and what is beside them; PostgreSQL adds them up, in decimals, so that they need not be kept
    /// here.
    pub(super) async fn check_lines(&self, conn: &mut PgConnection, report: &mut Report) -> Result<()> {
        let mut rows = sqlx::query_as::<_, (Uuid, Option<String>)>(LINES).fetch(conn);
        while let Some((id, sum)) = rows.try_next().await? {
            let Some(order) = self.0.get(&id) else { continue };
            let sum = sum.unwrap_or_default();
            let lines = Money::parse(&sum, order.total.currency());
            report.check(Invariant::LinesAreTotal, lines.is_ok_and(|lines| lines == order.total), || {
                format!("order {id} of {} has lines of {sum:?} together", show(order.total))
            });
        }
        Ok(())
    }

    /// Compares each order with its sums.
    pub(super) fn check(&self, report: &mut Report) {
        for (id, order) in &self.0 {
            order.check(*id, report);
        }
    }
}

impl Order {
    fn new(status: OrderStatus, version: i32, total: Money) -> Self {
        Self {
            status,
            version,
            total,
            charges: 0,
            succeeded: 0,
            failed: 0,
            never_sent: 0,
            charged: Tally::default(),
            owed: Tally::default(),
            refunded: Tally::default(),
            waits: false,
            is_wished: false,
            told: 0,
            is_forgotten: false,
            succeeded_minor: 0,
            refunds: 0,
            refund_minor: 0,
            own: (i64::MIN, Uuid::nil(), 0),
            own_standing: 0,
            expired: 0,
            kept: Tally::default(),
            kept_elsewhere: false,
            added_minor: 0,
            ledger_charges: 0,
            kept_minor: 0,
            mixed_currencies: false,
            events: 0,
            keys: 0,
            paid_elsewhere: false,
            elsewhere: 0,
            elsewhere_minor: 0,
            on_delivery: false,
            is_collected: false,
            in_hand: 0,
            in_hand_minor: 0,
            collected: Tally::default(),
            free: 0,
            has_deadline: false,
            in_kitchen: None,
        }
    }

    fn check(&self, id: Uuid, report: &mut Report) {
        let status = self.status.as_str();
        let ended = match self.status {
            OrderStatus::Pending => self.waits,
            OrderStatus::PaymentProcessing => false,
            _ => !self.waits,
        };
        report.check(Invariant::OrdersEnded, ended, || format!("order {id} is {status}"));

        // Paid once: by a charge of its own, or to its channel, or in hand; or there is nothing to pay.
        let charged_minor = self.own.2 + self.elsewhere_minor + self.in_hand_minor + self.added_minor;
        let others = (self.elsewhere, self.in_hand, self.free);
        let one = match (self.paid_elsewhere, self.on_delivery) {
            (true, false) => self.own.1.is_nil() && others == (1, 0, 0),
            (false, true) => self.own.1.is_nil() && others == (0, 1, 0),
            _ if self.free > 0 => self.own.1.is_nil() && others == (0, 0, 1),
            _ => others == (0, 0, 0) && self.charges > 0 && self.own_standing <= 1,
        };
        let adds_up = one && charged_minor == self.total.minor() && !self.mixed_currencies;
        report.check(Invariant::ChargesAreTotal, adds_up, || {
            let (total, sum) = (show(self.total), self.sum(charged_minor));
            format!("order {id} of {total} has {} charges of {sum} together", self.charges)
        });

        // Add-ons are charges of their own under the order's reference, so twice may be right.
        report.check(Invariant::ChargedOnce, self.ledger_charges <= self.charges, || {
            format!("order {id} was charged {} times for {} charges", self.ledger_charges, self.charges)
        });

        if let Some(kept) = self.to_be_kept() {
            report.check(Invariant::MoneyKept, self.kept_minor == kept && !self.mixed_currencies, || {
                let (total, kept) = (show(self.total), self.sum(self.kept_minor));
                format!("order {id} of {total} is {status}, and the ledger kept {kept}")
            });
        }

        let paid = match self.status {
            OrderStatus::PaymentFailed => self.failed > 0 && self.succeeded == 0 && !self.is_uncharged(),
            _ if self.is_paid() => {
                let beside = (self.paid_elsewhere && self.elsewhere == 1)
                    || (self.on_delivery && self.in_hand == 1)
                    || self.free == 1;
                self.succeeded > 0 || beside
            }
            _ => true,
        };
        report.check(Invariant::StatusPaid, paid, || {
            format!(
                "order {id} is {status} with {} charges succeeded, {} failed",
                self.succeeded, self.failed
            )
        });

        let kitchen =
            matches!(self.status, OrderStatus::Accepted | OrderStatus::Preparing | OrderStatus::Ready);
        let found = self.in_kitchen == kitchen.then_some(self.status)
            && (self.has_deadline || self.status != OrderStatus::Confirmed);
        report.check(Invariant::BoardWhole, found, || {
            let has = if self.has_deadline { "a" } else { "no" };
            let listed = self.in_kitchen.map_or("not", OrderStatus::as_str);
            format!("order {id} is {status}, listed for the kitchen: {listed}, and has {has} deadline")
        });

        // Before anything is sent, only the order's end closes its charge, or its time, which the history tells.
        let ended = matches!(self.status, OrderStatus::Rejected | OrderStatus::Cancelled);
        let closed = ended || self.never_sent <= self.expired;
        report.check(Invariant::FailedIsClosed, closed, || {
            format!("order {id} is {status}, and a charge of it failed without a try")
        });
        let (kept, kept_minor) = self.kept_here();
        let owed = if self.is_given_back() {
            (self.succeeded.saturating_sub(kept), self.succeeded_minor - kept_minor)
        } else {
            (0, 0)
        };
        report.check(Invariant::RefundsWhole, (self.refunds, self.refund_minor) == owed, || {
            let Self { succeeded, refunds, .. } = self;
            format!("order {id} is {status} with {succeeded} charges succeeded, {kept} kept, and {refunds} refunds")
        });
        let told = self.is_collected == (self.on_delivery && self.collected.count > 0);
        report.check(Invariant::EventsExplain, told, || {
            format!(
                "order {id} is said to be paid in hand: {}, and its payments say otherwise",
                self.is_collected
            )
        });
        let told = self.kept_elsewhere == ((self.paid_elsewhere || self.is_collected) && self.kept.count > 0);
        report.check(Invariant::RefundsWhole, told, || {
            let said = if self.kept_elsewhere { "keeps" } else { "gives back" };
            format!("the channel of order {id} {said} what it took, and its events say otherwise")
        });

        // Orders without any event are met nowhere else.
        let whole = i64::from(self.version) == i64::from(self.events);
        report.check(Invariant::HistoryWhole, whole, || {
            format!("order {id} has version {} and {} events", self.version, self.events)
        });
    }

    const fn is_paid(&self) -> bool {
        use OrderStatus::{Accepted, Confirmed, Delivered, Preparing, Ready};
        matches!(self.status, Confirmed | Accepted | Preparing | Ready | Delivered)
    }

    /// Whether it is said that the gateway charges nothing for what it came in with.
    pub(super) const fn is_uncharged(&self) -> bool {
        self.paid_elsewhere || self.on_delivery || self.free > 0
    }

    /// Whether it ended without being delivered, so that nothing is kept.
    const fn is_given_back(&self) -> bool {
        use OrderStatus::{Cancelled, PaymentFailed, Rejected};
        matches!(self.status, PaymentFailed | Rejected | Cancelled)
    }

    /// How many charges of the gateway are kept although the order was cancelled, and how much that is. Its channel, if it took
    /// the money, keeps that, too.
    const fn kept_here(&self) -> (u32, i64) {
        let Tally { count, minor, .. } = self.kept;
        if count > 0 {
            let beside = self.elsewhere + self.collected.count;
            (count.saturating_sub(beside), minor - self.elsewhere_minor - self.collected.minor)
        } else {
            (0, 0)
        }
    }

    /// What the ledger must have kept in the end, refunds taken off; `None` while that is open. What a channel took is not
    /// in it, and cannot be given back by it.
    const fn to_be_kept(&self) -> Option<i64> {
        match self.status {
            OrderStatus::Pending | OrderStatus::PaymentProcessing => None,
            OrderStatus::Cancelled => Some(self.kept_here().1),
            OrderStatus::PaymentFailed | OrderStatus::Rejected => Some(0),
            _ if self.is_uncharged() => Some(self.total.minor() - self.elsewhere_minor - self.in_hand_minor),
            _ => Some(self.total.minor()),
        }
    }

    fn sum(&self, minor: i64) -> String {
        let mixed = if self.mixed_currencies { ", other currencies among it" } else { "" };
        format!("{}{mixed}", show(Money::from_minor(minor, self.total.currency())))
    }
}
