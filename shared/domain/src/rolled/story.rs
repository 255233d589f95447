//! An order's events, one after the other, and what each adds to the cells. What an event adds may depend on those before it (when
//! the stay began that it ends, what is still due): so these are told first.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

use super::cells::{Cells, CustomerAt, Lifetime, Place};
use super::money::MoneyKind;
use crate::event::{Event, What};
use crate::money::currency_of;
use crate::order::adjustments::Adjustment;
use crate::order::lines::Item;
use crate::order::status::OrderStatus;

/// What is counted by, beside what the events say.
#[derive(Debug, Clone)]
pub struct Of {
    /// Where and by which channel.
    pub place: Place,
    /// Who ordered.
    pub customer: Arc<str>,
    /// In which currency.
    pub currency: Arc<str>,
    /// Amounts beside its lines, as it came in.
    pub adjustments: Vec<Adjustment>,
}

/// Who takes an order's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Gateway,
    Channel,
    InHand,
}

/// Amounts of several kinds, in minor units.
type Amounts = Vec<(MoneyKind, i64)>;

/// An order so far.
#[derive(Debug)]
pub struct Story<'a> {
    of: &'a Of,
    entered: Option<(OrderStatus, OffsetDateTime)>,
    accepted_at: OffsetDateTime,
    method: Method,
    /// What its channel took.
    elsewhere: i64,
    /// What is still to be paid in hand.
    due: i64,
    /// What was paid in hand, by payment.
    collected: Vec<(Uuid, i64)>,
    /// Amounts beside what it came in with, and beside what was added, by its payment.
    beside: Amounts,
    beside_added: HashMap<Uuid, Amounts>,
}

impl<'a> Story<'a> {
    /// One that has not begun.
    pub fn new(of: &'a Of) -> Self {
        Self {
            of,
            entered: None,
            accepted_at: OffsetDateTime::UNIX_EPOCH,
            method: Method::Gateway,
            elsewhere: 0,
            due: 0,
            collected: Vec::new(),
            beside: Vec::new(),
            beside_added: HashMap::new(),
        }
    }

    /// The next event: adds to `cells` what it adds.
    pub fn tell(&mut self, event: &Event, cells: &mut Cells) {
        let amount = event.amount_minor.unwrap_or_default();
        match event.what {
            What::Accepted => self.accept(event, cells),
            What::Moved => {
                if event.amount_minor.is_some() {
                    self.comes_in(event, MoneyKind::Charged, cells);
                }
            }
            What::AdditionCharged => {
                self.comes_in(event, MoneyKind::Charged, cells);
                let beside = event.payment_id.and_then(|payment| self.beside_added.remove(&payment));
                self.money_beside(event.at, beside.unwrap_or_default(), cells);
            }
            What::LateCapture => self.comes_in(event, MoneyKind::Charged, cells),
            What::Added => self.add(event, cells),
            What::Collected => {
                self.due -= amount;
                self.money(event.at, MoneyKind::Due, -amount, cells);
                self.comes_in(event, MoneyKind::Collected, cells);
                self.collected.extend(event.payment_id.map(|payment| (payment, amount)));
            }
            What::Kept => self.keep(event, cells),
            What::RefundOwed => self.goes_back(event.at, MoneyKind::RefundOwed, amount, cells),
            What::Refunded => self.money(event.at, MoneyKind::Refunded, amount, cells),
            What::AdditionDropped | What::CancelWished | What::Told | What::Forgotten => {}
            // Of no order.
            What::ProductMade
            | What::ProductChanged
            | What::PriceChanged
            | What::PriceDropped
            | What::ProductDeleted
            | What::StockSet
            | What::StockAdded
            | What::StockShipped => {}
        }
        if let Some(to) = event.to {
            self.stand(to, event, cells);
        }
    }

    fn accept(&mut self, event: &Event, cells: &mut Cells) {
        let total = event.amount_minor.unwrap_or_default();
        self.accepted_at = event.at;
        cells.order(&self.of.place, event.at).accepted += 1;
        self.customer(cells).orders += 1;
        self.beside = self.amounts(&self.of.adjustments, event.items.as_deref());
        match event.reason.as_deref() {
            Some("paid_elsewhere") => {
                self.method = Method::Channel;
                self.elsewhere = total;
                self.comes_in(event, MoneyKind::Elsewhere, cells);
            }
            Some("on_delivery") => {
                self.method = Method::InHand;
                self.owe(event, cells);
            }
            _ => {}
        }
    }

    fn add(&mut self, event: &Event, cells: &mut Cells) {
        let beside = self.amounts(&[], event.items.as_deref());
        if self.method == Method::InHand {
            self.owe(event, cells);
            self.money_beside(event.at, beside, cells);
        } else if let (Some(payment), false) = (event.payment_id, beside.is_empty()) {
            self.beside_added.insert(payment, beside);
        }
    }

    /// So much more is to be paid in hand.
    fn owe(&mut self, event: &Event, cells: &mut Cells) {
        let amount = event.amount_minor.unwrap_or_default();
        self.due += amount;
        self.money(event.at, MoneyKind::Due, amount, cells);
    }

    /// Nobody has to give this back after all.
    fn keep(&mut self, event: &Event, cells: &mut Cells) {
        let amount = event.amount_minor.unwrap_or_default();
        let payment = event.payment_id;
        if self.method == Method::Channel && payment == Some(event.subject) {
            self.goes_back(event.at, MoneyKind::ElsewhereBack, -amount, cells);
        } else if self.collected.iter().any(|(collected, _)| Some(*collected) == payment) {
            self.goes_back(event.at, MoneyKind::CollectedBack, -amount, cells);
        }
    }

    /// It stands here from now on: the stay before is over.
    fn stand(&mut self, to: OrderStatus, event: &Event, cells: &mut Cells) {
        let (place, at) = (&self.of.place, event.at);
        if let Some((status, since)) = self.entered.replace((to, at)) {
            cells.stay(place, status, since, at);
        }
        cells.enter(place, at, to);
        match to {
            OrderStatus::Confirmed => {
                cells.order(place, at).confirmed += 1;
                let beside = std::mem::take(&mut self.beside);
                self.money_beside(at, beside, cells);
            }
            OrderStatus::Delivered => {
                cells.order(place, at).delivered += 1;
                self.customer(cells).delivered += 1;
            }
            OrderStatus::PaymentFailed => {
                cells.order(place, at).failed += 1;
                cells.reason(place, at, to, event.reason.as_deref());
            }
            OrderStatus::Rejected | OrderStatus::Cancelled => {
                let orders = cells.order(place, at);
                let ended =
                    if to == OrderStatus::Rejected { &mut orders.rejected } else { &mut orders.cancelled };
                *ended += 1;
                cells.reason(place, at, to, event.reason.as_deref());
                self.end(at, cells);
            }
            _ => {}
        }
    }

    /// It ended without being handed over: nobody has to pay any more, and who took money outside the gateway has to give it back.
    fn end(&mut self, at: OffsetDateTime, cells: &mut Cells) {
        let due = std::mem::take(&mut self.due);
        if due != 0 {
            self.money(at, MoneyKind::Due, -due, cells);
        }
        if self.method == Method::Channel {
            self.goes_back(at, MoneyKind::ElsewhereBack, self.elsewhere, cells);
        }
        if !self.collected.is_empty() {
            let collected = self.collected.iter().map(|(_, minor)| minor).sum();
            self.goes_back(at, MoneyKind::CollectedBack, collected, cells);
        }
    }

    fn money(&self, at: OffsetDateTime, kind: MoneyKind, minor: i64, cells: &mut Cells) {
        cells.money(&self.of.place, at, &self.of.currency, (kind, minor));
    }

    fn money_beside(&self, at: OffsetDateTime, beside: Amounts, cells: &mut Cells) {
        for (kind, minor) in beside {
            self.money(at, kind, minor, cells);
        }
    }

    fn comes_in(&self, event: &Event, kind: MoneyKind, cells: &mut Cells) {
        let amount = event.amount_minor.unwrap_or_default();
        self.money(event.at, kind, amount, cells);
        self.customer(cells).paid += amount;
    }

    fn goes_back(&self, at: OffsetDateTime, kind: MoneyKind, minor: i64, cells: &mut Cells) {
        self.money(at, kind, minor, cells);
        self.customer(cells).back += minor;
    }

    fn customer<'c>(&self, cells: &'c mut Cells) -> &'c mut Lifetime {
        let Of { place, customer, currency, .. } = self.of;
        let key = CustomerAt {
            customer: Arc::clone(customer),
            location: Arc::clone(&place.location),
            currency: Arc::clone(currency),
        };
        let at = self.accepted_at;
        let nothing = Lifetime { first_at: at, last_at: at, orders: 0, delivered: 0, paid: 0, back: 0 };
        let lifetime = cells.customers.entry(key).or_insert(nothing);
        lifetime.first_at = lifetime.first_at.min(at);
        lifetime.last_at = lifetime.last_at.max(at);
        lifetime
    }

    /// What stands beside lines, and in them.
    fn amounts(&self, order: &[Adjustment], lines: Option<&[Item]>) -> Amounts {
        let of_lines = lines.unwrap_or_default().iter().flat_map(|item| &item.adjustments);
        let Some(currency) = currency_of(&self.of.currency) else { return Vec::new() };
        let one = |one: &Adjustment| Some((one.kind.into(), one.minor(currency)?));
        order.iter().chain(of_lines).filter_map(one).collect()
    }
}
